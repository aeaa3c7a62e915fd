"""Charts as geometry: values of windows, or of groups of rows, to places in a box of 100 by 100, which a
template draws.

The box is stretched to the width that there is. So lines and dots are drawn in it, and words beside it.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Literal, NamedTuple

from monitoring.page_input import Calibration, Estimate, Result

Style = Literal["live", "estimated", "promise", "rule", "noise"]
Unit = Literal["number", "share"]

TICKS = 4  # at most, beside a chart
DATES = 4  # at most, below a chart
LABEL_GAP = 12.0  # between two labels of lines, in hundredths of the height: one line of text
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


class Series(NamedTuple):
    """One line: a value or an estimate for each window, None where there is none."""

    name: str
    style: Style
    values: tuple[Estimate | float | None, ...]

    def center(self, i: int) -> float | None:
        """The value for a window."""
        found = self.values[i]
        return found.value if isinstance(found, Estimate) else found


class Label(NamedTuple):
    """Words at a place, which is in hundredths of the box."""

    text: str
    at: float
    style: str = ""


class Line(NamedTuple):
    """A series as paths of SVG."""

    name: str
    style: Style
    path: str
    band: str
    bars: str
    dots: str


class Hit(NamedTuple):
    """The part of the width that belongs to a window, or to a group of rows, and what stands there."""

    name: str
    left: float
    width: float
    text: str


class Chart(NamedTuple):
    """One time line or curve, ready to be drawn.

    Attributes:
        names: of the windows, or of the groups of rows, from left to right.
        of_windows: whether they are windows, which have a place on the page.
        word: that explains it, see `monitoring.page_words`; or None.
    """

    id: str
    title: str
    about: str
    word: str | None
    unit: Unit
    names: tuple[str, ...]
    of_windows: bool
    series: tuple[Series, ...]
    lines: tuple[Line, ...]
    labels: tuple[Label, ...]
    ticks: tuple[Label, ...]
    dates: tuple[Label, ...]
    changes: tuple[Label, ...]
    hits: tuple[Hit, ...]
    summary: str


def number(value: float) -> str:
    """As a person reads it: no decimals from 1,000 on, three digits below."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def text(value: Estimate | float | None, unit: Unit) -> str:
    """A value in its unit, with its interval where it has one."""
    if value is None:
        return "not known"
    if not isinstance(value, Estimate):
        return f"{value:.1%}" if unit == "share" else number(value)
    return f"{text(value.value, unit)} ({text(value.low, unit)} to {text(value.high, unit)})"


def chart(
    id_: str,
    title: str,
    about: str,
    unit: Unit,
    results: Sequence[Result],
    series: Sequence[Series],
    holds: Sequence[float] = (),
    word: str | None = None,
) -> Chart | None:
    """A chart of these windows, or None where no series has a value.

    Args:
        id_: of the element on the page.
        title, about: what is drawn; its unit, and which way is well.
        unit: of the values.
        results: the windows, the oldest first.
        series: each with as many values as there are windows. The first is the one that matters.
        holds: values that the axis reaches, whatever there is to draw.
        word: that explains it.
    """
    used = [each for each in series if any(value is not None for value in each.values)]
    if not used:
        return None
    ticks, low, high = _scale(_extent(used, holds), unit)
    places = _places(results)
    names = tuple(each.window.name for each in results)
    lines = tuple(_line(each, places, low, high) for each in used)
    return Chart(
        id=id_,
        title=title,
        about=about,
        word=word,
        unit=unit,
        names=names,
        of_windows=True,
        series=tuple(used),
        lines=lines,
        labels=_apart([_label(each, low, high) for each in used]),
        ticks=tuple(Label(_short(value, unit, ticks), _height(value, low, high)) for value in ticks),
        dates=_dates(results, places),
        changes=_changes(results),
        hits=tuple(
            Hit(name, left, width, _said(used, i, name, unit))
            for i, (name, (left, width)) in enumerate(zip(names, _spans(results), strict=True))
        ),
        summary=_summary(used, names, unit),
    )


