"""What an application cannot bound: the head of a request, and the rest of a body that it has refused.

uvicorn bounds a head neither in bytes nor in time with its fast parser, so a client could fill the memory
with headers, or hold a connection for ever without a request. And it takes in all of a body that has been
answered before its end, which for megabytes costs far more than the refusal, and has no end in time.
"""

import asyncio
import logging
import re

import httptools  # noqa: F401  # the Bento's own requirement: without it uvicorn would take another parser
from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024  # largest head: request line and headers; and most that may follow a body
REST_BYTES = 64 * 1024  # of an answered body are taken in at once, so that the next request need not wait
REST_SECONDS = 1.0  # a longer rest is left alone for so long, as the refused are told to try again after
TOO_LARGE = (431, "Request Header Fields Too Large")
TOO_SLOW = (408, "Request Timeout")
# The parser would take what follows the head of an upgrade for another protocol's, not for a body. Nothing is
# spoken here but HTTP/1.1, and who offers more has to accept that.
UPGRADE = re.compile(rb"(?mi)^upgrade(?=:)")
NO_UPGRADE = b"ignored"  # as long


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
        self._in_head = True
        self._bytes = 0  # of this head, or since the last part of a body
        self._body_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Of asyncio: the client has gone."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Of asyncio: the client has sent something."""
        self._bytes += len(data)
        if self._in_head:
            end = data.find(b"\r\n\r\n")
            if end > HEAD_BYTES and self._bytes == len(data):
                self._refuse(*TOO_LARGE)
                return
            end = len(data) if end == -1 else end  # what follows may be much, and is not searched
            if data.find(b"pgrade:", 0, end) != -1 or data.find(b"PGRADE:", 0, end) != -1:
                data = UPGRADE.sub(NO_UPGRADE, data[:end]) + data[end:]
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._bytes > HEAD_BYTES:
            self._refuse(*TOO_LARGE)
        elif self._in_head and self._bytes and self._timer is None:
            self._wait()  # nearly every head comes in one piece, and needs no timer

    def on_headers_complete(self) -> None:
        """Of httptools: the head has come."""
        self._in_head, self._bytes, self._body_bytes = False, 0, 0
        self._wait_no_more()
        self._unset_keepalive_if_required()
        super().on_headers_complete()
        self.headers = []  # takes what comes behind the body, which nobody wants

    def on_body(self, body: bytes) -> None:
        """Of httptools: a part of the body has come."""
        self._bytes = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Of httptools: the body has come; another head may follow."""
        self._in_head, self._bytes = True, 0
        if self._timer is not None:  # this was the rest of one
            self._wait_no_more()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Of uvicorn: the answer is out."""
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body and not self.transport.is_closing():
            # Most clients send no more once they are answered. Those that do, or read no answer before they
            # have sent all, go on after a while.
            lengths = [int(value) for name, value in self.cycle.scope["headers"] if name == b"content-length"]
            if sum(lengths) - self._body_bytes > REST_BYTES:
                self.flow.pause_reading()
                self._timer = self.loop.call_later(REST_SECONDS, self._read_rest)
            else:
                self._read_rest()

    def _should_upgrade(self) -> bool:
        return False

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
        if self.transport.is_closing():
            return
        if self._in_head and self.cycle is not None and not self.cycle.response_complete:
            # The answer to the request before comes first, and is the last one.
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        if self.cycle is None or not self.cycle.response_started or self._in_head:
            head = f"HTTP/1.1 {status} {phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode())
        self.transport.close()
