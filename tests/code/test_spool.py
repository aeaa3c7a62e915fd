"""The spool: what is written there comes back, whatever happens to the process or the disk."""

import errno
import resource
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving import spool as spool_module
from serving.spool import ASIDE_SUFFIX, DRAINED_ROWS, SUFFIX, Group, Spool, SpoolUnavailable, drain
from takeoff.errors import TakeoffError
from takeoff.log_store import Entry, Label, ShadowEntry, Store, StoreUnavailable
from tests.log_entries import entries, ids, ids_in, label, shadow

ROOM = 2**24
DAMAGES = [b"{", b"\xff\xfe", b'["prediction", 1]', b'["other"]', b"[" * 100_000, b"0"]
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
NUMBER = st.floats(allow_nan=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(folder: Path) -> Iterator[Spool]:
    made = Spool(folder, ROOM)
    yield made
    made.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path.as_posix()}/log.db"


def waiting(spool: Spool) -> list[Group]:
    """What a drainer would see now; all of it goes on waiting."""
    return [next(segment.groups(10_000)) for segment in spool.full_segments()]


def of(*rows: Entry) -> Group:
    return Group(list(rows), [], [])


def files(folder: Path, suffix: str = SUFFIX) -> list[Path]:
    return sorted(folder.glob(f"*{suffix}"))


def everything(moved: int) -> bool:
    return True


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=ANY_TEXT, number=NUMBER, missing=st.none() | NUMBER)
def test_any_row_comes_back_as_it_was(folder: Path, text: str, number: float, missing: float | None) -> None:
    spool = Spool(folder, ROOM)
    given = Group(
        entries(2, row=text, row_id=text, probability=number, row_time=missing),
        [ShadowEntry(text, text, missing, None, None, number, text)],
        [Label(text, text, number, missing)],
    )

    spool.append(given)

    assert waiting(spool) == [given]
    for segment in spool.full_segments():
        spool.remove(segment)


def test_groups_come_back_in_their_order_and_at_most_so_many_at_once(spool: Spool) -> None:
    given = entries(7)
    for each in given:
        spool.append(of(each))

    [segment] = spool.full_segments()
    groups = list(segment.groups(3))

    assert [group.rows for group in groups] == [3, 3, 1]
    assert list(chain.from_iterable(group.entries for group in groups)) == given


def test_a_last_line_that_was_cut_off_is_passed_over(spool: Spool, folder: Path) -> None:
    given = entries(3)
    spool.append(of(*given))
    spool.close()
    [file] = files(folder)
    file.write_bytes(file.read_bytes()[:-10])

    spool.adopt()

    assert waiting(spool) == [of(*given[:2])]
    assert not files(folder, ASIDE_SUFFIX)


@pytest.mark.parametrize(
    "damage", [b"{", b"\xff\xfe", b'["prediction", 1]', b'["other"]', b"[" * 100_000, b"0"]
)
def test_a_damaged_line_is_kept_aside_and_its_neighbours_are_stored(
    folder: Path, store: Store, url: str, damage: bytes
) -> None:
    spool = Spool(folder, ROOM)
    given = entries(3)
    spool.append(of(*given))
    spool.close()
    [file] = files(folder)
    lines = file.read_bytes().splitlines(keepends=True)
    lines[1] = damage + b"\n"
    file.write_bytes(b"".join(lines))

    spool.adopt()
    drain(spool, store, everything)

    assert ids_in(url) == ids([given[0], given[2]])
    assert [each.read_bytes() for each in files(folder, ASIDE_SUFFIX)] == [damage + b"\n"]
    assert not files(folder)


def test_a_row_that_the_database_refuses_is_kept_aside(
    spool: Spool, folder: Path, store: Store, url: str
) -> None:
    good = entries(3)
    bad: Any = entries(1)[0]._replace(decision=None)
    spool.append(of(good[0], bad, *good[1:]))

    drain(spool, store, everything)

    assert ids_in(url) == ids(good)
    assert [bad.id in each.read_text() for each in files(folder, ASIDE_SUFFIX)] == [True]


def test_what_does_not_fit_is_refused_and_leaves_no_trace(folder: Path) -> None:
    given = entries(100)
    spool = Spool(folder, 10_000)

    with pytest.raises(SpoolUnavailable, match="full"):
        for each in given:
            spool.append(of(each))

    [group] = waiting(spool)
    assert 0 < group.rows < len(given)
    assert list(group.entries) == given[: group.rows]
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 10_000
    spool.close()


