"""Libraries are loaded without collections, which are on again behind it."""

import gc

import pytest

from takeoff.loading import loading


def test_nothing_is_collected_while_a_library_is_loaded() -> None:
    with loading():
        assert not gc.isenabled()

    assert gc.isenabled()


def test_what_was_loaded_is_passed_over_by_later_collections() -> None:
    before = gc.get_freeze_count()

    with loading():
        loaded = [[each] for each in range(1_000)]

    assert gc.get_freeze_count() >= before + len(loaded)


def test_a_library_that_cannot_be_loaded_leaves_collections_on() -> None:
    with pytest.raises(ImportError), loading():
        raise ImportError

    assert gc.isenabled()
