"""Models that compete: one module each, with its `Settings` and its `fit`.

A candidate's `fit` has the signature of `FitFunction`. It sees features as `takeoff.features.Examples`
holds them, which is exactly what its ONNX file will be fed.
"""

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx
import pandas as pd

from takeoff import export
from takeoff.contract import Contract
from takeoff.features import Examples
from takeoff.params import check_candidate
from takeoff.settings import Settings

if TYPE_CHECKING:
    import torch

Vocabularies = Mapping[str, Sequence[str]]
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


def of_pipeline(pipeline: Any, contract: Contract, steps: Sequence[Mapping[str, float]] = ()) -> Fitted:
    """What `fit` returns where the model is a fitted scikit-learn pipeline that takes a frame of features.

    Args:
        pipeline: has `predict_proba`; each step has an ONNX form.
        contract: names and order of the columns.
        steps: see `Fitted`.
    """
    return Fitted(
        predict=lambda features: np.asarray(pipeline.predict_proba(features)),
        to_onnx=lambda: export.from_sklearn(pipeline, contract),
        steps=steps,
    )


def of_network(
    network: "torch.nn.Module",
    vocabularies: Vocabularies,
    contract: Contract,
    steps: Sequence[Mapping[str, float]] = (),
) -> Fitted:
    """What `fit` returns where the model is a torch module.

    Args:
        network: trained; takes codes and numbers as `tensors` makes them, on the CPU, and gives
            probabilities, float32, shape (n, classes).
        vocabularies: values of each category in the order of their codes.
        contract: names and order of the columns.
        steps: see `Fitted`.
    """
    import torch

    network = network.cpu().eval()

    def predict(features: pd.DataFrame) -> Probabilities:
        with torch.inference_mode():
            return np.asarray(network(*tensors(features, vocabularies, contract)).numpy())

    return Fitted(
        predict=predict, to_onnx=lambda: export.from_torch(network, vocabularies, contract), steps=steps
    )


def vocabularies_of(features: pd.DataFrame, contract: Contract) -> dict[str, list[str]]:
    """The values of each category in `features`, sorted: their places, counted from 1, are their codes."""
    return {name: sorted(set(features[name])) for name in contract.categories}


def tensors(
    features: pd.DataFrame, vocabularies: Vocabularies, contract: Contract
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Features as a network takes them.

    Returns:
        Codes: int64, shape (n, categories), 0 for a value that is not in the vocabulary; and numbers:
        float32, shape (n, numbers), NaN where missing.
    """
    import torch

    codes = [
        pd.Index(known).get_indexer(pd.Index(features[name])) + 1 for name, known in vocabularies.items()
    ]
    # A copy: pandas hands out read-only arrays, which torch does not take.
    numbers = features[contract.numbers].to_numpy("float32", copy=True)
    return torch.from_numpy(np.stack(codes, axis=1).astype("int64")), torch.from_numpy(numbers)


def be_deterministic() -> None:
    """Let torch, where it was imported, add up numbers in one order; it warns where it can't.

    Training does so, and so does whoever proves what training will compute.
    """
    if torch := sys.modules.get("torch"):
        # What CUDA needs for it; read when its libraries first start.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)


def load(name: str) -> ModuleType:
    """The module of a candidate.

    Raises:
        TakeoffError: there is no such candidate; the message names the nearest.
    """
    check_candidate(name)
    return importlib.import_module(f"takeoff.candidates.{name}")
