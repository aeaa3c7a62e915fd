"""What in one window is a reason to watch or to retrain, each with what was measured and what is required."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from takeoff.log_schema import INVALID_ROWS
from takeoff.params import Labels, Levels, Metric, Monitoring, Quality
from takeoff.value import PER_ROWS

Severity = Literal["watch", "retrain"]
Direction = Literal["at most", "at least"]
About = Literal[
    "performance", "estimate", "prediction drift", "drift", "multivariate drift", "quality", "gap"
]
Result = Mapping[str, Any]
Estimate = Mapping[str, float]

ORDER: tuple[About, ...] = (
    "performance",
    "estimate",
    "prediction drift",
    "drift",
    "multivariate drift",
    "quality",
    "gap",
)


class Reason(NamedTuple):
    """Why a window is not healthy.

    Attributes:
        window: its name.
        what: what was measured, in a few words.
        column: the one it is about, or None.
        measured: value, in the unit of `required`.
        required: the level it has passed.
        direction: which side of `required` would be well.
        severity: what it is a reason for.
        text: all of it, in a sentence without a full stop.
        about: which part of the window's JSON it rests on.
    """

    window: str
    what: str
    column: str | None
    measured: float
    required: float
    direction: Direction
    severity: Severity
    text: str
    about: About


def number(value: float) -> str:
    """As a person reads it: no decimals from 1,000 on, three digits below."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def metric(metrics: Mapping[str, Estimate | None] | None, name: Metric) -> Estimate | None:
    """A metric that may not have been measured."""
    return (metrics or {}).get(name)


def is_labelled(result: Result, settings: Labels) -> bool:
    """Whether enough truth has come to judge live performance."""
    labels = result.get("labels")
    if not labels or not result.get("performance"):
        return False
    return bool(labels["rows"] >= settings.rows and labels["share"] >= settings.share)


def of_performance(result: Result, settings: Monitoring) -> list[Reason]:
    """Where performance is beyond a level with its whole interval: live, or estimated without enough labels.

    An estimate is discounted by how far the last one was off. Where that is not known, it can ask for
    attention, but for no retrain.
    """
    known = is_labelled(result, settings.labels)
    part = result["performance"] if known else result.get("estimated") or {}
    metrics, promised = part.get("metrics"), result["reference"].get("promised")
    levels, gaps = settings.performance, []
    if (cost := metric(metrics, "cost")) and (promise := metric(promised, "cost")) and promise["value"] > 0:
        text = f"{number(promise['value'])} was promised, for {PER_ROWS:,} rows"
        beyond, unit = cost["low"] / promise["value"] - 1, promise["value"]
        gaps.append(_Gap("cost", "cost", cost, beyond, unit, levels.cost_above_promise, text))
    if (ranking := metric(metrics, "roc_auc")) and (promise := metric(promised, "roc_auc")):
        text = f"{number(promise['value'])} was promised"
        beyond = promise["value"] - ranking["high"]
        gaps.append(_Gap("ROC AUC", "roc_auc", ranking, beyond, 1, levels.roc_auc_below_promise, text))
    many = int(part.get("rows") or 0) >= levels.calibration_rows
    if many and (error := metric(metrics, "calibration_error")):
        text = f"{number(levels.calibration_error.watch)} is allowed"
        name: Metric = "calibration_error"
        gaps.append(_Gap("calibration error", name, error, error["low"], 1, levels.calibration_error, text))
    if not known:
        return _of_estimates(result, gaps, levels.estimate_trust)
    name_of_window = result["window"]["name"]
    found = [_reason(name_of_window, gap, _severity(gap.beyond, gap.levels), "performance") for gap in gaps]
    return [each for each in found if each] + _against_rule(result, levels.loss_to_rule)


def of_drift(result: Result, settings: Monitoring) -> list[Reason]:
    """Columns that moved and matter to the model, predictions that moved, and what a classifier can tell."""
    name, drift = result["window"]["name"], result.get("drift") or {}
    reasons = []
    for column in drift.get("columns", []):
        severity = _weighed(column["severity"], column["importance"], settings.drift.importance)
        if severity:
            what, measured, required, text = _moved(column, settings)
            said = f"{column['column']}: {text}"
            reasons.append(
                Reason(name, what, column["column"], measured, required, "at most", severity, said, "drift")
            )
    reasons += _of_predictions(name, drift.get("predictions", []), settings)
    found = result.get("multivariate")
    if found and found["roc_auc"]["low"] > max(settings.multivariate.auc, found["floor"]):
        used = ", ".join(each["column"] for each in found["columns"][:3])
        able = f"(ROC AUC {_interval(found['roc_auc'])})"
        text = f"a classifier tells the window from the reference {able}, by {used}"
        measured, required = found["roc_auc"]["low"], max(settings.multivariate.auc, found["floor"])
        about: About = "multivariate drift"
        reasons.append(Reason(name, about, None, measured, required, "at most", "watch", text, about))
    return reasons


