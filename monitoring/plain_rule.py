"""What the plain rule would have decided on the same rows: the money that a model has to earn."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pandas as pd

from takeoff import model, paths, value
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.features import features


class PlainRule(NamedTuple):
    """A plain candidate, and the threshold that was best for it on validation.

    Attributes:
        name: of the candidate.
        session: of its ONNX file.
        looks_at: the columns that its answer depends on.
        threshold: from which probability of the event on it decides for the event.
    """

    name: str
    session: ort.InferenceSession
    looks_at: tuple[str, ...]
    threshold: float

    def decide(self, rows: pd.DataFrame, contract: Contract) -> npt.NDArray[np.int64]:
        """Place of its decision among the contract's classes for contract rows; shape (n,)."""
        # A plain rule looks at little, so that many rows are the same to it: it is asked once for each kind.
        kind = rows.groupby(list(self.looks_at), observed=True, dropna=False, sort=False).ngroup().to_numpy()
        first = np.unique(kind, return_index=True)[1]
        different = features(rows.iloc[first], contract)
        return value.decide(model.predict(self.session, different), self.threshold)[kind]


def load(folder: Path, name: str, contract: Contract) -> PlainRule:
    """The plain candidate `name` of the project in `folder`, as the pipeline left it.

    Raises:
        TakeoffError: it or its threshold is not there, or it was made for another contract.
    """
    rule = model.load(folder / paths.CANDIDATES / name)
    if rule.card.get("contract_hash") != contract.hash:
        raise TakeoffError(
            f"The plain candidate '{name}' was made for another contract.yaml than this one: it can't say "
            f"what it would have decided. Run `dvc repro`."
        )
    try:
        report: dict[str, Any] = json.loads((folder / paths.EVALUATION_REPORT).read_text(encoding="utf-8"))
        threshold = float(report[name]["threshold"])
    except (OSError, ValueError, KeyError):
        raise TakeoffError(
            f"{paths.EVALUATION_REPORT.as_posix()} holds no threshold of '{name}'. Run `dvc repro`, which "
            f"makes it."
        ) from None
    return PlainRule(name, rule.session, _looks_at(folder / paths.CANDIDATES / name, contract), threshold)


def _looks_at(folder: Path, contract: Contract) -> tuple[str, ...]:
    """Columns that some step of the ONNX file in `folder` reads; every model names all of them."""
    graph = onnx.load_model(folder / model.MODEL_FILE).graph
    read = {name for node in graph.node for name in node.input}
    names = tuple(name for name in contract.columns if name in read)
    return names or tuple(contract.columns)[:1]  # a constant: any column will do
