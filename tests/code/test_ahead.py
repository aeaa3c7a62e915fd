"""Reading ahead: the same items and errors, one step early, in one thread that ends with the generator."""

import threading
from collections.abc import Generator

import pytest

from takeoff.ahead import ahead


def test_items_come_whole_and_in_their_order() -> None:
    assert list(ahead(number for number in range(100))) == list(range(100))


def test_the_next_item_is_made_while_this_one_is_used() -> None:
    second_is_begun = threading.Event()

    def items() -> Generator[int]:
        yield 1
        second_is_begun.set()
        yield 2

    for item in ahead(items()):
        assert item == 2 or second_is_begun.wait(60)


def test_no_more_than_one_item_waits() -> None:
    made: list[int] = []

    def items() -> Generator[int]:
        for number in range(10):
            made.append(number)
            yield number

    for item in ahead(items()):
        assert len(made) <= item + 2


def test_an_error_comes_where_the_generator_raised_it() -> None:
    def items() -> Generator[int]:
        yield 1
        raise ValueError("no more")

    found = ahead(items())

    assert next(found) == 1
    with pytest.raises(ValueError, match="no more"):
        next(found)


def test_whoever_stops_early_closes_the_generator_in_the_thread_that_ran_it() -> None:
    threads: list[str] = []

    def items() -> Generator[int]:
        try:
            while True:
                threads.append(threading.current_thread().name)
                yield 1
        finally:
            threads.append(threading.current_thread().name)

    found = ahead(items())
    next(found)
    found.close()

    assert len(threads) >= 2
    assert set(threads) == {threads[0]} != {threading.current_thread().name}
