"""A table of historic shares: how often each class came up in the same cell. Nothing is learnt.

It always competes: a model that cannot beat it is not worth its upkeep.
"""

from itertools import accumulate
from operator import mul

import numpy as np
import numpy.typing as npt
import onnx
import pandas as pd
from onnx import helper, numpy_helper
from pydantic import Field

from takeoff.candidates import Fitted
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.features import Examples
from takeoff.graph import column_inputs, lookup, make_model, probabilities_output
from takeoff.model import OUTPUT
from takeoff.settings import Settings as Base
from takeoff.settings import nearest


class Settings(Base):
    """Which columns make a cell, and how strongly small cells lean on the overall share."""

    by: tuple[str, ...] = Field(min_length=1)
    prior_rows: float = Field(gt=0)


def fit(fit: Examples, validation: Examples, settings: Settings, contract: Contract, seed: int) -> Fitted:
    """Count classes in each cell.

    The share of a cell is (count + prior_rows * overall share) / (rows + prior_rows), the posterior mean
    under a Dirichlet prior (Gelman et al., Bayesian Data Analysis, 3rd ed., section 3.4).

    Raises:
        TakeoffError: a column of `settings.by` is not in the contract.
    """
    for name in settings.by:
        if name not in contract.columns:
            raise TakeoffError(
                f"params.yaml: candidates.rule.settings.by: there is no column '{name}'; "
                f"{nearest(name, list(contract.columns))}"
            )
    values = {name: sorted(set(fit.features[name].dropna().tolist())) for name in settings.by}
    shares = _shares(fit, values, len(contract.target.classes), settings.prior_rows)
    return Fitted(
        predict=lambda features: shares[_cells(features, values)],
        to_onnx=lambda: _graph(values, shares, contract),
    )


Values = dict[str, list[str] | list[float]]


def _cells(features: pd.DataFrame, values: Values) -> npt.NDArray[np.int64]:
    """Number of each row's cell; position 0 of a column is what was not in the fit rows."""
    cells = np.zeros(len(features), dtype="int64")
    for (name, known), stride in zip(values.items(), _strides(values), strict=True):
        cells += (pd.Index(known).get_indexer(pd.Index(features[name])) + 1) * stride
    return cells


def _strides(values: Values) -> list[int]:
    sizes = [len(known) + 1 for known in values.values()]
    return [1, *accumulate(sizes[:-1], mul)]


def _shares(fit: Examples, values: Values, classes: int, prior_rows: float) -> npt.NDArray[np.float64]:
    """Share of each class in each cell, shape (cells, classes)."""
    cells = int(np.prod([len(known) + 1 for known in values.values()]))
    counts = np.zeros((cells, classes))
    np.add.at(counts, (_cells(fit.features, values), fit.labels), 1)
    overall = counts.sum(axis=0) / counts.sum()
    return np.asarray((counts + prior_rows * overall) / (counts.sum(axis=1, keepdims=True) + prior_rows))


def _graph(values: Values, shares: npt.NDArray[np.float64], contract: Contract) -> onnx.ModelProto:
    constants = [
        numpy_helper.from_array(shares.astype("float32"), "rule/shares"),
        numpy_helper.from_array(np.array([-1], dtype="int64"), "rule/flat"),
        numpy_helper.from_array(np.array(0, dtype="int64"), "rule/start"),
    ]
    nodes, cell = [], "rule/start"
    # ONNX's own Sum takes no integers, so the cell's number is added up column by column.
    for (name, known), stride in zip(values.items(), _strides(values), strict=True):
        constants.append(numpy_helper.from_array(np.array(stride, dtype="int64"), f"rule/{name}_stride"))
        nodes += [
            lookup(name, f"rule/{name}_position", known),
            helper.make_node("Mul", [f"rule/{name}_position", f"rule/{name}_stride"], [f"rule/{name}_term"]),
            helper.make_node("Add", [cell, f"rule/{name}_term"], [f"rule/cell_with_{name}"]),
        ]
        cell = f"rule/cell_with_{name}"
    nodes.append(helper.make_node("Reshape", [cell, "rule/flat"], ["rule/cell"]))
    nodes.append(helper.make_node("Gather", ["rule/shares", "rule/cell"], [OUTPUT], axis=0))
    return make_model(
        helper.make_graph(
            nodes, "rule", column_inputs(contract), [probabilities_output(shares.shape[1])], constants
        )
    )
