"""The full drift table of a window, ours and Evidently's, of the same rows in the same process."""

import os
import time
from typing import Any, NamedTuple

# Read when Evidently is imported: it would report on its use.
os.environ["DO_NOT_TRACK"] = "1"

import numpy as np
import numpy.typing as npt
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

from monitoring import drift
from monitoring.profiles import Reference, WindowProfile
from takeoff.contract import Contract
from takeoff.log_read import read_chunks
from takeoff.params import Drift

REPEATS = 3  # of ours: it is so short that other work on the machine would show in one


class Tables(NamedTuple):
    """Seconds that the table takes, from rows in memory to the last figure.

    Attributes:
        rows: of the window.
        reference_rows: that Evidently was given to compare with; ours compares with all that were fitted on.
        ours: counting and resampling, one a repeat.
        evidently: its default drift preset.
    """

    rows: int
    reference_rows: int
    ours: list[float]
    evidently: float


def compare(url: str, contract: Contract, settings: Drift, seed: int) -> Tables:
    """Both tables of all rows of a prediction log, against the reference of the project in this folder."""
    reference = Reference.load()
    chunks = [(chunk.rows, chunk.probabilities) for chunk in read_chunks(url, contract)]
    ours = [_ours(chunks, reference, settings, seed) for _ in range(REPEATS)]
    rows = pd.concat([_plain(part, contract) for part, _ in chunks], ignore_index=True)
    return Tables(
        len(rows),
        len(reference.sample),
        ours,
        _evidently(rows, _plain(reference.sample, contract), contract),
    )


def _ours(
    chunks: list[tuple[pd.DataFrame, npt.NDArray[np.float32]]],
    reference: Reference,
    settings: Drift,
    seed: int,
) -> float:
    started = time.perf_counter()
    profile = WindowProfile(reference)
    for rows, probabilities in chunks:
        profile.add(rows, probabilities)
    assert drift.measure(profile, reference, settings, seed)
    return time.perf_counter() - started


def _evidently(rows: pd.DataFrame, reference: pd.DataFrame, contract: Contract) -> float:
    columns = DataDefinition(numerical_columns=contract.numbers, categorical_columns=contract.categories)
    started = time.perf_counter()
    current, before = (Dataset.from_pandas(each, columns) for each in (rows, reference))
    assert _figures(Report([DataDriftPreset()]).run(current, before).dict())
    return time.perf_counter() - started


def _figures(report: dict[str, Any]) -> list[Any]:
    return list(report["metrics"])


def _plain(rows: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Features in types that Evidently takes."""
    return pd.DataFrame(
        {
            name: rows[name].astype("float64" if column.is_number else object)
            for name, column in contract.columns.items()
        }
    )
