"""Rows that arrive at the same moment are answered in one go: one prediction, one group in the log.

There is no window to wait for: a lone row goes on its own at once. While one group is written into the log,
the next one gathers, until it is as large and no more rows come, or until the other is written. So under
load a group is predicted while another is written, and the groups are as large as can be.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from serving.core import Answer
from serving.requests import Row
from serving.runtime import Runtime


class _Waiting(NamedTuple):
    """A row, when its request arrived, and who waits for the answer."""

    row: Row
    started: float
    future: asyncio.Future[Answer]


class Together:
    """Answers single rows; made inside the event loop that serves."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Waiting] = []
        self._being_written = 0  # rows that are on their way into the log
        self._gathered = 0  # rows of the group that is about to start

    def answer(self, row: Row, started: float) -> asyncio.Future[Answer]:
        """The answer to one row, once it is in the log; see `Runtime.answer`."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting.append(_Waiting(row, started, future))
        self._go_on()
        return future

    def _go_on(self) -> None:
        """See to it that a group starts, if there are rows enough for one."""
        if not self._gathered and len(self._waiting) >= max(1, self._being_written):
            self._gathered = len(self._waiting)
            self._loop.call_soon(self._gather)

    def _gather(self) -> None:
        """Start a group, unless more rows came in this turn of the event loop and it must wait anyway."""
        if self._being_written and len(self._waiting) > self._gathered:
            self._gathered = len(self._waiting)
            self._loop.call_soon(self._gather)
        else:
            self._gathered = 0
            self._start()

    def _start(self) -> None:
        # Who has gone since needs no answer, so there is none in the log either.
        waiting, self._waiting = [each for each in self._waiting if not each.future.done()], []
        if not waiting:
            return
        try:
            self._answer(waiting)
        except Exception as error:
            if len(waiting) == 1:
                waiting[0].future.set_exception(error)
                return
            # One row that the model fails on must not take the others with it.
            for each in waiting:
                try:
                    self._answer([each])
                except Exception as own:
                    each.future.set_exception(own)

    def _answer(self, waiting: Sequence[_Waiting]) -> None:
        rows = [each.row for each in waiting]
        answered = self._runtime.core.answer(rows, [each.started for each in waiting])

        def written(log: asyncio.Future[None]) -> None:
            self._being_written -= len(rows)
            self._go_on()
            error = log.exception()
            if error is None:
                self._runtime.answered(answered)
            for each, answer in zip(waiting, answered.answers, strict=True):
                if each.future.done():  # overdue, or its client has gone
                    continue
                if error is None:
                    each.future.set_result(answer)
                else:
                    each.future.set_exception(error)

        log = self._runtime.log.submit(answered.entries)
        self._being_written += len(rows)
        log.add_done_callback(written)
