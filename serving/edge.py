"""The outermost layer of the service, as plain ASGI: every request comes and goes through here.

BentoML's own layers cost several times what the prediction does, so the endpoints that count are
answered before them, with all that those layers would have given: authorization, limits, deadline,
validation, metrics and errors that can be read. The rest (documentation, schema, metrics page) is
BentoML's.
"""

import asyncio
import gc
import hashlib
import hmac
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

from serving import metrics
from serving.at_once import answer_at_once, is_leaving
from serving.batches import Batches
from serving.bodies import Bodies, busy
from serving.deadlines import Deadlines
from serving.log_state import LogUnavailable
from serving.reading import Reader
from serving.refusals import Refusal
from serving.requests import ROW_BYTES, to_json
from serving.runtime import Runtime
from serving.together import Together
from takeoff.errors import TakeoffError

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# How long the event loop waits at most while the thread that reads batches runs Python, 5 ms by default.
SWITCH_SECONDS = 0.0005
# Of several workers, the one that is free first accepts all connections that wait, and would keep them. So
# one in this many answers asks its client to connect anew, and connections spread by who has time for them.
ANSWERS_A_CONNECTION = 1_000
LOOKS_A_SHOW = 10  # of the histograms, in which each of many bins costs as much as a row
METRICS = "/metrics"
JSON = (b"content-type", b"application/json")
CLOSE = (b"connection", b"close")
OPEN = ("/livez", "/readyz")  # health: needs no key
BENTOML = ("/", "/docs.json", "/schema.json", METRICS)  # answered by BentoML, GET only
BENTOML_FILES = "/static_content/"
OTHER = "other"  # name in the metrics of all paths that do not exist

# What BentoML's api could not log in a request. It would make a 500 of it, and a stack trace.
UNLOGGED: ContextVar[list[LogUnavailable]] = ContextVar("unlogged")

logger = logging.getLogger("bentoml.takeoff")


