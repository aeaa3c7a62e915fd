"""The prediction log of a worker: whatever is answered is in it, whatever happens to database or process."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from serving import prediction_log
from serving.prediction_log import LogUnavailable, Observer, PredictionLog, Retention
from serving.spool import Spool
from takeoff import log_schema, log_sqlite
from takeoff.errors import TakeoffError
from takeoff.log_store import Entry
from tests.log_entries import (
    PROJECT,
    ask,
    entries,
    ids,
    ids_in,
    label,
    open_log,
    python_environment,
    shadow,
    until,
)
from tests.postgres import PASSWORD, Server

ROOM = 2**26
EVERYTHING = Retention(days=400, most_rows=10**9)
ANSWERED_BEFORE_KILL = 300
QUIET = Observer()
CLIENTS = 16


@pytest.fixture
def spool_folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path.as_posix()}/log.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    """The address of a log that does not exist yet."""
    return sqlite_url if request.param == "sqlite" else str(request.getfixturevalue("postgres").new_log())


@pytest.fixture
def start(spool_folder: Path) -> Iterator[Callable[..., PredictionLog]]:
    """Starts logs at an address; they are closed in the end."""
    logs = []

    def opened(
        url: str, observer: Observer = QUIET, retention: Retention = EVERYTHING, room: int = ROOM
    ) -> PredictionLog:
        log = PredictionLog(lambda: open_log(url), Spool(spool_folder, room), retention, observer)
        logs.append(log)
        return log

    yield opened
    for log in logs:
        log.close()


Start = Callable[..., PredictionLog]


@contextmanager
def held(url: str) -> Iterator[None]:
    """A client that lets nobody else write into SQLite's file meanwhile."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as client:
        client.execute("BEGIN IMMEDIATE")
        yield


async def turns(count: int = 20) -> None:
    """Let the event loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


async def clients(log: PredictionLog, is_over: Callable[[], bool]) -> list[Entry]:
    """Clients that each send the next when they have an answer; all that was answered."""

    async def client() -> list[Entry]:
        answered = []
        while not is_over():
            [entry] = entries(1)
            await log.submit(entry)
            answered.append(entry)
        return answered

    return [entry for each in await asyncio.gather(*(client() for _ in range(CLIENTS))) for entry in each]


def test_an_answered_prediction_can_be_read_by_others(start: Start, url: str) -> None:
    async def run() -> None:
        log = start(url)
        for _ in range(5):
            given = entries(3)
            await asyncio.gather(*map(log.submit, given))
            assert set(ids(given)) <= set(ids_in(url))
        many = entries(1000)
        await log.submit_many(many)
        assert set(ids(many)) <= set(ids_in(url))

    asyncio.run(run())


def test_nobody_is_answered_while_the_row_waits_and_all_that_waits_is_one_commit(
    start: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sqlite, "BUSY_SECONDS", 60.0)
    groups: list[int] = []

    async def run() -> None:
        log = start(sqlite_url, Observer(committed=lambda rows, seconds: groups.append(rows)))
        waiting = []
        with held(sqlite_url):
            for entry in entries(50):
                waiting.append(log.submit(entry))
                await turns(1)
            await turns()
            assert not any(each.done() for each in waiting)
        await asyncio.gather(*waiting)

    asyncio.run(run())

    assert sum(groups) == 50
    assert len(groups) <= 3  # what the writer had taken before, and the rest


def test_a_client_that_has_gone_takes_nobody_with_it(start: Start, url: str) -> None:
    given = entries(3)

    async def run() -> None:
        log = start(url)
        first, gone, last = map(log.submit, given)
        gone.cancel()
        await asyncio.gather(first, last)
        await log.submit(entries(1)[0])

    asyncio.run(run())

    assert set(ids(given)) <= set(ids_in(url))


def test_a_row_that_the_database_refuses_takes_no_other_with_it(start: Start, url: str) -> None:
    good, many = entries(2), entries(3)
    bad: Any = entries(1)[0]._replace(decision=None)

    async def run() -> list[BaseException | None]:
        log = start(url)
        works = [log.submit(good[0]), log.submit(bad), log.submit(good[1]), log.submit_many([*many, bad])]
        return await asyncio.gather(*works, return_exceptions=True)

    first, refused, last, batch = asyncio.run(run())

    assert first is last is None
    assert isinstance(refused, Exception) and isinstance(batch, Exception)
    assert set(ids_in(url)) == set(ids(good))


@pytest.mark.parametrize("home", ["sqlite", "postgresql", "spool"])
def test_what_a_killed_process_had_answered_is_in_the_log(
    start: Start, home: str, sqlite_url: str, spool_folder: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres").new_log() if home == "postgresql" else sqlite_url
    away = f"sqlite:///{PROJECT.as_posix()}/pyproject.toml/log.db"
    answered: list[str] = []

    for _ in range(3):
        command = [sys.executable, "-c", SERVE, away if home == "spool" else url, str(spool_folder)]
        with subprocess.Popen(
            command, env=python_environment(), cwd=PROJECT, stdout=subprocess.PIPE, text=True
        ) as worker:
            assert worker.stdout is not None
            lines = [worker.stdout.readline() for _ in range(ANSWERED_BEFORE_KILL)]
            worker.kill()
            lines += worker.stdout.readlines()
        answered += [line.strip() for line in lines if line.endswith("\n")]

    async def run() -> None:
        log = start(url)
        await until(lambda: log.state().spooled_rows == 0 and not list(spool_folder.iterdir()))

    asyncio.run(run())
    assert len(answered) >= 3 * ANSWERED_BEFORE_KILL
    assert not set(answered) - set(ids_in(url))


SERVE = f"""
import asyncio, sys
from pathlib import Path
from serving.prediction_log import PredictionLog, Retention
from serving.spool import Spool
from tests.log_entries import entries, open_log

