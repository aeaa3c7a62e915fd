"""What is SQLite's own in the prediction log: its disk, its locks, its WAL."""

import resource
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from takeoff import log_sqlite
from takeoff.log_store import Store, StoreUnavailable
from tests.log_entries import (
    PROJECT,
    ask,
    entries,
    ids_in,
    label,
    lock_held,
    open_log,
    python_environment,
    waiting_threads,
)

MANY = 500  # more than a full disk of `SMALL_DISK` bytes holds, in groups
SMALL_DISK = 300_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def url(file: Path) -> str:
    return f"sqlite:///{file.as_posix()}"


def test_a_commit_is_on_the_disk_before_it_returns(store: Store) -> None:
    # The one setting that kill -9 cannot show, since a kernel that lives on writes later.
    [(level,)] = store._db.query("PRAGMA synchronous")

    assert level == 2


def test_the_disk_of_what_was_removed_is_given_back(url: str, file: Path) -> None:
    store = open_log(url)
    store.insert(entries(5000, time=1000.0))
    [(before,)] = ask(url, "PRAGMA page_count")

    while store.remove_old(older_than=2000.0, most_rows=10_000, at_most=500):
        pass
    store.close()

    [(after,)], [(page,)] = ask(url, "PRAGMA page_count"), ask(url, "PRAGMA page_size")
    assert after < before / 2
    assert file.stat().st_size == after * page


def test_a_look_at_what_is_too_old_costs_the_same_however_many_old_labels_there_are(store: Store) -> None:
    steps = []
    for _ in range(2):  # the days were lowered, and the predictions are younger than their labels
        given = entries(2000, time=3000.0)
        store.insert(given, labels=[label(each, at=1000.0) for each in given])
        taken = [0]

        def count(taken: list[int] = taken) -> None:
            taken[0] += 1

        connection = store._db._opened()  # type: ignore[attr-defined]
        connection.set_progress_handler(count, 10)
        assert store.remove_old(older_than=2000.0, most_rows=10_000, at_most=100) == 0
        connection.set_progress_handler(None, 0)
        steps.append(taken[0])

    assert steps[1] < 1.1 * steps[0]


def test_the_wal_stays_small_while_one_never_stops_writing(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sqlite, "CHECKPOINT_ROWS", 100)
    wal = file.with_name("log.db-wal")
    sizes = []

    for _ in range(200):
        store.insert(entries(50))
        sizes.append(wal.stat().st_size)

    assert sizes[-1] < file.stat().st_size / 2
    assert sizes[-1] < 10 * sizes[10]


def test_a_file_that_is_no_database_is_a_state(file: Path, url: str) -> None:
    file.write_bytes(b"no database " * 1000)

    with pytest.raises(StoreUnavailable, match="NOTADB"):
        open_log(url)


def test_a_folder_that_cannot_be_made_is_a_state(file: Path) -> None:
    file.touch()

    with pytest.raises(StoreUnavailable):
        open_log(f"sqlite:///{file.as_posix()}/log.db")


def test_a_client_that_holds_the_database_is_given_up(
    url: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sqlite, "BUSY_SECONDS", 0.05)
    store = open_log(url)

    with closing(sqlite3.connect(file, isolation_level=None)) as client:
        client.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="BUSY"):
            store.insert(entries(1))

    store.insert(entries(2))
    assert store.count() == 2
    store.close()


def test_a_writer_that_stands_still_is_given_up_and_leaves_one_thread_behind(
    url: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sqlite, "BUSY_SECONDS", 0.02)
    store, before = open_log(url), waiting_threads()

    with lock_held(url):
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="stands still"):
                store.insert(entries(1))
        store.close()
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="stands still"):
                open_log(url)
        assert waiting_threads() <= before + 1

    monkeypatch.undo()
    again = open_log(url)
    again.insert(entries(2))
    assert again.count() == 2
    again.close()


def test_a_turn_ends_with_the_first_thing_that_is_written(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sqlite, "BUSY_SECONDS", 0.05)
    other = open_log(url)

    with store.turn():
        with pytest.raises(StoreUnavailable, match="stands still"):
            other.insert(entries(1))
        store.insert(entries(1))
        other.insert(entries(1))
    store.insert(entries(1), labels=[label(entries(1)[0])])

    assert other.count() == 3
    other.close()


def test_who_waits_for_a_writer_goes_on_when_that_is_done(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sqlite, "BUSY_SECONDS", 60.0)

    with ThreadPoolExecutor(1) as threads:
        for _ in range(20):
            with lock_held(url):
                writing = threads.submit(store.insert, entries(1))
            writing.result()

    assert store.count() == 20


def test_a_client_that_reads_holds_nobody_up(store: Store, file: Path) -> None:
    store.insert(entries(1))
    with closing(sqlite3.connect(file, isolation_level=None)) as client:
        client.execute("BEGIN")
        client.execute("SELECT * FROM predictions").fetchone()

        store.insert(entries(1))

    assert store.count() == 2


def test_a_full_disk_is_a_state_and_loses_nothing(url: str) -> None:
    script = (
        "import signal, sys; from tests.log_entries import entries, ids, open_log\n"
        "from takeoff.log_store import StoreUnavailable\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "store = open_log(sys.argv[1])\n"
        "try:\n"
        f"    for _ in range({MANY}):\n"
        "        rows = entries(10)\n"
        "        store.insert(rows)\n"
        "        print(*ids(rows), sep='\\n')\n"
        "except StoreUnavailable:\n"
        "    sys.exit(3)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, url],
        env=python_environment(),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_DISK, resource.RLIM_INFINITY)),
    )

    assert done.returncode == 3
    assert set(done.stdout.split()) == set(ids_in(url))
    store = open_log(url)
    store.insert(entries(1))
    store.close()


def test_a_full_disk_can_be_told_without_a_row_to_write(store: Store, url: str, file: Path) -> None:
    limit, taken = resource.getrlimit(resource.RLIMIT_FSIZE), file.with_name("log.db-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (taken, limit[1]))
    try:
        with pytest.raises(StoreUnavailable):
            store.probe()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    store.probe()
    assert not ask(url, "SELECT * FROM schema_info WHERE name = 'probe'")
