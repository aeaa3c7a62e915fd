"""What was asked and answered, as counts in the bins of the reference, for /metrics.

Counts of all workers and of any two moments add up, so Prometheus can tell how far the rows of any hour or
day have moved from the reference. Nothing is counted while a caller waits: rows are put aside, counted
together ten times a second, and shown once a second or when somebody looks.
"""

import json
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from serving import metrics
from takeoff import paths
from takeoff.contract import Contract
from takeoff.model import MISSING_TEXT

PROFILE = "profile.json"
MISSING, OTHER = "missing", "other"
ANSWER = "(answer)"  # as a column: the probability of the event; no column of a contract is named so
MOST_WAITING = 50_000  # rows put aside, before they are counted at once
MOST_VALUES = 200  # of a category that have a bin of their own; rarer ones are `other`
# Rows added to each bin before a share is taken, as in monitoring/drift.py: an empty one has a logarithm.
HALF = 0.5

Values = npt.NDArray[np.float64]
Edges = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]
Feed = Mapping[str, npt.NDArray[Any]]  # as `serving.requests.Feed.columns` makes it, and the model reads it


class Bins(NamedTuple):
    """Bins of one column.

    Attributes:
        names: of all bins, the last one `MISSING`.
        edges: between the bins of a number, ascending, one fewer than its bins; None for a category. A number
            is at or above one exactly if it is at or above that of the reference.
        places: bin of each value of a category.
        counts: rows of the reference in each bin.
    """

    names: list[str]
    edges: Edges | None
    places: Mapping[str, int]
    counts: Values


class Histograms:
    """Counts rows; safe to use from several threads.

    Args:
        home: folder with the Bento's files.
        contract: what a row is.
    """

    def __init__(self, home: Path, contract: Contract) -> None:
        self._bins = _read(home, contract)
        self._counts = {column: np.zeros(len(bins.names), np.int64) for column, bins in self._bins.items()}
        self._lock = threading.Lock()  # of what waits
        self._counting = threading.Lock()  # of the counts
        self._waiting: list[Feed] = []
        self._rows = 0
        self._unshown = False
        for column, bins in self._bins.items():
            shares = (bins.counts + HALF) / (bins.counts + HALF).sum()
            for name, share in zip(bins.names, shares, strict=True):
                metrics.REFERENCE_SHARE.labels(column, name).set(share)
                metrics.binned(column, name)  # from 0 on: a bin into which no row falls counts as well

    def offer(self, feed: Feed, events: npt.NDArray[np.float32]) -> None:
        """Put rows aside that have been answered.

        Args:
            feed: what the model was fed.
            events: probability of the event, float32, shape (n,).
        """
        if not self._bins:
            return
        with self._lock:
            self._waiting.append({**feed, ANSWER: events})
            self._rows += len(events)
            many = self._rows >= MOST_WAITING
        if many:
            self.count()

    @property
    def is_behind(self) -> bool:
        """Whether there is anything to count or to show."""
        return self._rows > 0 or self._unshown

    def count(self) -> None:
        """Count what was put aside."""
        with self._counting:
            self._count()

    def show(self) -> None:
        """Bring the metrics up to all that was put aside before."""
        with self._counting:
            self._count()
            for column, bins in self._bins.items():
                for place in np.flatnonzero(counts := self._counts[column]).tolist():
                    metrics.binned(column, bins.names[place]).inc(int(counts[place]))
                counts[:] = 0
            self._unshown = False

    def _count(self) -> None:
        with self._lock:
            waiting, self._waiting, self._rows = self._waiting, [], 0
        if not waiting:
            return
        self._unshown = True
        for column, bins in self._bins.items():
            self._counts[column] += count(np.concatenate([each[column].ravel() for each in waiting]), bins)


def count(values: npt.NDArray[Any], bins: Bins) -> Counts:
    """Rows in each bin.

    Args:
        values: float32 with NaN where missing, or object (str) with "" where missing; shape (n,).
        bins: of the column.

    Returns:
        int64, shape (bins,).
    """
    missing = len(bins.names) - 1
    if bins.edges is None:
        counts = np.zeros(len(bins.names), dtype=np.int64)
        for value, rows in Counter(values.tolist()).items():
            counts[missing if value == MISSING_TEXT else bins.places.get(value, missing - 1)] += rows
        return counts
    counts = np.bincount(np.searchsorted(bins.edges, values, side="right"), minlength=len(bins.names))
    absent = np.count_nonzero(np.isnan(values))  # which were sorted behind all numbers
    counts[missing - 1] -= absent
    counts[missing] += absent
    return counts


def _read(home: Path, contract: Contract) -> dict[str, Bins]:
    """Bins by column; none where the reference is not there, as only a Bento is sure to have it."""
    file = home / paths.REFERENCE / PROFILE
    if not file.is_file():
        return {}
    profile = json.loads(file.read_text(encoding="utf-8"))
    known = {name: _bins(profile["columns"][name]) for name in contract.columns}
    return known | {ANSWER: _bins(profile["predictions"][contract.target.classes[-1]])}


def _bins(known: Mapping[str, Any]) -> Bins:
    if known["type"] == "category":
        most = sorted(known["counts"].items(), key=lambda each: -each[1])
        own, rare = most[:MOST_VALUES], most[MOST_VALUES:]
        counts = [*(rows for _, rows in own), sum(rows for _, rows in rare), known["missing"]]
        names = [name for name, _ in own]
        places = {name: place for place, name in enumerate(names)}
        # A value may have the name of one of the two.
        return Bins(
            [*(f"={name}" for name in names), OTHER, MISSING], None, places, np.array(counts, "float64")
        )
    edges = _at_least(np.array(known["edges"][1:-1], dtype="float64"))
    counts = known["counts"] or [0]  # a reference without any value
    names = [f"{place:02d}" for place in range(len(counts))]
    return Bins([*names, MISSING], edges, {}, np.array([*counts, known["missing"]], dtype="float64"))


def _at_least(numbers: Values) -> Edges:
    """The smallest float32 that is not below each: a float32 can be compared with it, which is quicker."""
    nearest = numbers.astype(np.float32)
    return np.where(nearest < numbers, np.nextafter(nearest, np.float32(np.inf)), nearest)
