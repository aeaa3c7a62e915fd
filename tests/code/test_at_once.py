"""What goes out at once is to the byte what ASGI's messages would have sent, and its connection goes on."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import pytest

from serving.at_once import answer_at_once, body_at_once
from tests.uvicorn_server import Receive, Send, listening

BODY = b'{"a": 1}'
ANSWER = b'{"status":"good"}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]

Headers = list[tuple[bytes, bytes]]
Ways = list[tuple[bool, bool]]  # of each request: whether its body and its answer went at once


def request(
    *headers: str, method: str = "POST", version: str = "1.1", body: bytes = BODY, length: int = len(BODY)
) -> bytes:
    lines = [f"{method} / HTTP/{version}", "Host: here", f"Content-Length: {length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def said(
    parts: Sequence[bytes], status: int, headers: Headers, quick: bool
) -> tuple[bytes, Ways, list[bytes]]:
    """What a client gets that sends these parts, each when the one before has had its effect; how it was
    given; and the bodies that were read."""
    ways: Ways = []
    bodies: list[bytes] = []
    begun = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        begun.set()
        body = body_at_once(receive) if quick else None
        read = body is not None
        if body is None:
            body = b""
            more = True
            while more:
                message = await receive()
                body, more = body + message.get("body", b""), message.get("more_body", False)
        bodies.extend([body] if body else [])
        answered = quick and answer_at_once(send, status, headers, ANSWER)
        if not answered:
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": ANSWER})
        ways.append((read, answered))

    async with listening(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        sent = got = b""
        for part in parts:
            writer.write(part)
            sent += part
            while got.count(ANSWER) < sent.count(BODY):
                got += await asyncio.wait_for(reader.read(65_536), 10)
            await begun.wait()
        writer.close()
    return got, ways, bodies


def told(*parts: bytes, status: int = 200, headers: Headers = HEADERS) -> tuple[bytes, Ways]:
    """What a client gets, the same both ways; and how it was given."""
    plain, _, expected = asyncio.run(said(parts, status, headers, quick=False))
    quick, ways, bodies = asyncio.run(said(parts, status, headers, quick=True))
    assert bodies == expected == [BODY] * b"".join(parts).count(BODY)
    assert undated(quick) == undated(plain)
    return quick, ways


def undated(answer: bytes) -> bytes:
    return re.sub(rb"date: [^\r]*", b"date: then", answer)


def test_a_plain_request_goes_at_once() -> None:
    got, ways = told(request())

    assert ways == [(True, True)]
    assert got.startswith(b"HTTP/1.1 200 OK\r\n") and got.endswith(b"\r\n\r\n" + ANSWER)


def test_a_connection_serves_on_after_an_answer_at_once() -> None:
    _, ways = told(request(), request(), request())

    assert ways == [(True, True)] * 3


def test_requests_that_were_sent_without_waiting_are_answered_in_turn() -> None:
    _, ways = told(request() * 3)

    assert len(ways) == 3


def test_a_body_that_comes_later_is_waited_for() -> None:
    _, ways = told(request(body=BODY[:3]), BODY[3:])

    assert ways == [(False, True)]


@pytest.mark.parametrize(("headers", "version"), [(["Connection: close"], "1.1"), ([], "1.0")])
def test_a_connection_that_ends_with_its_answer_is_told_so(headers: list[str], version: str) -> None:
    got, ways = told(request(*headers, version=version))

    assert ways == [(True, False)]
    assert b"connection: close\r\n" in got


def test_a_refusal_goes_at_once_with_what_it_says_of_itself() -> None:
    got, ways = told(request(), request(), status=429, headers=[*HEADERS, (b"retry-after", b"1")])

    assert ways == [(True, True)] * 2
    assert got.startswith(b"HTTP/1.1 429 Too Many Requests\r\n") and b"\r\nretry-after: 1\r\n" in got


def test_an_answer_that_ends_its_connection_ends_it() -> None:
    got, ways = told(request(), status=413, headers=[*HEADERS, (b"connection", b"close")])

    assert ways == [(True, False)]
    assert got.count(b"connection: close\r\n") == 1


def test_who_wants_only_a_head_gets_no_body() -> None:
    got, ways = told(request(method="HEAD", body=b"", length=0), request(), status=405)

    assert [answered for _, answered in ways] == [False, True]
    assert got.count(b"HTTP/1.1 405") == 2 and got.count(ANSWER) == 1


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked() -> None:
    got, ways = told(request("Expect: 100-continue"))

    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert ways == [(False, True)]


def test_another_server_is_served_by_messages() -> None:
    async def other(*_: Any) -> dict[str, Any]:
        return {}

    assert body_at_once(other) is None
    assert not answer_at_once(other, 200, HEADERS, ANSWER)
