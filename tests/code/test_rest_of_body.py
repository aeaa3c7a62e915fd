"""A body that is answered before its end costs no more than its beginning; its connection goes on or ends."""

import asyncio

import pytest

from serving import heads
from serving.heads import BoundedHeads
from tests.traffic import Reply, read_reply
from tests.uvicorn_server import listening, refusing

BODY_BYTES = 64 * 2**20  # more than all buffers between two ends hold
LONG, SHORT = 60.0, 0.01  # seconds
PLENTY = 30.0  # seconds, for what comes at once
TURNS = 100  # of the event loop, and more; in each it could take in 256 KiB


def head(method: str, length: int) -> bytes:
    return f"{method} / HTTP/1.1\r\nHost: here\r\nContent-Length: {length}\r\n\r\n".encode()


async def reply(reader: asyncio.StreamReader) -> Reply:
    return await asyncio.wait_for(read_reply(reader), PLENTY)


@pytest.fixture(autouse=True)
def times(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(heads, "REST_SECONDS", SHORT)
    monkeypatch.setattr(BoundedHeads, "seconds", LONG)
    return monkeypatch


def test_of_a_body_that_is_refused_little_is_taken_in(times: pytest.MonkeyPatch) -> None:
    times.setattr(heads, "REST_SECONDS", LONG)
    took = [0]

    class Counting(BoundedHeads):
        def data_received(self, data: bytes) -> None:
            took[0] += len(data)
            super().data_received(data)

    async def story() -> None:
        async with listening(refusing, Counting) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head("POST", BODY_BYTES) + b" " * BODY_BYTES)
            assert (await reply(reader)).status == 429
            other, others = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(TURNS):
                others.write(head("GET", 0))
                await reply(other)
            writer.transport.abort()
            others.close()

    asyncio.run(story())

    assert took[0] < BODY_BYTES / 16


def test_who_sends_all_before_it_reads_is_answered_and_served_on() -> None:
    async def story() -> list[int]:
        async with listening(refusing) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head("POST", BODY_BYTES) + b" " * BODY_BYTES)
            await asyncio.wait_for(writer.drain(), PLENTY)
            writer.write(head("GET", 0))
            statuses = [(await reply(reader)).status for _ in range(2)]
            writer.close()
            return statuses

    assert asyncio.run(story()) == [429, 200]


LENGTH = head("POST", 1_000), b" " * 1_000
CHUNKS = head("POST", 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"), b"1\r\n \r\n0\r\n\r\n"


@pytest.mark.parametrize(("start", "rest"), [LENGTH, CHUNKS], ids=["length", "chunks"])
def test_after_a_small_body_the_next_request_need_not_wait(
    start: bytes, rest: bytes, times: pytest.MonkeyPatch
) -> None:
    times.setattr(heads, "REST_SECONDS", LONG)

    async def story() -> list[int]:
        async with listening(refusing) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(start)
            statuses = [(await reply(reader)).status]
            writer.write(rest + head("GET", 0))
            statuses.append((await reply(reader)).status)
            writer.close()
            return statuses

    assert asyncio.run(story()) == [429, 200]


def test_after_the_rest_of_a_body_a_head_may_come_in_pieces() -> None:
    whole: list[BoundedHeads] = []  # connections on which all of a body has come

    class Known(BoundedHeads):
        def on_message_complete(self) -> None:
            super().on_message_complete()
            whole.append(self)

    async def story() -> int:
        async with listening(refusing, Known) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head("POST", 2) + b" ")
            await reply(reader)
            writer.write(b" ")
            while not whole:
                await asyncio.sleep(0)
            connection = whole[0]
            writer.write(head("GET", 0)[:5])
            while connection.timeout_keep_alive_task is not None:
                await asyncio.sleep(0)
            writer.write(head("GET", 0)[5:])
            status = (await reply(reader)).status
            writer.close()
            return status

    assert asyncio.run(story()) == 200


async def ends(length: int, keep_alive: float) -> bool:
    """Whether a connection does, on which two bytes of a refused body have come and no more follows."""
    async with listening(refusing, timeout_keep_alive=keep_alive) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head("POST", length) + b" ")
        assert (await reply(reader)).status == 429
        writer.write(b" ")
        found = await asyncio.wait_for(reader.read(), PLENTY) == b""
        writer.close()
        return found


def test_the_rest_of_a_body_may_not_take_for_ever(times: pytest.MonkeyPatch) -> None:
    times.setattr(BoundedHeads, "seconds", SHORT)

    assert asyncio.run(ends(1_000, keep_alive=LONG))


def test_a_connection_on_which_nothing_follows_the_rest_of_a_body_ends() -> None:
    assert asyncio.run(ends(2, keep_alive=SHORT * 20))
