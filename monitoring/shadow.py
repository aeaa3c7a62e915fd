"""Challenger against champion on the same rows, from what the service logged of both."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.scores import (
    BINS,
    GROUPS,
    RANKING,
    Counts,
    DayCounts,
    MeanOfBin,
    Numbers,
    ScoreTable,
    Units,
    bins_of,
    codes,
    estimate,
    ratio,
    unit_weights,
    units,
)
from takeoff import value
from takeoff.contract import Contract
from takeoff.evaluation import METRICS
from takeoff.log_read import Chunk
from takeoff.params import Evaluation


class Shadow:
    """What a challenger would have done, on every row that it was asked about.

    Where several challengers have run in one window, the one with the most rows is reported.

    Args:
        contract: what a row is.
        settings: of the intervals, as at release.
        seed: of the resamples.
        thresholds: by challenger's version, from which probability of the event on it decides for the event.
    """

    def __init__(
        self, contract: Contract, settings: Evaluation, seed: int, thresholds: Mapping[str, float]
    ) -> None:
        self._contract, self._settings, self._seed = contract, settings, seed
        self._thresholds = thresholds
        self._challengers: dict[str, _Challenger] = {}

    def add(self, chunk: Chunk) -> None:
        """Take in the answers of some rows; those without a challenger are passed over."""
        versions = chunk.shadow_versions
        place = versions.cat.codes.to_numpy()
        for code in np.unique(place[place >= 0]).tolist():
            version = str(versions.cat.categories[code])
            if version not in self._challengers:
                threshold = self._thresholds.get(version)
                self._challengers[version] = _Challenger(self._contract, threshold)
            self._challengers[version].add(chunk, place == code)

    def result(self) -> dict[str, Any] | None:
        """The part `shadow` of a window's JSON; None where no challenger ran."""
        if not self._challengers:
            return None
        version = self._reported()
        return {"model_version": version} | self._challengers[version].result(self._settings, self._seed)

    @property
    def notes(self) -> list[str]:
        """What is missing, and why."""
        if not self._challengers:
            return []
        version = self._reported()
        notes = [f"Challenger {version}: {note}" for note in self._challengers[version].notes]
        if len(self._challengers) > 1:
            others = ", ".join(sorted(set(self._challengers) - {version}))
            notes.append(
                f"Several challengers ran in this window; {version} had most rows. Left out: {others}."
            )
        return notes

    def _reported(self) -> str:
        return max(sorted(self._challengers), key=lambda version: self._challengers[version].asked)


class _Challenger:
    """One challenger and the champion, on the rows that both were asked about."""

    def __init__(self, contract: Contract, threshold: float | None) -> None:
        self._contract, self._threshold = contract, threshold
        self._classes = list(contract.target.classes)
        size = len(self._classes)
        self._answered = self._errors = self._agree = 0
        self._scores = {name: DayCounts(BINS * size) for name in ("champion", "challenger")}
        self._means = {name: MeanOfBin() for name in self._scores}
        self._shape = (size, size, size)  # truth, decision of the champion, decision of the challenger
        self._decided = DayCounts(int(np.prod(self._shape)))

    @property
    def asked(self) -> int:
        """Rows that it was asked about."""
        return self._answered + self._errors

    def add(self, chunk: Chunk, mine: npt.NDArray[np.bool_]) -> None:
        """Take in the rows of a chunk that are its own."""
        failed = np.isnan(chunk.shadow).any(axis=1)
        self._errors += int((mine & failed).sum())
        used = mine & ~failed
        if not used.any():
            return
        self._answered += int(used.sum())
        probabilities = chunk.shadow[used]
        decision, decisions = (
            codes(chunk.answers["decision"], self._classes)[used],
            self._decide(probabilities),
        )
        self._agree += int((decisions == decision).sum())
        truth = codes(chunk.answers["label"], self._classes)[used]
        known = truth >= 0
        if not known.any():
            return
        event = chunk.probabilities[used, -1][known]
        unit = units(chunk.answers["window_time"][used][known], event, self._contract)
        self._score("champion", event, truth[known], unit)
        self._score("challenger", probabilities[known, -1], truth[known], unit)
        cell = np.ravel_multi_index((truth[known], decision[known], decisions[known]), self._shape)
        self._decided.add(unit, cell)

    def result(self, settings: Evaluation, seed: int) -> dict[str, Any]:
        """Agreement on all rows, and metrics of both on labelled rows, with paired differences."""
        return {
            "rows": self._answered,
            "errors": self._errors,
            "agree_share": round(self._agree / self._answered, 6) if self._can_agree else None,
            "metrics": self._metrics(settings, seed),
        }

    @property
    def notes(self) -> list[str]:
        """What is missing, and why."""
        notes = []
        if self._threshold is None:
            notes.append(
                "its card is not in models/released/challenger, so nothing says where it decides: agreement "
                "and cost are missing."
            )
        if self._answered and not self._decided.table().sum():
            notes.append("no label has come for the rows it answered, so it is compared by agreement alone.")
        if self._decided.is_single_day:
            notes.append(f"its labelled rows are of one day, so intervals resample {GROUPS} groups of rows.")
        return notes

    @property
    def _can_agree(self) -> bool:
        return self._threshold is not None and self._answered > 0

    def _decide(self, probabilities: npt.NDArray[np.floating]) -> Counts:
        # Without a threshold the decisions are never shown.
        return value.decide(probabilities, 1.0 if self._threshold is None else self._threshold)

    def _score(self, who: str, event: npt.NDArray[np.floating], truth: Counts, unit: Units) -> None:
        bins = bins_of(event)
        self._means[who].add(event, bins)
        self._scores[who].add(unit, bins * len(self._classes) + truth)

    def _metrics(self, settings: Evaluation, seed: int) -> dict[str, Any] | None:
        counts = self._decided.table()
        if not counts.sum():
            return None
        weights = unit_weights(len(counts), self._contract, settings, seed)
        champion, challenger = (
            self._draws(who, weights, settings.calibration_bins) for who in ("champion", "challenger")
        )
        by_class = counts.reshape(-1, *self._shape).sum(axis=(0, 2, 3))
        missing = set(RANKING) if np.count_nonzero(by_class) < 2 else set()
        if self._threshold is None:
            missing.add("cost")
        return {
            name: None
            if name in missing
            else {
                "champion": round(float(champion[name][0]), 6),
                "challenger": round(float(challenger[name][0]), 6),
                "difference": estimate(challenger[name] - champion[name], settings.confidence),
            }
            for name in METRICS
        }

    def _draws(self, who: str, weights: Numbers, calibration_bins: int) -> dict[str, Numbers]:
        counts = self._scores[who].table().reshape(-1, BINS, len(self._classes))
        scores = ScoreTable.of(counts[..., -1], counts[..., :-1].sum(axis=-1), self._means[who].values())
        decided = self._decided.table()
        truth, champion, challenger = np.unravel_index(np.arange(decided.shape[1]), self._shape)
        costs = value.cost_matrix(self._contract)[truth, champion if who == "champion" else challenger]
        cost = ratio(weights @ (decided @ costs), weights @ decided.sum(axis=1)) * value.PER_ROWS
        return scores.draws(weights, calibration_bins) | {"cost": cost}
