"""How good a model is: metrics with intervals, slices, curves. Binary tasks."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from takeoff import value
from takeoff.bootstrap import Estimate, Resamples, interval
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.params import PARAMS_FILE, Evaluation, Metric, Slice

# The smaller the better, except for these.
HIGHER_IS_BETTER: frozenset[Metric] = frozenset({"roc_auc", "average_precision"})
SMALLEST_PROBABILITY = 1e-7
CURVE_POINTS = 200
PART_RESAMPLES = 64  # worked on at once, so that the numbers stay in the processor's cache
SLICE_RESAMPLES = 200  # there are many slices, and nothing is decided on their intervals

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.floating]
Draws = npt.NDArray[np.float64]


class Scored(NamedTuple):
    """One model's answers on labelled rows.

    Attributes:
        labels: int64, shape (n,).
        probabilities: float, shape (n, 2).
        cost: money of each row's decision, float64, shape (n,).
    """

    labels: Labels
    probabilities: Probabilities
    cost: npt.NDArray[np.float64]

    @property
    def event(self) -> npt.NDArray[np.float64]:
        """Probability of the event, float64, shape (n,)."""
        return self.probabilities[:, -1].astype("float64")

    def only(self, mask: npt.NDArray[np.bool_]) -> "Scored":
        """The same for some of the rows."""
        return Scored(self.labels[mask], self.probabilities[mask], self.cost[mask])


def check_classes(split: str, labels: Labels, contract: Contract) -> None:
    """Raise a TakeoffError unless every class is among the labels of this split."""
    present = {contract.target.classes[code] for code in np.unique(labels)}
    if absent := [name for name in contract.target.classes if name not in present]:
        raise TakeoffError(
            f"The {split} split ({len(labels):,} rows) has no row of class '{absent[0]}': there is nothing "
            f"to tell apart. Move window or split in {PARAMS_FILE}, or look at what happened to the labels."
        )


def score(labels: Labels, probabilities: Probabilities, threshold: float, contract: Contract) -> Scored:
    """Decide each row at `threshold` and look up what that cost."""
    decisions = value.decide(probabilities, threshold)
    return Scored(labels, probabilities, value.costs(labels, decisions, value.cost_matrix(contract)))


def roc_auc(scored: Scored, resamples: Resamples, bins: int) -> Draws:
    """Area under the ROC curve; ties count half (Hanley and McNeil 1982)."""
    # The wins of one day's positives against another day's negatives are counted once; a resample
    # weighs them by how often it drew the two days.
    wins = _wins_by_day(scored, resamples)
    won = ((resamples.weights @ wins) * resamples.weights).sum(axis=1)
    positives = resamples.sums(scored.labels == 1)
    return _ratio(won, positives * resamples.sums(scored.labels == 0))


def average_precision(scored: Scored, resamples: Resamples, bins: int) -> Draws:
    """Mean precision over the found positives, without interpolation."""
    # Precision counts only where a positive is found, so negatives join the next positive score below.
    is_positive = scored.labels == 1
    steps = np.unique(scored.event[is_positive])[::-1]
    step = np.searchsorted(-steps, -scored.event)
    reached = step < len(steps)
    draws = [
        _precision_draws(part.only(reached), step[reached], is_positive[reached])
        for part in resamples.in_parts(PART_RESAMPLES)
    ]
    return _ratio(np.concatenate(draws), resamples.sums(is_positive))


def log_loss(scored: Scored, resamples: Resamples, bins: int) -> Draws:
    """Mean negative log likelihood, natural logarithm."""
    event = np.clip(scored.event, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return _mean(-np.log(np.where(scored.labels == 1, event, 1 - event)), resamples)


def brier(scored: Scored, resamples: Resamples, bins: int) -> Draws:
    """Mean squared gap between probability and truth (Brier 1950, for the event alone)."""
    return _mean((scored.event - scored.labels) ** 2, resamples)


def calibration_error(scored: Scored, resamples: Resamples, bins: int) -> Draws:
    """Expected calibration error over equally filled bins (Naeini et al. 2015)."""
    bin_of = equal_bins(scored.event, bins)
    gaps = resamples.grouped(scored.event - scored.labels, bin_of, bins)
    return _ratio(np.abs(gaps).sum(axis=1), resamples.sums(np.ones(len(bin_of))))


def cost(scored: Scored, resamples: Resamples, bins: int) -> Draws:
    """Money for `value.PER_ROWS` rows."""
    return _mean(scored.cost, resamples) * value.PER_ROWS


METRICS: dict[Metric, Callable[[Scored, Resamples, int], Draws]] = {
    "roc_auc": roc_auc,
    "average_precision": average_precision,
    "log_loss": log_loss,
    "brier": brier,
    "calibration_error": calibration_error,
    "cost": cost,
}


def measure(scored: Scored, resamples: Resamples, settings: Evaluation) -> dict[str, Estimate]:
    """Every metric with its interval."""
    return {
        name: interval(draws(scored, resamples, settings.calibration_bins), settings.confidence)
        for name, draws in METRICS.items()
    }


def measure_once(scored: Scored, bins: int) -> dict[str, float]:
    """Every metric without an interval."""
    as_they_are = Resamples(np.zeros(len(scored.labels), dtype="int64"), np.ones((1, 1)))
    return {name: float(draws(scored, as_they_are, bins)[0]) for name, draws in METRICS.items()}


class SliceResult(NamedTuple):
    """One group of rows of one slice."""

    slice: str
    group: str
    rows: int
    event_share: float
    metrics: dict[str, Estimate]


def measure_slices(
    scored: Scored, rows: pd.DataFrame, resamples: Resamples, settings: Evaluation, contract: Contract
) -> list[SliceResult]:
    """Every metric in every group that has enough rows and both classes."""
    resamples = resamples.first(SLICE_RESAMPLES)
    return [
        SliceResult(
            name,
            group,
            int(mask.sum()),
            float(scored.labels[mask].mean()),
            measure(scored.only(mask), resamples.only(mask), settings),
        )
        for name, group, mask in slice_masks(rows, settings, contract)
        if len(np.unique(scored.labels[mask])) > 1
    ]


def slice_masks(
    rows: pd.DataFrame, settings: Evaluation, contract: Contract
) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    """Slice, group, and which rows are in it, for every group with `settings.slice_rows` rows or more."""
    for item in settings.slices:
        groups = _groups(rows, item, contract)
        for group in sorted(groups.dropna().unique()):
            mask = (groups == group).to_numpy("bool")
            if mask.sum() >= settings.slice_rows:
                yield item.name, str(group), mask


def roc_curve(scored: Scored) -> list[dict[str, float]]:
    """Points of the ROC curve, thinned."""
    found, alarms = _running_counts(scored)
    return _thin({"false_positive_rate": alarms / alarms[-1], "true_positive_rate": found / found[-1]})


def precision_recall_curve(scored: Scored) -> list[dict[str, float]]:
    """Points of the precision-recall curve, thinned."""
    found, alarms = _running_counts(scored)
    found, alarms = found[1:], alarms[1:]
    return _thin({"recall": found / found[-1], "precision": found / (found + alarms)})


def calibration_curve(scored: Scored, bins: int) -> list[dict[str, float]]:
    """Mean prediction and observed share of the event in equally filled bins."""
    bin_of = equal_bins(scored.event, bins)
    table = pd.DataFrame({"predicted": scored.event, "observed": scored.labels, "bin": bin_of})
    means = table.groupby("bin")[["predicted", "observed"]].mean()
    return _thin({name: means[name].to_numpy() for name in ("predicted", "observed")})


def cost_points(scored: Scored, contract: Contract) -> list[dict[str, float]]:
    """Money for `value.PER_ROWS` rows against the threshold, thinned."""
    curve = value.cost_curve(scored.labels, scored.probabilities, value.cost_matrix(contract))
    return _thin({"threshold": curve.thresholds, "cost": curve.costs * value.PER_ROWS})


def equal_bins(values: npt.NDArray[np.float64], bins: int) -> npt.NDArray[np.int64]:
    """Number of each value's bin, from 0; equal values share a bin, so there may be fewer bins."""
    edges = np.unique(np.sort(values)[bin_starts(len(values), bins)])
    return np.searchsorted(edges, values, side="right").astype("int64")


