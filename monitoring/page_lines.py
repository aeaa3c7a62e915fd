"""Which time lines and curves the page has, and what is on each."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from monitoring.page_charts import Chart, Series, chart, curve
from monitoring.page_input import ColumnDrift, Estimate, Result
from monitoring.page_words import word_of
from takeoff.evaluation import HIGHER_IS_BETTER
from takeoff.value import PER_ROWS

WORST = 6  # columns whose drift has a time line of its own
RECENT = 3  # windows by which the worst columns are chosen, and whose calibration is drawn
APART = ("cost", "event_share")  # drawn among what matters most, not among the metrics
WHOLE = (0.0, 1.0)  # of a share
GRAVITY = {"none": 0, "watch": 1, "severe": 2}
METRICS = {
    "roc_auc": "ROC AUC",
    "average_precision": "Average precision",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "calibration_error": "Calibration error",
    "cost": "Cost",
}


class Section(NamedTuple):
    """Time lines that belong together; those that are looked at first are `large`."""

    name: str
    about: str
    charts: tuple[Chart, ...]
    large: bool = False


def named(metric: str) -> str:
    """A metric's name for people."""
    return METRICS.get(metric, re.sub("_+", " ", metric).strip().capitalize())


def by_weight(results: Sequence[Result]) -> list[str]:
    """Columns, the one first whose drift weighs most: by severity, then effect times importance."""

    def weight(found: ColumnDrift) -> tuple[int, float]:
        return GRAVITY[found.severity], (found.effect or 0.0) * (found.importance or 0.0)

    heaviest: dict[str, tuple[int, float]] = {}
    for result in results:
        for found in result.drift.columns if result.drift else ():
            heaviest[found.column] = max(heaviest.get(found.column, (0, 0.0)), weight(found))
    return sorted(heaviest, key=lambda name: heaviest[name], reverse=True)


def sections(results: Sequence[Result]) -> list[Section]:
    """All time lines of windows of one kind, the oldest first; those without a value are left out."""
    if not results:
        return []
    return [
        _section(
            "Money and labels",
            "Live where labels have come, estimated from the probabilities where they have not.",
            [_money(results), _events(results), _coverage(results), _rows(results)],
            large=True,
        ),
        _section(
            "Performance",
            "Bands hold what chance explains; dashed lines are estimates or promises.",
            [_metric(name, results) for name in _metrics(results)],
        ),
        _section(
            "Calibration",
            "Rows in groups of about the same probability. Below the dotted line the model expects the event "
            "too often, above it too rarely.",
            _curves(results),
        ),
        _section(
            "Drift",
            "How far the rows moved from those that the model learnt from. Inside of the grey band is noise.",
            [*_predictions(results), _multivariate(results), *_columns(results)],
        ),
    ]


def _section(name: str, about: str, charts: Sequence[Chart | None], large: bool = False) -> Section:
    return Section(name, about, tuple(each for each in charts if each), large)


def _money(results: Sequence[Result]) -> Chart | None:
    money = [each.performance.money if each.performance else None for each in results]
    known = next((each for each in money if each), None)
    unit = f"{known.currency} per {known.per_rows:,} rows" if known else f"per {PER_ROWS:,} rows"
    return chart(
        "money",
        "Cost of the decisions",
        f"{unit}; lower is better",
        "number",
        results,
        [
            Series("live", "live", tuple(each.model if each else None for each in money)),
            _estimates("cost", results, [each.model if each else None for each in money]),
            Series("promised", "promise", _values([_promised(each, "cost") for each in results])),
            Series("plain rule", "rule", _values([each.rule if each else None for each in money])),
        ],
        word="cost",
    )


def _coverage(results: Sequence[Result]) -> Chart | None:
    shares = tuple(each.labels.share if each.labels else None for each in results)
    about = "share of the window's rows whose truth is known"
    series = [Series("labelled", "live", shares)]
    return chart("labels", "Labels", about, "share", results, series, WHOLE, "labels")


def _events(results: Sequence[Result]) -> Chart | None:
    seen = tuple(each.performance.event_share if each.performance else None for each in results)
    return chart(
        "events",
        "Calibration: events seen and expected",
        "share of rows; the lines should meet",
        "share",
        results,
        [Series("seen", "live", seen), Series("expected", "rule", tuple(map(_expected, results)))],
        [0.0],
        "events",
    )


def _expected(result: Result) -> float | None:
    """Mean probability of the event: of labelled rows, or of all while there are none."""
    if result.performance and result.performance.predicted_share is not None:
        return result.performance.predicted_share
    estimated = result.estimated.metrics.get("event_share") if result.estimated else None
    return estimated.value if estimated else None


