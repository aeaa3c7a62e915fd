"""Faults that a replay plants on purpose: what goes wrong in production, as pure functions on a frame."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import pandas as pd

from takeoff.contract import CONTRACT_FILE, Contract
from takeoff.errors import TakeoffError
from takeoff.settings import nearest

# What a feed may be switched to by mistake: unit of the contract, the other one, and factor and offset to it.
UNITS: Mapping[str, tuple[str, float, float]] = {
    "degF": ("degC", 5 / 9, -32 * 5 / 9),
    "degC": ("degF", 9 / 5, 32.0),
    "mph": ("km/h", 1.609344, 0.0),
    "km/h": ("mph", 1 / 1.609344, 0.0),
    "mile": ("km", 1.609344, 0.0),
    "km": ("mile", 1 / 1.609344, 0.0),
    "inch": ("mm", 25.4, 0.0),
    "mm": ("inch", 1 / 25.4, 0.0),
    "hPa": ("inHg", 0.02953, 0.0),
    "min": ("h", 1 / 60, 0.0),
    "h": ("min", 60.0, 0.0),
    "a": ("months", 12.0, 0.0),
}
LETTERS = "QXZJKVWY9870"  # tried in the places of a value, to make one that nobody has seen
SECOND = "#2"  # behind the id of a row that comes a second time


class Fault(NamedTuple):
    """What goes wrong.

    Attributes:
        name: one of `FAULTS`.
        column: where; None for a fault of all traffic.
        start: instant (UTC) from which it is there.
    """

    name: str
    column: str | None
    start: pd.Timestamp


def read_fault(text: str, start: pd.Timestamp, contract: Contract) -> Fault:
    """The fault that a person named as NAME or NAME:COLUMN.

    Raises:
        TakeoffError: there is no such fault or column, or the one can't happen to the other.
    """
    name, _, column = text.partition(":")
    if name not in FAULTS:
        raise TakeoffError(f"There is no fault '{name}'; {nearest(name, list(FAULTS))}")
    if name == DOUBLE:
        if column:
            raise TakeoffError(f"The fault '{name}' is one of all traffic: it takes no column.")
        return Fault(name, None, start)
    fitting = [each for each in contract.columns if _fits(name, each, contract)]
    if column not in contract.columns:
        hint = nearest(column, fitting) if column else f"one of {', '.join(fitting)}."
        raise TakeoffError(
            f"The fault '{name}' needs a column of {CONTRACT_FILE}, as in {name}:COLUMN; {hint}"
        )
    if column not in fitting:
        raise TakeoffError(f"The fault '{name}' can't happen to '{column}'. It can to: {', '.join(fitting)}.")
    return Fault(name, column, start)


def plant(rows: pd.DataFrame, fault: Fault, contract: Contract) -> pd.DataFrame:
    """Rows as they come once the fault is there; those before it, and all truth, stay as they are.

    Args:
        rows: contract rows, ordered by time.
        fault: see `read_fault`.
        contract: what a row is.

    Returns:
        A new frame, ordered by time; only `double` changes how many rows there are.

    Raises:
        TakeoffError: the column has no value at all, or no new one can be made.
    """
    since = rows[contract.time.column] >= fault.start
    if not since.any():
        return rows
    if fault.column is None:
        return _double(rows, since, contract)
    if rows[fault.column].isna().all():
        raise TakeoffError(
            f"Nothing can go wrong with '{fault.column}': no row that is played has a value of it."
        )
    values = CHANGES[fault.name](rows[fault.column], since, fault.column, contract)
    return rows.assign(**{fault.column: rows[fault.column].where(~since, values)})


Change = Callable[["pd.Series", "pd.Series[bool]", str, Contract], "pd.Series"]


def _stuck(values: pd.Series, since: "pd.Series[bool]", column: str, contract: Contract) -> pd.Series:
    """The last value that the source gave, again and again."""
    given = values[~since].dropna()
    last = given.iloc[-1] if len(given) else values.dropna().iloc[0]
    return pd.Series(last, index=values.index, dtype=values.dtype)


def _units(values: pd.Series, since: "pd.Series[bool]", column: str, contract: Contract) -> pd.Series:
    """The same measured in another unit."""
    _, factor, offset = UNITS[str(contract.columns[column].unit)]
    return (values * factor + offset).astype(values.dtype)


def _missing(values: pd.Series, since: "pd.Series[bool]", column: str, contract: Contract) -> pd.Series:
    """Nothing."""
    return pd.Series(None, index=values.index, dtype=values.dtype)


def _new_category(values: pd.Series, since: "pd.Series[bool]", column: str, contract: Contract) -> pd.Series:
    """The most frequent value under a name that nobody has seen, as after a merger."""
    known = values.dropna().astype(str)
    common = known.mode().iloc[0]
    renamed = unseen(common, set(known), contract.columns[column].pattern or "")
    return values.astype(object).where(values != common, renamed).astype(values.dtype)


def _double(rows: pd.DataFrame, since: "pd.Series[bool]", contract: Contract) -> pd.DataFrame:
    again = rows[since].assign(**{contract.id: rows.loc[since, contract.id].astype(str) + SECOND})
    together = pd.concat([rows, again])
    return together.sort_values(contract.time.column, kind="stable").reset_index(drop=True)


CHANGES: Mapping[str, Change] = {
    "stuck": _stuck,
    "units": _units,
    "missing": _missing,
    "new-category": _new_category,
}
DOUBLE = "double"  # changes how many rows there are, and no column
FAULTS = (*CHANGES, DOUBLE)


def unseen(value: str, known: Iterable[str], pattern: str) -> str:
    """A text like `value` that is not among `known` and fits `pattern`.

    Raises:
        TakeoffError: none was found by changing up to two letters.
    """
    taken = set(known)
    for first in range(len(value)):
        for letter in LETTERS:
            for second in range(len(value)):
                for other in LETTERS:
                    letters = list(value)
                    letters[first], letters[second] = letter, other
                    made = "".join(letters)
                    if made not in taken and re.search(pattern, made):
                        return made
    raise TakeoffError(f"No new value like '{value}' fits the pattern {pattern} of {CONTRACT_FILE}.")


def _fits(name: str, column: str, contract: Contract) -> bool:
    about = contract.columns[column]
    if name == "units":
        return about.is_number and about.unit in UNITS
    if name == "stuck":
        return about.is_number
    if name == "new-category":
        return about.type == "category" and about.pattern is not None
    return True