def curve(id_: str, title: str, about: str, groups: Sequence[Calibration], word: str) -> Chart | None:
    """A calibration curve: expected from left to right, seen upwards. None where there are no groups.

    Args:
        id_, title, about, word: as of a chart.
        groups: of rows, in any order.
    """
    if not groups:
        return None
    ordered = sorted(groups, key=lambda each: each.predicted)
    names = tuple(f"{each.rows:,} rows" for each in ordered)
    series = [
        Series("seen", "live", tuple(each.observed for each in ordered)),
        Series("expected", "promise", tuple(each.predicted for each in ordered)),
    ]
    ticks, low, high = _scale(_extent(series, [0.0]), "share")
    places = [round(100 - _height(each.predicted, low, high), 2) for each in ordered]
    edges = [0.0, *((before + after) / 2 for before, after in pairwise(places)), 100.0]
    worst = max(ordered, key=lambda each: abs(each.observed - each.predicted))
    return Chart(
        id=id_,
        title=title,
        about=about,
        word=word,
        unit="share",
        names=names,
        of_windows=False,
        series=tuple(series),
        lines=tuple(_line(each, places, low, high) for each in series),
        labels=_apart([_label(each, low, high) for each in series]),
        ticks=tuple(Label(_short(value, "share", ticks), _height(value, low, high)) for value in ticks),
        dates=tuple(
            Label(_short(value, "share", ticks), round(100 - _height(value, low, high), 2)) for value in ticks
        ),
        changes=(),
        hits=tuple(
            Hit(name, round(left, 3), round(right - left, 3), _said(series, i, name, "share"))
            for i, (name, (left, right)) in enumerate(zip(names, pairwise(edges), strict=True))
        ),
        summary=f"Furthest apart: {worst.predicted:.1%} expected and {worst.observed:.1%} seen, "
        f"in {worst.rows:,} rows.",
    )


def short_name(result: Result) -> str:
    """A window's name without the year, for an axis: W36, Sep, 5 Sep."""
    name, kind = result.window.name, result.window.kind
    try:
        if kind == "month":
            return f"{datetime.strptime(name, '%Y-%m'):%b}"
        if kind == "day":
            return f"{datetime.strptime(name, '%Y-%m-%d'):%-d %b}"
    except ValueError:
        return name
    return name.partition("-")[2] or name


def _extent(series: Sequence[Series], holds: Sequence[float]) -> tuple[float, float]:
    ends = [
        end
        for each in series
        for value in each.values
        if value is not None
        for end in ((value.low, value.high) if isinstance(value, Estimate) else (value, value))
    ]
    return min([*ends, *holds]), max([*ends, *holds])