def bin_starts(rows: float, bins: int) -> npt.NDArray[np.int64]:
    """Of `rows` in ascending order those, from 0, with which equally filled bins but the first begin."""
    quantiles = np.linspace(0, 1, bins + 1)[1:-1] * (rows - 1)
    return np.ceil(quantiles.round(9)).astype("int64")  # from the quantile on, whatever its last digit says


def _wins_by_day(scored: Scored, resamples: Resamples) -> Draws:
    """Pairs in which a day's positive scores above a day's negative, ties half; shape (days, days)."""
    days = resamples.weights.shape[1]
    is_positive = scored.labels == 1
    positive, day_of_positive = scored.event[is_positive], resamples.days[is_positive]
    wins = np.zeros((days, days))
    for day in range(days):
        negative = np.sort(scored.event[~is_positive & (resamples.days == day)])
        below = np.searchsorted(negative, positive, side="left")
        upto = np.searchsorted(negative, positive, side="right")
        wins[:, day] = np.bincount(day_of_positive, (below + upto) / 2, minlength=days)
    return wins


def _precision_draws(
    resamples: Resamples, step: npt.NDArray[np.int64], is_positive: npt.NDArray[np.bool_]
) -> Draws:
    """Sum of precision over the positives in each resample."""
    steps = int(step.max()) + 1 if len(step) else 0
    positive = resamples.grouped(is_positive, step, steps)
    flagged = np.cumsum(resamples.grouped(np.ones(len(step)), step, steps), axis=1)
    precision = np.cumsum(positive, axis=1)
    precision /= np.maximum(flagged, 1)  # nothing flagged: nothing found either, 0 / 1
    return np.asarray((positive * precision).sum(axis=1))


