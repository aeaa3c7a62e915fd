"""Rows that come while others are written are answered in one go, and each of them is answered."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.core import Answered
from serving.together import Together

BAD = -1  # a row that the model fails on


class Fixture:
    """`Together` over a model that answers a row with itself, and a log that writes when it is told to."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self._unwritten: list[asyncio.Future[None]] = []
        self._runtime: Any = SimpleNamespace(
            core=SimpleNamespace(answer=self._answer),
            log=SimpleNamespace(submit=self._submit),
            answered=lambda answered: None,
        )
        self.together = Together(self._runtime)

    def _answer(self, rows: Sequence[Any], started: Sequence[float]) -> Answered:
        if BAD in rows:
            raise ValueError
        answers: list[Any] = list(rows)
        return Answered(answers, answers, {}, np.zeros(len(rows), "float32"), Counter(), 0, Counter())

    def _submit(self, entries: list[int]) -> asyncio.Future[None]:
        self.groups.append(entries)
        self._unwritten.append(asyncio.get_running_loop().create_future())
        return self._unwritten[-1]

    def ask(self, *rows: int) -> list[asyncio.Future[Any]]:
        return [self.together.answer(row, 0.0) for row in rows]  # type: ignore[arg-type]

    def write(self) -> None:
        """Let the log write all that it has been given."""
        for each in self._unwritten:
            each.set_result(None)
        self._unwritten = []


def run(story: Callable[[Fixture], Awaitable[None]]) -> None:
    async def told() -> None:
        await story(Fixture())

    asyncio.run(told())


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_rows_of_one_moment_are_a_group_and_wait_for_nothing() -> None:
    async def story(service: Fixture) -> None:
        service.ask(1, 2, 3)
        await turns(1)

        assert service.groups == [[1, 2, 3]]

    run(story)


def test_what_comes_while_a_group_is_written_gathers_until_it_is() -> None:
    async def story(service: Fixture) -> None:
        service.ask(1, 2, 3)
        await turns()
        service.ask(4)
        await turns()
        service.ask(5)
        await turns()
        assert service.groups == [[1, 2, 3]]

        service.write()
        await turns()

        assert service.groups == [[1, 2, 3], [4, 5]]

    run(story)


def test_a_group_as_large_as_the_one_that_is_written_starts_when_no_more_rows_come() -> None:
    async def story(service: Fixture) -> None:
        service.ask(1, 2)
        await turns()
        service.ask(3, 4, 5)
        await turns(1)
        service.ask(6)
        await turns(1)
        assert service.groups == [[1, 2]]
        await turns(1)

        assert service.groups == [[1, 2], [3, 4, 5, 6]]

    run(story)


def test_a_row_that_the_model_fails_on_takes_no_other_with_it() -> None:
    async def story(service: Fixture) -> None:
        first, bad, last = service.ask(1, BAD, 2)
        await turns()
        service.write()

        assert [await first, await last] == [1, 2]
        assert isinstance(bad.exception(), ValueError)

    run(story)


def test_a_row_whose_client_has_gone_is_not_answered() -> None:
    async def story(service: Fixture) -> None:
        gone, stays = service.ask(1, 2)
        gone.cancel()
        await turns()

        assert service.groups == [[2]]
        service.write()
        assert await stays == 2

    run(story)


@given(st.lists(st.sampled_from(["ask", "ask many", "write", "wait"]), max_size=60))
def test_every_row_is_answered_once_however_rows_and_writes_come(steps: list[str]) -> None:
    async def story(service: Fixture) -> None:
        asked: list[asyncio.Future[Any]] = []
        for step in steps:
            if step.startswith("ask"):
                asked += service.ask(*range(len(asked), len(asked) + (1 if step == "ask" else 3)))
            elif step == "write":
                service.write()
            await turns(1 if step == "wait" else 0)
        while not all(each.done() for each in asked):
            await turns()
            service.write()

        assert [each.result() for each in asked] == list(range(len(asked)))
        assert [row for group in service.groups for row in group] == list(range(len(asked)))

    run(story)
