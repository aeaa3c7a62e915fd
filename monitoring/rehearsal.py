"""What the monitor would say of rows, had the champion been asked for them: needs no service and no log.

For a look at production before there is any, and for tests.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from monitoring.measure import Gathering
from monitoring.quality import Known
from monitoring.standard import Standard
from monitoring.windows import Kind, place
from takeoff import value
from takeoff.contract import Contract
from takeoff.features import features
from takeoff.log_read import Chunk
from takeoff.model import Model, predict

ALONE = "1"  # version of a model that no registry knows


def answer(rows: pd.DataFrame, released: Model, contract: Contract, version: str | None = None) -> Chunk:
    """Rows, with what a model answers and the truth where it is known, as the log would give them.

    Args:
        rows: contract rows with their target, in the order of their time.
        released: a shipped model.
        contract: what a row is.
        version: of the model.
    """
    probabilities = predict(released.session, features(rows, contract))
    return chunk(rows, probabilities, float(released.card["decision"]["threshold"]), contract, version)


def chunk(
    rows: pd.DataFrame,
    probabilities: npt.NDArray[np.float32],
    threshold: float,
    contract: Contract,
    version: str | None = None,
) -> Chunk:
    """Rows with these probabilities, float32 of shape (n, classes), decided at `threshold`; see `answer`."""
    classes = list(contract.target.classes)
    decisions = value.decide(probabilities, threshold)
    review = value.needs_review(probabilities, decisions, value.cost_matrix(contract), contract.costs.review)
    times, count = rows[contract.time.column], len(rows)
    answers = pd.DataFrame(
        {
            "prediction_id": [str(number) for number in range(count)],
            "window_time": times,
            "time": times,
            "model_version": version or ALONE,
            "contract": contract.hash,
            "decision": pd.Categorical([classes[each] for each in decisions], categories=classes),
            "label": pd.Categorical(rows[contract.target.column], categories=classes),
            "review": review,
            "latency_ms": np.zeros(count, dtype="float32"),
            "label_time": rows[contract.target.known_at],
            "known_at": rows[contract.target.known_at],
            "row_id": rows[contract.id],
        }
    ).reset_index(drop=True)
    plain = {
        name: rows[name].astype("float32" if column.is_number else "category")
        for name, column in contract.columns.items()
    }
    return Chunk(
        rows=pd.DataFrame(plain).reset_index(drop=True),
        answers=answers,
        probabilities=probabilities,
        shadow=np.full((count, len(classes)), np.nan, dtype="float32"),
        shadow_versions=pd.Series([None] * count, dtype="category"),
    )


def take(whole: Chunk, places: npt.NDArray[np.int64]) -> Chunk:
    """Some of the rows, in this order."""
    return Chunk(
        rows=whole.rows.iloc[places].reset_index(drop=True),
        answers=whole.answers.iloc[places].reset_index(drop=True),
        probabilities=whole.probabilities[places],
        shadow=whole.shadow[places],
        shadow_versions=whole.shadow_versions.iloc[places].reset_index(drop=True),
    )


def measure(whole: Chunk, kind: Kind, against: Standard) -> list[dict[str, Any]]:
    """The JSON of each window in which there are rows, the oldest first; all of them are over.

    Args:
        whole: rows of any time.
        kind: of the windows.
        against: what they are measured against.
    """
    contract, known = against.contract, Known()
    windows, places = place(pd.DatetimeIndex(whole.answers["window_time"]), kind, contract)
    results: list[dict[str, Any]] = []
    for number, window in enumerate(windows):
        gathered = Gathering(window, against, None, known)
        gathered.add(take(whole, np.flatnonzero(places == number)))
        result = gathered.result(None, results)
        result["window"]["complete"] = True
        results.append(result)
    return results


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """All rows of some chunks in one."""
    return Chunk(
        rows=pd.concat([each.rows for each in chunks], ignore_index=True),
        answers=pd.concat([each.answers for each in chunks], ignore_index=True),
        probabilities=np.concatenate([each.probabilities for each in chunks]),
        shadow=np.concatenate([each.shadow for each in chunks]),
        shadow_versions=pd.concat([each.shadow_versions for each in chunks], ignore_index=True),
    )
