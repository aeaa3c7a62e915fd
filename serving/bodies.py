"""Bodies of requests: whole or not at all, of bounded size, in bounded time and bounded memory."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from serving.at_once import body_at_once, sends_when_asked
from serving.deadlines import Deadlines
from serving.refusals import Refusal

# All bodies that a worker holds at once, in largest bodies: neither slow senders nor many large requests can
# fill the memory together, and what has come in is answered within its deadline.
MOST_HELD = 4
CROWDED = "Too many large requests at once."
# A sender that is still sending when it is refused would see a broken connection instead of the refusal;
# so much more is read and thrown away first, in largest bodies.
MOST_DISCARDED = 2


def _nothing() -> None:
    pass


class Bodies:
    """Reads bodies.

    Args:
        largest: bytes of one.
        seconds: a whole body must have come within.
        deadlines: of the worker.
    """

    def __init__(self, largest: int, seconds: float, deadlines: Deadlines) -> None:
        self.largest, self.seconds = largest, seconds
        self._deadlines = deadlines
        self._held = 0

    async def read(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        largest: int | None = None,
        check: Callable[[], None] = _nothing,
    ) -> bytes:
        """The whole body of a request that says it is JSON.

        Args:
            scope: of ASGI.
            receive: of ASGI.
            largest: bytes, if fewer than for others.
            check: called after each part of a body that comes in several; may raise a Refusal.

        Raises:
            Refusal: 415 for another content type, 413 too large, 408 too slow, 429 too many at once.
        """
        most = min(largest or self.largest, self.largest)
        length = _check_headers(scope["headers"])
        if length <= most and (body := body_at_once(receive)) is not None:
            if len(body) > most:
                raise _too_large(most)
            return body
        with self._deadlines.within(self.seconds, self._too_slow):
            if length > most:
                if not sends_when_asked(receive):
                    await self._discard(receive)
                raise _too_large(most)
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                body = bytes(message.get("body", b""))
                if len(body) > most:
                    raise _too_large(most)
                return body
            return await self._collect(message, receive, most, check)

    @contextmanager
    def held(self, body: bytes) -> Iterator[None]:
        """A block in which a body that has come counts as well, since its request still needs it.

        Raises:
            Refusal: 429, there are too many.
        """
        if self._held + len(body) > MOST_HELD * self.largest:
            raise busy(CROWDED)
        self._held += len(body)
        try:
            yield
        finally:
            self._held -= len(body)

    async def let_out(self, receive: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        """Throw away what is left of a body, as much and as long as of one that is read; raises nothing."""
        with suppress(Refusal), self._deadlines.within(self.seconds, self._too_slow):
            await self._discard(receive)

    async def _collect(
        self,
        message: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        most: int,
        check: Callable[[], None],
    ) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                check()
                if message["type"] == "http.disconnect":
                    raise Refusal(400, "disconnected", "The body ended before its end.")
                part = message.get("body", b"")
                parts.append(part)
                size += len(part)
                self._held += len(part)
                if size > most or self._held > MOST_HELD * self.largest:
                    large = size > most
                    parts.clear()  # what is thrown away must not keep others out
                    self._held -= size
                    size = 0
                    if message.get("more_body"):
                        await self._discard(receive)
                    # Not kept in a name: it would hold this frame, which would hold it, until a collection.
                    raise _too_large(most) if large else _crowded()
                if not message.get("more_body"):
                    return b"".join(parts)
                message = await receive()
        finally:
            self._held -= size

    async def _discard(self, receive: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        size = 0
        while size < MOST_DISCARDED * self.largest:
            message = await receive()
            size += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body"):
                return

    def _too_slow(self) -> Refusal:
        return Refusal(
            408,
            "slow_body",
            f"The body did not come within {self.seconds:g} s.",
            headers={"Connection": "close"},
        )


def busy(message: str, close: bool = False) -> Refusal:
    """A refusal of one request too many: to be tried again in a second, if need be on a new connection."""
    headers = {"Retry-After": "1"} | ({"Connection": "close"} if close else {})
    return Refusal(429, "busy", f"{message} Try again.", headers=headers)


def _crowded() -> Refusal:
    # A body that never ends would leave a connection at which nobody looks again.
    return busy(CROWDED, close=True)


def _too_large(most: int) -> Refusal:
    size = f"{most / 2**20:g} MiB" if most >= 2**20 else f"{most / 2**10:g} KiB"
    return Refusal(413, "too_large", f"The body is larger than {size}.", headers={"Connection": "close"})


def _check_headers(headers: list[tuple[bytes, bytes]]) -> int:
    """Content length, 0 where it is not said; raises a Refusal for what is no plain JSON."""
    kind, length = b"", 0
    for name, value in headers:
        if name == b"content-type":
            kind = value
        elif name == b"content-length":
            length = int(value)  # the server has checked that it is a number
        elif name == b"content-encoding" and value.strip().lower() != b"identity":
            raise Refusal(415, "media_type", "The body must not be compressed.")
    if kind != b"application/json" and not _is_json(kind):
        raise Refusal(
            415,
            "media_type",
            "The body must be JSON in UTF-8, with the header Content-Type: application/json.",
        )
    return length


def _is_json(kind: bytes) -> bool:
    media, *parameters = (part.strip().lower() for part in kind.split(b";"))
    charsets = [
        each.removeprefix(b"charset=").strip(b'"') for each in parameters if each.startswith(b"charset=")
    ]
    return media == b"application/json" and all(each in (b"utf-8", b"utf8") for each in charsets)
