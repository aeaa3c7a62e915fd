"""Performance where the truth has not come: what the probabilities themselves say that it will be.

Confidence-based performance estimation (CBPE; NannyML, "How it works: performance estimation", 2022): a
calibrated probability of 0.2 is late in one of five rows, so every row counts as a fifth of an event and
four fifths of a non-event, and the metrics of such rows are those to expect. It follows the rows to where
they drift, but trusts the model: when the world changes behind the same rows, it cannot see that. How far it
was off on the rows whose truth is known stands beside it. The calibration error is what it assumes to be
none, so it is not estimated.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.findings import Result, is_labelled
from monitoring.scores import (
    BINS,
    RANKING,
    Counts,
    DayCounts,
    MeanOfBin,
    Numbers,
    ScoreTable,
    bins_of,
    codes,
    estimates,
    ratio,
    unit_weights,
    units,
)
from takeoff import value
from takeoff.contract import Contract
from takeoff.evaluation import SLICE_RESAMPLES
from takeoff.log_read import Chunk
from takeoff.params import Evaluation
from takeoff.params import Labels as LabelSettings

ESTIMATED = ("roc_auc", "average_precision", "log_loss", "brier", "cost", "event_share")


class Estimated:
    """What performance is to be expected, on all rows, on those without a label, and on those with one.

    Args:
        contract: what a row is.
        settings: of the intervals, as at release.
        seed: of the resamples.
    """

    def __init__(self, contract: Contract, settings: Evaluation, seed: int) -> None:
        # Nothing is decided on these intervals.
        settings = settings.model_copy(update={"resamples": min(settings.resamples, SLICE_RESAMPLES)})
        self._contract, self._settings, self._seed = contract, settings, seed
        self._classes = list(contract.target.classes)
        # By truth (last: not known) and decision.
        self._shape = (BINS, len(self._classes) + 1, len(self._classes))
        self._counts = DayCounts(int(np.prod(self._shape)))
        self._mean = MeanOfBin()

    def add(self, chunk: Chunk) -> None:
        """Take in the answers of some rows."""
        if chunk.answers.empty:
            return
        truth = codes(chunk.answers["label"], self._classes)
        decision = codes(chunk.answers["decision"], self._classes)
        event = chunk.probabilities[:, -1]
        bins = bins_of(event)
        cell = np.ravel_multi_index(
            (bins, np.where(truth < 0, len(self._classes), truth), decision), self._shape
        )
        self._mean.add(event, bins)
        self._counts.add(units(chunk.answers["window_time"], event, self._contract), cell)

    def result(self) -> dict[str, Any] | None:
        """The part `estimated` of a window's JSON; None where there are no rows."""
        counts = self._counts.table().reshape(-1, *self._shape)
        if not counts.sum():
            return None
        unlabelled, labelled = counts[:, :, -1:], counts[:, :, :-1]
        return {
            "rows": int(counts.sum()),
            "metrics": self._expected(counts),
            "without_label": {"rows": int(unlabelled.sum()), "metrics": self._expected(unlabelled)},
            "on_labelled": self._on_labelled(labelled),
        }

    @property
    def notes(self) -> list[str]:
        """What is missing, and why."""
        if not self._counts.table().sum():
            return ["There is no row to estimate performance on."]
        return []

    def _expected(self, counts: Counts) -> dict[str, dict[str, float] | None] | None:
        """Expected metrics of counts of shape (units, BINS, truths, decisions), whatever the truth."""
        by_decision = counts.sum(axis=2)
        if not by_decision.sum():
            return None
        by_decision = by_decision[by_decision.sum(axis=(1, 2)) > 0]
        weights = unit_weights(len(by_decision), self._contract, self._settings, self._seed)
        return estimates(self._expected_draws(by_decision, weights), self._settings.confidence)

    def _expected_draws(self, by_decision: Counts, weights: Numbers) -> dict[str, Numbers]:
        mean = self._mean.values()
        rows = by_decision.sum(axis=2)
        scores = ScoreTable.of(rows * mean, rows * (1 - mean), mean)
        matrix = value.cost_matrix(self._contract)
        # Expected cost of each decision at each probability, shape (BINS, decisions).
        costs = np.column_stack([1 - mean, mean]) @ matrix
        return self._draws(scores, (by_decision * costs).sum(axis=(1, 2)), weights)

    def _realised_draws(self, labelled: Counts, weights: Numbers) -> dict[str, Numbers]:
        by_truth = labelled.sum(axis=3)
        scores = ScoreTable.of(by_truth[..., -1], by_truth[..., :-1].sum(axis=2), self._mean.values())
        matrix = value.cost_matrix(self._contract)
        return self._draws(scores, (labelled.sum(axis=1) * matrix).sum(axis=(1, 2)), weights)

    def _draws(
        self, scores: ScoreTable, cost: npt.NDArray[np.floating], weights: Numbers
    ) -> dict[str, Numbers]:
        draws = scores.draws(weights, self._settings.calibration_bins)
        rows = weights @ (scores.event + scores.other).sum(axis=1)
        draws["cost"] = ratio(weights @ cost, rows) * value.PER_ROWS
        return {name: draws[name] for name in ESTIMATED}

    def _on_labelled(self, labelled: Counts) -> dict[str, dict[str, float]] | None:
        """Estimated against realised on the same rows; metrics that have no value there are left out."""
        if not labelled.sum():
            return None
        as_they_are = np.ones((1, len(labelled)))
        estimated = self._expected_draws(labelled.sum(axis=2), as_they_are)
        realised = self._realised_draws(labelled, as_they_are)
        by_class = labelled.sum(axis=(0, 1, 3))
        one_class = np.count_nonzero(by_class) < 2
        return {
            name: {
                "estimated": round(float(estimated[name][0]), 6),
                "realised": round(float(realised[name][0]), 6),
                "off_by": round(float(estimated[name][0] - realised[name][0]), 6),
            }
            for name in ESTIMATED
            if not (one_class and name in RANKING)
        }


