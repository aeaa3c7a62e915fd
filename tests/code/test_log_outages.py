"""What the prediction log answered is in it, whatever happens to its database or to its process."""

import asyncio
import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from serving import prediction_log, spool
from serving.log_state import LogUnavailable, Observer
from serving.prediction_log import PredictionLog
from serving.spool import Group, Spool
from takeoff import log_sqlite
from takeoff.log_store import Entry
from tests.log_entries import (
    PROJECT,
    ROOM,
    StartLog,
    ask,
    entries,
    ids,
    ids_in,
    label,
    python_environment,
    refused_in,
    shadow,
    until,
)
from tests.postgres import PASSWORD, Server

ANSWERED_BEFORE_KILL = 300
CLIENTS = 16


async def clients(log: PredictionLog, is_over: Callable[[], bool]) -> list[Entry]:
    """Clients that each send the next when they have an answer; all that was answered."""

    async def client() -> list[Entry]:
        answered = []
        while not is_over():
            [entry] = entries(1)
            await log.submit([entry])
            answered.append(entry)
        return answered

    return [entry for each in await asyncio.gather(*(client() for _ in range(CLIENTS))) for entry in each]


@pytest.mark.parametrize("home", ["sqlite", "postgresql", "spool"])
def test_what_a_killed_process_had_answered_is_in_the_log(
    start_log: StartLog, home: str, sqlite_url: str, spool_folder: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres").new_log() if home == "postgresql" else sqlite_url
    away = f"sqlite:///{PROJECT.as_posix()}/pyproject.toml/log.db"
    answered: list[str] = []

    for _ in range(3):
        address = away if home == "spool" else url
        command = [sys.executable, "-m", "tests.log_worker", address, str(spool_folder)]
        with subprocess.Popen(
            command, env=python_environment(), cwd=PROJECT, stdout=subprocess.PIPE, text=True
        ) as worker:
            assert worker.stdout is not None
            lines = [worker.stdout.readline() for _ in range(ANSWERED_BEFORE_KILL)]
            worker.kill()
            lines += worker.stdout.readlines()
        answered += [line.strip() for line in lines if line.endswith("\n")]

    async def run() -> None:
        log = start_log(url)
        await until(lambda: log.state().spooled_rows == 0 and not list(spool_folder.iterdir()))

    asyncio.run(run())
    assert len(answered) >= 3 * ANSWERED_BEFORE_KILL
    assert not set(answered) - set(ids_in(url))


@pytest.mark.parametrize("gone", ["moved", "deleted", "deleted with its folder"])
def test_a_file_that_is_taken_away_costs_no_answer(start_log: StartLog, tmp_path: Path, gone: str) -> None:
    file, moved = tmp_path / "log" / "log.db", tmp_path / "moved.db"
    url, before, after = f"sqlite:///{file.as_posix()}", entries(3), entries(3)

    async def run() -> None:
        log = start_log(url)
        for each in before:
            await log.submit([each])
        if gone == "moved":
            file.rename(moved)
        elif gone == "deleted":
            file.unlink()
        else:
            shutil.rmtree(file.parent)
        for each in after:
            await log.submit([each])
        await until(lambda: log.state() == ("database", 0, None, None))

    asyncio.run(run())

    assert ids_in(url) == ids(after)
    if gone == "moved":
        assert set(ids_in(f"sqlite:///{moved.as_posix()}")) >= set(ids(before))


def test_a_file_that_is_taken_away_is_made_again_without_an_answer_to_write(
    start_log: StartLog, sqlite_url: str
) -> None:
    async def run() -> None:
        start_log(sqlite_url)
        file = Path(sqlite_url.removeprefix("sqlite:///"))
        file.unlink()
        await until(file.exists)

    asyncio.run(run())


def test_a_process_that_stands_still_while_it_writes_costs_no_answer_of_another(
    start_log: StartLog, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sqlite, "BUSY_SECONDS", 0.1)
    script = (
        "import os, signal, sys; from tests.log_entries import open_log\n"
        "with open_log(sys.argv[1])._db.transaction(): os.kill(os.getpid(), signal.SIGSTOP)\n"
    )
    given = entries(3)

    async def run() -> None:
        command = [sys.executable, "-c", script, sqlite_url]
        log = start_log(sqlite_url)
        with subprocess.Popen(command, env=python_environment(), cwd=PROJECT) as frozen:
            ends = os.WSTOPPED | os.WEXITED | os.WNOWAIT
            await asyncio.to_thread(os.waitid, os.P_PID, frozen.pid, ends)
            for each in given:
                await log.submit([each])
            assert log.state().mode == "spool"
            frozen.kill()
        await until(lambda: log.state() == ("database", 0, None, None))

    asyncio.run(run())

    assert ids_in(sqlite_url) == ids(given)


def test_a_spool_that_cannot_be_looked_into_is_looked_into_again(
    start_log: StartLog, sqlite_url: str, spool_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [given] = entries(1)
    left = Spool(spool_folder, ROOM)  # by a process that has ended
    left.append(Group([given]))
    left.close()
    failures, adopt = [OSError(errno.EMFILE, "Too many open files")], Spool.adopt

    def adopt_later(spool: Spool) -> int:
        if failures:
            raise failures.pop()
        return adopt(spool)

    monkeypatch.setattr(Spool, "adopt", adopt_later)

    async def run() -> None:
        start_log(sqlite_url)
        await until(lambda: not list(spool_folder.iterdir()))

    asyncio.run(run())

    assert ids_in(sqlite_url) == [given.id]


def test_what_is_refused_while_the_database_is_away_is_written_when_it_is_back(
    start_log: StartLog, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "REFUSED_SECONDS", 0.0)
    url = postgres.new_log()

    async def run() -> None:
        log = start_log(url)
        log.refused("busy")
        await until(lambda: refused_in(url) == {"busy": 1})
        await asyncio.to_thread(postgres.stop, "fast")
        log.refused("busy")
        await until(lambda: log.state().mode == "spool")
        log.refused("busy")
        await asyncio.to_thread(postgres.start)
        await until(lambda: log.state().mode == "database")
        await until(lambda: refused_in(url) == {"busy": 3})

    asyncio.run(run())


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_database_that_stops_and_starts_under_load_costs_no_answer(
    start_log: StartLog, postgres: Server, mode: str
) -> None:
    url = postgres.new_log()
    counts = {"committed": 0, "spooled": 0, "drained": 0}

    def add(kind: str) -> Callable[..., None]:
        return lambda rows, *_: counts.update({kind: counts[kind] + rows})

    async def run() -> list[Entry]:
        log = start_log(url, Observer(**{kind: add(kind) for kind in counts}))
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


def test_a_database_that_hangs_under_load_costs_no_answer(start_log: StartLog, postgres: Server) -> None:
    url = postgres.new_log()
    spooled: list[int] = []

    async def run() -> list[Entry]:
        log = start_log(url, Observer(spooled=spooled.append))
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


def test_a_database_that_is_away_at_the_start_is_waited_for(start_log: StartLog, postgres: Server) -> None:
    url, given = postgres.new_log(), entries(3)
    postgres.stop()

    async def run() -> None:
        before = time.time()
        log = start_log(url)
        await asyncio.gather(*(log.submit([each]) for each in given))
        state = log.state()
        assert (state.mode, state.spooled_rows) == ("spool", 3)
        assert state.since is not None and before <= state.since <= time.time()
        assert state.failure and PASSWORD not in state.failure
        postgres.start()
        await until(lambda: log.state() == ("database", 0, None, None))

    asyncio.run(run())

    assert sorted(ids_in(url)) == sorted(ids(given))


def test_labels_of_an_outage_arrive_with_the_spool(start_log: StartLog, postgres: Server) -> None:
    url, [given] = postgres.new_log(), entries(1)

    async def run() -> None:
        log = start_log(url)
        postgres.stop()
        await log.submit([given])
        assert await log.feedback([label(given)]) == (0, 0, 0, 1, [])
        postgres.start()
        await until(lambda: log.state().spooled_rows == 0)

    asyncio.run(run())

    assert ask(url, "SELECT prediction_id FROM labels") == [(given.id,)]


def test_a_prediction_that_nothing_can_hold_is_not_answered(start_log: StartLog, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    dropped: list[int] = []

    async def run() -> None:
        log = start_log(
            f"sqlite:///{tmp_path.as_posix()}/file/log.db", Observer(shadow_dropped=dropped.append), room=1
        )
        await until(lambda: log.state().mode == "nowhere")  # before anybody asks
        with pytest.raises(LogUnavailable, match="full"):
            await log.submit(entries(1))
        with pytest.raises(LogUnavailable):
            await log.feedback([label(entries(1)[0])])
        log.record_shadow([shadow(entries(1)[0])])
        await until(lambda: dropped == [1])
        (tmp_path / "file").unlink()
        await until(lambda: log.state().mode == "database")
        await log.submit(entries(1))

    asyncio.run(run())


def test_a_spool_that_has_room_again_is_noticed_without_an_answer_to_keep(
    start_log: StartLog, tmp_path: Path, spool_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "PROBE_SECONDS", 0.0)
    monkeypatch.setattr(spool, "OTHERS_SECONDS", 0.0)
    (tmp_path / "file").touch()
    filling = spool_folder / "of another process"

    async def run() -> None:
        log = start_log(f"sqlite:///{tmp_path.as_posix()}/file/log.db", room=10_000)
        await until(lambda: log.state().mode == "spool")
        filling.write_bytes(bytes(10_000))
        with pytest.raises(LogUnavailable):
            await log.submit(entries(1))
        assert log.state().mode == "nowhere"
        assert "spool is full" in str(log.state().failure)
        filling.unlink()
        await until(lambda: log.state().mode == "spool")
        assert not list(spool_folder.iterdir())  # nothing is left of looking

    asyncio.run(run())
