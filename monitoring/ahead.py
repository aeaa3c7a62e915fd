"""Reading one step ahead of the work: the next chunk is fetched while this one is measured."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Generator[Item]) -> Iterator[Item]:
    """The same items, each made in a thread while the one before it is used; at most one waits.

    The generator runs, and ends, in one and the same thread, as a connection of SQLite has to.

    Raises:
        Whatever `items` does, at the same place.
    """
    end = object()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as thread:
        try:
            coming = thread.submit(next, items, end)
            while (item := coming.result()) is not end:
                coming = thread.submit(next, items, end)
                yield item  # type: ignore[misc]  # `end` is no item, which mypy cannot see
        finally:
            thread.submit(items.close)
