"""The one timer behind all deadlines."""

import asyncio

from serving.deadlines import Deadlines
from tests.evidence import until


def test_a_look_that_fails_does_not_end_the_looking() -> None:
    looks: list[None] = []

    def each_time() -> None:
        looks.append(None)
        if len(looks) == 1:
            raise OSError("No space left on device")

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        deadlines = Deadlines(each_time)
        await asyncio.to_thread(until, lambda: len(looks) > 2, "it looks again")
        deadlines.close()

    asyncio.run(run())
