"""Whoever wrote a model that ONNX can't hold is told which step it is, and what to put in its place."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, SplineTransformer, StandardScaler

from takeoff.contract import Contract
from takeoff.export import from_sklearn, from_torch
from takeoff.features import Examples
from takeoff.promotion.onnx_advice import advice

Splits = Callable[[str], Examples]


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([SimpleImputer(), SplineTransformer()], "SplineTransformer has no ONNX form. KBinsDiscretizer or"),
        (
            [SimpleImputer(), FunctionTransformer(np.abs)],
            "FunctionTransformer has no ONNX form. A Python",
        ),
        ([SimpleImputer(add_indicator=True), StandardScaler()], "as SimpleImputer(add_indicator=True) does"),
    ],
    ids=["splines", "function", "indicator"],
)
def test_of_a_pipeline_it_names_the_step_and_what_to_take_instead(
    split_examples: Splits, contract: Contract, steps: list[Any], words: str
) -> None:
    rows = split_examples("fit")
    columns = ColumnTransformer([("numbers", make_pipeline(*steps), contract.numbers)])
    pipeline = make_pipeline(columns, StandardScaler(), LogisticRegression())
    pipeline.fit(rows.features[:300], rows.labels[:300])

    with pytest.raises(Exception) as refused:  # skl2onnx raises many
        from_sklearn(pipeline, contract)

    assert words in advice(refused.value)


class Branching(torch.nn.Module):
    """Decides by a value, of which an export knows nothing."""

    def forward(self, codes: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        return torch.softmax(numbers[:, :2] if numbers.sum() > 0 else numbers[:, 2:4], dim=1)


class Decomposing(torch.nn.Module):
    """Uses an operation that ONNX does not have."""

    def forward(self, codes: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        return torch.softmax(numbers[:, :2] + torch.linalg.svd(numbers)[1].sum(), dim=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Branching(), ["Could not guard on data-dependent expression", "torch.where chooses"]),
        (Decomposing(), ["No ONNX function found for", "Write that operation with others"]),
    ],
    ids=["branch", "operation"],
)
def test_of_a_network_it_names_the_reason_and_what_forward_may_hold(
    contract: Contract, network: torch.nn.Module, words: list[str]
) -> None:
    with pytest.raises(Exception) as refused:  # torch's own are private
        from_torch(network, {name: ["a"] for name in contract.categories}, contract)

    found = advice(refused.value)

    assert all(each in found for each in words)
    assert "\n" not in found and "\x1b" not in found
