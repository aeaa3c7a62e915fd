"""The prediction log of a worker: who is answered when, and what becomes of the row."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest

from serving import prediction_log, refused
from serving.log_state import LogUnavailable, Observer, Retention
from serving.refused import RefusedCounts
from takeoff import log_postgres, log_schema, log_sqlite
from takeoff.errors import TakeoffError
from takeoff.log_store import Store
from tests.log_entries import (
    PATIENCE_SECONDS,
    StartLog,
    ask,
    entries,
    ids,
    ids_in,
    label,
    lock_held,
    open_log,
    refused_in,
    shadow,
    until,
    waiting_threads,
)
from tests.postgres import Server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    """The address of a log that does not exist yet."""
    return sqlite_url if request.param == "sqlite" else str(request.getfixturevalue("postgres").new_log())


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


def test_an_answered_prediction_can_be_read_by_others(start_log: StartLog, url: str) -> None:
    async def run() -> None:
        log = start_log(url)
        for _ in range(5):
            given = entries(3)
            await asyncio.gather(*(log.submit([each]) for each in given))
            assert set(ids(given)) <= set(ids_in(url))
        many = entries(1000)
        await log.submit(many)
        assert set(ids(many)) <= set(ids_in(url))

    asyncio.run(run())


def test_nobody_is_answered_while_the_row_waits_and_all_that_waits_is_one_commit(
    start_log: StartLog, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sqlite, "BUSY_SECONDS", 60.0)
    groups: list[int] = []

    async def run() -> None:
        log = start_log(sqlite_url, Observer(committed=lambda rows, seconds: groups.append(rows)))
        waiting = []
        with held(sqlite_url):
            for entry in entries(50):
                waiting.append(log.submit([entry]))
                await turns(1)
            await turns()
            assert not any(each.done() for each in waiting)
        await asyncio.gather(*waiting)

    asyncio.run(run())

    assert sum(groups) == 50
    assert len(groups) <= 3  # what the writer had taken before, and the rest


def test_what_comes_while_another_process_writes_goes_along_in_the_same_commit(
    start_log: StartLog, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sqlite, "BUSY_SECONDS", 60.0)
    groups: list[int] = []
    given = entries(50)

    async def run() -> None:
        log = start_log(sqlite_url, Observer(committed=lambda rows, seconds: groups.append(rows)))
        before = waiting_threads()
        with lock_held(sqlite_url):
            waiting = [log.submit(given[:1])]
            while waiting_threads() == before:  # the writer has taken the first
                await turns(1)
            waiting += [log.submit([each]) for each in given[1:]]
        await asyncio.gather(*waiting)
        log.close()

    asyncio.run(run())

    assert groups == [50]
    assert set(ids(given)) == set(ids_in(sqlite_url))


def test_a_log_that_is_closed_while_another_process_writes_keeps_what_it_has_and_ends(
    start_log: StartLog, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sqlite, "BUSY_SECONDS", 60.0)
    given = entries(1)

    async def run() -> None:
        log = start_log(sqlite_url)
        before = waiting_threads()
        with lock_held(sqlite_url):
            kept = log.submit(given)
            while waiting_threads() == before:
                await turns(1)
            closed = threading.Thread(target=log.close, daemon=True)
            closed.start()
            with pytest.raises(LogUnavailable):
                while True:
                    more = entries(1)
                    kept = log.submit(more)
                    given.extend(more)
                    await turns(1)
        await kept
        closed.join(PATIENCE_SECONDS)
        assert not closed.is_alive()

    asyncio.run(run())

    assert set(ids(given)) == set(ids_in(sqlite_url))


def test_a_client_that_has_gone_takes_nobody_with_it(start_log: StartLog, url: str) -> None:
    given = entries(3)

    async def run() -> None:
        log = start_log(url)
        first, gone, last = (log.submit([each]) for each in given)
        gone.cancel()
        await asyncio.gather(first, last)
        await log.submit(entries(1))

    asyncio.run(run())

    assert set(ids(given)) <= set(ids_in(url))


def test_a_row_that_the_database_refuses_takes_no_other_with_it(start_log: StartLog, url: str) -> None:
    good, many = entries(2), entries(3)
    bad: Any = entries(1)[0]._replace(decision=None)

    async def run() -> list[BaseException | None]:
        log = start_log(url)
        works = [log.submit([good[0]]), log.submit([bad]), log.submit([good[1]]), log.submit([*many, bad])]
        return await asyncio.gather(*works, return_exceptions=True)

    first, refused, last, batch = asyncio.run(run())

    assert first is last is None
    assert isinstance(refused, Exception) and isinstance(batch, Exception)
    assert set(ids_in(url)) == set(ids(good))


def test_a_log_of_a_newer_version_stops_the_start(
    start_log: StartLog, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("takeoff.log_store.SCHEMA_VERSION", log_schema.SCHEMA_VERSION + 1)
    open_log(url).close()
    monkeypatch.undo()

    with pytest.raises(TakeoffError, match="newer version"):
        start_log(url)


def test_labels_are_counted_by_what_became_of_them(start_log: StartLog, url: str) -> None:
    [given, unknown] = entries(2)

    async def run() -> list[tuple[Any, ...]]:
        log = start_log(url)
        await log.submit([given])
        said = log.feedback([label(given), label(given, 1), label(unknown), label(unknown)])
        again = log.feedback([label(given, 1)])
        return [await said, await again]

    assert asyncio.run(run()) == [(2, 1, 1, 0, [unknown.id]), (0, 1, 0, 0, [])]


def test_what_a_challenger_said_is_kept_though_nobody_waits(start_log: StartLog, url: str) -> None:
    given = entries(5)

    async def run() -> None:
        log = start_log(url)
        log.record_shadow([shadow(each) for each in given])
        await until(lambda: ask(url, "SELECT count(*) FROM shadow_predictions") == [(len(given),)])

    asyncio.run(run())


def test_a_challenger_that_says_too_much_is_cut_short_and_counted(
    start_log: StartLog, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "MOST_SHADOWS", 4)
    monkeypatch.setattr(log_sqlite, "BUSY_SECONDS", 60.0)
    dropped: list[int] = []
    said = [shadow(each) for each in entries(3)]

    async def run() -> None:
        log = start_log(sqlite_url, Observer(shadow_dropped=dropped.append))
        with held(sqlite_url):
            answer = log.submit(entries(1))  # the writer is busy with it
            await turns()
            log.record_shadow(said)
            log.record_shadow(said)
        await answer
        log.close()

    asyncio.run(run())

    assert dropped == [len(said)]
    assert ask(sqlite_url, "SELECT count(*) FROM shadow_predictions") == [(len(said),)]


def test_refusals_are_written_without_an_answer_to_write_beside(
    start_log: StartLog, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "REFUSED_SECONDS", 0.0)

    async def run() -> None:
        log = start_log(url)
        for _ in range(3):
            log.refused("busy")
        await until(lambda: refused_in(url) == {"busy": 3})
        log.refused("busy")
        log.refused("invalid")
        await until(lambda: refused_in(url) == {"busy": 4, "invalid": 1})

    asyncio.run(run())


def test_what_is_refused_from_many_threads_until_the_end_is_in_the_log_once(
    start_log: StartLog, url: str
) -> None:
    log = start_log(url)
    with ThreadPoolExecutor(4) as threads:
        for _ in range(1000):
            threads.submit(log.refused, "busy")
    log.close()

    assert refused_in(url) == {"busy": 1000}


def test_nothing_is_written_again_that_has_not_changed() -> None:
    counts = RefusedCounts()
    counts.count("busy")
    first = counts.unwritten()
    counts.count("busy")
    counts.written(first)

    [second] = counts.unwritten()
    assert (first[0].count, second.count) == (1, 2)
    counts.written([second])
    assert counts.unwritten() == []


def test_refusals_take_no_more_memory_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused, "MOST_KEPT", 2)
    counts = RefusedCounts()
    for reason in ("a", "b", "c", "a"):
        counts.count(reason)

    assert [(each.reason, each.count) for each in counts.unwritten()] == [("a", 2), ("b", 1)]


def test_refused_rows_are_counted_in_the_hours_of_their_own_time_and_others_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refused, "_hour", lambda: 36000)
    counts = RefusedCounts()
    counts.count("invalid_rows", [3599.9, None, 0.0, -0.1])
    counts.count("busy")

    assert [(each.hour, each.row_hour, each.reason, each.count) for each in counts.unwritten()] == [
        (36000, -3600, "invalid_rows", 1),
        (36000, 0, "invalid_rows", 2),
        (36000, 36000, "busy", 1),
        (36000, 36000, "invalid_rows", 1),
    ]


def test_an_hour_that_is_over_and_written_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, hours = RefusedCounts(), [0, 3600, 3600]
    monkeypatch.setattr(refused, "_hour", lambda: hours.pop(0))
    monkeypatch.setattr(refused, "MOST_KEPT", 1)
    counts.count("busy")
    counts.written(counts.unwritten())
    counts.count("busy")

    assert [(each.hour, each.count) for each in counts.unwritten()] == [(3600, 1)]


def test_what_is_too_old_or_too_much_leaves_the_log(start_log: StartLog, url: str) -> None:
    store = open_log(url)
    store.insert(entries(1200, time=time.time() - 3 * 86_400) + entries(700))
    store.close()

    async def run() -> None:
        start_log(url, retention=Retention(days=2, most_rows=500))
        await until(lambda: len(ids_in(url)) <= 500)

    asyncio.run(run())

    assert len(ids_in(url)) == 500


def test_a_removal_that_takes_too_long_costs_the_log_no_database_and_is_not_tried_again_at_once(
    start_log: StartLog, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_postgres, "STATEMENT_SECONDS", 0.2)
    url, given = postgres.new_log(), entries(20)
    tried, spooled, remove_old = list[int](), list[int](), Store.remove_old

    def counted(store: Store, older_than: float, most_rows: int, at_most: int) -> int:
        tried.append(at_most)
        return remove_old(store, older_than, most_rows, at_most)

    monkeypatch.setattr(Store, "remove_old", counted)

    async def run() -> None:
        with psycopg.connect(url) as other:  # who removes, too, and is not done
            other.execute("SELECT pg_advisory_xact_lock(hashtext('takeoff retention'))")
            log = start_log(url, Observer(spooled=spooled.append))
            for each in given:
                await log.submit([each])
            assert log.state().mode == "database"

    asyncio.run(run())

    assert len(tried) == 1
    assert not spooled
    assert ids_in(url) == ids(given)


def test_a_log_that_is_closed_has_finished_what_waited_and_takes_no_more(
    start_log: StartLog, url: str
) -> None:
    given = entries(3)

    async def run() -> None:
        log = start_log(url)
        log.record_shadow([shadow(given[0])])
        waiting = [log.submit([each]) for each in given]
        log.close()
        log.close()
        await asyncio.gather(*waiting)
        with pytest.raises(LogUnavailable, match="stopping"):
            log.submit([given[0]])

    asyncio.run(run())

    assert sorted(ids_in(url)) == sorted(ids(given))
    assert ask(url, "SELECT count(*) FROM shadow_predictions") == [(1,)]


def test_an_event_loop_that_has_gone_takes_nothing_with_it(
    start_log: StartLog, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(log_sqlite, "BUSY_SECONDS", 60.0)
    given = entries(2)
    logs = [start_log(sqlite_url)]

    async def leave() -> None:
        logs[0].submit([given[0]])

    async def come() -> None:
        await logs[0].submit([given[1]])

    with held(sqlite_url):
        asyncio.run(leave())
    asyncio.run(come())

    assert sorted(ids_in(sqlite_url)) == sorted(ids(given))
    assert not caplog.records