def last_known_error(earlier: Sequence[Result], enough: LabelSettings) -> dict[str, Any] | None:
    """How far the estimate was off in the latest of earlier windows of which enough labels have come.

    A window with a few early labels says next to nothing, and would hide the one before it.

    Args:
        earlier: the JSON of windows, the oldest first.
        enough: how many labels have to be there, as for live performance.

    Returns:
        Estimated minus realised by metric, and `window`, its name; None where too few labels have come.
        Where the window had an estimate before its labels came, that one counts, against all labels; else
        one made today of the labelled rows.
    """
    for each in reversed(earlier):
        known = (each.get("estimated") or {}).get("on_labelled")
        if known and is_labelled(each, enough):
            errors = {name: found["off_by"] for name, found in known.items()} | _errors_of_reported(each)
            return {**errors, "window": each["window"]["name"]}
    return None


def reported(before: Result | None, enough: LabelSettings) -> dict[str, float] | None:
    """By metric, what was said of a window that was over while too few of its labels had come.

    Args:
        before: the JSON of the window by an earlier run, if there is one.
        enough: how many labels have to be there, as for live performance.
    """
    estimated = (before or {}).get("estimated")
    if not before or not estimated:
        return None
    if is_labelled(before, enough):
        kept: dict[str, float] | None = estimated.get("reported")
        return kept
    if not before["window"]["complete"]:
        return None
    return {name: found["value"] for name, found in (estimated["metrics"] or {}).items() if found}


def _errors_of_reported(result: Result) -> dict[str, float]:
    performance = result["performance"]
    realised = {**performance["metrics"], "event_share": performance.get("event_share")}
    said = result["estimated"].get("reported") or {}
    return {
        name: round(value - realised[name]["value"], 6) for name, value in said.items() if realised.get(name)
    }
