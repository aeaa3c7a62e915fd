"""Chunks of a prediction log, made of real rows and a real model as the reader makes them of the log."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from monitoring import rehearsal
from monitoring.rehearsal import take
from takeoff import files, model, paths
from takeoff.contract import Contract
from takeoff.features import features
from takeoff.log_read import Chunk
from takeoff.training import Trained

LAST_DAYS = 4_000  # rows of the small project, which no model was fitted on
THRESHOLD = 0.25
CHALLENGER = "logistic-0123456789ab"

# What bins may cost in accuracy. Two rows in one bin that were in order now count as a tie; rows of the bin
# at a calibration edge move together. Nothing else is lost: money and shares are exact.
TOLERANCE = {
    "roc_auc": 5e-5,
    "average_precision": 5e-4,
    "log_loss": 5e-6,
    "brier": 5e-6,
    "calibration_error": 5e-4,
    "cost": 1e-5,
}

Probabilities = npt.NDArray[np.float32]


class Live(NamedTuple):
    """Rows that two real models have answered, some without a label.

    Attributes:
        rows: contract rows, in the order of time.
        probabilities: of the champion, float32, shape (n, classes).
        shadow: of the challenger, the same.
        chunk: the log of all that, decided at `THRESHOLD`.
    """

    rows: pd.DataFrame
    probabilities: Probabilities
    shadow: Probabilities
    chunk: Chunk


def live(split_project: Path, trained: Callable[[str], Trained], contract: Contract) -> Live:
    """The last days of the small project, boosted trees as the champion, logistic as the challenger."""
    rows = files.read_rows(split_project / paths.CHECKED_ROWS)
    rows = rows.sort_values(contract.time.column)[-LAST_DAYS:].reset_index(drop=True)
    champion, challenger = (
        model.predict(model.session_of(trained(name).onnx), features(rows, contract))
        for name in ("boosted", "logistic")
    )
    return Live(rows, champion, challenger, chunk(rows, champion, THRESHOLD, contract, challenger))


def chunk(
    rows: pd.DataFrame,
    probabilities: Probabilities,
    threshold: float,
    contract: Contract,
    shadow: Probabilities | None = None,
) -> Chunk:
    """A chunk of contract rows with these probabilities, decided at `threshold`."""
    made = rehearsal.chunk(rows, probabilities, threshold, contract)
    if shadow is None:
        return made
    return made._replace(shadow=shadow, shadow_versions=pd.Series([CHALLENGER] * len(rows), dtype="category"))


def pieces(whole: Chunk, cuts: Sequence[int]) -> list[Chunk]:
    """The same rows in several chunks, cut before these places."""
    edges = [0, *sorted(cuts), len(whole.answers)]
    return [take(whole, np.arange(low, high)) for low, high in pairwise(edges)]


def labelled_as(whole: Chunk, labels: Sequence[str | None], contract: Contract) -> Chunk:
    """The same answers with other labels."""
    classes = pd.Categorical(list(labels), categories=list(contract.target.classes))
    return whole._replace(answers=whole.answers.assign(label=classes))


def flat(found: Any, path: str = "") -> dict[str, Any]:
    """Every number of a JSON by where it stands."""
    if isinstance(found, dict):
        return {k: v for name, each in found.items() for k, v in flat(each, f"{path}/{name}").items()}
    if isinstance(found, list):
        return flat(dict(enumerate(found)), path)
    return {path: found}