def _rows(results: Sequence[Result]) -> Chart | None:
    counts = Series("rows", "live", tuple(float(each.rows) for each in results))
    return chart("rows", "Rows", "answered in the window", "number", results, [counts], [0.0], "rows")


def _metrics(results: Sequence[Result]) -> list[str]:
    parts = [part for each in results for part in (each.performance, each.estimated) if part]
    return [
        name for name in dict.fromkeys(name for part in parts for name in part.metrics) if name not in APART
    ]


def _metric(name: str, results: Sequence[Result]) -> Chart | None:
    live = [each.performance.metrics.get(name) if each.performance else None for each in results]
    return chart(
        _id("metric", name),
        named(name),
        "higher is better" if name in HIGHER_IS_BETTER else "lower is better",
        "number",
        results,
        [
            Series("live", "live", tuple(live)),
            _estimates(name, results, live),
            Series("promised", "promise", _values([_promised(each, name) for each in results])),
        ],
        word=word_of(name),
    )


def _curves(results: Sequence[Result]) -> list[Chart | None]:
    """Of the newest windows whose truth has come, the newest first."""
    known = [each for each in results if each.performance and each.performance.calibration]
    return [
        curve(
            f"calibration-{each.window.name}",
            f"Calibration in {each.window.name}",
            "share of rows with the event: from left to right as expected, upwards as seen",
            each.performance.calibration if each.performance else (),
            "calibration_error",
        )
        for each in reversed(known[-RECENT:])
    ]


def _estimates(name: str, results: Sequence[Result], live: Sequence[Estimate | None]) -> Series:
    """Estimated values; with their interval only where nothing is known yet, as two bands hide each other."""
    found = [each.estimated.metrics.get(name) if each.estimated else None for each in results]
    values = [e.value if e and known else e for e, known in zip(found, live, strict=True)]
    return Series("estimated", "estimated", tuple(values))


def _promised(result: Result, metric: str) -> Estimate | None:
    of_release = result.performance.promised.get(metric) if result.performance else None
    return of_release or (result.reference.promised.get(metric) if result.reference else None)


def _values(estimates: Sequence[Estimate | None]) -> tuple[float | None, ...]:
    return tuple(each.value if each else None for each in estimates)


def _predictions(results: Sequence[Result]) -> list[Chart | None]:
    parts = [each.drift.predictions if each.drift else () for each in results]
    classes = list(dict.fromkeys(found.class_ for part in parts for found in part))
    if len(classes) == 2:
        classes = classes[1:]  # probabilities of two classes move together
    return [
        _shift(
            _id("prediction", name),
            f"What the model says: {name}",
            [next((found for found in part if found.class_ == name), None) for part in parts],
            results,
        )
        for name in classes
    ]


def _columns(results: Sequence[Result]) -> list[Chart | None]:
    parts = [each.drift.columns if each.drift else () for each in results]
    return [
        _shift(
            _id("column", name),
            name,
            [next((found for found in part if found.column == name), None) for part in parts],
            results,
        )
        for name in by_weight(results[-RECENT:])[:WORST]
    ]


def _shift(
    id_: str, title: str, found: Sequence[ColumnDrift | None], results: Sequence[Result]
) -> Chart | None:
    weight = next((each.importance for each in reversed(found) if each and each.importance is not None), None)
    about = "population stability index" + (
        f"; {weight:.0%} of what the model reads" if weight is not None else ""
    )
    return chart(
        id_,
        title,
        about,
        "number",
        results,
        [
            Series("PSI", "live", tuple(each.psi if each else None for each in found)),
            _noise([each.psi_floor if each else None for each in found], 0.0),
        ],
        word="psi",
    )


def _multivariate(results: Sequence[Result]) -> Chart | None:
    found = [each.multivariate for each in results]
    return chart(
        "multivariate",
        "All columns at once",
        "ROC AUC of a classifier that tells the window from the reference; 0.5 is no difference",
        "number",
        results,
        [
            Series("ROC AUC", "live", tuple(each.roc_auc if each else None for each in found)),
            _noise([each.floor if each else None for each in found], 0.5),
        ],
        word="multivariate",
    )


def _noise(floors: Sequence[float | None], nothing: float) -> Series:
    """What chance alone reaches, as a band from where there is no difference at all."""
    bands = [
        None if each is None else Estimate(value=each, low=min(nothing, each), high=each) for each in floors
    ]
    return Series("noise", "noise", tuple(bands))


def _id(*parts: str) -> str:
    """An address within the page, for whatever a column or a class is called."""
    return "-".join(re.sub(r"[^0-9A-Za-z]+", lambda found: f"_{ord(found[0][0]):x}_", part) for part in parts)
