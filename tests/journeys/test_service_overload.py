"""Too many requests, and requests that never end: they are refused, the others are served, memory is flat."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from serving.requests import MOST_ROWS
from takeoff.contract import read_contract
from tests.evidence import counted, logged_ids, memory, open_connections, until
from tests.small_package import Packed
from tests.small_release import PROJECT, small_rows
from tests.small_service import Service, as_sent, serving
from tests.traffic import (
    Connection,
    Reply,
    Request,
    answered_ids,
    arrive,
    load,
    never_finish,
    predict,
    predict_batch,
    read_reply,
    send_all,
)

pytestmark = pytest.mark.slow

CONTRACT = read_contract(PROJECT)
TIMES = 10  # more than the service can
MOST_IN_FLIGHT = 8
SECONDS = 30  # of each of the two overloads
WARM_SECONDS = 20  # of the same before: as many large batches as there may be at once have their memory
MOST_GROWTH = 1.3  # of memory, from when it is warm
SLOW_CLIENTS = 200  # that stop, and as many that send a byte now and then
LARGE_CLIENTS = 60
LARGE_SECONDS = 15  # for each of them: all together would take longer
MOST_OF_LARGEST = 1 / 2  # of what they sent, in memory at once: what is held, and the rows of a few
BODY_SECONDS = 5
BODY_MB = 4
# of what large bodies sent, in memory at once: four of them, and what each sender had sent before it waited
MOST_OF_SENT = 1 / 3
DRIP_SECONDS = 0.2


@cache
def rows() -> list[dict[str, object]]:
    sample = small_rows().sample(1_000, random_state=9)
    return [as_sent(row, CONTRACT) for row in sample.to_dict("records")]


@cache
def singles() -> list[Request]:
    return [predict(row) for row in rows()[:100]]


@pytest.fixture
def service(boosted: Packed, tmp_path: Path) -> Iterator[Service]:
    own = {"max_in_flight": MOST_IN_FLIGHT, "body_seconds": BODY_SECONDS, "max_body_mb": BODY_MB}
    with serving(boosted, tmp_path, **{name: str(value) for name, value in own.items()}) as service:
        yield service


# too many


def test_ten_times_too_many_connections_get_answers_or_429_and_memory_stays_flat(service: Service) -> None:
    with load(service.port, singles(), TIMES * MOST_IN_FLIGHT) as clients:
        until(lambda: clients.answered > 200 and len(clients.refusals) > 2_000, "it is warm")
        warm, end = memory(service), time.monotonic() + SECONDS
        until(lambda: time.monotonic() > end, "it goes on")
        hot = memory(service)
        clients.stop()

    assert set(clients.statuses) == {200, 429}
    assert clients.lost == 0
    assert all(is_busy(reply) for reply in clients.refusals)
    assert hot <= MOST_GROWTH * warm
    assert_as_before(service, clients.ids)


def test_ten_times_too_many_requests_a_second_get_answers_or_429_and_memory_stays_flat(
    service: Service,
) -> None:
    batch = predict_batch(rows())
    with load(service.port, [batch], connections=2) as clients:
        until(lambda: clients.answered > 10, "it is warm")
        before, start = clients.answered, time.monotonic()
        until(lambda: clients.answered > before + 50, "its capacity is measured")
        capacity = (clients.answered - before) / (time.monotonic() - start)
    first = arrive(service.port, batch, TIMES * capacity, WARM_SECONDS)
    warm = memory(service)

    replies = arrive(service.port, batch, TIMES * capacity, SECONDS)

    assert len(replies) > 0.9 * TIMES * capacity * SECONDS  # or it was the clients that were too slow
    answers = [reply for reply in [*first, *replies] if reply is not None]
    assert len(answers) == len(first) + len(replies)
    assert set(Counter(reply.status for reply in answers)) == {200, 429}
    assert all(is_busy(reply) for reply in answers if reply.status == 429)
    assert memory(service) <= MOST_GROWTH * warm
    ids = [id_ for reply in answers if reply.status == 200 for id_ in answered_ids(reply)]
    assert_as_before(service, [*clients.ids, *ids])


def test_more_of_the_largest_batches_than_can_be_answered_in_time_get_429_and_the_rest_answers(
    boosted: Packed, tmp_path: Path
) -> None:
    largest = predict_batch((rows() * (MOST_ROWS // len(rows())))[:MOST_ROWS])
    sent, most = LARGE_CLIENTS * len(largest.body), [0]

    async def all_at_once(service: Service) -> list[Reply]:
        clients = [Connection(lambda: service.port) for _ in range(LARGE_CLIENTS)]
        asking = asyncio.gather(*(client.ask(largest.to_bytes()) for client in clients))
        while not asking.done():
            most.append(memory(service))
            await asyncio.sleep(0.02)
        return await asking

    with serving(boosted, tmp_path, deadline_seconds=str(LARGE_SECONDS)) as service:
        warm = memory(service)
        replies = asyncio.run(all_at_once(service))

        assert set(Counter(reply.status for reply in replies)) == {200, 429}
        assert all(is_busy(reply) for reply in replies if reply.status == 429)
        assert max(most) - warm <= MOST_OF_LARGEST * sent
        ids = [id_ for reply in replies if reply.status == 200 for id_ in answered_ids(reply)]
        assert_as_before(service, ids)


def is_busy(reply: Reply) -> bool:
    return int(reply.headers["retry-after"]) > 0 and reply.content["error"]["code"] == "busy"


def assert_as_before(service: Service, answered: list[str]) -> None:
    """Everything is answered again at once, and the log has exactly what was answered."""
    after = send_all(service.port, singles(), connections=2)
    assert {reply.status for reply in after} == {200}
    answered = [*answered, *(id_ for reply in after for id_ in answered_ids(reply))]
    assert Counter(logged_ids(service)) == Counter(answered)


# too slow


HEAD = b"POST %s HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
UNFINISHED = (
    HEAD % b"/predict" + b"Content-Length: 1000\r\n\r\n",
    HEAD % b"/predict" + b'Content-Length: 1000\r\n\r\n{"a',
    HEAD % b"/predict_batch" + b'Transfer-Encoding: chunked\r\n\r\n20\r\n{"a',
    HEAD % b"/feedback" + b'Content-Length: 1000\r\n\r\n{"labels": [',
)


def test_clients_that_never_finish_a_body_get_408_while_others_are_served(service: Service) -> None:
    starts = [UNFINISHED[number % len(UNFINISHED)] for number in range(SLOW_CLIENTS)]

    async def all_at_once() -> list[Reply | None]:
        silent = (never_finish(service.port, start) for start in starts)
        dripping = (never_finish(service.port, start, DRIP_SECONDS) for start in starts)
        return await asyncio.gather(*silent, *dripping)

    with load(service.port, singles(), connections=4) as others:
        until(lambda: others.answered > 500, "it is warm")
        warm, before = memory(service), others.answered
        replies = asyncio.run(all_at_once())
        during = others.answered - before
        others.stop()

    assert [reply and reply.status for reply in replies[:SLOW_CLIENTS]] == [408] * SLOW_CLIENTS
    assert {reply.status for reply in replies[SLOW_CLIENTS:] if reply} <= {408}
    assert counted(service)['takeoff_refusals_total{reason="slow_body"}'] == len(replies)
    assert during > 500
    assert (set(others.statuses), others.lost) == ({200}, 0)
    assert memory(service) <= MOST_GROWTH * warm
    until(lambda: open_connections(service) == 0, "all connections are closed")
    assert_as_before(service, others.ids)


HEADS = (b"", b"POST /predict HT", b"POST /predict HTTP/1.1\r\nHost: test\r\nX-Slow: ")


def test_clients_that_never_finish_a_head_are_told_so_and_let_go(service: Service) -> None:
    started = predict(rows()[0]).to_bytes()  # one whole request, then another that stops within its head

    async def all_at_once() -> list[Reply | None]:
        alone = (never_finish(service.port, head) for head in HEADS * SLOW_CLIENTS)
        dripping = (never_finish(service.port, HEADS[-1], DRIP_SECONDS) for _ in range(SLOW_CLIENTS))
        return await asyncio.gather(*alone, *dripping)

    replies = asyncio.run(all_at_once())
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(started)
        said = connection.recv(65_536)
        connection.sendall(HEADS[1])
        said += b"".join(iter(lambda: connection.recv(65_536), b""))

    assert {reply and reply.status for reply in replies[: len(HEADS) * SLOW_CLIENTS]} == {408}
    assert {reply.status for reply in replies if reply} == {408}
    assert said.startswith(b"HTTP/1.1 200") and b"HTTP/1.1 408" in said
    until(lambda: open_connections(service) == 0, "all connections are closed")


def test_a_head_that_grows_without_end_is_refused_and_takes_no_memory(service: Service) -> None:
    warm = memory(service)
    line = b"X-%d: " + b"a" * 10_000 + b"\r\n"

    for _ in range(20):
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: test\r\n")
            said, number = b"", 0
            try:
                while number < 5_000:  # 50 MB, if nobody minds
                    connection.sendall(line % number)
                    number += 1
            except OSError:  # closed while it was sending
                pass
            with suppress(ConnectionResetError):
                said = connection.recv(65_536)
            assert number < 1_000
            assert said == b"" or said.startswith(b"HTTP/1.1 431")

    assert memory(service) <= MOST_GROWTH * warm


def test_many_large_bodies_that_never_end_do_not_fill_the_memory(service: Service) -> None:
    large = b" " * int(0.9 * BODY_MB * 2**20)
    start = HEAD % b"/predict_batch" + b"Content-Length: %d\r\n\r\n" % (len(large) + 1) + large
    most, sent = [0], LARGE_CLIENTS * len(start)

    async def all_at_once() -> list[Reply | None]:
        senders = asyncio.gather(*(never_finish(service.port, start) for _ in range(LARGE_CLIENTS)))
        while not senders.done():
            most.append(memory(service))
            await asyncio.sleep(0.02)
        return await senders

    with load(service.port, singles(), connections=4) as others:
        until(lambda: others.answered > 500, "it is warm")
        warm = memory(service)
        replies = asyncio.run(all_at_once())
        others.stop()

    assert {reply and reply.status for reply in replies} <= {408, 429}
    assert max(most) - warm <= MOST_OF_SENT * sent
    assert (set(others.statuses), others.lost) == ({200}, 0)
    until(lambda: open_connections(service) == 0, "all connections are closed")
    assert_as_before(service, others.ids)


def test_large_bodies_beyond_what_is_held_at_once_are_told_to_come_again(service: Service) -> None:
    body = predict_batch(rows()[:10]).body
    content = Request("/predict_batch", body + b" " * (int(0.9 * BODY_MB * 2**20) - len(body))).to_bytes()
    half = len(content) // 2

    async def all_at_once() -> list[Reply]:
        streams = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(LARGE_CLIENTS)]
        for part in (content[:half], content[half:]):  # so that nobody is done before all have begun
            for _, writer in streams:
                writer.write(part)
            await asyncio.gather(*(writer.drain() for _, writer in streams))
        replies = await asyncio.gather(*(read_reply(reader) for reader, _ in streams))
        for _, writer in streams:
            writer.close()
        return replies

    replies = asyncio.run(all_at_once())

    assert set(Counter(reply.status for reply in replies)) == {200, 429}
    assert all(is_busy(reply) for reply in replies if reply.status == 429)
    assert_as_before(
        service, [id_ for reply in replies if reply.status == 200 for id_ in answered_ids(reply)]
    )
