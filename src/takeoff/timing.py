"""How long a model takes to answer, measured here and now."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from onnxruntime import InferenceSession

from takeoff.model import OUTPUT, predict

MANY_ROWS = 10_000
CALLS_OF_ONE, CALLS_OF_MANY = 2_000, 5


class Timing(NamedTuple):
    """Median times of one thread; microseconds for one row, milliseconds for `MANY_ROWS` rows."""

    one_row_us: float
    many_rows_ms: float


def time_model(session: InferenceSession, features: pd.DataFrame) -> Timing:
    """Time a model on these rows, repeated where there are too few.

    One row is timed as the service asks it, its arrays ready; many rows as a batch job does, from a frame.
    """
    places = np.resize(np.arange(len(features)), MANY_ROWS)
    many = features.iloc[places]
    one = _feed(session, features.iloc[:1])
    return Timing(
        one_row_us=_median(lambda: session.run([OUTPUT], one), CALLS_OF_ONE) * 1e6,
        many_rows_ms=_median(lambda: predict(session, many), CALLS_OF_MANY) * 1e3,
    )


def _feed(session: InferenceSession, row: pd.DataFrame) -> Mapping[str, object]:
    return {
        entry.name: np.asarray(
            row[entry.name], dtype=object if entry.type == "tensor(string)" else np.float32
        ).reshape(-1, 1)
        for entry in session.get_inputs()
    }


def _median(call: Callable[[], object], times: int) -> float:
    for _ in range(3):
        call()
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)
