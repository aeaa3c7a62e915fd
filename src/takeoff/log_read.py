"""The prediction log as frames: in bounded memory, beside a service that writes into it.

Every query is short, over a range of the order in which rows came. So a log that is being written to is
neither locked nor kept from tidying up behind itself; rows that come after the start are not read.
"""

import json
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from takeoff import log_lines
from takeoff.ahead import ahead
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.log_lines import FIELDS, WINDOW_TIME, Lines, chosen, read_fields, statement
from takeoff.log_rows import parse_arrays, parse_rows
from takeoff.log_schema import PREDICTIONS, SCHEMA_INFO, SCHEMA_VERSION, Dialect
from takeoff.log_store import sqlite_file
from takeoff.split import Period

OTHER_CLASSES = "answered with other classes than the contract's"
UNKNOWN_CONTRACT = "of a contract that the log does not know"

SHADOW_VERSION = "shadow_version"
INSTANTS = ("window_time", "time", "label_time", "known_at")
NEEDED = ("contract", "decision", SHADOW_VERSION)  # to read a prediction at all
SUMMARY = (
    "SELECT p.model_version, p.contract, p.decision, max(p.probabilities), count(*), "
    f"min({WINDOW_TIME}), max({WINDOW_TIME}), count(l.label) "
    "FROM predictions p LEFT JOIN labels l ON l.prediction_id = p.id "
    "WHERE p.seq > ? AND p.seq <= ? GROUP BY p.model_version, p.contract, p.decision"
)
ROWS_A_QUERY = 100_000  # of which nothing but counts is fetched
LOOKED_AT = 100  # rows at each end of the log, to know how long they are

# What `Chunk.answers` has of each prediction.
ANSWERS = tuple(name for name in FIELDS if name != SHADOW_VERSION)

