"""A prediction log of millions of real, really predicted rows, in bulk and in the service's own schema."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic_core import to_json

from serving.core import new_ids
from takeoff import value
from takeoff.contract import Contract
from takeoff.features import features
from takeoff.log_schema import LABELS, PREDICTIONS, SHADOWS, Table
from takeoff.log_store import open_store
from takeoff.model import Model, predict
from takeoff.split import Period
from tests.benchmarks.rows import as_sent

DISTINCT_ROWS = 50_000  # that are drawn from: each costs Python as much as ten rows of the log
ROWS_AT_ONCE = 50_000
UNLABELLED_SHARE = 0.03  # rows whose truth never comes
MOST_LAG_HOURS = 12.0  # of a label
ANSWERED_HOURS = 2.0  # before the row's own time
LATENCY_MS = 0.5


class _Said(NamedTuple):
    """What a model says of each distinct row: texts of its probabilities, the event's, what it decides."""

    texts: list[str]
    event: list[float]
    decisions: list[str]
    reviews: list[bool]


def make(
    file: Path,
    count: int,
    period: Period,
    rows: pd.DataFrame,
    champion: tuple[str, Model],
    challenger: tuple[str, Model],
    contract: Contract,
    seed: int,
) -> None:
    """Write a log of `count` predictions, evenly over a period, in the order of their time.

    Each row is drawn from `rows`, answered by the champion and, in its shadow, by the challenger; its label
    came some hours after its time, or never. Both models are given with their version.

    Args:
        file: of SQLite; must not exist.
        rows: labelled rows of the contract.
    """
    rng = np.random.default_rng(seed)
    rows = rows.sample(min(DISTINCT_ROWS, len(rows)), random_state=seed).reset_index(drop=True)
    sent = [to_json(list(row.values())).decode() for row in as_sent(rows, contract)]
    # A candidate that was never released has no threshold of its own.
    threshold = float(champion[1].card["decision"]["threshold"])
    said, shadowed = (_said(each, rows, threshold, contract) for each in (champion[1], challenger[1]))
    truth = rows[contract.target.column].astype(str).tolist()
    used = contract.hash  # worked out whenever it is asked for
    first, last = period.start.timestamp(), period.end.timestamp()
    open_store(f"sqlite:///{file}", list(contract.columns), contract.hash, contract.numbers).close()
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")  # nobody was promised anything
        for start in range(0, count, ROWS_AT_ONCE):
            size = min(ROWS_AT_ONCE, count - start)
            times = first + (np.arange(start, start + size) + rng.random(size)) / count * (last - first)
            drawn = rng.integers(len(rows), size=size)
            lags = np.where(
                rng.random(size) < UNLABELLED_SHARE, np.nan, MOST_LAG_HOURS * 3600 * rng.random(size)
            )
            ids = new_ids(size, float(times[0]) - ANSWERED_HOURS * 3600)
            connection.execute("BEGIN")
            answered = _answered(ids, times, drawn, sent, said, champion[0], used)
            _insert(connection, PREDICTIONS, answered)
            _insert(connection, SHADOWS, _in_shadow(ids, drawn, shadowed, challenger[0]))
            _insert(connection, LABELS, _labels(ids, times + lags, drawn, truth))
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _said(model: Model, rows: pd.DataFrame, threshold: float, contract: Contract) -> _Said:
    probabilities = predict(model.session, features(rows, contract))
    decisions = value.decide(probabilities, threshold)
    reviews = value.needs_review(probabilities, decisions, value.cost_matrix(contract), contract.costs.review)
    return _Said(
        [to_json(each).decode() for each in probabilities.tolist()],
        probabilities[:, -1].tolist(),
        [contract.target.classes[each] for each in decisions.tolist()],
        reviews.tolist(),
    )


def _answered(
    ids: list[str],
    times: npt.NDArray[np.float64],
    drawn: npt.NDArray[np.int64],
    sent: list[str],
    said: _Said,
    version: str,
    contract_hash: str,
) -> Iterator[tuple[Any, ...]]:
    for id_, time, place in zip(ids, times.tolist(), drawn.tolist(), strict=True):
        yield (
            id_,
            time - ANSWERED_HOURS * 3600,
            version,
            contract_hash,
            sent[place],
            said.event[place],
            said.texts[place],
            said.decisions[place],
            said.reviews[place],
            LATENCY_MS,
            f"row {place}",
            time,
        )


def _in_shadow(
    ids: list[str], drawn: npt.NDArray[np.int64], said: _Said, version: str
) -> Iterator[tuple[Any, ...]]:
    for id_, place in zip(ids, drawn.tolist(), strict=True):
        yield (
            id_,
            version,
            said.event[place],
            said.texts[place],
            said.decisions[place],
            LATENCY_MS,
            None,
        )


def _labels(
    ids: list[str], known_at: npt.NDArray[np.float64], drawn: npt.NDArray[np.int64], truth: list[str]
) -> Iterator[tuple[Any, ...]]:
    for id_, time, place in zip(ids, known_at.tolist(), drawn.tolist(), strict=True):
        if not np.isnan(time):
            yield id_, truth[place], time, time


def _insert(connection: sqlite3.Connection, table: Table, rows: Iterator[tuple[Any, ...]]) -> None:
    marks = ", ".join("?" * len(table.columns))
    connection.executemany(f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({marks})", rows)
