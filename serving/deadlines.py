"""Deadlines for many requests at the price of two dictionary operations each: one timer looks at all."""

import asyncio
from collections.abc import Callable
from types import TracebackType

from serving.refusals import Refusal

EVERY_SECONDS = 0.1  # how often overdue requests are looked for, so how late a deadline may be


class Deadlines:
    """Cancels what is overdue; made inside the event loop that serves.

    Args:
        each_time: called whenever the timer looks.
    """

    def __init__(self, each_time: Callable[[], None] = lambda: None) -> None:
        self._loop = asyncio.get_running_loop()
        self._running: dict[asyncio.Task[object], Deadline] = {}
        self._each_time = each_time
        self._timer = self._loop.call_later(EVERY_SECONDS, self._look)

    def within(self, seconds: float, refusal: Callable[[], Refusal]) -> "Deadline":
        """A block that raises `refusal` when it takes longer than `seconds`. Blocks do not nest."""
        return Deadline(self._running, self._loop, seconds, refusal)

    def close(self) -> None:
        """Stop looking."""
        self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        for task, deadline in list(self._running.items()):
            if now > deadline.expires and not deadline.expired:
                deadline.expired = True
                task.cancel()
        # First, so that an error in what is called ends no deadline.
        self._timer = self._loop.call_later(EVERY_SECONDS, self._look)
        self._each_time()


class Deadline:
    """See `Deadlines.within`."""

    __slots__ = ("_refusal", "_running", "_task", "expired", "expires")

    def __init__(
        self,
        running: dict[asyncio.Task[object], "Deadline"],
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        refusal: Callable[[], Refusal],
    ) -> None:
        self._running, self._refusal = running, refusal
        self.expires, self.expired = loop.time() + seconds, False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._running[task] = self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._running[self._task]
        if self.expired:
            self._task.uncancel()
            if kind is asyncio.CancelledError:
                raise self._refusal() from None