Floats = npt.NDArray[np.float32]
_Contracts = Mapping[str, Sequence[str]]  # columns by the contract's hash


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

    dialect: Dialect

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement with `?` for values; its rows."""

    def has_table(self, name: str) -> bool:
        """Whether there is a table of this name."""

    def close(self) -> None:
        """End the connection; may be called twice."""


def read_chunks(
    url: str,
    contract: Contract,
    period: Period | None = None,
    rows: int = log_lines.ROWS_A_QUERY,
    answers: Sequence[str] = ANSWERS,
) -> Generator[Chunk, None, None]:
    """The predictions of a period, with the labels and the shadows that have come; reading begins at once.

    Reads what was in the log at the start; a label counts that is there when its chunk is read. Leaves out
    what the contract cannot read (see `Overview.left_out`).

    Args:
        url: of the prediction log, sqlite:///FILE or postgresql://...
        contract: by which rows are read; what another contract called the same is taken as the same.
        period: of `window_time`; by default all.
        rows: most rows of a chunk, which bounds the memory.
        answers: columns of `Chunk.answers` that are wanted: each takes time.

    Yields:
        Chunks of 1 to `rows` rows; none where nothing is in the period.

    Raises:
        StoreUnavailable: the database cannot be used now.
        TakeoffError: there is no log, or it is of a newer version of this project.
    """
    names = [name for name in FIELDS if name in {*answers, *NEEDED}]
    wanted = [name for name in ANSWERS if name in answers]
    # Lines are fetched while those before them are made a chunk, and that is used.
    return _chunks(ahead(_fetched(url, names, period, rows, contract)), names, wanted, contract)


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


def last_row(url: str) -> int:
    """The `seq` of the last row of the log, 0 in an empty one; quick.

    Raises:
        StoreUnavailable: the database cannot be used now.
        TakeoffError: there is no log, or it is of a newer version of this project.
    """
    with closing(open_reader(url)) as reader:
        return bounds(reader)[1]


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


def _fetched(
    url: str, names: Sequence[str], period: Period | None, size: int, contract: Contract
) -> Generator[tuple[_Contracts, Lines]]:
    """Lines with the contracts by which they can be read."""
    with closing(open_reader(url)) as reader:
        contracts = _contracts(reader, contract)
        for lines in _fetch(reader, names, period, size):
            yield contracts, lines


def _fetch(reader: Reader, names: Sequence[str], period: Period | None, size: int) -> Iterator[Lines]:
    """Predictions in the order of `seq`, up to `size` at once, from one short query after the other."""
    sql, values = statement(names, period, reader.dialect)
    waiting: Lines | None = None
    first, last = bounds(reader)
    step = min(size, log_lines.ROWS_A_QUERY, _fitting(reader, first, last))
    for start in range(first, last, step):
        [found] = reader.query(sql, start, min(start + step, last), *values)
        if not found[0]:
            continue
        lines = Lines(*found)
        if waiting and waiting.count + lines.count > size:
            yield waiting
            waiting = None
        waiting = waiting + lines if waiting else lines
    if waiting:
        yield waiting


def _fitting(reader: Reader, first: int, last: int) -> int:
    """How many rows fit into one value of the database, as long as they are at both ends of the log."""
    [(longest,)] = reader.query(
        "SELECT max(length(p.row)) FROM predictions p WHERE p.seq <= ? OR p.seq > ?",
        first + LOOKED_AT,
        last - LOOKED_AT,
    )
    return max(1, log_lines.CHARACTERS_A_QUERY // (longest or 1))


def _chunks(
    fetched: Generator[tuple[_Contracts, Lines]], names: Sequence[str], wanted: list[str], contract: Contract
) -> Generator[Chunk, None, None]:
    with closing(fetched):
        for contracts, lines in fetched:
            chunk = _chunk(lines, names, contracts, contract)
            if chunk is not None:
                yield chunk._replace(answers=chunk.answers[wanted])


def _chunk(lines: Lines, names: Sequence[str], contracts: _Contracts, contract: Contract) -> Chunk | None:
    """Lines as a chunk, without those that the contract cannot read; None where that is all."""
    answers = _answers(read_fields(lines.fields, names), contract)
    said = parse_arrays(lines.probabilities, len(contract.target.classes))
    shadow = parse_arrays(lines.shadows, len(contract.target.classes))
    rows = lines.rows
    if rows.count("\n") + 1 != lines.count:
        raise TakeoffError(
            "The prediction log is damaged: a row has a line's end in it. Find out what else writes into it, "
            "or use another log."
        )
    known = answers["contract"].isin(list(contracts)) & answers["decision"].notna() & ~np.isnan(said[:, 0])
    if not known.all():
        kept = np.flatnonzero(known).tolist()
        if not kept:
            return None
        rows, said, shadow = chosen(rows, kept), said[kept], shadow[kept]
        answers = answers.iloc[kept].reset_index(drop=True)
        answers["contract"] = answers["contract"].cat.remove_unused_categories()
    return Chunk(
        rows=parse_rows(rows, answers["contract"], contracts, contract),
        answers=answers,
        probabilities=said,
        shadow=shadow,
        shadow_versions=answers[SHADOW_VERSION].rename(None),
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


def _answers(fields: pa.Table, contract: Contract) -> pd.DataFrame:
    """The fields in the types of `Chunk`; a decision or label that is no class of the contract is missing."""
    columns: dict[str, Any] = {name: fields[name].to_pandas() for name in fields.column_names}
    for name, values in columns.items():
        if name in INSTANTS:
            columns[name] = _instants(values.to_numpy())
        elif name in ("decision", "label"):
            columns[name] = values.cat.set_categories(list(contract.target.classes))
        elif name == "review":
            columns[name] = values.astype("bool")
    return pd.DataFrame(columns)


def _instants(microseconds: npt.NDArray[np.float64]) -> "pd.Series[Any]":
    """Microseconds since 1970 as instants in UTC."""
    missing = np.isnan(microseconds)
    instants = np.round(np.where(missing, 0, microseconds)).astype("datetime64[us]")
    instants[missing] = np.datetime64("NaT")
    return pd.Series(instants).dt.tz_localize("UTC")


def _instant(seconds: float) -> pd.Timestamp:
    return pd.Timestamp(_instants(np.array([seconds * 1e6]))[0])


def _seconds(period: Period) -> list[float]:
    return [period.start.timestamp(), period.end.timestamp()]
