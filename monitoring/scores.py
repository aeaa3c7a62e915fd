"""Scores of any number of rows in bounded memory: counts by day and by bin of the probability.

Every metric of `takeoff.evaluation` follows from such counts, and so does its interval, since whole days
are resampled: a resample is a weighted sum of days. Binary tasks, as there.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from takeoff import bootstrap
from takeoff.contract import Contract
from takeoff.evaluation import PART_RESAMPLES, SMALLEST_PROBABILITY, bin_starts
from takeoff.params import Evaluation

BINS = 10_000  # of a probability; the widest holds 0.00016
GROUPS = 64  # of the rows of a single day
RANKING = ("roc_auc", "average_precision")  # metrics that need rows of both classes
# Odd constants of splitmix64 (Steele et al. 2014), to scatter rows over groups.
SCATTER = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9))

Counts = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]


class Units(NamedTuple):
    """What is resampled, for each row.

    Attributes:
        days: int64, shape (n,): the row's day in the contract's zone, counted from 1970-01-01.
        groups: int64, shape (n,): one of `GROUPS` random groups, always the same one for the same row.
    """

    days: Counts
    groups: Counts

    def only(self, mask: npt.NDArray[np.bool_]) -> "Units":
        """The same for some of the rows."""
        return Units(self.days[mask], self.groups[mask])


class DayCounts:
    """How many rows of each day fell into each cell; any number of rows, each added once.

    Days are what intervals come from. As long as all rows are of a single day, its rows are kept apart in
    random groups instead: resampling the groups then stands for resampling rows. Only cells with rows take
    memory, so that many small windows can be counted at once.

    Args:
        cells: how many cells there are.
    """

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self._day: int | None = None  # the single one; None before the first row and after the second day
        # Ascending numbers of day, group and cell in one, and the rows of each.
        self._keys = np.zeros(0, dtype="int64")
        self._rows = np.zeros(0, dtype="int64")
        self._waiting: list[tuple[Counts, Counts]] = []

    def add(self, units: Units, cell: Counts) -> None:
        """Count rows whose cell numbers are given, int64, shape (n,)."""
        if not len(cell):
            return
        first, last = int(units.days.min()), int(units.days.max())
        if not len(self._keys) and not self._waiting and first == last:
            self._day = first
        if self._day is not None and (first, last) != (self._day, self._day):
            self._day = None
            self._merge()
            self._keys, self._rows = self._summed(self._without_group(self._keys), self._rows)
        keys = (units.days * GROUPS + units.groups) * self.cells + cell
        if self._day is None:
            keys = self._without_group(keys)
        self._waiting.append(np.unique(keys, return_counts=True))
        if sum(len(each) for each, _ in self._waiting) > len(self._keys):
            self._merge()

    def table(self) -> Counts:
        """Counts by unit with rows, int64, shape (units, cells): by day in order, or by group of one day."""
        self._merge()
        found, place = np.unique(self._keys // self.cells, return_inverse=True)
        table = np.zeros((len(found), self.cells), dtype="int64")
        table[place, self._keys % self.cells] = self._rows
        return table

    @property
    def is_single_day(self) -> bool:
        """Whether the units are groups of the rows of one day."""
        return self._day is not None

    def _merge(self) -> None:
        """Take in what waits; it waits so that the sorted keys are not rewritten for each chunk."""
        if self._waiting:
            keys, rows = zip((self._keys, self._rows), *self._waiting, strict=True)
            self._keys, self._rows = self._summed(np.concatenate(keys), np.concatenate(rows))
            self._waiting = []

    def _without_group(self, keys: Counts) -> Counts:
        day_size = GROUPS * self.cells
        return keys // day_size * day_size + keys % self.cells

    @staticmethod
    def _summed(keys: Counts, rows: Counts) -> tuple[Counts, Counts]:
        order = np.argsort(keys, kind="stable")  # quick where parts are sorted already
        keys, rows = keys[order], rows[order]
        starts = np.flatnonzero(np.diff(keys, prepend=keys[:1] - 1))
        return keys[starts], np.add.reduceat(rows, starts)


def units(times: pd.Series, event: npt.NDArray[np.floating], contract: Contract) -> Units:
    """The units of rows.

    Args:
        times: instants in UTC, by which windows are cut; shape (n,), n > 0.
        event: probability of the event, float32, shape (n,); scatters rows of the same instant.
        contract: in whose zone days begin.
    """
    instants = pd.DatetimeIndex(times).as_unit("us").asi8
    bits = event.astype("float32").view("uint32").astype("uint64")
    mixed = (instants.view("uint64") * SCATTER[0]) ^ (bits * SCATTER[1])
    mixed = (mixed ^ (mixed >> np.uint64(31))) * SCATTER[0]
    return Units(_days(instants, contract.time.zone), ((mixed >> np.uint64(33)) % GROUPS).astype("int64"))


def _days(instants: Counts, zone: str) -> Counts:
    # Midnights are few, so rows are sorted between them: much quicker than to convert each row.
    ends = pd.to_datetime([int(instants.min()), int(instants.max())], unit="us", utc=True)
    first, last = ends.tz_convert(zone).tz_localize(None).normalize()
    local = pd.date_range(first, last, freq="D")
    midnights = local.tz_localize(zone, nonexistent="shift_forward", ambiguous=np.ones(len(local), bool))
    place = np.searchsorted(midnights.as_unit("us").asi8, instants, side="right") - 1
    return (first - pd.Timestamp(0)).days + place


def codes(values: "pd.Series[Any]", names: Sequence[str]) -> Counts:
    """Place of each value of a category among `names`, -1 where it is missing; int64, shape (n,)."""
    return np.asarray(values.cat.set_categories(list(names)).cat.codes, dtype="int64")


def bins_of(event: npt.NDArray[np.floating]) -> Counts:
    """Bin of each probability, from 0 to BINS - 1, in their order.

    Equal steps of arcsin(sqrt(p)), which makes the noise of a share the same everywhere (Freeman and Tukey
    1950): bins get narrower towards 0 and 1, so that rare events are told apart as well.
    """
    angle = np.arcsin(np.sqrt(np.clip(event, 0, 1))) * np.float32(BINS / (np.pi / 2))
    return np.asarray(np.minimum(angle.astype("int64"), BINS - 1))


class MeanOfBin:
    """The mean probability of the rows in each bin."""

    def __init__(self) -> None:
        self._sums = np.zeros(BINS)
        self._rows = np.zeros(BINS, dtype="int64")

    def add(self, event: npt.NDArray[np.floating], bins: Counts) -> None:
        """Take in probabilities and their bins, both of shape (n,)."""
        self._sums += np.bincount(bins, event, minlength=BINS)
        self._rows += np.bincount(bins, minlength=BINS)

    def values(self) -> Numbers:
        """float64, shape (BINS,); 0 where there are no rows."""
        return np.asarray(self._sums / np.maximum(self._rows, 1))


class ScoreTable(NamedTuple):
    """Rows by unit and by bin; bins without rows are left out.

    Attributes:
        event: rows whose truth is the event, or how many are expected, float64, shape (units, bins).
        other: the other rows, the same.
        probability: of the event in each bin, ascending, float64, shape (bins,).
    """

    event: Numbers
    other: Numbers
    probability: Numbers

    @classmethod
    def of(cls, event: npt.NDArray[Any], other: npt.NDArray[Any], mean: Numbers) -> "ScoreTable":
        """From counts of shape (units, BINS) and `MeanOfBin.values`."""
        filled = (event.sum(axis=0) + other.sum(axis=0)) > 0
        return cls(event[:, filled].astype("float64"), other[:, filled].astype("float64"), mean[filled])

    def draws(self, weights: Numbers, calibration_bins: int) -> dict[str, Numbers]:
        """Every metric of `takeoff.evaluation` but the cost, and the share of the event, in each resample.

        Args:
            weights: see `unit_weights`.
            calibration_bins: equally filled bins of the calibration error.

        Returns:
            float64, shape (resamples + 1,) by name; NaN where a metric needs a class that is not there.
        """
        starts = np.flatnonzero(np.diff(self.calibration_groups(calibration_bins), prepend=-1))
        parts = [self._part(*both, starts) for both in self._resampled(weights)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def calibration_groups(self, groups: int) -> Counts:
        """Equally filled group of each bin, from 0, as `takeoff.evaluation.equal_bins` puts rows into."""
        upto = np.cumsum((self.event + self.other).sum(axis=0))
        firsts = np.unique(np.searchsorted(upto, bin_starts(upto[-1], groups), side="right"))
        return np.searchsorted(firsts, np.arange(len(upto)), side="right").astype("int64")

    def calibration_curve(self, groups: int) -> list[dict[str, float]]:
        """Mean prediction, observed share of the event and rows of equally filled groups."""
        event, rows = self.event.sum(axis=0), (self.event + self.other).sum(axis=0)
        group = self.calibration_groups(groups)
        predicted, observed, size = (
            np.bincount(group, each) for each in (rows * self.probability, event, rows)
        )
        return [
            {
                "predicted": round(float(predicted[i] / size[i]), 6),
                "observed": round(float(observed[i] / size[i]), 6),
                "rows": int(size[i]),
            }
            for i in np.unique(group)
        ]

    def predicted_share(self) -> float:
        """Mean probability of the event."""
        rows = (self.event + self.other).sum(axis=0)
        return float((rows * self.probability).sum() / rows.sum())

    def _resampled(self, weights: Numbers) -> Iterator[tuple[Numbers, Numbers]]:
        for start in range(0, len(weights), PART_RESAMPLES):
            part = weights[start : start + PART_RESAMPLES]
            yield part @ self.event, part @ self.other

    def _part(self, event: Numbers, other: Numbers, starts: Counts) -> dict[str, Numbers]:
        """The metrics of some resamples, by the formulas of `takeoff.evaluation`."""
        rows = event + other
        all_rows, all_events = rows.sum(axis=1), event.sum(axis=1)
        # Of a pair in one bin nothing says which is greater: it counts half.
        won = (event * (np.cumsum(other, axis=1) - other / 2)).sum(axis=1)
        flagged = np.cumsum(rows[:, ::-1], axis=1)[:, ::-1]
        found = np.cumsum(event[:, ::-1], axis=1)[:, ::-1]
        precision = ratio(found, flagged, nothing=0.0)
        certain = np.clip(self.probability, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
        gaps = np.add.reduceat(rows * self.probability - event, starts, axis=1)
        return {
            "roc_auc": ratio(won, all_events * (all_rows - all_events)),
            "average_precision": ratio((event * precision).sum(axis=1), all_events),
            "log_loss": ratio(-(event @ np.log(certain)) - other @ np.log(1 - certain), all_rows),
            "brier": ratio(event @ (1 - self.probability) ** 2 + other @ self.probability**2, all_rows),
            "calibration_error": ratio(np.abs(gaps).sum(axis=1), all_rows),
            "event_share": ratio(all_events, all_rows),
        }


def unit_weights(count: int, contract: Contract, settings: Evaluation, seed: int) -> Numbers:
    """How often each resample draws each unit, as `takeoff.bootstrap` draws days; first row all ones.

    Returns:
        float64, shape (resamples + 1, count).
    """
    days = pd.date_range("2000-01-01", periods=count, freq="D", tz=contract.time.zone)
    rows = pd.DataFrame({contract.time.column: days})
    return bootstrap.resample(rows, contract, settings.resamples, seed).weights


def estimate(draws: Numbers, confidence: float) -> dict[str, float] | None:
    """Value and interval, fit for JSON; None where nothing could be measured."""
    if np.isnan(draws[0]) or np.isnan(draws[1:]).all():
        return None
    found = bootstrap.interval(draws, confidence)
    return {side: round(number, 6) for side, number in found._asdict().items()}


def estimates(draws: Mapping[str, Numbers], confidence: float) -> dict[str, dict[str, float] | None]:
    """`estimate` of each."""
    return {name: estimate(each, confidence) for name, each in draws.items()}


def ratio(top: Numbers, bottom: Numbers, nothing: float = np.nan) -> Numbers:
    """top / bottom, `nothing` where there is nothing to divide by."""
    filled = np.full(np.broadcast_shapes(top.shape, bottom.shape), nothing)
    return np.asarray(np.divide(top, bottom, out=filled, where=bottom > 0))
