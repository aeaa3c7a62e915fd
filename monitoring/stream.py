"""Production rows as a stream: what is sent, when it happened, and when its truth is known. No I/O."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic_core import to_json

from takeoff.contract import Contract

Times = npt.NDArray[np.float64]


class Stream(NamedTuple):
    """What is played.

    Attributes:
        times: unix seconds of each row, ascending, float64, shape (n,).
        bodies: each row as a caller sends it.
        truths: of each row when it is known (unix seconds) and what it is; None where it never will be.
        ids: the caller's own id of each row.
    """

    times: Times
    bodies: Sequence[bytes]
    truths: Sequence[tuple[float, str] | None]
    ids: Sequence[str]


class Tick(NamedTuple):
    """A stretch of simulated time, unix seconds, and the places of its rows."""

    start: float
    end: float
    rows: range


def ticks(times: Times, size: float, first: float, until: float) -> Iterator[Tick]:
    """Stretches of `size` simulated seconds from `first` up to `until`, without gaps, in order.

    Args:
        times: of the rows, unix seconds, ascending.
        size: of a tick.
        first: start of the first one, unix seconds.
        until: the last one starts before it.
    """
    start = first
    while start < until:
        low, high = np.searchsorted(times, [start, start + size])
        yield Tick(start, start + size, range(int(low), int(high)))
        start += size


def prepare(rows: pd.DataFrame, contract: Contract) -> Stream:
    """Rows as they are sent.

    Args:
        rows: contract rows ordered by time.
        contract: what a row is.
    """
    time_column, target = contract.time.column, contract.target
    names = [*contract.columns, contract.id]
    plain = {name: _plain(rows[name]) for name in names}
    instants = [each.isoformat() for each in rows[time_column]]
    bodies = [
        to_json({**dict(zip(names, values, strict=True)), time_column: instant})
        for instant, *values in zip(instants, *plain.values(), strict=True)
    ]
    known = _seconds(rows[target.known_at])
    truths = [
        None if missing else (float(when), str(label))
        for missing, when, label in zip(
            rows[target.column].isna() | rows[target.known_at].isna(), known, rows[target.column], strict=True
        )
    ]
    return Stream(_seconds(rows[time_column]), bodies, truths, [str(each) for each in rows[contract.id]])


def _plain(values: pd.Series) -> list[Any]:
    """As JSON has them: None where missing."""
    if pd.api.types.is_numeric_dtype(values):
        numbers = values.astype("float64")
        return list(numbers.astype(object).where(numbers.notna(), None))
    return [None if missing else str(each) for missing, each in zip(values.isna(), values, strict=True)]


def _seconds(instants: pd.Series) -> Times:
    """Unix seconds, float64; NaN where there is no instant."""
    seconds = (instants - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    return np.asarray(seconds, dtype=np.float64)