class Response(NamedTuple):
    """What goes back."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = (JSON,)


Handler = Callable[[Scope, Receive, float], Awaitable[Response]]


class Edge:
    """The service as an ASGI application.

    Args:
        bentoml: BentoML's own application, which gets what is not answered here, and the lifespan.
        make_runtime: called once the event loop runs.
    """

    def __init__(self, bentoml: App, make_runtime: Callable[[], Runtime]) -> None:
        self.bentoml, self._make_runtime = bentoml, make_runtime
        self._posts: dict[str, Handler] = {
            "/predict": self._predict,
            "/predict_batch": self._predict_batch,
            "/feedback": self._feedback,
        }
        self._gets: dict[str, Handler] = {
            "/model": self._model,
            "/livez": self._livez,
            "/readyz": self._readyz,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's worth of ASGI."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    # lifespan

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._start()
        except TakeoffError as error:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return

        async def hooked(message: dict[str, Any]) -> None:
            if message["type"] == "lifespan.shutdown.complete":
                await self._stop()
            await send(message)

        await self.bentoml(scope, receive, hooked)

    def _start(self) -> None:
        self.runtime = runtime = self._make_runtime()
        settings = runtime.settings
        runtime.start()
        self._together = Together(runtime)
        self._reader = Reader(runtime.core.contract)
        self._batches = Batches(runtime, self._reader)
        self._room = _Room(settings.max_in_flight)
        self._seconds, self._fast = settings.deadline_seconds, settings.fast_path
        self._counting: asyncio.Task[None] | None = None
        self._looks = 0
        self._spread, self._sent = settings.workers > 1, 0
        self._keys = [hashlib.sha256(key.encode()).digest() for key in settings.api_keys]
        self._deadlines = Deadlines(self._observe)
        self._bodies = Bodies(int(settings.max_body_mb * 2**20), settings.body_seconds, self._deadlines)
        # What start-up has left lives as long as the process; a full collection would walk all of it, in
        # the middle of a request.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 100)
        sys.setswitchinterval(SWITCH_SECONDS)

    async def _stop(self) -> None:
        self._deadlines.close()
        await asyncio.get_running_loop().run_in_executor(None, self.runtime.close)
        self._batches.close()

    def _observe(self) -> None:
        state = self.runtime.log.state()
        metrics.IN_FLIGHT.set(self._room.taken)
        histograms = self.runtime.histograms
        if histograms.is_behind and (self._counting is None or self._counting.done()):
            # In a thread, since many rows may have come, and nobody shall wait for them to be counted.
            self._looks += 1
            shown = self._looks % LOOKS_A_SHOW == 0
            counting = asyncio.to_thread(histograms.show if shown else histograms.count)
            self._counting = asyncio.get_running_loop().create_task(counting)
        metrics.LOG_SPOOLING.set(state.mode != "database")
        metrics.LOG_SPOOLED.set(state.spooled_rows)

    # one request

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        path, method = scope["path"], scope["method"]
        try:
            if self._keys and path not in OPEN:
                self._authorize(scope)  # first: whoever has no key learns of no endpoint
            handler = self._handler(path, method)
            if handler is None:
                if path == METRICS:
                    # Of this worker; others are little behind.
                    await asyncio.to_thread(self.runtime.histograms.show)
                if is_leaving(send):
                    await self._bodies.let_out(receive)
                await self.bentoml(scope, receive, send)
                return
            response = await handler(scope, receive, started)
        except Refusal as refusal:
            self.runtime.refused(refusal.code, refusal.rows)
            response = _refused(refusal)
        except LogUnavailable as error:
            self.runtime.refused("log_unavailable")
            response = _refused(Refusal(503, "log_unavailable", str(error), headers={"Retry-After": "1"}))
        except Exception:
            logger.exception("A request failed")  # for the operator; the caller gets no details
            self.runtime.refused("internal")
            response = _refused(Refusal(500, "internal", "The service failed to answer; its log says why."))
        leaves = await self._send(send, response)
        name = path if path in self._posts or path in self._gets else OTHER
        metrics.requested(name, response.status).inc()
        metrics.timed(name).observe(time.perf_counter() - started)
        if leaves:
            await self._bodies.let_out(receive)
            await send({"type": "http.response.body"})

    async def _send(self, send: Send, response: Response) -> bool:
        """Answer; whether the client is still sending, and would lose the answer if its connection ended."""
        headers = [*response.headers, (b"content-length", b"%d" % len(response.body))]
        self._sent += 1
        if self._spread and self._sent % ANSWERS_A_CONNECTION == 0 and response.status == 200:
            headers.append(CLOSE)
        if answer_at_once(send, response.status, headers, response.body):
            return False
        leaves = is_leaving(send) and not any(name == b"connection" for name, _ in headers)
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body, "more_body": leaves})
        return leaves

    def _handler(self, path: str, method: str) -> Handler | None:
        """Who answers; None: BentoML."""
        if (handler := self._posts.get(path)) is not None:
            allowed = "POST"
        elif (
            (handler := self._gets.get(path)) is not None or path in BENTOML or path.startswith(BENTOML_FILES)
        ):
            allowed = "GET"
        else:
            raise Refusal(404, "not_found", "There is no such endpoint; / describes those that are.")
        if method != allowed:
            raise Refusal(405, "method", f"This endpoint takes {allowed} only.", headers={"Allow": allowed})
        return handler

    def _authorize(self, scope: Scope) -> None:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, key = given.partition(b" ")
        digest = hashlib.sha256(key).digest()
        # All are compared, each in constant time: how long this takes says nothing about any key.
        matches = [hmac.compare_digest(digest, key) for key in self._keys]
        if not (any(matches) and scheme.lower() == b"bearer"):
            raise Refusal(401, "unauthorized", "Unauthorized.", headers={"WWW-Authenticate": "Bearer"})

    # what the endpoints do

    async def _predict(self, scope: Scope, receive: Receive, started: float) -> Response:
        body = await self._bodies.read(scope, receive, ROW_BYTES)
        row = self._reader.row(body)
        with self._room, self._deadlines.within(self._seconds, _overdue):
            if not self._fast:
                return await self._through_bentoml(scope, body)
            answer = await self._together.answer(row, started)
        return Response(200, to_json(answer))

    async def _predict_batch(self, scope: Scope, receive: Receive, started: float) -> Response:
        self._room.check()  # before a body of megabytes is taken in for nothing, and while it is
        body = await self._bodies.read(scope, receive, check=self._room.check)
        with self._room, self._bodies.held(body), self._deadlines.within(self._seconds, _overdue):
            if not self._fast:
                await self._batches.read(self._reader.rows, body)
                return await self._through_bentoml(scope, body)
            return Response(200, await self._batches.answer(body, started))

    async def _feedback(self, scope: Scope, receive: Receive, started: float) -> Response:
        body = await self._bodies.read(scope, receive)
        with self._room, self._deadlines.within(self._seconds, _overdue):
            labels = await self._batches.read(self._reader.labels, body)
            if not self._fast:
                return await self._through_bentoml(scope, body)
            return Response(200, to_json(await self.runtime.feedback(labels)))

    async def _model(self, scope: Scope, receive: Receive, started: float) -> Response:
        return Response(200, to_json(self.runtime.description))

    async def _livez(self, scope: Scope, receive: Receive, started: float) -> Response:
        return Response(200, b'{"status":"alive"}')

    async def _readyz(self, scope: Scope, receive: Receive, started: float) -> Response:
        ready, state = self.runtime.readiness()
        return Response(200 if ready else 503, to_json(state))

    async def _through_bentoml(self, scope: Scope, body: bytes) -> Response:
        """The same answer by BentoML's own api, for comparison and in need."""
        sent: list[dict[str, Any]] = []
        unlogged: list[LogUnavailable] = []
        UNLOGGED.set(unlogged)

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.bentoml(scope, receive, send)
        if unlogged:
            raise unlogged[0]
        payload = b"".join(message.get("body", b"") for message in sent)
        return Response(sent[0]["status"], payload)


class _Room:
    """A bounded number of requests that are worked on at once; the next one is refused."""

    def __init__(self, most: int) -> None:
        self.most, self.taken = most, 0

    def check(self) -> None:
        """Raise the refusal of one more, if there is no room for it."""
        if self.taken >= self.most:
            raise busy(f"{self.most} requests are being answered already.")

    def __enter__(self) -> None:
        self.check()
        self.taken += 1

    def __exit__(self, *_: object) -> None:
        self.taken -= 1


def _overdue() -> Refusal:
    return Refusal(503, "overdue", "No answer in time. Try again.", headers={"Retry-After": "1"})


def _refused(refusal: Refusal) -> Response:
    headers = tuple((name.lower().encode(), value.encode()) for name, value in refusal.headers.items())
    return Response(refusal.status, refusal.body(), (JSON, *headers))
