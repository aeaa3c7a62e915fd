"""Where a retrain moves the window to: pure functions on dates, and on the text of ``params.yaml``."""

from datetime import date

import pandas as pd

from monitoring.params_text import replaced
from takeoff.errors import TakeoffError
from takeoff.params import PARAMS_FILE, Window

USAGE = "Write a day as in AS_OF=2013-10-01"


def read_day(text: str) -> date:
    """The day that a person wrote as YYYY-MM-DD.

    Raises:
        TakeoffError: it is no day of the calendar.
    """
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise TakeoffError(f"'{text}' is no day. {USAGE}: the first one that is not known yet.") from None


def moved(window: Window, as_of: date, first: date, today: date) -> Window:
    """The window that ends at `as_of` and is as long as it was, but starts no sooner than the data does.

    A length is counted in whole months and the days that are left, as the splits inside it are.

    Args:
        window: as it is.
        as_of: its new end, the first day that is not known.
        first: first day of the data.
        today: the day on which this is asked.

    Raises:
        TakeoffError: `as_of` has not come yet, or leaves no window.
    """
    if as_of > today:
        raise TakeoffError(f"{as_of} has not come yet (today is {today}). {USAGE}, today at the latest.")
    if as_of <= max(window.start, first):
        raise TakeoffError(
            f"{as_of} is not after {max(window.start, first)}, where the window starts. {USAGE}, well after "
            f"that day: `split` in {PARAMS_FILE} counts back from it."
        )
    if as_of == window.end:
        return window
    months, days = _length(window)
    start = (pd.Timestamp(as_of) - pd.DateOffset(months=months, days=days)).date()
    return Window(start=max(start, first), end=as_of)


def with_window(text: str, window: Window) -> str:
    """The text of ``params.yaml`` with another window; comments, order and layout stay.

    Raises:
        TakeoffError: it holds no window.
    """
    for name in ("start", "end"):
        text = replaced(text, f"window.{name}", f"'{getattr(window, name)}'")
    return text


def _length(window: Window) -> tuple[int, int]:
    """Whole months from start to end, and the days that are left."""
    start, end = pd.Timestamp(window.start), pd.Timestamp(window.end)
    months = (end.year - start.year) * 12 + end.month - start.month
    while start + pd.DateOffset(months=months) > end:
        months -= 1
    return months, (end - (start + pd.DateOffset(months=months))).days
