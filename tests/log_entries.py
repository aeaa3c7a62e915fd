"""Predictions for tests of the log, by the real contract, and a look into a log with a client of its own."""

import asyncio
import fcntl
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from serving.log_state import Retention
from serving.prediction_log import PredictionLog
from takeoff.contract import read_contract
from takeoff.log_store import Entry, Label, ShadowEntry, Store, open_store

PROJECT = Path(__file__).parents[1]
CONTRACT = read_contract(PROJECT)
PATIENCE_SECONDS = 60.0
EVERYTHING = Retention(days=400, most_rows=10**9)
ROOM = 2**26  # bytes for a spool

StartLog = Callable[..., PredictionLog]
ROW = [column.example for column in CONTRACT.columns.values()]


def new_id() -> str:
    """A UUID of version 7, as the service gives: a database appends it to its index."""
    milliseconds, random = time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10))
    return str(UUID(int=milliseconds << 80 | 7 << 76 | (random & ~(0xF << 76)) & ~(3 << 62) | 2 << 62))


def entries(count: int, **changes: Any) -> list[Entry]:
    """Predictions of now for the contract's example row."""
    example = Entry(
        id="",
        time=time.time(),
        model_version="1",
        contract=CONTRACT.hash,
        row=json.dumps(ROW),
        probability=0.25,
        probabilities="[0.75, 0.25]",
        decision=CONTRACT.target.classes[0],
        review=False,
        latency_ms=0.5,
    )
    return [example._replace(**{"id": new_id(), **changes}) for _ in range(count)]


def shadow(entry: Entry) -> ShadowEntry:
    """What a challenger said of the same row."""
    return ShadowEntry(entry.id, "challenger", 0.5, "[0.5, 0.5]", entry.decision, 1.0)


def label(entry: Entry, place: int = 0, at: float | None = None) -> Label:
    """One of the contract's classes as the truth."""
    return Label(entry.id, CONTRACT.target.classes[place], time.time() if at is None else at)


def open_log(url: str) -> Store:
    """The store as the service opens it."""
    return open_store(url, list(CONTRACT.columns), CONTRACT.hash, CONTRACT.numbers)


def ask(url: str, sql: str) -> list[tuple[Any, ...]]:
    """What another client of the database sees."""
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            return connection.execute(sql).fetchall()
    with psycopg.connect(url) as connection:
        return connection.execute(sql.encode()).fetchall()


def refused_in(url: str) -> dict[str, int]:
    """What the log says was refused, by reason."""
    found = ask(url, "SELECT reason, sum(count) FROM refusals GROUP BY reason")
    return {reason: int(count) for reason, count in found}


def ids_in(url: str) -> list[str]:
    """Ids of the predictions in a log, in the order in which they came."""
    return [each for (each,) in ask(url, "SELECT id FROM predictions ORDER BY seq")]


def ids(rows: Sequence[Entry]) -> list[str]:
    """Ids of predictions."""
    return [each.id for each in rows]


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that must come about."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        await asyncio.sleep(0.01)


def python_environment() -> dict[str, str]:
    """For a process that imports the project's folders as the tests do."""
    return os.environ | {"PYTHONPATH": str(PROJECT)}


@contextmanager
def lock_held(url: str) -> Iterator[None]:
    """The lock that writers of SQLite's file take, held as by another process."""
    with Path(url.removeprefix("sqlite:///") + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def waiting_threads() -> int:
    """How many threads wait for that lock."""
    return [thread.name for thread in threading.enumerate()].count("log-lock")
