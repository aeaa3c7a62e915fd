"""What comes before a body and behind it is bounded, and asks for no other protocol."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.heads import HEAD_BYTES, BoundedHeads
from tests.traffic import read_reply
from tests.uvicorn_server import Receive, Send, listening, refusing

PLENTY = 30.0  # seconds, for what comes at once
BODY = b"12345"
LINE = b"X: " + b"a" * 1_000 + b"\r\n"
MOST_BYTES = 64 * 2**20  # more than all buffers between two ends hold


class Echo:
    """Answers with the body, once it may; `seen` are the names of all headers."""

    def __init__(self) -> None:
        self.may, self.begun = asyncio.Event(), asyncio.Event()
        self.may.set()
        self.seen: list[bytes] = []

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.begun.set()
        await self.may.wait()
        self.seen += [name for name, _ in scope["headers"]]
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})


def head(*headers: str) -> bytes:
    return "\r\n".join(["POST / HTTP/1.1", "Host: here", *headers, "", ""]).encode()


LENGTH = f"Content-Length: {len(BODY)}"
PLAIN = head(LENGTH) + BODY
CHUNKED = head("Transfer-Encoding: chunked") + b"5\r\n" + BODY + b"\r\n0\r\n"


async def answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PLENTY):
        length = int((await reader.readuntil(b"\r\n\r\n")).lower().split(b"content-length: ")[1].split()[0])
        return await reader.readexactly(length)


def test_a_head_that_is_too_large_is_refused_even_where_all_of_it_comes_at_once() -> None:
    async def story() -> int:
        async with listening(Echo()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head("X: " + "a" * HEAD_BYTES))
            async with asyncio.timeout(PLENTY):
                status = (await read_reply(reader)).status
            writer.close()
            return status

    assert asyncio.run(story()) == 431


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
@pytest.mark.parametrize("name", ["Upgrade", "upgrade", "UpGrade"])
def test_who_offers_another_protocol_is_answered_in_this_one(name: str, protocol: str) -> None:
    async def story() -> list[bytes]:
        async with listening(Echo()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            offer = (f"Connection: {name}, HTTP2-Settings", f"{name}: {protocol}", "HTTP2-Settings: AAMAAABk")
            writer.write(head(*offer, LENGTH) + BODY + PLAIN)
            answers = [await answer(reader) for _ in range(2)]
            writer.close()
            return answers

    assert asyncio.run(story()) == [BODY, BODY]


def test_an_offer_that_comes_in_pieces_does_not_hold_its_connection() -> None:
    async def story() -> int:
        async with listening(Echo()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            offer = head("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", LENGTH)
            place = offer.index(b"grade: ")
            writer.write(offer[:place])
            await writer.drain()
            await asyncio.sleep(0.01)  # so that it comes in two; in one it is the other test
            writer.write(offer[place:] + BODY)
            async with asyncio.timeout(PLENTY):
                status = (await read_reply(reader)).status
            writer.close()
            return status

    assert asyncio.run(story()) == 400


def test_what_follows_a_body_is_read_and_forgotten() -> None:
    async def story() -> tuple[list[bytes], list[bytes]]:
        echo = Echo()
        async with listening(echo) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            answers = []
            for request in (CHUNKED + b"X-Later: 1\r\nX-Last: 2\r\n\r\n", PLAIN):
                writer.write(request)
                answers.append(await answer(reader))
            writer.close()
            return answers, echo.seen

    answers, seen = asyncio.run(story())

    assert answers == [BODY, BODY]
    assert b"x-later" not in seen


@pytest.mark.parametrize("start", [CHUNKED, CHUNKED + b"X: "], ids=["lines", "one line"])
def test_what_follows_a_body_has_an_end(start: bytes) -> None:
    more = LINE if start == CHUNKED else b"a" * len(LINE)

    async def story() -> int:
        async with listening(Echo()) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(start)
            sent = 0
            with suppress(ConnectionError):
                while sent < MOST_BYTES:
                    writer.write(more * 100)
                    await writer.drain()
                    sent += len(more) * 100
            writer.transport.abort()
            return sent

    assert asyncio.run(story()) < MOST_BYTES


def test_requests_behind_each_other_are_answered_one_at_a_time_and_in_their_order() -> None:
    running, most = [0], [0]

    async def slow(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        running[0] += 1
        most[0] = max(running[0], most[0])
        await asyncio.sleep(0)
        path = scope["path"].encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        running[0] -= 1
        await send({"type": "http.response.body", "body": path})

    async def story() -> list[bytes]:
        async with listening(slow) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"".join(b"GET /%03d HTTP/1.1\r\n\r\n" % number for number in range(500)))
            answers = [await answer(reader) for _ in range(500)]
            writer.close()
            return answers

    assert asyncio.run(story()) == [b"/%03d" % number for number in range(500)]
    assert most == [1]


BODIES = st.sampled_from([b"", b"1", b"\r\n\r\n", BODY, b"\r\n\r\n".join([BODY] * 20_000)])


@pytest.fixture(scope="module")
def echo() -> Iterator[tuple[asyncio.Runner, int]]:
    """What runs the event loop of a service that echoes, and its port."""
    with asyncio.Runner() as runner:
        service = listening(Echo())
        yield runner, runner.run(service.__aenter__())
        runner.run(service.__aexit__(None, None, None))


@settings(deadline=None)
@given(bodies=st.lists(BODIES, min_size=1, max_size=6), data=st.data())
def test_requests_are_the_same_in_whatever_pieces_they_come(
    echo: tuple[asyncio.Runner, int], bodies: list[bytes], data: st.DataObject
) -> None:
    sent = b"".join(head(f"Content-Length: {len(body)}") + body for body in bodies)
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=12).map(sorted))
    ends = [at + more for at in find_all(sent, b"\r\n\r\n")[:3] for more in range(5)]
    cuts = sorted({*cuts, *data.draw(st.lists(st.sampled_from(ends), max_size=4))})

    async def story() -> list[bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", echo[1])
        writer.write(PLAIN)
        assert await answer(reader) == BODY  # so it has been taken, and reads
        for start, end in pairwise([0, *cuts, len(sent)]):
            writer.write(sent[start:end])
            for _ in range(5):  # turns of the loop, in which the service runs as well, so that it comes alone
                await asyncio.sleep(0)
        answers = [await answer(reader) for _ in bodies]
        writer.close()
        return answers

    assert echo[0].run(story()) == bodies


def find_all(text: bytes, part: bytes) -> list[int]:
    return [match.start() for match in re.finditer(re.escape(part), text)]


@pytest.mark.parametrize(
    ("behind", "end"),
    [(b"GET / HTTP/1.1\r\n" + LINE * (2 * HEAD_BYTES // len(LINE)), 431), (b"\0\r\n\r\n", 400)],
    ids=["a head that is too large", "no HTTP"],
)
def test_an_answer_that_is_due_comes_before_what_ends_the_connection(behind: bytes, end: int) -> None:
    async def story() -> tuple[bytes, bytes]:
        echo, after = Echo(), b""
        echo.may.clear()
        async with listening(echo) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(PLAIN + behind)
            await echo.begun.wait()
            echo.may.set()
            found = await answer(reader)
            with suppress(ConnectionResetError):  # where some of the head was not read
                after = await asyncio.wait_for(reader.read(), PLENTY)
            writer.close()
            return found, after

    found, after = asyncio.run(story())

    assert found == BODY
    assert after == b"" or after.startswith(b"HTTP/1.1 %d " % end)


@pytest.mark.parametrize("cut", [0, 30])
def test_behind_a_body_in_chunks_that_ends_in_the_same_breath_the_connection_ends_with_the_answer(
    cut: int,
) -> None:
    async def story() -> tuple[str, bytes, bytes]:
        async with listening(Echo()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(CHUNKED[:cut])
            await asyncio.sleep(0.02)  # so that it comes alone
            writer.write(CHUNKED[cut:] + b"\r\n" + PLAIN)
            async with asyncio.timeout(PLENTY):
                reply, after = await read_reply(reader), await reader.read()
            writer.close()
            return reply.headers.get("connection", ""), reply.body, after

    assert asyncio.run(story()) == ("close", BODY, b"")


def test_what_names_no_target_is_refused_on_a_connection_that_has_answered() -> None:
    async def story() -> list[int]:
        async with listening(Echo()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            statuses = []
            for request in (PLAIN, b"GET http://here HTTP/1.1\r\nHost: here\r\n\r\n"):
                writer.write(request)
                async with asyncio.timeout(PLENTY):
                    statuses.append((await read_reply(reader)).status)
            writer.close()
            return statuses

    assert asyncio.run(story()) == [200, 400]


def test_of_requests_behind_each_other_few_are_taken_in_before_they_are_answered() -> None:
    took, asked = [0], 200

    async def thinking(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        for _ in range(5):  # turns of the loop, which may read meanwhile
            await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    class Counting(BoundedHeads):
        def data_received(self, data: bytes) -> None:
            took[0] += len(data)
            super().data_received(data)

        def on_response_complete(self) -> None:
            took[0] -= len(PLAIN)  # and what is taken up again is counted again
            took[0] -= len(self._next)
            super().on_response_complete()

    async def story() -> None:
        async with listening(thinking, Counting) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(PLAIN * (MOST_BYTES // 4 // len(PLAIN)))
            for _ in range(asked):
                await answer(reader)
            writer.transport.abort()

    asyncio.run(story())

    assert took[0] < 2**20


def test_what_is_no_http_in_the_rest_of_a_refused_body_brings_no_second_answer() -> None:
    async def story() -> tuple[int, bytes]:
        async with listening(refusing) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head("Transfer-Encoding: chunked") + b"5\r\n" + BODY + b"\r\n")
            async with asyncio.timeout(PLENTY):
                status = (await read_reply(reader)).status
                writer.write(b"no number\r\n")
                after = await reader.read()
            writer.close()
            return status, after

    assert asyncio.run(story()) == (429, b"")


def test_who_leaves_behind_two_requests_makes_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    async def story() -> None:
        echo = Echo()
        echo.may.clear()
        async with listening(echo) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(PLAIN * 2)
            await echo.begun.wait()
            writer.transport.abort()
            await asyncio.sleep(0.05)  # so that it has been noticed where it is
            echo.may.set()
            await asyncio.sleep(0.05)  # so that it answers

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as it serves; asyncio's forgives it
        runner.run(story())

    assert capsys.readouterr().err == ""


class Large:
    """Answers with more than all buffers between two ends hold."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        length = (b"content-length", b"%d" % MOST_BYTES)
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": b" " * MOST_BYTES, "more_body": True})
        await send({"type": "http.response.body"})
        self.ended.set()


def test_who_does_not_read_an_answer_is_waited_for_no_longer_than_for_a_head(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(BoundedHeads, "seconds", 0.1)

    async def story() -> None:
        large = Large()
        async with listening(large) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
            writer.write(head("Content-Length: 0"))
            await asyncio.wait_for(large.ended.wait(), PLENTY)
            writer.transport.abort()

    asyncio.run(story())


def test_who_reads_an_answer_slowly_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedHeads, "seconds", 0.5)

    async def story() -> list[int]:
        async with listening(Large()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**13)
            writer.write(head("Content-Length: 0"))
            parts = []
            for _ in range(60):
                parts.append(len(await reader.read(2**13)))
                await asyncio.sleep(0.04)  # far less in half a second than the system keeps
            writer.transport.abort()
            return parts

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as it serves
        assert all(runner.run(story()))
