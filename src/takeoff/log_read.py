"""The prediction log as frames: in bounded memory, beside a service that writes into it.

Every query is short, over a range of the order in which rows came. So a log that is being written to is
neither locked nor kept from tidying up behind itself; rows that come after the start are not read.
"""

import json
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import compress
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.log_rows import parse_arrays, parse_rows
from takeoff.log_schema import PREDICTIONS, SCHEMA_INFO, SCHEMA_VERSION
from takeoff.log_store import sqlite_file
from takeoff.split import Period

OTHER_CLASSES = "answered with other classes than the contract's"
UNKNOWN_CONTRACT = "of a contract that the log does not know"

# Where a row has no time of its own, that of its answer stands for it.
WINDOW_TIME = "coalesce(p.row_time, p.time)"
CHOSEN = (
    f"p.seq, p.id, {WINDOW_TIME}, p.time, p.model_version, p.contract, p.row, p.probabilities, p.decision, "
    "p.review, p.latency_ms, p.row_id, l.label, l.time, l.known_at, s.model_version, s.probabilities"
)
# The service asks one challenger of a row. Should a log hold several all the same, the last by name is read:
# a version is `candidate-hash`, which tells no order, and the log does not keep when they answered.
JOINED = (
    "FROM predictions p LEFT JOIN labels l ON l.prediction_id = p.id "
    "LEFT JOIN shadow_predictions s ON s.prediction_id = p.id AND NOT EXISTS (SELECT 1 "
    "FROM shadow_predictions n WHERE n.prediction_id = p.id AND n.model_version > s.model_version) "
    "WHERE p.seq > ? AND p.seq <= ?"
)
SUMMARY = (
    "SELECT p.model_version, p.contract, p.decision, max(p.probabilities), count(*), "
    f"min({WINDOW_TIME}), max({WINDOW_TIME}), count(l.label) "
    "FROM predictions p LEFT JOIN labels l ON l.prediction_id = p.id "
    "WHERE p.seq > ? AND p.seq <= ? GROUP BY p.model_version, p.contract, p.decision"
)
ROWS_A_QUERY = 100_000

Floats = npt.NDArray[np.float32]
Values = Sequence[Any]


class Chunk(NamedTuple):
    """Some predictions of the log, in the order in which they came; every part has the same n rows.

    Attributes:
        rows: the contract's columns in its order, with a RangeIndex: numbers float32 with NaN where missing,
            categories `category` of str, missing where missing. A column that the row's own contract did
            not have is missing.
        answers: with the same index:
            prediction_id (str), row_id (str, missing where the caller gave none),
            window_time (datetime64 UTC): the row's own time, or that of the answer where it has none,
            time (datetime64 UTC): of the answer,
            model_version, contract (category): who answered, and by which contract the row was read,
            decision (category of the contract's classes), review (bool), latency_ms (float32),
            label (category of the contract's classes, missing where none has come),
            label_time, known_at (datetime64 UTC or NaT): when the label arrived, and when it was known.
        probabilities: float32, shape (n, classes), in the contract's order of classes.
        shadow: what the challenger said, float32, shape (n, classes); NaN where it said nothing.
        shadow_versions: category, shape (n,): version of the challenger that was asked, else missing. Where
            several were, as the service never does, the last by name. A version beside NaN in `shadow` is a
            challenger that failed.
    """

    rows: pd.DataFrame
    answers: pd.DataFrame
    probabilities: Floats
    shadow: Floats
    shadow_versions: "pd.Series[Any]"


class Overview(NamedTuple):
    """What the log holds.

    Attributes:
        rows: predictions, those left out among them.
        first, last: earliest and latest `window_time`, UTC; None in an empty log.
        model_versions: predictions by the version that answered.
        contracts: predictions by the hash of the contract that they were read by.
        left_out: predictions that `read_chunks` leaves out, by reason.
        labels: in the log.
        labels_without_prediction: labels whose prediction is not in the log: not yet, or removed.
    """

    rows: int
    first: pd.Timestamp | None
    last: pd.Timestamp | None
    model_versions: dict[str, int]
    contracts: dict[str, int]
    left_out: dict[str, int]
    labels: int
    labels_without_prediction: int


