"""What comes before a body and behind it is bounded, and asks for no other protocol."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from serving.heads import HEAD_BYTES
from tests.traffic import read_reply
from tests.uvicorn_server import Receive, Send, listening

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
@pytest.mark.parametrize("name", ["Upgrade", "upgrade", "UPGRADE"])
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

    assert asyncio.run(story()) < 500


def test_what_follows_a_body_is_read_and_forgotten() -> None:
    async def story() -> tuple[list[bytes], list[bytes]]:
        echo = Echo()
        async with listening(echo) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(CHUNKED + b"X-Later: 1\r\nX-Last: 2\r\n\r\n" + PLAIN)
            answers = [await answer(reader) for _ in range(2)]
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


def test_an_answer_that_is_due_comes_before_the_end_that_a_later_head_brings() -> None:
    async def story() -> tuple[bytes, bytes]:
        echo, after = Echo(), b""
        echo.may.clear()
        async with listening(echo) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(PLAIN)
            await echo.begun.wait()
            writer.write(b"GET / HTTP/1.1\r\n" + LINE * (2 * HEAD_BYTES // len(LINE)))
            await writer.drain()
            await asyncio.sleep(0.05)  # so that it has come before the answer goes out
            echo.may.set()
            found = await answer(reader)
            with suppress(ConnectionResetError):  # where some of the head was not read
                after = await asyncio.wait_for(reader.read(), PLENTY)
            writer.close()
            return found, after

    assert asyncio.run(story()) == (BODY, b"")
