"""Rows as counts: what a reference was made of, and what a window is made of.

A window's profile has the bins of its reference, so it takes the same memory however many rows there are,
and the profiles of two parts of a window add up to that of the whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from takeoff import files
from takeoff.errors import TakeoffError
from takeoff.importance import IMPORTANCE_FILE
from takeoff.paths import REFERENCE
from takeoff.reference import HISTOGRAMS_FILE, PROFILE_FILE, SAMPLE_FILE

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Numbers:
    """A number in the reference.

    Attributes:
        starts: float32, shape (k,), ascending: bin i holds starts[i] <= value < starts[i + 1], the last
            one the maximum; empty where the reference has no value at all.
        groups: int64, shape (g,): positions in `starts` where the wider bins of the profile begin.
        std: of the population; 1 where the reference holds one value only, or none.
        counts: int64, shape (k + 3,): rows below all bins, in each bin, above all bins, missing.
        excess: sum of how far values inside the range lie above the start of their bin.
    """

    starts: npt.NDArray[np.float32]
    groups: Counts
    std: float
    counts: Counts
    excess: float


@dataclass(frozen=True)
class Categories:
    """A category in the reference.

    Attributes:
        values: that occur, shape (v,).
        counts: int64, shape (v + 2,): rows of each value, of any other value, missing.
    """

    values: tuple[str, ...]
    counts: Counts


Bins = Numbers | Categories


@dataclass(frozen=True)
class Reference:
    """What drift is measured against: the rows that the released model was fitted on.

    Attributes:
        onnx_sha256: of the model whose rows these are.
        contract_hash: of the contract they were made under.
        rows: how many there were.
        columns: each feature, in the order of the contract.
        predictions: each class probability, in the order of the contract.
        importance: share of each feature in what moves the model's answers.
        sample: some of the rows, with `probability_<class>`.
    """

    onnx_sha256: str
    contract_hash: str
    rows: int
    columns: Mapping[str, Bins]
    predictions: Mapping[str, Bins]
    importance: Mapping[str, float]
    sample: pd.DataFrame

    @classmethod
    def load(cls, folder: Path = REFERENCE) -> "Reference":
        """The reference that the stage of that name left in a folder.

        Raises:
            TakeoffError: a file is missing, or was made by another version of the project.
        """
        profile = files.read_json(folder / PROFILE_FILE)
        histograms = files.read_rows(folder / HISTOGRAMS_FILE)
        importance = files.read_json(folder / IMPORTANCE_FILE)
        try:
            found = {
                kind: {
                    name: bins_of(
                        known, histograms[(histograms["kind"] == kind) & (histograms["name"] == name)]
                    )
                    for name, known in profile[f"{kind}s"].items()
                }
                for kind in ("column", "prediction")
            }
            return cls(
                onnx_sha256=profile["onnx_sha256"],
                contract_hash=profile["contract_hash"],
                rows=profile["rows"],
                columns=found["column"],
                predictions=found["prediction"],
                importance={name: float(importance[name]) for name in found["column"]},
                sample=files.read_rows(folder / SAMPLE_FILE),
            )
        except (KeyError, TypeError):
            raise TakeoffError(
                f"{folder.as_posix()} was made by another version of this project. Run `dvc repro`, which "
                "makes it anew."
            ) from None


@dataclass(frozen=True)
class Counted:
    """A column of a window.

    Attributes:
        counts: int64, in the bins of the reference; see `Numbers` and `Categories`.
        below: sum of how far values lie below the reference's range.
        above: sum of how far values lie above it.
        excess: sum of how far values inside it lie above the start of their bin.
    """

    counts: Counts
    below: float = 0.0
    above: float = 0.0
    excess: float = 0.0

    def __add__(self, other: "Counted") -> "Counted":
        return Counted(
            self.counts + other.counts,
            self.below + other.below,
            self.above + other.above,
            self.excess + other.excess,
        )


class WindowProfile:
    """Counts of a window's rows in the bins of a reference.

    Attributes:
        rows: how many were added.
        columns: what was counted, by column.
        predictions: the same, by class.
    """

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.rows = 0
        self.columns = {name: Counted(np.zeros_like(b.counts)) for name, b in reference.columns.items()}
        self.predictions = {
            name: Counted(np.zeros_like(b.counts)) for name, b in reference.predictions.items()
        }

    def add(self, rows: pd.DataFrame, probabilities: npt.NDArray[np.float32]) -> None:
        """Count rows, and what was answered to them.

        Args:
            rows: the reference's columns or more; numbers float32, NaN where missing; categories as
                `category` or `str`, missing where they are.
            probabilities: float32, shape (n, classes), in the order of the contract's classes.

        Raises:
            TakeoffError: the rows lack a column of the reference, or have other classes.
        """
        if lacking := [name for name in self.columns if name not in rows.columns]:
            raise TakeoffError(
                f"The rows have no column '{lacking[0]}', which the reference has: the contract has changed "
                "since the model was trained. Run `dvc repro`, which makes model and reference anew."
            )
        if probabilities.shape != (len(rows), len(self.predictions)):
            raise TakeoffError(
                f"Probabilities of shape {probabilities.shape} don't fit {len(rows):,} rows and the "
                f"{len(self.predictions)} classes of the reference. Run `dvc repro`, which makes it anew."
            )
        for name, bins in self.reference.columns.items():
            self.columns[name] += count(rows[name], bins)
        for i, (name, bins) in enumerate(self.reference.predictions.items()):
            self.predictions[name] += count(pd.Series(probabilities[:, i]), bins)
        self.rows += len(rows)

    def merge(self, other: "WindowProfile") -> "WindowProfile":
        """The profile of both windows' rows; neither of the two is changed."""
        both = WindowProfile(self.reference)
        both.rows = self.rows + other.rows
        both.columns = {name: mine + other.columns[name] for name, mine in self.columns.items()}
        both.predictions = {name: mine + other.predictions[name] for name, mine in self.predictions.items()}
        return both