class Reader(Protocol):
    """What reading needs of a database. Every call may raise StoreUnavailable."""

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement with `?` for values; its rows."""

    def has_table(self, name: str) -> bool:
        """Whether there is a table of this name."""

    def close(self) -> None:
        """End the connection; may be called twice."""


class _Fetched(NamedTuple):
    """The columns of `CHOSEN`, in its order."""

    seq: Values
    id: Values
    window_time: Values
    time: Values
    model_version: Values
    contract: Values
    row: Values
    probabilities: Values
    decision: Values
    review: Values
    latency_ms: Values
    row_id: Values
    label: Values
    label_time: Values
    known_at: Values
    shadow_version: Values
    shadow_probabilities: Values


def read_chunks(
    url: str, contract: Contract, period: Period | None = None, rows: int = ROWS_A_QUERY
) -> Generator[Chunk, None, None]:
    """The predictions of a period, with the labels and the shadows that have come.

    Reads what was in the log at the start; a label counts that is there when its chunk is read. Leaves out
    what the contract cannot read (see `Overview.left_out`).

    Args:
        url: of the prediction log, sqlite:///FILE or postgresql://...
        contract: by which rows are read; what another contract called the same is taken as the same.
        period: of `window_time`; by default all.
        rows: most rows of a chunk, which bounds the memory.

    Yields:
        Chunks of 1 to `rows` rows; none where nothing is in the period.

    Raises:
        StoreUnavailable: the database cannot be used now.
        TakeoffError: there is no log, or it is of a newer version of this project.
    """
    with closing(open_reader(url)) as reader:
        contracts = _contracts(reader, contract)
        for fetched in _fetch(reader, period, rows):
            chunk = _chunk(fetched, contracts, contract)
            if chunk is not None:
                yield chunk


def overview(url: str, contract: Contract) -> Overview:
    """What the log holds; looks at every prediction.

    Raises:
        StoreUnavailable: the database cannot be used now.
        TakeoffError: there is no log, or it is of a newer version of this project.
    """
    versions: Counter[str] = Counter()
    hashes: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    times: list[float] = []
    labelled = 0
    with closing(open_reader(url)) as reader:
        contracts = _contracts(reader, contract)
        [(labels,)] = reader.query("SELECT count(*) FROM labels")
        first, last = bounds(reader)
        for start in range(first, last, ROWS_A_QUERY):
            for version, used, decision, said, count, earliest, latest, known in reader.query(
                SUMMARY, start, min(start + ROWS_A_QUERY, last)
            ):
                versions[version] += count
                hashes[used] += count
                times += [earliest, latest]
                labelled += known
                fits = len(json.loads(said)) == len(contract.target.classes)
                if reason := _unreadable(used, decision, fits, contracts, contract):
                    left_out[reason] += count
    return Overview(
        rows=versions.total(),
        first=_instant(min(times)) if times else None,
        last=_instant(max(times)) if times else None,
        model_versions=dict(sorted(versions.items())),
        contracts=dict(sorted(hashes.items())),
        left_out=dict(sorted(left_out.items())),
        labels=labels,
        # A label that came while this was read was not counted before.
        labels_without_prediction=max(labels - labelled, 0),
    )


def open_reader(url: str) -> Reader:
    """A connection that reads the log; for the modules `log_*` alone.

    Raises:
        StoreUnavailable: the database cannot be used now.
        TakeoffError: there is no log, or it is of a newer version of this project.
    """
    reader: Reader
    if (file := sqlite_file(url)) is not None:
        from takeoff.log_sqlite import SqliteReader

        reader = SqliteReader(file)
    else:
        from takeoff.log_postgres import PostgresReader

        reader = PostgresReader(url)
    try:
        _check(reader)
    except BaseException:
        reader.close()
        raise
    return reader


def _check(reader: Reader) -> None:
    if not (reader.has_table(SCHEMA_INFO.name) and reader.has_table(PREDICTIONS.name)):
        raise TakeoffError(
            "The database at this address (TAKEOFF_LOG_URL) is no prediction log: its tables are not there. "
            "The service makes them when it starts; check the address, or start the service with it."
        )
    version = int(dict(reader.query("SELECT name, value FROM schema_info")).get("version", SCHEMA_VERSION))
    if version > SCHEMA_VERSION:
        raise TakeoffError(
            f"The prediction log was made by a newer version of this project (its schema is {version}, "
            f"this one knows {SCHEMA_VERSION}). Read it with that version."
        )


def _contracts(reader: Reader, contract: Contract) -> dict[str, tuple[str, ...]]:
    """Columns of each contract that the log knows, in the order of a row's values."""
    known = {hash_: tuple(json.loads(text)) for hash_, text in reader.query("SELECT * FROM contracts")}
    return known | {contract.hash: tuple(contract.columns)}


