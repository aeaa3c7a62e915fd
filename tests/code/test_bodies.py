"""Bodies are read whole or refused, and what is refused takes no room from others."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serving.bodies import MOST_HELD, Bodies, busy
from serving.deadlines import Deadlines
from serving.refusals import Refusal

LARGEST = 100  # bytes
LONG = 60.0  # seconds
SCOPE = {"headers": [(b"content-type", b"application/json")]}

Receive = Callable[[], Awaitable[dict[str, Any]]]


def part(size: int, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": b" " * size, "more_body": more}


class Sender:
    """Parts of a body as a server hands them on; then nothing comes, until there is more."""

    def __init__(self, *parts: dict[str, Any]) -> None:
        self._parts: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.send(*parts)

    def send(self, *parts: dict[str, Any]) -> None:
        for each in parts:
            self._parts.put_nowait(each)

    async def receive(self) -> dict[str, Any]:
        return await self._parts.get()


async def outcome(bodies: Bodies, sender: Sender) -> bytes | Refusal:
    try:
        return await bodies.read(SCOPE, sender.receive)
    except Refusal as refusal:
        return refusal


def run(story: Callable[[Bodies], Awaitable[None]]) -> None:
    async def told() -> None:
        deadlines = Deadlines()
        await story(Bodies(LARGEST, LONG, deadlines))
        deadlines.close()

    asyncio.run(told())


async def begun(bodies: Bodies, *senders: Sender) -> list[asyncio.Task[bytes | Refusal]]:
    """Reading of all that they have sent so far, which is not the end."""
    reading = [asyncio.create_task(outcome(bodies, each)) for each in senders]
    for _ in range(20):
        await asyncio.sleep(0)
    assert not any(each.done() for each in reading)
    return reading


def test_a_body_that_is_too_large_takes_no_room_while_it_is_thrown_away() -> None:
    async def story(bodies: Bodies) -> None:
        too_large = [Sender(part(LARGEST), part(1)) for _ in range(MOST_HELD + 1)]
        thrown_away = await begun(bodies, *too_large)

        small = await outcome(bodies, Sender(part(1), part(1, more=False)))

        for sender in too_large:
            sender.send(part(0, more=False))
        assert small == b"  "
        assert {each.status for each in await asyncio.gather(*thrown_away)} == {413}

    run(story)


def test_a_body_for_which_there_is_no_room_is_told_to_come_again_on_another_connection() -> None:
    async def story(bodies: Bodies) -> None:
        held = [Sender(part(LARGEST)) for _ in range(MOST_HELD)]
        reading = await begun(bodies, *held)

        refusal = await outcome(bodies, Sender(part(1), part(1, more=False)))

        for sender in held:
            sender.send(part(0, more=False))
        assert isinstance(refusal, Refusal) and refusal.status == 429
        assert set(refusal.headers) == {"Retry-After", "Connection"}
        assert await asyncio.gather(*reading) == [b" " * LARGEST] * MOST_HELD
        assert await outcome(bodies, Sender(part(1), part(1, more=False))) == b"  "  # there is room again

    run(story)


def test_a_last_part_that_makes_a_body_too_large_is_refused_at_once() -> None:
    async def story(bodies: Bodies) -> None:
        refusal = await outcome(bodies, Sender(part(LARGEST), part(1, more=False)))

        assert isinstance(refusal, Refusal) and refusal.status == 413

    run(story)


def test_bodies_that_are_being_answered_count_with_those_that_come() -> None:
    async def story(bodies: Bodies) -> None:
        with bodies.held(bytes(MOST_HELD * LARGEST)):
            with pytest.raises(Refusal) as caught, bodies.held(b"1"):
                pass
            assert (caught.value.status, caught.value.code) == (429, "busy")
        with bodies.held(bytes(MOST_HELD * LARGEST)):
            pass

    run(story)


def test_a_body_is_refused_at_the_part_at_which_it_may_not_go_on() -> None:
    async def story(bodies: Bodies) -> None:
        sender = Sender(part(1), part(1), part(1), part(1, more=False))
        looks = iter([False, True])

        def check() -> None:
            if next(looks):
                raise busy("Nobody has time.")

        with pytest.raises(Refusal) as refused:
            await bodies.read(SCOPE, sender.receive, check=check)

        assert refused.value.status == 429
        assert (await sender.receive(), await sender.receive()) == (part(1), part(1, more=False))

    run(story)


def test_what_is_left_of_a_refused_body_is_let_out_to_its_end() -> None:
    sender = Sender(*[part(1)] * 3, part(1, more=False), part(1))

    async def story(bodies: Bodies) -> None:
        await bodies.let_out(sender.receive)
        assert await sender.receive() == part(1)

    run(story)


def test_a_refused_body_that_has_no_end_is_let_out_for_a_while_and_not_for_ever() -> None:
    endless = Sender(*[part(LARGEST)] * 10)
    silent = Sender()

    async def story(bodies: Bodies) -> None:
        await bodies.let_out(endless.receive)
        bodies.seconds = 0
        await asyncio.wait_for(bodies.let_out(silent.receive), LONG)

    run(story)