def test_a_full_spool_takes_rows_again_when_it_is_drained(folder: Path, store: Store) -> None:
    spool = Spool(folder, 2_000)
    with pytest.raises(SpoolUnavailable):
        while True:
            spool.append(of(*entries(1)))

    drain(spool, store, everything)

    spool.append(of(*entries(1)))
    spool.close()


def test_the_bound_is_for_all_processes_together(spool: Spool, folder: Path) -> None:
    spool.append(of(*entries(20)))

    with pytest.raises(SpoolUnavailable, match="full"):
        Spool(folder, 5_000).append(of(*entries(1)))


def test_a_disk_that_fails_in_the_middle_leaves_whole_groups(spool: Spool) -> None:
    before, after = entries(2), entries(2)
    spool.append(of(*before))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limit[1]))
    try:
        with pytest.raises(SpoolUnavailable, match="cannot be written"):
            spool.append(of(*entries(5)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    spool.append(of(*after))

    assert waiting(spool) == [of(*before), of(*after)]
    assert spool.rows == 4


def test_what_the_disk_did_not_confirm_is_not_taken_for_written(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(spool_module.os, "fdatasync", fails)
        with pytest.raises(SpoolUnavailable):
            spool.append(of(*entries(1)))

    assert spool.rows == 0
    assert waiting(spool) == []


def test_the_rows_of_a_process_that_ended_are_taken_by_exactly_one(folder: Path) -> None:
    dead, first, second = (Spool(folder, ROOM) for _ in range(3))
    given = entries(3)
    dead.append(of(*given))

    alive = [first.adopt(), second.adopt()]
    dead.close()
    taken = [first.adopt(), second.adopt(), first.adopt()]

    assert alive == [0, 0]
    assert taken == [3, 0, 3]
    assert waiting(first) == [of(*given)]
    first.close()
    second.close()


def test_a_file_that_another_has_just_drained_is_not_taken(
    spool: Spool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.joinpath(f"other{SUFFIX}").touch()

    def drained_before_the_lock(descriptor: int, operation: int) -> None:
        folder.joinpath(f"other{SUFFIX}").unlink(missing_ok=True)

    monkeypatch.setattr(spool_module.fcntl, "flock", drained_before_the_lock)
    spool.adopt()

    assert spool.full_segments() == []


def test_a_file_goes_only_when_its_rows_are_stored(
    spool: Spool, folder: Path, store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "DRAINED_ROWS", 2)
    given = entries(5)
    spool.append(of(*given))
    moved: list[int] = []

    def fails_once(rows: int) -> bool:
        moved.append(rows)
        if len(moved) == 1:
            raise StoreUnavailable("away again")
        return True

    with pytest.raises(StoreUnavailable):
        drain(spool, store, fails_once)
    left = files(folder)
    drain(spool, store, fails_once)

    assert left
    assert not files(folder)
    assert ids_in(url) == ids(given)


def test_a_database_that_is_lost_while_draining_leaves_all_rows_waiting(
    spool: Spool, folder: Path, store: Store
) -> None:
    spool.append(of(*entries(3)))
    store.close()

    with pytest.raises(StoreUnavailable):
        drain(spool, store, everything)

    assert spool.rows == 3
    assert not files(folder, ASIDE_SUFFIX)


def test_what_was_moved_is_not_moved_again(
    spool: Spool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "DRAINED_ROWS", 2)
    spool.append(of(*entries(5)))
    moved: list[int] = []

    def stops_once(rows: int) -> bool:
        moved.append(rows)
        return len(moved) != 2

    drain(spool, store, stops_once)
    waits = spool.rows
    drain(spool, store, stops_once)

    assert moved == [2, 2, 1]
    assert (waits, spool.rows, store.count()) == (1, 0, 5)


def test_labels_and_shadows_are_moved_too(spool: Spool, store: Store) -> None:
    given = entries(2)
    spool.append(Group(given, [shadow(given[0])], [label(given[1])]))

    drain(spool, store, everything)

    assert store.insert(labels=[label(given[1])])[0] == ("repeated", True)


def test_long_files_are_followed_by_others(
    spool: Spool, folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 1)
    for _ in range(3):
        spool.append(of(*entries(DRAINED_ROWS // 100)))

    assert len(files(folder)) == 3
    drain(spool, store, everything)
    assert store.count() == 3 * DRAINED_ROWS // 100


def test_a_folder_that_cannot_be_written_is_said_at_once(folder: Path) -> None:
    folder.touch()

    with pytest.raises(TakeoffError, match="TAKEOFF_SPOOL_DIR"):
        Spool(folder, ROOM)