async def client(log):
    while True:
        [entry] = entries(1)
        await log.submit(entry)
        print(entry.id, flush=True)

async def main():
    spool = Spool(Path(sys.argv[2]), {ROOM})
    log = PredictionLog(lambda: open_log(sys.argv[1]), spool, Retention(400, 10**9))
    await asyncio.gather(*(client(log) for _ in range({CLIENTS})))

asyncio.run(main())
"""


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_database_that_stops_and_starts_under_load_costs_no_answer(
    start: Start, postgres: Server, mode: str
) -> None:
    url = postgres.new_log()
    counts = {"committed": 0, "spooled": 0, "drained": 0}

    def add(kind: str) -> Callable[..., None]:
        return lambda rows, *_: counts.update({kind: counts[kind] + rows})

    async def run() -> list[Entry]:
        log = start(url, Observer(**{kind: add(kind) for kind in counts}))
        over = False
        load = asyncio.create_task(clients(log, lambda: over))
        await until(lambda: counts["committed"] > 100)
        await asyncio.to_thread(postgres.stop, mode)
        await until(lambda: counts["spooled"] > 100)
        assert log.state().mode == "spool"
        assert log.state().since is not None
        await asyncio.to_thread(postgres.start)
        await until(lambda: log.state().mode == "database")
        committed = counts["committed"]
        await until(lambda: counts["committed"] > committed + 100)
        over = True
        answered = await load
        await until(lambda: log.state().spooled_rows == 0)
        assert log.state() == ("database", 0, None, None)
        return answered

    answered = asyncio.run(run())

    assert sorted(ids_in(url)) == sorted(ids(answered))
    assert counts["drained"] == counts["spooled"]
    assert counts["committed"] + counts["spooled"] == len(answered)


def test_a_database_that_hangs_under_load_costs_no_answer(start: Start, postgres: Server) -> None:
    url = postgres.new_log()
    spooled: list[int] = []

    async def run() -> list[Entry]:
        log = start(url, Observer(spooled=spooled.append))
        over = False
        load = asyncio.create_task(clients(log, lambda: over))
        await until(lambda: bool(ids_in(url)))
        with postgres.hanging():
            await until(lambda: sum(spooled) > 100)
        await until(lambda: log.state().mode == "database")
        over = True
        answered = await load
        await until(lambda: log.state().spooled_rows == 0)
        return answered

    answered = asyncio.run(run())

    assert sorted(ids_in(url)) == sorted(ids(answered))


def test_a_database_that_is_away_at_the_start_is_waited_for(start: Start, postgres: Server) -> None:
    url, given = postgres.new_log(), entries(3)
    postgres.stop()

    async def run() -> None:
        before = time.time()
        log = start(url)
        await asyncio.gather(*map(log.submit, given))
        state = log.state()
        assert (state.mode, state.spooled_rows) == ("spool", 3)
        assert state.since is not None and before <= state.since <= time.time()
        assert state.failure and PASSWORD not in state.failure
        postgres.start()
        await until(lambda: log.state() == ("database", 0, None, None))

    asyncio.run(run())

    assert sorted(ids_in(url)) == sorted(ids(given))


def test_a_log_of_a_newer_version_stops_the_start(
    start: Start, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("takeoff.log_store.SCHEMA_VERSION", log_schema.SCHEMA_VERSION + 1)
    open_log(url).close()
    monkeypatch.undo()

    with pytest.raises(TakeoffError, match="newer version"):
        start(url)


def test_labels_are_counted_by_what_became_of_them(start: Start, url: str) -> None:
    [given, unknown] = entries(2)

    async def run() -> list[tuple[Any, ...]]:
        log = start(url)
        await log.submit(given)
        said = log.feedback([label(given), label(given, 1), label(unknown), label(unknown)])
        again = log.feedback([label(given, 1)])
        return [await said, await again]

    assert asyncio.run(run()) == [(2, 1, 1, 0, [unknown.id]), (0, 1, 0, 0, [])]


def test_labels_of_an_outage_arrive_with_the_spool(start: Start, postgres: Server) -> None:
    url, [given] = postgres.new_log(), entries(1)

    async def run() -> None:
        log = start(url)
        postgres.stop()
        await log.submit(given)
        assert await log.feedback([label(given)]) == (0, 0, 0, 1, [])
        postgres.start()
        await until(lambda: log.state().spooled_rows == 0)

    asyncio.run(run())

    assert ask(url, "SELECT prediction_id FROM labels") == [(given.id,)]


def test_what_a_challenger_said_is_kept_though_nobody_waits(start: Start, url: str) -> None:
    given = entries(5)

    async def run() -> None:
        log = start(url)
        log.record_shadow([shadow(each) for each in given])
        await until(lambda: ask(url, "SELECT count(*) FROM shadow_predictions") == [(len(given),)])

    asyncio.run(run())


def test_a_challenger_that_says_too_much_is_cut_short_and_counted(
    start: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "MOST_SHADOWS", 4)
    monkeypatch.setattr(log_sqlite, "BUSY_SECONDS", 60.0)
    dropped: list[int] = []
    said = [shadow(each) for each in entries(3)]

    async def run() -> None:
        log = start(sqlite_url, Observer(shadow_dropped=dropped.append))
        with held(sqlite_url):
            answer = log.submit(entries(1)[0])  # the writer is busy with it
            await turns()
            log.record_shadow(said)
            log.record_shadow(said)
        await answer
        log.close()

    asyncio.run(run())

    assert dropped == [len(said)]
    assert ask(sqlite_url, "SELECT count(*) FROM shadow_predictions") == [(len(said),)]


def test_what_is_too_old_or_too_much_leaves_the_log(start: Start, url: str) -> None:
    store = open_log(url)
    store.insert(entries(1200, time=time.time() - 3 * 86_400) + entries(700))
    store.close()

    async def run() -> None:
        start(url, retention=Retention(days=2, most_rows=500))
        await until(lambda: len(ids_in(url)) <= 500)

    asyncio.run(run())

    assert len(ids_in(url)) == 500


def test_a_prediction_that_nothing_can_hold_is_not_answered(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    dropped: list[int] = []

    async def run() -> None:
        log = start(
            f"sqlite:///{tmp_path.as_posix()}/file/log.db", Observer(shadow_dropped=dropped.append), room=1
        )
        with pytest.raises(LogUnavailable, match="full"):
            await log.submit(entries(1)[0])
        with pytest.raises(LogUnavailable):
            await log.feedback([label(entries(1)[0])])
        log.record_shadow([shadow(entries(1)[0])])
        await until(lambda: dropped == [1])
        (tmp_path / "file").unlink()
        await until(lambda: log.state().mode == "database")
        await log.submit(entries(1)[0])

    asyncio.run(run())


def test_a_log_that_is_closed_has_finished_what_waited_and_takes_no_more(start: Start, url: str) -> None:
    given = entries(3)

    async def run() -> None:
        log = start(url)
        log.record_shadow([shadow(given[0])])
        waiting = [log.submit(each) for each in given]
        log.close()
        log.close()
        await asyncio.gather(*waiting)
        with pytest.raises(LogUnavailable, match="stopping"):
            log.submit(given[0])

    asyncio.run(run())

    assert sorted(ids_in(url)) == sorted(ids(given))
    assert ask(url, "SELECT count(*) FROM shadow_predictions") == [(1,)]


def test_an_event_loop_that_has_gone_takes_nothing_with_it(start: Start, sqlite_url: str) -> None:
    given = entries(2)
    logs = []

    async def leave() -> None:
        logs.append(start(sqlite_url))
        logs[0].submit_many([given[0]])

    async def come() -> None:
        await logs[0].submit(given[1])

    asyncio.run(leave())
    asyncio.run(come())

    assert sorted(ids_in(sqlite_url)) == sorted(ids(given))
