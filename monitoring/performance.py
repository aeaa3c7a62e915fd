"""Live performance: what the model's answers were worth, where the truth has come.

The same metrics as at release, with intervals by resampling whole days, and money: of the decisions as they
were logged, of the plain rule on the same rows, and against what the release promised.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from monitoring.plain_rule import PlainRule
from monitoring.scores import (
    BINS,
    GROUPS,
    RANKING,
    Counts,
    DayCounts,
    MeanOfBin,
    Numbers,
    ScoreTable,
    bins_of,
    codes,
    estimate,
    estimates,
    ratio,
    unit_weights,
    units,
)
from takeoff import value
from takeoff.contract import Contract
from takeoff.evaluation import METRICS
from takeoff.log_read import Chunk
from takeoff.params import Evaluation

LAG_STEP_HOURS = 0.1  # accuracy of a lag
LONGEST_LAG_HOURS = 24.0 * 366  # longer ones count as this long
NO_RULE = "The plain rule's decisions are missing, so money is not compared with it."


class Labels:
    """How many rows have their truth, and how long it took to be known.

    Args:
        contract: what a row is.
        as_of: the newest instant in the log, from which on a row is waiting no longer; None where nobody
            knows: then nothing says which rows will never have a label.
    """

    def __init__(self, contract: Contract, as_of: pd.Timestamp | None = None) -> None:
        self._contract, self._as_of = contract, as_of
        # Rows by steps of the hours until the truth was known, and, without it, until `as_of`.
        self._lags = np.zeros(1, dtype="int64")
        self._waits = np.zeros(1, dtype="int64")
        self._rows = self._labelled = self._early = 0

    def add(self, chunk: Chunk) -> None:
        """Take in the answers of some rows."""
        answers = chunk.answers
        labelled = codes(answers["label"], self._contract.target.classes) >= 0
        self._rows += len(answers)
        self._labelled += int(labelled.sum())
        known, asked = answers["known_at"], answers["window_time"]
        timed = labelled & known.notna().to_numpy()
        self._early += int((known[timed] < asked[timed]).sum())
        self._lags = _added(self._lags, _count_hours(known[timed] - asked[timed]))
        if self._as_of is not None:
            self._waits = _added(self._waits, _count_hours(self._as_of - asked[~labelled]))

    def result(self) -> dict[str, Any] | None:
        """Rows with a label, their share, rows that will never have one, hours until it was known.

        A row without a label counts as `never` once it has waited longer than every label of the window.
        """
        if self._rows == 0:
            return None
        longest = np.flatnonzero(self._lags)
        is_known = self._as_of is not None and len(longest) > 0
        return {
            "rows": self._labelled,
            "share": round(self._labelled / self._rows, 6),
            "never": int(self._waits[longest[-1] + 1 :].sum()) if is_known else None,
            "lag_hours": {"median": self._lag(0.5), "p90": self._lag(0.9)} if len(longest) else None,
        }

    @property
    def notes(self) -> list[str]:
        """What is missing, and why."""
        notes = []
        if self._early:
            notes.append(
                f"{self._early:,} labels were known before the time of their row: a clock is wrong, or what "
                "was to be predicted had happened when it was asked about, and may stand in the row."
            )
        if self._rows and not self._labelled:
            notes.append("No label has come yet for any row of this window: live performance is not known.")
        if self._labelled and not self._lags.any():
            notes.append(
                "The labels came without the time at which the truth was known: their lag is not known."
            )
        return notes

    def _lag(self, share: float) -> float:
        upto = np.cumsum(self._lags)
        return round(float(np.searchsorted(upto, share * upto[-1])) * LAG_STEP_HOURS, 1)


class Performance:
    """What the answers were worth, on the rows that have their truth.

    Args:
        contract: what a row is.
        settings: of the intervals and the calibration error, as at release.
        seed: of the resamples.
        promised: the metrics of the release, as on the model's card; None where there are none.
        rule: the plain rule to compare with; None where there is none.
    """

    def __init__(
        self,
        contract: Contract,
        settings: Evaluation,
        seed: int,
        promised: Mapping[str, Mapping[str, float]] | None = None,
        rule: PlainRule | None = None,
    ) -> None:
        self._contract, self._settings, self._seed = contract, settings, seed
        self._promised, self._rule = promised, rule
        self._classes = list(contract.target.classes)
        self._scores = DayCounts(BINS * len(self._classes))
        self._mean = MeanOfBin()
        # By truth, decision, whether a human looks at it, and what the rule decides (last: not known).
        self._shape = (len(self._classes), len(self._classes), 2, len(self._classes) + 1)
        self._decided = DayCounts(int(np.prod(self._shape)))

    def add(self, chunk: Chunk) -> None:
        """Take in the answers of some rows; those without a label are passed over."""
        truth = codes(chunk.answers["label"], self._classes)
        used = truth >= 0
        if not used.any():
            return
        truth, decision = truth[used], codes(chunk.answers["decision"], self._classes)[used]
        event = chunk.probabilities[used, -1]
        review = chunk.answers["review"].to_numpy("bool")[used].astype("int64")
        unit = units(chunk.answers["window_time"][used], event, self._contract)
        bins = bins_of(event)
        self._mean.add(event, bins)
        self._scores.add(unit, bins * len(self._classes) + truth)
        cell = np.ravel_multi_index((truth, decision, review, self._by_rule(chunk.rows, used)), self._shape)
        self._decided.add(unit, cell)

    def result(self) -> dict[str, Any] | None:
        """The part `performance` of a window's JSON; None where no row has a label."""
        counts = self._scores.table().reshape(-1, BINS, len(self._classes))
        if not counts.sum():
            return None
        scores = ScoreTable.of(counts[..., -1], counts[..., :-1].sum(axis=-1), self._mean.values())
        weights = unit_weights(len(counts), self._contract, self._settings, self._seed)
        bins = self._settings.calibration_bins
        money = self._money_draws(weights)
        draws = scores.draws(weights, bins) | {"cost": money["model"]}
        confidence = self._settings.confidence
        metrics = estimates({name: draws[name] for name in METRICS}, confidence)
        if not self._has_both_classes(counts):
            metrics |= dict.fromkeys(RANKING)
        return {
            "rows": int(counts.sum()),
            "metrics": metrics,
            "promised": dict(self._promised) if self._promised else None,
            "rule": {"cost": estimate(money["rule"], confidence)} if self._rule else None,
            "money": self._money(money, confidence),
            "calibration": scores.calibration_curve(bins),
            "event_share": estimate(draws["event_share"], confidence),
            "predicted_share": round(scores.predicted_share(), 6),
        }

    @property
    def notes(self) -> list[str]:
        """What is missing, and why."""
        counts = self._scores.table().reshape(-1, BINS, len(self._classes))
        if not counts.sum():
            return []
        notes = []
        if not self._has_both_classes(counts):
            only = self._classes[int(counts.sum(axis=(0, 1)).argmax())]
            notes.append(
                f"Every label of this window is '{only}': ROC AUC and average precision need both classes."
            )
        if self._scores.is_single_day:
            notes.append(
                f"All labelled rows are of one day, so intervals resample its rows (in {GROUPS} random "
                "groups) instead of days. They are too narrow: rows of one day have much in common."
            )
        if not self._rule:
            notes.append(NO_RULE)
        if not self._promised:
            notes.append("The model's card holds no metrics of its release: nothing says what was promised.")
        return notes

    def _by_rule(self, rows: pd.DataFrame, used: npt.NDArray[np.bool_]) -> Counts:
        if self._rule is None:
            return np.full(int(used.sum()), len(self._classes))
        return self._rule.decide(rows, self._contract)[used]

    def _has_both_classes(self, counts: Counts) -> bool:
        by_class = counts.sum(axis=(0, 1))
        return bool(by_class[-1] and by_class[:-1].any())

    def _money_draws(self, weights: Numbers) -> dict[str, Numbers]:
        """Money for `value.PER_ROWS` rows in each resample, by who decides; all on the same rows."""
        matrix = value.cost_matrix(self._contract)
        counts = self._decided.table()
        size = len(self._classes)
        truth, decision, review, rule = np.unravel_index(np.arange(counts.shape[1]), self._shape)
        costs = {"model": matrix[truth, decision]}
        if self._rule:
            costs["rule"] = matrix[truth, np.minimum(rule, size - 1)]
            costs["gain_over_rule"] = costs["rule"] - costs["model"]
        if self._contract.costs.review is not None:
            costs["model_with_review"] = np.where(review, self._contract.costs.review, costs["model"])
        rows = weights @ counts.sum(axis=1)
        return {name: ratio(weights @ (counts @ each), rows) * value.PER_ROWS for name, each in costs.items()}

    def _money(self, draws: Mapping[str, Numbers], confidence: float) -> dict[str, Any]:
        rows = int(self._decided.table().sum())
        found: dict[str, Any] = estimates(draws, confidence)
        promised = dict(self._promised["cost"]) if self._promised and "cost" in self._promised else None
        totals = {
            f"total_{name}": round(float(each[0]) * rows / value.PER_ROWS, 2)
            for name, each in draws.items()
            if name != "gain_over_rule"
        }
        money = {"currency": self._contract.costs.currency, "per_rows": value.PER_ROWS, "promised": promised}
        nothing = dict.fromkeys(("rule", "gain_over_rule", "total_rule"))
        return money | nothing | found | totals


def _count_hours(waited: "pd.Series[pd.Timedelta]") -> Counts:
    """Rows by how long they waited, in steps of `LAG_STEP_HOURS`; what was known before counts as 0."""
    hours = np.clip(waited.dt.total_seconds().to_numpy("float64") / 3600, 0, LONGEST_LAG_HOURS)
    return np.bincount(np.rint(hours / LAG_STEP_HOURS).astype("int64"))


def _added(counts: Counts, more: Counts) -> Counts:
    """Both together; each is as long as its longest wait."""
    size = max(len(counts), len(more))
    return np.pad(counts, (0, size - len(counts))) + np.pad(more, (0, size - len(more)))