def bounds(reader: Reader) -> tuple[int, int]:
    """The `seq` before the first row, and that of the last row now."""
    [(first, last)] = reader.query("SELECT min(seq), max(seq) FROM predictions")
    return (0, 0) if first is None else (first - 1, last)


def _fetch(reader: Reader, period: Period | None, size: int) -> Iterator[list[tuple[Any, ...]]]:
    """Rows of `CHOSEN` in the order of `seq`, up to `size` at once, from one short query after the other."""
    condition, values = "", list[float]()
    if period is not None:
        condition, values = f"AND {WINDOW_TIME} >= ? AND {WINDOW_TIME} < ?", _seconds(period)
    sql = f"SELECT {CHOSEN} {JOINED} {condition} ORDER BY p.seq LIMIT ?"
    waiting: list[tuple[Any, ...]] = []
    position, last = bounds(reader)
    while position < last:
        upto, room = min(position + ROWS_A_QUERY, last), size - len(waiting)
        found = reader.query(sql, position, upto, *values, room)
        position = found[-1][0] if len(found) == room else upto
        waiting += found
        if len(waiting) >= size:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _chunk(
    fetched: Sequence[tuple[Any, ...]], contracts: Mapping[str, Sequence[str]], contract: Contract
) -> Chunk | None:
    """Rows of `CHOSEN` as a chunk, without those that the contract cannot read; None where that is all."""
    columns = _Fetched(*zip(*fetched, strict=True))
    classes = contract.target.classes
    said = parse_arrays(columns.probabilities, len(classes))
    fits = ~np.isnan(said[:, 0])
    odd = not (
        fits.all() and contracts.keys() >= set(columns.contract) and set(classes) >= set(columns.decision)
    )
    if odd:
        cases = list(zip(columns.contract, columns.decision, fits.tolist(), strict=True))
        bad = {case for case in set(cases) if _unreadable(*case, contracts, contract)}
        kept = [case not in bad for case in cases]
        if not any(kept):
            return None
        columns, said = _Fetched(*(list(compress(each, kept)) for each in columns)), said[kept]
    return Chunk(
        rows=parse_rows(columns.row, columns.contract, contracts, contract),
        answers=_answers(columns, contract),
        probabilities=said,
        shadow=parse_arrays(columns.shadow_probabilities, len(classes)),
        shadow_versions=_categories(columns.shadow_version),
    )


def _unreadable(
    used: str, decision: str, fits: bool, contracts: Mapping[str, Sequence[str]], contract: Contract
) -> str | None:
    """Why the contract cannot read a prediction of the contract `used`; None where it can.

    Args:
        fits: whether there is a probability for each of the contract's classes.
    """
    if used not in contracts:
        return UNKNOWN_CONTRACT
    if not fits or decision not in contract.target.classes:
        return OTHER_CLASSES
    return None


def _answers(columns: "_Fetched", contract: Contract) -> pd.DataFrame:
    classes = list(contract.target.classes)
    return pd.DataFrame(
        {
            "prediction_id": pd.Series(columns.id, dtype="str"),
            "window_time": _instants(columns.window_time),
            "time": _instants(columns.time),
            "model_version": _categories(columns.model_version),
            "contract": _categories(columns.contract),
            "decision": _categories(columns.decision, classes),
            "review": np.array(columns.review, dtype=bool),  # SQLite has but 0 and 1
            "latency_ms": np.array(columns.latency_ms, dtype=np.float32),
            "label": _categories(columns.label, classes),
            "label_time": _instants(columns.label_time),
            "known_at": _instants(columns.known_at),
            "row_id": pd.Series(columns.row_id, dtype="str"),
        }
    )


def _categories(values: Values, classes: Sequence[str] | None = None) -> "pd.Series[Any]":
    """Texts as a category; of `classes`, if given, and missing where it is none of them."""
    found: pd.Series[Any] = pa.array(values, pa.string()).dictionary_encode().to_pandas()
    return found if classes is None else found.cat.set_categories(classes)


def _instants(seconds: Values) -> "pd.Series[Any]":
    """Unix seconds as instants in UTC, to the microsecond."""
    exact = np.array(seconds, dtype=np.float64)
    missing = np.isnan(exact)
    instants = np.round(np.where(missing, 0, exact) * 1e6).astype("datetime64[us]")
    instants[missing] = np.datetime64("NaT")
    return pd.Series(instants).dt.tz_localize("UTC")


def _instant(seconds: float) -> pd.Timestamp:
    return pd.Timestamp(_instants([seconds])[0])


def _seconds(period: Period) -> list[float]:
    return [period.start.timestamp(), period.end.timestamp()]
