"""Models that compete: one module each, with its `Settings` and its `fit`.

A candidate's `fit` has the signature of `FitFunction`. It sees features as `takeoff.features.Examples`
holds them, which is exactly what its ONNX file will be fed.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx
import pandas as pd

from takeoff.contract import Contract
from takeoff.features import Examples
from takeoff.params import check_candidate
from takeoff.settings import Settings

Probabilities = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Fitted:
    """A fitted candidate, before calibration.

    Attributes:
        predict: features (n rows, as in `Examples.features`) to probabilities, shape (n, classes).
        to_onnx: the same function as a graph: one input per contract column, shape (n, 1), float32 or
            string; one float32 output, shape (n, classes).
        steps: metrics by step of the fit (epoch, tree), for the tracker.
    """

    predict: Callable[[pd.DataFrame], Probabilities]
    to_onnx: Callable[[], onnx.ModelProto]
    steps: Sequence[Mapping[str, float]] = field(default=())


class FitFunction(Protocol):
    """How every candidate is fitted."""

    def __call__(
        self, fit: Examples, validation: Examples, settings: Settings, contract: Contract, seed: int
    ) -> Fitted:
        """Fit on `fit`; `validation` may only decide when to stop."""
        ...


def load(name: str) -> ModuleType:
    """The module of a candidate.

    Raises:
        TakeoffError: there is no such candidate; the message names the nearest.
    """
    check_candidate(name)
    return importlib.import_module(f"takeoff.candidates.{name}")
