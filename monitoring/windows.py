"""Windows of production: days, ISO weeks and months between midnights of the contract's zone.

A row is in the window that holds its own time, or the time of its answer where it has none.
"""

import re
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.split import Period

Kind = Literal["day", "week", "month"]

USAGE = "Write a day as 2013-09-05, a week as 2013-W36 or a month as 2013-09"
# What lies outside is the mark of a broken clock, and near the ends of the calendar nothing can be counted.
FIRST_YEAR, LAST_YEAR = 1900, 2199
NO_WINDOW = -1

_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)
_WEEK = re.compile(r"(\d{4})-W(\d{2})", re.ASCII)
_MONTH = re.compile(r"(\d{4})-(\d{2})", re.ASCII)


class Window(NamedTuple):
    """The rows of a period."""

    name: str
    kind: Kind
    period: Period


class Placed(NamedTuple):
    """Which window each time is in.

    Attributes:
        windows: those that hold at least one time, in their order.
        places: int64, shape (n,): place in `windows`, or `NO_WINDOW` where a time is missing or outside the
            years that are counted.
    """

    windows: list[Window]
    places: npt.NDArray[np.int64]


def window_of(name: str, contract: Contract) -> Window:
    """The window with this name.

    Raises:
        TakeoffError: it names no day, ISO week or month of the years that are counted.
    """
    text = name.strip()
    try:
        kind, first = _read(text)
    except ValueError:
        raise TakeoffError(f"'{name}' is no window. {USAGE}.") from None
    if not FIRST_YEAR <= first.year <= LAST_YEAR:
        raise TakeoffError(f"'{name}' is not between the years {FIRST_YEAR} and {LAST_YEAR}. {USAGE}.")
    return _window(kind, first, contract)


def window_at(instant: pd.Timestamp, kind: Kind, contract: Contract) -> Window:
    """The window of a kind that holds an instant.

    Raises:
        TakeoffError: the instant is outside the years that are counted.
    """
    placed = place(pd.DatetimeIndex([instant]), kind, contract)
    if not placed.windows:
        raise TakeoffError(f"{instant} is not between the years {FIRST_YEAR} and {LAST_YEAR}.")
    return placed.windows[0]


def windows_between(start: pd.Timestamp, end: pd.Timestamp, kind: Kind, contract: Contract) -> list[Window]:
    """Every window of a kind that holds an instant from `start` up to, but not including, `end`."""
    found: list[Window] = []
    window = window_at(start, kind, contract)
    while window.period.start < end:
        if window.period.start < window.period.end:  # a zone may leave out a whole day, as Samoa did in 2011
            found.append(window)
        following = _following(kind, _read(window.name)[1])
        if following.year > LAST_YEAR:
            break
        window = _window(kind, following, contract)
    return found


def place(times: pd.DatetimeIndex, kind: Kind, contract: Contract) -> Placed:
    """The window of each time.

    Args:
        times: with a zone, in any order, shape (n,); NaT where missing.
        kind: of the windows.
        contract: whose zone has the midnights.
    """
    local = times.tz_convert(contract.time.zone)
    years = np.asarray(local.year)
    counted = (years >= FIRST_YEAR) & (years <= LAST_YEAR)  # false where the time is missing
    places = np.full(len(times), NO_WINDOW, dtype="int64")
    if not counted.any():
        return Placed([], places)
    days = np.unique(local[counted].tz_localize(None).to_numpy("datetime64[D]"))
    candidates = _candidates(kind, days.tolist(), contract)
    # By instants, not by the day on the wall: where a clock is set back over midnight, that day comes twice.
    starts = pd.DatetimeIndex([each.period.start for each in candidates]).as_unit("us")
    found = starts.searchsorted(times[counted].as_unit("us"), side="right") - 1
    used, places[counted] = np.unique(found, return_inverse=True)
    return Placed([candidates[i] for i in used], places)


def _candidates(kind: Kind, days: Iterable[date], contract: Contract) -> list[Window]:
    """Windows of these days and of the days beside them, which hold every instant of theirs."""
    firsts = {_first_day(kind, each + timedelta(days=beside)) for each in days for beside in (-1, 0, 1)}
    windows = [_window(kind, each, contract) for each in sorted(firsts)]
    return [each for each in windows if each.period.start < each.period.end]


def _read(name: str) -> tuple[Kind, date]:
    """Kind and first day; a ValueError where it is no name."""
    if found := _DAY.fullmatch(name):
        year, month, day = (int(each) for each in found.groups())
        return "day", date(year, month, day)
    if found := _WEEK.fullmatch(name):
        year, week = (int(each) for each in found.groups())
        return "week", date.fromisocalendar(year, week, 1)
    if found := _MONTH.fullmatch(name):
        year, month = (int(each) for each in found.groups())
        return "month", date(year, month, 1)
    raise ValueError(name)


def _window(kind: Kind, first: date, contract: Contract) -> Window:
    following = _following(kind, first)
    return Window(
        _name(kind, first), kind, Period(_midnight(first, contract), _midnight(following, contract))
    )


def _name(kind: Kind, first: date) -> str:
    if kind == "day":
        return first.isoformat()
    if kind == "month":
        return f"{first.year:04}-{first.month:02}"
    year, week, _ = first.isocalendar()
    return f"{year:04}-W{week:02}"


def _first_day(kind: Kind, day: date) -> date:
    if kind == "day":
        return day
    return day.replace(day=1) if kind == "month" else day - timedelta(days=day.weekday())


def _following(kind: Kind, first: date) -> date:
    if kind == "day":
        return first + timedelta(days=1)
    if kind == "week":
        return first + timedelta(days=7)
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)


def _midnight(day: date, contract: Contract) -> pd.Timestamp:
    """The first instant of a day; a zone may skip its midnight, or have it twice."""
    local = pd.Timestamp(day).tz_localize(contract.time.zone, ambiguous=True, nonexistent="shift_forward")
    return local.tz_convert("UTC")
