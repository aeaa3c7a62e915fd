"""Where a retrain moves the window to: pure functions on dates, and on the text of ``params.yaml``."""

from datetime import date

import pandas as pd
import yaml

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
    places = _places(text)
    # From the back, so that the places in front stay right.
    for name, (begin, end) in sorted(places.items(), key=lambda place: place[1], reverse=True):
        text = f"{text[:begin]}'{getattr(window, name)}'{text[end:]}"
    return text


def _length(window: Window) -> tuple[int, int]:
    """Whole months from start to end, and the days that are left."""
    start, end = pd.Timestamp(window.start), pd.Timestamp(window.end)
    months = (end.year - start.year) * 12 + end.month - start.month
    while start + pd.DateOffset(months=months) > end:
        months -= 1
    return months, (end - (start + pd.DateOffset(months=months))).days


def _places(text: str) -> dict[str, tuple[int, int]]:
    """Where the values of window.start and window.end stand, in characters."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    dates = _children(_children(root).get("window"))
    if not {"start", "end"} <= set(dates):
        raise TakeoffError(f"{PARAMS_FILE} has no window with start and end, so it can't be moved.")
    return {name: (dates[name].start_mark.index, dates[name].end_mark.index) for name in ("start", "end")}


def _children(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """What a mapping of YAML holds, by key."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {str(key.value): value for key, value in node.value}
