"""What an application cannot bound: the head of a request, and the rest of a body that it has refused.

uvicorn bounds a head neither in bytes nor in time with its fast parser, so a client could fill the memory
with headers, or hold a connection for ever without a request. And it takes in all of a body that has been
answered before its end, which for megabytes costs far more than the refusal, and has no end in time.
"""

import asyncio
import logging

import httptools  # noqa: F401  # the Bento's own requirement: without it uvicorn would take another parser
from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024  # largest head: request line and headers
REST_SECONDS = 1.0  # an answered body is left alone for so long, as the refused are told to try again after
TOO_LARGE = (431, "Request Header Fields Too Large")
TOO_SLOW = (408, "Request Timeout")


def bound_heads(seconds: float) -> None:
    """Let uvicorn read requests through `BoundedHeads` from here on.

    Args:
        seconds: a whole head must have come within, and the rest of a body.
    """
    BoundedHeads.seconds = seconds
    HTTP_PROTOCOLS["auto"] = f"{__name__}:{BoundedHeads.__name__}"


class BoundedHeads(HttpToolsProtocol):
    """A connection that is closed when a head is too large or too slow, or the rest of a body is too slow."""

    seconds = 5.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Of asyncio: a client has called, and has to say what it wants."""
        super().connection_made(transport)
        # uvicorn puts each line together before it learns that nobody wants it.
        self.access_log = self.access_log and self.access_logger.isEnabledFor(logging.INFO)
        self._in_head, self._bytes = True, 0
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Of asyncio: the client has gone."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Of asyncio: the client has sent something."""
        if self._in_head:
            self._bytes += len(data)
        super().data_received(data)
        if self._in_head and self._bytes and not self.transport.is_closing():
            if self._bytes > HEAD_BYTES:
                self._refuse(*TOO_LARGE)
            elif self._timer is None:  # nearly every head comes in one piece, and needs no timer
                self._wait()

    def on_headers_complete(self) -> None:
        """Of httptools: the head has come."""
        self._in_head, self._bytes = False, 0
        self._wait_no_more()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Of httptools: the body has come; another head may follow."""
        self._in_head = True
        if self._timer is not None:  # this was the rest of one
            self._wait_no_more()
            self._timer = self.loop.call_later(self.timeout_keep_alive, self.transport.close)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Of uvicorn: the answer is out."""
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body and not self.transport.is_closing():
            # Most clients send no more once they are answered. Those that do, or read no answer before they
            # have sent all, go on after a while.
            self.flow.pause_reading()
            self._timer = self.loop.call_later(REST_SECONDS, self._read_rest)

    def _read_rest(self) -> None:
        self._timer = self.loop.call_later(self.seconds, self.transport.close)
        self.flow.resume_reading()

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self.seconds, self._refuse, *TOO_SLOW)

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int, phrase: str) -> None:
        self._wait_no_more()
        if not self.transport.is_closing():
            head = f"HTTP/1.1 {status} {phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode())
            self.transport.close()