def _running_counts(scored: Scored) -> tuple[Draws, Draws]:
    """Found positives and false alarms as the threshold falls, from 0, one entry per distinct score."""
    order = np.argsort(-scored.event, kind="stable")
    event, labels = scored.event[order], scored.labels[order]
    last_of_score = np.append(np.flatnonzero(np.diff(event)), len(event) - 1)
    found = np.cumsum(labels)[last_of_score]
    alarms = np.cumsum(1 - labels)[last_of_score]
    return np.concatenate([[0.0], found]), np.concatenate([[0.0], alarms])


def _groups(rows: pd.DataFrame, item: Slice, contract: Contract) -> "pd.Series[str]":
    """Name of the group of each row; missing where it is in none."""
    if item.column is None:
        local = rows[contract.time.column].dt.tz_convert(contract.time.zone)
        months = local.dt.year * 100 + local.dt.month
        # Formatted once a month, not once a row.
        return pd.Series(months.map({each: f"{each // 100}-{each % 100:02}" for each in months.unique()}))
    if item.edges is None:
        return pd.Series(rows[item.column])
    labels = [f"{low:02g} to {high:02g}" for low, high in zip(item.edges, item.edges[1:], strict=False)]
    return pd.cut(rows[item.column], list(item.edges), right=False, labels=labels).astype(object)


def _mean(values: npt.NDArray[np.float64], resamples: Resamples) -> Draws:
    sums = resamples.sums(np.column_stack([values, np.ones(len(values))]))
    return _ratio(sums[:, 0], sums[:, 1])


def _ratio(top: Draws, bottom: Draws) -> Draws:
    """top / bottom, NaN where there is nothing to divide by (a resample without a class)."""
    ratio: Draws = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
    return ratio


def _thin(columns: dict[str, npt.NDArray[np.float64]]) -> list[dict[str, float]]:
    """At most `CURVE_POINTS` points, first and last among them."""
    count = len(next(iter(columns.values())))
    keep = np.unique(np.linspace(0, count - 1, min(count, CURVE_POINTS)).round().astype(int))
    return [{name: round(float(column[i]), 6) for name, column in columns.items()} for i in keep]
