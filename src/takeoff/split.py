"""Cut rows by time: the window of a run, and fit, validation and test inside it."""

from datetime import date
from itertools import pairwise
from typing import NamedTuple

import pandas as pd

from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.params import PARAMS_FILE, Params

SPLITS = ("fit", "validation", "test")


class Period(NamedTuple):
    """From `start` up to, but not including, `end`; both instants in UTC."""

    start: pd.Timestamp
    end: pd.Timestamp


def window(params: Params, contract: Contract) -> Period:
    """The window of the run, from midnight to midnight in the contract's zone."""
    return Period(_midnight(params.window.start, contract), _midnight(params.window.end, contract))


def periods(params: Params, contract: Contract) -> dict[str, Period]:
    """Period of each split, in the order fit, validation, test, with no gap and no overlap.

    Raises:
        TakeoffError: the window is too short to leave anything to fit on.
    """
    end = pd.Timestamp(params.window.end)
    test = end - pd.DateOffset(months=params.split.test_months)
    validation = test - pd.DateOffset(months=params.split.validation_months)
    if validation <= pd.Timestamp(params.window.start):
        raise TakeoffError(
            f"{PARAMS_FILE}: the window from {params.window.start} to {params.window.end} leaves nothing to "
            f"fit on: validation would start on {validation.date()}. Widen the window or shorten the split."
        )
    edges = [_midnight(day, contract) for day in (params.window.start, validation, test, end)]
    return {name: Period(*pair) for name, pair in zip(SPLITS, pairwise(edges), strict=True)}


def within(rows: pd.DataFrame, period: Period, contract: Contract) -> pd.DataFrame:
    """Rows whose time is inside the period."""
    time = rows[contract.time.column]
    return rows[(time >= period.start) & (time < period.end)].reset_index(drop=True)


def check_window(rows: pd.DataFrame, params: Params, contract: Contract) -> None:
    """Raise a TakeoffError that names the key when a date of the window is outside the data."""
    first, last = days(rows, contract)
    day_after = last + pd.Timedelta(days=1)
    for key, day in (("start", params.window.start), ("end", params.window.end)):
        if not first <= day <= day_after:
            raise TakeoffError(
                f"{PARAMS_FILE}: window.{key} is {day}, but the data goes from {first} to {last}. "
                f"Choose a date from {first} to {day_after}."
            )


def days(rows: pd.DataFrame, contract: Contract) -> tuple[date, date]:
    """First and last day of the rows, in the contract's zone."""
    time = rows[contract.time.column].dt.tz_convert(contract.time.zone)
    return time.min().date(), time.max().date()


def labelled(rows: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Rows whose truth is known."""
    return rows[rows[contract.target.column].notna()].reset_index(drop=True)


def known_by(rows: pd.DataFrame, instant: pd.Timestamp, contract: Contract) -> pd.DataFrame:
    """The rows as they were known at an instant: truth that came then or later is missing.

    Without this, a run as of a past date would learn from, and be judged on, what nobody knew that day.
    """
    later = rows[contract.target.known_at] >= instant
    columns = [contract.target.column, contract.target.known_at]
    return rows.assign(**{name: rows[name].mask(later) for name in columns})


def _midnight(day: object, contract: Contract) -> pd.Timestamp:
    return pd.Timestamp(day).tz_localize(contract.time.zone).tz_convert("UTC")  # type: ignore[arg-type]
