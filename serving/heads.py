"""What an application cannot bound: the head of a request, what follows its body, and who reads no answers.

uvicorn bounds a head neither in bytes nor in time with its fast parser, so a client could fill the memory
with headers, or hold a connection for ever without a request. It takes in all of a body that has been
answered before its end, which for megabytes costs far more than the refusal, and has no end in time. It
begins all requests that come behind each other, and waits for ever for a client that reads no answer.
"""

import asyncio
import logging
import re
import struct
import sys

import httptools  # noqa: F401  # the Bento's own requirement: without it uvicorn would take another parser
from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if sys.platform == "linux":
    import fcntl
    import termios

HEAD_BYTES = 64 * 1024  # largest head: request line and headers; and most that may follow a body
REST_BYTES = 64 * 1024  # of an answered body are taken in at once, so that the next request need not wait
REST_SECONDS = 1.0  # a longer rest is left alone for so long, as the refused are told to try again after
TOO_LARGE = (431, "Request Header Fields Too Large")
TOO_SLOW = (408, "Request Timeout")
NOT_HERE = (400, "Bad Request")
END = b"\r\n\r\n"  # of a head
# The parser would take what follows the head of an upgrade for another protocol's, not for a body. Nothing is
# spoken here but HTTP/1.1, and who offers more has to accept that.
UPGRADE = re.compile(rb"(?i)(?<=\n)upgrade(?=:)")
NO_UPGRADE = b"ignored"  # as long


def bound_heads(seconds: float) -> None:
    """Let uvicorn read requests through `BoundedHeads` from here on.

    Args:
        seconds: a whole head must have come within, and the rest of a body; and some of an answer be read.
    """
    BoundedHeads.seconds = seconds
    HTTP_PROTOCOLS["auto"] = f"{__name__}:{BoundedHeads.__name__}"


class _NextOneError(Exception):
    """Another request begins where only the rest of this one was expected."""


class _Flow(FlowControl):
    """Of what is read and written; what is held back is not read on, whoever asks.

    Attributes:
        held: something is held back.
    """

    held = False

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class BoundedHeads(HttpToolsProtocol):
    """A connection on which one request is read at a time, and which ends when its client is too slow."""

    seconds = 5.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Of asyncio: a client has called, and has to say what it wants."""
        super().connection_made(transport)
        self.flow: _Flow = _Flow(transport)
        # uvicorn puts each line together before it learns that nobody wants it.
        self.access_log = self.access_log and self.access_logger.isEnabledFor(logging.INFO)
        self._in_head = True
        self._bytes = 0  # of this head, or since the last part of a body
        self._tail = b""  # of a head that has not come to its end, which may lie across two pieces
        self._left: int | None = 0  # of the body; None: it comes in chunks
        self._next = b""  # what came before the answer was out
        self._timer: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Of asyncio: the client has gone."""
        self._wait_no_more()
        self._next = b""
        super().connection_lost(exc)
        if self._reading is not None:
            self._reading.cancel()

    def data_received(self, data: bytes) -> None:
        """Of asyncio: the client has sent something."""
        while data and not self.transport.is_closing():
            if self._next or (self._in_head and self.cycle is not None and not self.cycle.response_complete):
                self._next += data
                self.flow.pause_reading()
                self.flow.held = True
                return
            data = self._take_head(data) if self._in_head else self._take_body(data)
        if self._in_head and self._bytes and self._timer is None:
            self._wait()  # nearly every head comes in one piece, and needs no timer

    def _take_head(self, data: bytes) -> bytes:
        """Read a head as far as it has come; what is behind it."""
        tail = len(self._tail)
        end = (self._tail + data).find(END) if tail else data.find(END)
        size = len(data) if end == -1 else end - tail + len(END)
        self._bytes += size
        if self._bytes > HEAD_BYTES:
            self._refuse(*TOO_LARGE)
            return b""
        head, rest = (data, b"") if size == len(data) else (data[:size], data[size:])
        self._tail = (self._tail + head)[1 - len(END) :] if end == -1 else b""
        if b"upgrade:" in head.lower():
            head = UPGRADE.sub(NO_UPGRADE, head)
        super().data_received(head)
        return rest

    def _take_body(self, data: bytes) -> bytes:
        """Read a body as far as it has come, and what is behind one in chunks; what is behind any other."""
        size = self._left or len(data)
        self._bytes += len(data[:size])
        super().data_received(data[:size])
        if self._bytes > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(*TOO_LARGE)
        return data[size:]

    def on_message_begin(self) -> None:
        """Of httptools: a head begins.

        Raises:
            _NextOneError: an answer is due, to a body in chunks, where only the parser knows its end, and
                cannot stop there.
        """
        if self.cycle is not None and not self.cycle.response_complete:
            raise _NextOneError
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Of httptools: the head has come."""
        self._wait_no_more()
        if self.parser.should_upgrade():
            self._refuse(*NOT_HERE)
            return
        self._left = 0
        for name, value in self.headers:
            if name == b"content-length":
                self._left = int(value)
            elif name == b"transfer-encoding":
                self._left = None
        self._unset_keepalive_if_required()
        super().on_headers_complete()
        self._in_head, self._bytes = False, 0
        self.headers = []  # takes what comes behind the body, which nobody wants

    def on_body(self, body: bytes) -> None:
        """Of httptools: a part of the body has come."""
        self._bytes = 0
        if self._left is not None:
            self._left -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Of httptools: the body has come; another head may follow."""
        if self.transport.is_closing():
            return
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
        if self.transport.is_closing():
            return
        if self.cycle.more_body:
            # Most clients send no more once they are answered. Those that do, or read no answer before they
            # have sent all, go on after a while.
            if self._left is not None and self._left > REST_BYTES:
                self.flow.pause_reading()
                self._timer = self.loop.call_later(REST_SECONDS, self._read_rest)
            else:
                self._read_rest()
        elif self._next:
            data, self._next = self._next, b""
            self.flow.held = False
            self.data_received(data)
            self.flow.resume_reading()  # unless some is held again

    def send_400_response(self, msg: str) -> None:
        """Of uvicorn: what has come is not HTTP, or a request behind a body in chunks."""
        if self.cycle is not None and not self._in_head and self.cycle.response_started:
            self.transport.close()  # it was the rest of a body that is answered
        elif self.cycle is not None and self._in_head and not self.cycle.response_complete:
            self.cycle.keep_alive = False  # the answer that is due is the last one
        else:
            super().send_400_response(msg)

    def pause_writing(self) -> None:
        """Of asyncio: the client reads too slowly."""
        super().pause_writing()
        self._look_again()

    def resume_writing(self) -> None:
        """Of asyncio: the client has read."""
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _look_again(self) -> None:
        self._reading = self.loop.call_later(self.seconds, self._cut_off, self._unread())

    def _cut_off(self, unread: int) -> None:
        if self._unread() >= unread:
            self.transport.abort()
        else:
            self._look_again()

    def _unread(self) -> int:
        """Bytes that the client has not taken, with those that the system keeps where it tells of them."""
        unread = self.transport.get_write_buffer_size()
        if sys.platform == "linux":
            # The system takes megabytes at once, and then none for as long as it takes to read many.
            number = self.transport.get_extra_info("socket").fileno()
            unread += int(struct.unpack("i", fcntl.ioctl(number, termios.TIOCOUTQ, bytes(4)))[0])
        return unread

    def _should_upgrade(self) -> bool:
        return False

    def _unsupported_upgrade_warning(self) -> None:
        pass

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
        if self._in_head or not self.cycle.response_started:
            head = f"HTTP/1.1 {status} {phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode())
        self.transport.close()