def count(values: pd.Series, bins: Bins) -> Counted:
    """Values in the bins of a reference.

    Args:
        values: shape (n,), of the type of the bins; see `WindowProfile.add`.
        bins: of the reference.
    """
    if isinstance(bins, Categories):
        return Counted(_count_categories(values, bins))
    return _count_numbers(values.to_numpy("float32", na_value=np.nan), bins)


def _count_numbers(values: npt.NDArray[np.float32], bins: Numbers) -> Counted:
    ordered = np.sort(values)  # missing ones end up last; sorted values are counted by looking up the bins
    present = ordered[: len(ordered) - int(np.isnan(ordered).sum())]
    missing = len(ordered) - len(present)
    if len(bins.starts) == 0:
        return Counted(np.array([0, len(present), missing], "int64"))
    marks = np.searchsorted(present, bins.starts, side="left")
    end = int(np.searchsorted(present, bins.starts[-1], side="right"))
    counts = np.diff(marks, prepend=0, append=end)
    below, inside, above = present[: marks[0]], present[marks[0] : end], present[end:]
    starts = bins.starts.astype("float64")
    return Counted(
        np.concatenate([counts, [len(above), missing]]).astype("int64"),
        below=float(len(below) * starts[0] - below.sum(dtype="float64")),
        above=float(above.sum(dtype="float64") - len(above) * starts[-1]),
        excess=float(inside.sum(dtype="float64") - counts[1:] @ starts),
    )


def _count_categories(values: pd.Series, bins: Categories) -> Counts:
    found = values.value_counts()  # of `category`, also values that no row has
    counts = np.zeros(len(bins.values) + 2, "int64")
    known = found.reindex(list(bins.values), fill_value=0)
    counts[:-2] = known
    counts[-2] = int(found.sum()) - int(known.sum())
    counts[-1] = int(values.isna().sum())
    return counts


def bins_of(known: dict[str, Any], histogram: pd.DataFrame) -> Bins:
    """The bins of a column.

    Args:
        known: its profile, see `takeoff.reference.profile_number` and `profile_category`.
        histogram: of a number, see `takeoff.reference.histogram`.
    """
    if known["type"] == "category":
        counts = known["counts"]
        return Categories(tuple(counts), np.array([*counts.values(), 0, known["missing"]], "int64"))
    starts = histogram["start"].to_numpy("float32")
    return Numbers(
        starts=starts,
        groups=np.searchsorted(starts, np.array(known["edges"][:-1], "float32")).astype("int64"),
        std=known["std"] or 1.0,
        counts=np.concatenate([[0], histogram["count"], [0, known["missing"]]]).astype("int64"),
        excess=float(histogram["excess"].sum()),
    )
