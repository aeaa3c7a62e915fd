"""Large requests are worked on in threads: they must not hold up those who ask for one row."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from serving import urgency
from serving.core import Answered
from serving.reading import Reader
from serving.requests import to_json
from serving.runtime import Runtime

# While one batch is predicted, which needs no Python, another one is read or put into words.
THREADS = 2
AT_ONCE = THREADS + 2  # and two are committed to the log, or wait for a thread

T = TypeVar("T")


class Batches:
    """Answers batches; made inside the event loop that serves."""

    def __init__(self, runtime: Runtime, reader: Reader) -> None:
        self._runtime, self._reader = runtime, reader
        # A few at once, each until it is answered: if all took turns, none of many would be in time.
        self._places = asyncio.Semaphore(AT_ONCE)
        # Less urgent than a row on its own, or a refusal: where all cores are taken, those get theirs first.
        self._threads = ThreadPoolExecutor(THREADS, "batch", urgency.lower, (urgency.LESS,))
        # Whose turn it is runs Python, so that the event loop has to wait for no more than one.
        self._turn = threading.Lock()

    async def answer(self, body: bytes, started: float) -> bytes:
        """The answers to the rows of a batch, once they are in the log, as the body of the response.

        Raises:
            Refusal: the contract does not allow the body.
            LogUnavailable: the answers could not be kept, so they must not be given.
        """
        async with self._places:
            answered, payload = await self._in_thread(self._answer, body, started)
            await self._runtime.log.submit(answered.entries)
            self._runtime.answered(answered)
            return payload

    async def read(self, read: Callable[[bytes], T], body: bytes) -> T:
        """What `read` makes of a large body."""
        return await self._in_thread(self._read, read, body)

    def close(self) -> None:
        """Finish what is under way."""
        self._threads.shutdown()

    def _answer(self, body: bytes, started: float) -> tuple[Answered, bytes]:
        core = self._runtime.core
        asked = self._read(self._reader.rows, body)
        predicted = core.predict(asked)
        with self._turn:
            answered = core.say(asked, predicted, [started] * len(asked.texts))
            return answered, to_json({"predictions": answered.answers})

    def _read(self, read: Callable[[bytes], T], body: bytes) -> T:
        with self._turn:
            return read(body)

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