def refused_rows(result: Result) -> int:
    """Rows that were refused for what they hold; other refusals are of requests, and say nothing of rows."""
    return int(((result.get("quality") or {}).get("refused") or {}).get(INVALID_ROWS, 0))


def of_quality(result: Result, settings: Quality) -> list[Reason]:
    """Broken rows, and rules of severity error that the window as a whole breaks."""
    quality, name = result.get("quality"), result["window"]["name"]
    if not quality:
        return []
    reasons = []

    def add(what: str, column: str | None, measured: float, required: float, text: str) -> None:
        measured = round(measured, 6)
        reasons.append(Reason(name, what, column, measured, required, "at most", "watch", text, "quality"))

    broken, checked = quality["broken_rows"], quality["checked_rows"]
    if checked and broken / checked > settings.broken:
        text = f"{broken / checked:.2%} of the rows break contract.yaml"
        add("broken rows", None, broken / checked, settings.broken, text)
    for rule in quality["rules"]:
        if rule["passed"] is False and rule["severity"] == "error":
            share = rule["failing"] / checked if checked else 1.0
            text = f"rule {rule['rule']} is broken: {rule['measured']}"
            add("broken rule", rule["column"], share, 0.0, text)
    return reasons


def of_refusals(result: Result, settings: Quality) -> list[Reason]:
    """Far too many rows that the service refused for what they hold."""
    refused = refused_rows(result)
    share = refused / max(asked_rows(result), 1)
    if share <= settings.refused:
        return []
    name, what, measured = result["window"]["name"], "refused rows", round(share, 6)
    text = f"the service refused {share:.2%} of the rows, which contract.yaml does not allow"
    return [Reason(name, what, None, measured, settings.refused, "at most", "watch", text, "quality")]


def asked_rows(result: Result) -> int:
    """Rows that came, whatever became of them."""
    held = (result.get("digest") or {}).get("rows", 0)  # those as well that no contract can read any more
    return int(max(result["rows"], held)) + refused_rows(result)


def of_traffic(result: Result, before: Sequence[int], settings: Quality) -> list[Reason]:
    """Far more or far fewer rows than usual: a caller that sends twice, or one that sends no more.

    Args:
        result: JSON of the window.
        before: rows that came in the usual windows of the same kind before it; too few of them say nothing.
        settings: levels.
    """
    if len(before) < settings.usual_windows:
        return []
    usual, rows = statistics.median(before), asked_rows(result)
    times = max(rows / usual, usual / max(rows, 1))
    if times <= settings.traffic:
        return []
    name, said = result["window"]["name"], "more" if rows > usual else "fewer"
    text = f"{rows:,} rows came, {times:.2g} times {said} than the {usual:,.0f} of the windows before"
    if rows == 0:
        text = f"no row came, {usual:,.0f} did in the windows before"
    required = settings.traffic
    return [Reason(name, "traffic", None, round(times, 6), required, "at most", "watch", text, "quality")]


def of_gaps(result: Result) -> list[Reason]:
    """What the window can't be judged by: no drift against the reference, or neither truth nor estimate."""
    name, reasons = result["window"]["name"], []
    missing = [] if result.get("drift") else ["drift"]
    if not result.get("performance") and not result.get("estimated"):
        missing += ["live performance", "estimated performance"]
    for what in missing:
        text = f"{what} could not be measured; the window's notes say why"
        reasons.append(Reason(name, what, None, 0.0, 1.0, "at least", "watch", text, "gap"))
    return reasons


class _Gap(NamedTuple):
    """How far a metric is beyond what is allowed.

    Attributes:
        what: the metric for people.
        metric: its name.
        measured: with its interval.
        beyond: by how much the near end of the interval is worse than promised, or than nothing.
        unit: what `beyond` is a share of; 1 where it is no share.
        levels: of `beyond`.
        against: what was promised or is allowed, in words.
    """

    what: str
    metric: Metric
    measured: Estimate
    beyond: float
    unit: float
    levels: Levels
    against: str


