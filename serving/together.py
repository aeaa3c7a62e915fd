"""Rows that arrive at the same moment are answered in one go: one prediction, one group in the log.

There is no window to wait for: what one turn of the event loop brings makes a group, so that a lone row
goes on its own at once, and under load the groups grow by themselves.
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

    def answer(self, row: Row, started: float) -> asyncio.Future[Answer]:
        """The answer to one row, once it is in the log; see `Runtime.answer`."""
        if not self._waiting:
            self._loop.call_soon(self._start)
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting.append(_Waiting(row, started, future))
        return future

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

        self._runtime.log.submit(answered.entries).add_done_callback(written)
