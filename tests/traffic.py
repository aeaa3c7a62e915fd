"""Traffic for tests: many connections that stay open, and a record of all that was answered over them."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

CONNECTIONS = 16
ANSWER_SECONDS = 60  # generous: no test measures with it
RETRY_SECONDS = 0.02  # until a service that is down is asked again
Port = Callable[[], int]  # asked at every new connection, for a service that comes back may have another


class Lost(ConnectionError):  # noqa: N818  # what has become of the request, rather than a mistake
    """The connection ended before an answer; whether the service has acted is unknown.

    Attributes:
        broke_off: a part of the answer had come.
    """

    def __init__(self, broke_off: bool) -> None:
        super().__init__("the connection was lost")
        self.broke_off = broke_off


class Reply(NamedTuple):
    """What came back; `headers` in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Request(NamedTuple):
    """What is sent."""

    path: str
    body: bytes
    content_type: str = "application/json"
    method: str = "POST"
    more_headers: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """As HTTP/1.1."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: test", f"Content-Length: {len(self.body)}"]
        lines += [f"Content-Type: {self.content_type}"] if self.content_type else []
        return "\r\n".join([*lines, *self.more_headers, "", ""]).encode("latin-1") + self.body


def predict(row: Mapping[str, Any]) -> Request:
    """Ask for one row."""
    return Request("/predict", json.dumps(row).encode())


def predict_batch(rows: Sequence[Mapping[str, Any]]) -> Request:
    """Ask for many rows."""
    return Request("/predict_batch", json.dumps({"rows": rows}).encode())


class Connection:
    """One connection that is opened when it is needed, and again when the service has closed it."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> Reply:
        """Send one request and wait for its answer.

        Raises:
            Lost: there was none.
        """
        try:
            reader, writer = await self.open()
            writer.write(request)
            async with asyncio.timeout(ANSWER_SECONDS):
                reply = await read_reply(reader)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            raise Lost(broke_off=bool(getattr(error, "partial", b""))) from None
        if reply.headers.get("connection", "").lower() == "close":
            self.close()
        return reply

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Both streams of the open connection."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port(), limit=2**20)
        return self._streams

    def close(self) -> None:
        """End it at once."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """The next answer on a connection.

    Raises:
        OSError, asyncio.IncompleteReadError: the connection ended before.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Reply(int(first.split()[1]), headers, await reader.readexactly(int(headers["content-length"])))


def send_all(port: int, requests: Sequence[Request], connections: int = CONNECTIONS) -> list[Reply]:
    """The answers to all requests, in their order, asked over several connections at once."""

    async def run() -> list[Reply]:
        replies: dict[int, Reply] = {}
        numbered = iter(enumerate(requests))

        async def one() -> None:
            connection = Connection(lambda: port)
            for number, request in numbered:
                replies[number] = await connection.ask(request.to_bytes())
            connection.close()

        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(one())
        return [replies[number] for number in range(len(requests))]

    return asyncio.run(run())


def arrive(port: int, request: Request, rate: float, seconds: float) -> list[Reply | None]:
    """Answers to requests that come so many a second, however many still wait; None where there was none."""

    async def one(content: bytes) -> Reply | None:
        connection = Connection(lambda: port)
        try:
            return await connection.ask(content)
        except Lost:
            return None
        finally:
            connection.close()

    async def run() -> list[Reply | None]:
        loop, content = asyncio.get_running_loop(), request.to_bytes()
        start, tasks = loop.time(), []
        while (passed := loop.time() - start) < seconds:
            tasks += [asyncio.create_task(one(content)) for _ in range(int(passed * rate) - len(tasks))]
            await asyncio.sleep(0.5 / rate)
        return await asyncio.gather(*tasks)

    return asyncio.run(run())


async def never_finish(port: int, start: bytes, drip_seconds: float | None = None) -> Reply | None:
    """The answer to a request whose end is never sent, once the service has closed the connection.

    Args:
        port: of the service.
        start: what is sent of it.
        drip_seconds: after each of which another byte comes; None: nothing does.

    Returns:
        None where the connection was reset, as happens to one that goes on sending.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(start)

    async def drip(seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            writer.write(b" ")

    dripping = asyncio.create_task(drip(drip_seconds)) if drip_seconds else None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reply = await read_reply(reader)
            await reader.read()
        return reply
    except (ConnectionError, asyncio.IncompleteReadError):
        return None
    finally:
        if dripping:
            dripping.cancel()
        writer.transport.abort()


class Load:
    """Clients that ask again and again until they are told to stop; a lost connection is made again.

    Attributes:
        ids: of all predictions that were answered.
        statuses: how often each was received.
        refusals: answers that were not 200.
        lost: requests without an answer, such as those to a service that is down.
        cut: answers that broke off.
    """

    def __init__(self, port: Port, requests: Sequence[Request], connections: int = CONNECTIONS) -> None:
        self._port, self._connections = port, connections
        self._requests = [each.to_bytes() for each in requests]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.ids: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.refusals: list[Reply] = []
        self.lost = self.cut = 0

    @property
    def answered(self) -> int:
        """Requests that were answered with 200 so far."""
        return self.statuses[200]

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop asking, and wait for what is under way."""
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        numbers = count()
        async with asyncio.TaskGroup() as group:
            for _ in range(self._connections):
                group.create_task(self._ask_until_stopped(numbers))

    async def _ask_until_stopped(self, numbers: Iterator[int]) -> None:
        connection = Connection(self._port)
        while not self._stop.is_set():
            request = self._requests[next(numbers) % len(self._requests)]
            try:
                reply = await connection.ask(request)
            except Lost as lost:
                self.lost += 1
                self.cut += lost.broke_off
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self.statuses[reply.status] += 1
            if reply.status == 200:
                self.ids += answered_ids(reply)
            else:
                self.refusals.append(reply)
        connection.close()


def answered_ids(reply: Reply) -> list[str]:
    """The prediction ids in an answer of /predict or /predict_batch."""
    content = reply.content
    return [each["prediction_id"] for each in content.get("predictions", [content])]


@contextmanager
def load(port: Port | int, requests: Sequence[Request], connections: int = CONNECTIONS) -> Iterator[Load]:
    """A `Load` that runs until the block ends."""
    running = Load(port if callable(port) else lambda: port, requests, connections)
    running.start()
    try:
        yield running
    finally:
        running.stop()