def _of_estimates(result: Result, gaps: list[_Gap], trust: float) -> list[Reason]:
    off_by = (result.get("estimated") or {}).get("last_known_error") or {}
    reasons = []
    for gap in gaps:
        severity = _severity(gap.beyond - trust * abs(off_by.get(gap.metric, 0.0)) / gap.unit, gap.levels)
        if severity and gap.metric not in off_by:
            severity = "watch"
        reasons.append(_reason(result["window"]["name"], gap, severity, "estimate"))
    return [each for each in reasons if each]


def _reason(window: str, gap: _Gap, severity: Severity | None, about: About) -> Reason | None:
    if severity is None:
        return None
    required = gap.levels.severe if severity == "retrain" else gap.levels.watch
    is_live = about == "performance"
    text = f"{gap.what} {'is' if is_live else 'is estimated at'} {_interval(gap.measured)}, {gap.against}"
    what, measured = gap.what if is_live else f"estimated {gap.what}", round(gap.beyond, 6)
    return Reason(window, what, None, measured, required, "at most", severity, text, about)


def _severity(excess: float, levels: Levels) -> Severity | None:
    if excess > levels.severe:
        return "retrain"
    return "watch" if excess > levels.watch else None


def _weighed(found: str, importance: float | None, levels: Levels) -> Severity | None:
    """Severity of a column's drift for the model; a column of unknown importance may matter."""
    if found == "none":
        return None
    if importance is None:
        return "watch"
    if found == "severe" and importance >= levels.severe:
        return "retrain"
    return "watch" if importance >= levels.watch else None


def _against_rule(result: Result, levels: Levels) -> list[Reason]:
    money = result["performance"].get("money") or {}
    gain, rule = money.get("gain_over_rule"), money.get("rule")
    if not gain or not rule or rule["value"] <= 0:
        return []
    loss = -gain["high"] / rule["value"]
    severity = _severity(loss, levels)
    if severity is None:
        return []
    required = levels.severe if severity == "retrain" else levels.watch
    cost = f"{number(money['model']['value'])} {money['currency']} per {money['per_rows']:,} rows"
    text = f"decisions cost {cost}, more than the plain rule's {number(rule['value'])}"
    what, name = "cost against the plain rule", result["window"]["name"]
    return [Reason(name, what, None, round(loss, 6), required, "at most", severity, text, "performance")]


def _of_predictions(name: str, classes: list[dict[str, Any]], settings: Monitoring) -> list[Reason]:
    """The class whose predictions moved most, of equals the event: what one gains, the others lose."""
    moved = [each for each in reversed(classes) if each["severity"] != "none"]
    if not moved:
        return []
    worst = max(moved, key=lambda each: (each["severity"] == "severe", round(each["psi"], 2)))
    severity: Severity = "retrain" if worst["severity"] == "severe" else "watch"
    _, measured, required, text = _moved(worst, settings)
    said = f"predictions of '{worst['class']}': {text}"
    about: About = "prediction drift"
    return [Reason(name, about, None, measured, required, "at most", severity, said, about)]


def _moved(found: Mapping[str, Any], settings: Monitoring) -> tuple[str, float, float, str]:
    """What of a column moved furthest for its level: what, measured, required, and in words.

    Measured is what goes beyond noise.
    """
    drift = settings.drift
    is_number = found["distance_kind"] == "wasserstein"
    measures = {
        "psi": (drift.psi, found["psi"], 0.0, "PSI {:.3g}"),
        "distance": (
            drift.distance,
            found["distance"],
            0.0,
            "moved by {:.3g} standard deviations" if is_number else "Jensen-Shannon distance {:.3g}",
        ),
        "missing": (drift.missing, found.get("missing"), found.get("missing_reference"), "missing in {:.1%}"),
        "unseen": (drift.unseen, found.get("unseen"), 0.0, "never seen before in {:.1%}"),
    }
    ranked = []
    for what, (levels, measured, usual, text) in measures.items():
        if measured is None:
            continue
        beyond = abs(measured - (usual or 0.0)) - (found.get(f"{what}_floor") or 0.0)
        level = levels.severe if found["severity"] == "severe" else levels.watch
        said = text.format(measured) + (f", {usual:.1%} in the reference" if what == "missing" else "")
        said += f" ({beyond:.1%}" if what in ("missing", "unseen") else f" ({beyond:.3g}"
        ranked.append((beyond / max(level, 1e-9), what, beyond, level, f"{said} beyond noise)"))
    _, what, beyond, level, said = max(ranked)
    return what, round(beyond, 6), level, said


def _interval(estimate: Estimate) -> str:
    return f"{number(estimate['value'])} [{number(estimate['low'])}, {number(estimate['high'])}]"
