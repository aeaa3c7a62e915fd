"""Chunks of a prediction log, made of real rows and a real model as the reader makes them of the log."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from takeoff import model, value
from takeoff.contract import Contract
from takeoff.features import features
from takeoff.log_read import Chunk
from takeoff.model import Model

Probabilities = npt.NDArray[np.float32]


def answered(
    rows: pd.DataFrame, released: Model, contract: Contract, challenger: Model | None = None
) -> Chunk:
    """What the log holds of contract rows that a released model has answered, labels and all."""
    probabilities = model.predict(released.session, features(rows, contract))
    shadow = None if challenger is None else model.predict(challenger.session, features(rows, contract))
    return chunk(rows, probabilities, released.card["decision"]["threshold"], contract, shadow)


def chunk(
    rows: pd.DataFrame,
    probabilities: Probabilities,
    threshold: float,
    contract: Contract,
    shadow: Probabilities | None = None,
) -> Chunk:
    """A chunk of contract rows with these probabilities, decided at `threshold`."""
    classes = list(contract.target.classes)
    decisions = value.decide(probabilities, threshold)
    times = rows[contract.time.column]
    count = len(rows)
    answers = pd.DataFrame(
        {
            "prediction_id": [str(i) for i in range(count)],
            "window_time": times,
            "time": times,
            "model_version": "1",
            "contract": contract.hash,
            "decision": pd.Categorical([classes[each] for each in decisions], categories=classes),
            "label": pd.Categorical(rows[contract.target.column], categories=classes),
            "review": value.needs_review(
                probabilities, decisions, value.cost_matrix(contract), contract.costs.review
            ),
            "latency_ms": np.zeros(count, dtype="float32"),
            "label_time": rows[contract.target.known_at],
            "known_at": rows[contract.target.known_at],
            "row_id": rows[contract.id],
        }
    ).reset_index(drop=True)
    asked = np.full((count, len(classes)), np.nan, dtype="float32") if shadow is None else shadow
    version = None if shadow is None else "challenger"
    return Chunk(
        rows=_as_read(rows, contract),
        answers=answers,
        probabilities=probabilities,
        shadow=asked,
        shadow_versions=pd.Series([version] * count, dtype="category"),
    )


def pieces(whole: Chunk, cuts: Sequence[int]) -> list[Chunk]:
    """The same rows in several chunks, cut before these places."""
    edges = [0, *sorted(cuts), len(whole.answers)]
    return [take(whole, np.arange(low, high)) for low, high in pairwise(edges)]


def take(whole: Chunk, places: npt.NDArray[np.int64]) -> Chunk:
    """Some of the rows, in this order."""
    return Chunk(
        rows=whole.rows.iloc[places].reset_index(drop=True),
        answers=whole.answers.iloc[places].reset_index(drop=True),
        probabilities=whole.probabilities[places],
        shadow=whole.shadow[places],
        shadow_versions=pd.Series(whole.shadow_versions).iloc[places].reset_index(drop=True),
    )


def _as_read(rows: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Contract columns as the reader of the log gives them."""
    return pd.DataFrame(
        {
            name: rows[name].astype("float32" if column.is_number else "category")
            for name, column in contract.columns.items()
        }
    ).reset_index(drop=True)
