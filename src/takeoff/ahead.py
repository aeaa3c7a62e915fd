"""Reading one step ahead of the work: the next item is fetched while this one is used."""

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")


def ahead(items: Generator[Item]) -> Generator[Item]:
    """The same items, each made in a thread while the one before it is used; at most one waits.

    The first is begun at once, before anybody asks for it. The generator runs, and ends, in one and the same
    thread, as a connection of SQLite has to.

    Raises:
        Whatever `items` does, at the same place.
    """
    end = object()
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead")
    return _taken(items, thread, thread.submit(next, items, end), end)


def _taken(
    items: Generator[Item], thread: ThreadPoolExecutor, coming: "Future[Any]", end: object
) -> Generator[Item]:
    with thread:
        try:
            while (item := coming.result()) is not end:
                coming = thread.submit(next, items, end)
                yield item
        finally:
            thread.submit(items.close)
