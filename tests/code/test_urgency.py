"""Threads whose work takes long go after those that are quick."""

import asyncio
import os
import sys
import threading
from typing import Any

import pytest

from serving import urgency
from serving.batches import Batches

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness per thread")


def niceness(*_: Any) -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_only_the_thread_that_asks_goes_later_and_never_sooner_again() -> None:
    before, found = niceness(), []

    def work() -> None:
        for each in (urgency.LESS, urgency.LEAST, urgency.LESS):
            urgency.lower(each)
            found.append(niceness())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert found == [urgency.LESS, urgency.LEAST, urgency.LEAST]
    assert niceness() == before


def test_batches_are_worked_on_after_single_rows() -> None:
    async def asked() -> int:
        nothing: Any = None
        batches = Batches(nothing, nothing)
        try:
            return await batches.read(niceness, b"")
        finally:
            batches.close()

    assert asyncio.run(asked()) == urgency.LESS > niceness()
