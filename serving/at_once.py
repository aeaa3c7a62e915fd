"""Small requests and answers without the messages of ASGI, which cost more than what is said in them.

Where it is uvicorn that serves, a body that has come with its head is taken as it is, and an answer goes
out in one piece, which is one call of the system instead of two. Whatever is not as plain goes the way of
ASGI, to the same effect.
"""

from collections.abc import Sequence
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


def body_at_once(receive: Any) -> bytes | None:
    """The whole body of a request.

    Args:
        receive: of ASGI.

    Returns:
        None where `receive` has to be awaited: the body has not come yet, its client waits to be asked for
        it or has gone, or another server serves.
    """
    cycle = _cycle(receive)
    if cycle is None or cycle.more_body or cycle.disconnected or cycle.response_complete:
        return None
    if cycle.waiting_for_100_continue or cycle.flow.read_paused:
        return None
    body = bytes(cycle.body)
    cycle.body = bytearray()
    cycle.message_event.clear()
    return body


def answer_at_once(send: Any, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
    """Answer a request.

    Args:
        send: of ASGI.
        status: of the answer.
        headers: names in lower case; its content length is among them.
        body: all of it.

    Returns:
        False where nothing was sent, so that it takes `send`: the connection ends with this answer, has gone
        or takes nothing now, only a head is wanted, uvicorn logs who was answered, or another server serves.
    """
    cycle = _cycle(send)
    if cycle is None or cycle.disconnected or cycle.response_started or cycle.flow.write_paused:
        return False
    if not cycle.keep_alive or any([name == b"connection" for name, _ in headers]):
        return False
    if cycle.access_log or cycle.waiting_for_100_continue or cycle.scope["method"] == "HEAD":
        return False
    lines = [b"%s: %s\r\n" % header for header in (*cycle.default_headers, *headers)]
    cycle.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
    # As the messages would have left it.
    cycle.response_started = cycle.response_complete = True
    cycle.message_event.set()
    cycle.on_response()
    return True


def is_leaving(send: Any) -> bool:
    """Whether a client that has asked to end the connection with its answer is still sending its body."""
    cycle = _cycle(send)
    if cycle is None or cycle.keep_alive or cycle.disconnected:
        return False
    return cycle.more_body and not cycle.waiting_for_100_continue


def sends_when_asked(receive: Any) -> bool:
    """Whether a client waits until somebody wants its body (``Expect: 100-continue``)."""
    cycle = _cycle(receive)
    return cycle is not None and cycle.waiting_for_100_continue


def _cycle(method: Any) -> RequestResponseCycle | None:
    """uvicorn's own state of a request, whose methods its `receive` and `send` are."""
    cycle = getattr(method, "__self__", None)
    return cycle if isinstance(cycle, RequestResponseCycle) else None
