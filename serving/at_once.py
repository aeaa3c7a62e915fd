"""Small requests and answers without the messages of ASGI, which cost more than what is said in them.

Where it is uvicorn that serves, a body that has come with its head is taken as it is, and an answer goes
out in one piece, which is one call of the system instead of two. Whatever is not as plain goes the way of
ASGI, to the same effect.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

KIND = b"content-type: application/json\r\n"


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


def answer_at_once(send: Any, body: bytes) -> bool:
    """Answer with JSON and status 200.

    Args:
        send: of ASGI.
        body: of the answer.

    Returns:
        False where nothing was sent, so that it takes `send`: the connection ends with this answer, has gone
        or takes nothing now, uvicorn logs who was answered, or another server serves.
    """
    cycle = _cycle(send)
    if cycle is None or not cycle.keep_alive or cycle.disconnected or cycle.response_started:
        return False
    if cycle.flow.write_paused or cycle.access_log or cycle.waiting_for_100_continue:
        return False
    lines = b"".join([STATUS_LINE[200], *[b"%s: %s\r\n" % each for each in cycle.default_headers], KIND])
    cycle.transport.write(b"%scontent-length: %d\r\n\r\n%s" % (lines, len(body), body))
    # As the messages would have left it.
    cycle.response_started = cycle.response_complete = True
    cycle.message_event.set()
    cycle.on_response()
    return True


def _cycle(method: Any) -> RequestResponseCycle | None:
    """uvicorn's own state of a request, whose methods its `receive` and `send` are."""
    cycle = getattr(method, "__self__", None)
    return cycle if isinstance(cycle, RequestResponseCycle) else None