def _scale(extent: tuple[float, float], unit: Unit) -> tuple[list[float], float, float]:
    """Round numbers to write beside the axis, and the least and largest value that the box holds."""
    low, high = extent
    # An axis from 0 says how much; where that would leave all lines at the top, the difference counts.
    if low >= 0 and (low < high / 2 or high == 0):
        low = 0.0
    if high - low <= 1e-9 * max(abs(high), 1):
        margin = abs(high) / 10 or 1.0
        low, high = (low - margin if low else 0.0), high + margin
    rough = (high - low) / TICKS
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(each * scale for each in STEPS if each * scale >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [i * step for i in range(first, last + 1)]
    if unit == "share" and low >= 0 and high <= 1:
        ticks = [each for each in ticks if each <= 1 + 1e-9]
    return ticks, ticks[0], ticks[-1]


def _short(value: float, unit: Unit, ticks: Sequence[float]) -> str:
    """A tick with as many digits as tell it from its neighbours."""
    step = (ticks[1] - ticks[0]) * (100 if unit == "share" else 1)
    scaled = ((digits, step * 10.0**digits) for digits in range(30))
    digits = next(found for found, each in scaled if each > 0.5 and abs(each - round(each)) < 1e-6 * each)
    return f"{value * 100:.{digits}f}%" if unit == "share" else f"{value:,.{digits}f}"


def _height(value: float, low: float, high: float) -> float:
    """From the top of the box."""
    return round(100 - 100 * (value - low) / (high - low), 2)


def _spans(results: Sequence[Result]) -> list[tuple[float, float]]:
    """Left end and width of each window on an axis of time."""
    start = results[0].window.start
    whole = (max(each.window.end for each in results) - start).total_seconds() or 1.0
    return [
        (
            round(100 * (each.window.start - start).total_seconds() / whole, 3),
            round(100 * max((each.window.end - each.window.start).total_seconds(), 0) / whole, 3),
        )
        for each in results
    ]


def _places(results: Sequence[Result]) -> list[float]:
    return [round(left + width / 2, 3) for left, width in _spans(results)]


def _line(series: Series, places: Sequence[float], low: float, high: float) -> Line:
    runs = _runs(series)
    at = {i: f"{places[i]} {_height(value, low, high)}" for run in runs for i, value in run}
    bands, bars = [], []
    for run in runs:
        spans = [(places[i], series.values[i]) for i, _ in run]
        edges = [(x, found.low, found.high) for x, found in spans if isinstance(found, Estimate)]
        if len(edges) > 1:
            upper = [f"{x} {_height(top, low, high)}" for x, _, top in edges]
            lower = [f"{x} {_height(bottom, low, high)}" for x, bottom, _ in reversed(edges)]
            bands.append("M" + "L".join([*upper, *lower]) + "Z")
        elif edges:
            ((x, bottom, top),) = edges
            bars.append(f"M{x} {_height(top, low, high)}V{_height(bottom, low, high)}")
    return Line(
        name=series.name,
        style=series.style,
        # A value that stands alone gets a short line, as promises and rules have no dots.
        path="".join(
            "M" + "L".join(at[i] for i, _ in run) + ("m-3 0h6" if len(run) == 1 else "") for run in runs
        ),
        band="".join(bands),
        bars="".join(bars),
        # A line of no length with round ends: a dot that stays round however the box is stretched.
        dots="".join(f"M{place}h0" for place in at.values()),
    )


def _runs(series: Series) -> list[list[tuple[int, float]]]:
    """Windows that follow each other and have a value."""
    runs: list[list[tuple[int, float]]] = [[]]
    for i in range(len(series.values)):
        value = series.center(i)
        if value is not None:
            runs[-1].append((i, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _label(series: Series, low: float, high: float) -> Label:
    last = [value for run in _runs(series) for _, value in run][-1]
    return Label(series.name, _height(last, low, high), series.style)


def _apart(labels: Sequence[Label]) -> tuple[Label, ...]:
    """The same labels, moved so that none covers another and all stay beside the box."""
    ordered = sorted(labels, key=lambda each: each.at)
    highest = 0.0
    placed: list[Label] = []
    for label in ordered:
        placed.append(label._replace(at=max(label.at, highest)))
        highest = placed[-1].at + LABEL_GAP
    lowest = 100.0
    for i in reversed(range(len(placed))):
        placed[i] = placed[i]._replace(at=round(min(placed[i].at, lowest), 2))
        lowest = placed[i].at - LABEL_GAP
    return tuple(placed)


def _dates(results: Sequence[Result], places: Sequence[float]) -> tuple[Label, ...]:
    # Over the turn of a year a name needs its year, and is longer.
    over_years = len({each.window.name[:4] for each in results}) > 1
    count = min(2 if over_years else DATES, len(results))
    chosen = sorted({round(i * (len(results) - 1) / max(count - 1, 1)) for i in range(count)})
    names = [each.window.name if over_years else short_name(each) for each in results]
    return tuple(Label(names[i], places[i]) for i in chosen)


def _changes(results: Sequence[Result]) -> tuple[Label, ...]:
    """Where another version began to give most of the answers."""
    spans = _spans(results)
    return tuple(
        Label(f"version {after.version}", spans[i + 1][0])
        for i, (before, after) in enumerate(pairwise(results))
        if before.version and after.version and before.version != after.version
    )


def _said(series: Sequence[Series], i: int, name: str, unit: Unit) -> str:
    lines = [
        f"{each.name} {text(each.values[i], unit)}" for each in series if each.values[i] is not None
    ] or ["no value"]
    return "\n".join([name, *lines])


def _summary(series: Sequence[Series], names: Sequence[str], unit: Unit) -> str:
    """What the lines show, in words."""
    said = []
    for each in series:
        known = [(name, value) for name, value in zip(names, each.values, strict=True) if value is not None]
        (first, start), (last, end) = known[0], known[-1]
        if len(known) == 1:
            said.append(f"{each.name}: {text(start, unit)} in {first}")
        else:
            said.append(f"{each.name}: from {text(start, unit)} in {first} to {text(end, unit)} in {last}")
    return "; ".join(said) + "."
