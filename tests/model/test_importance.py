"""Importance: how far the answers move when a column tells nothing."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from takeoff import model
from takeoff.contract import Contract
from takeoff.features import Examples
from takeoff.importance import importance
from takeoff.params import Params
from takeoff.training import Trained


def normal(*names: str) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    return pd.DataFrame({name: generator.normal(size=2_000).astype("float32") for name in names})


def weighted(**weights: float) -> Callable[[pd.DataFrame], np.ndarray]:
    def ask(rows: pd.DataFrame) -> np.ndarray:
        score = sum(weight * rows[name].to_numpy() for name, weight in weights.items())
        return np.column_stack([0.5 - 0.01 * score, 0.5 + 0.01 * score]).astype("float32")

    return ask


def test_shares_are_those_of_the_weights_that_a_model_gives(params: Params) -> None:
    found = importance(normal("a", "b", "c"), weighted(a=3, b=1, c=0), params.seed)

    assert found["a"] == pytest.approx(0.75, abs=0.02)
    assert found["b"] == pytest.approx(0.25, abs=0.02)
    assert found["c"] == 0


def test_the_order_of_the_columns_makes_no_difference(params: Params) -> None:
    rows, ask = normal("a", "b", "c"), weighted(a=3, b=1, c=2)

    assert importance(rows[["c", "a", "b"]], ask, params.seed) == pytest.approx(
        importance(rows, ask, params.seed)
    )


def test_a_model_that_always_says_the_same_finds_nothing_important(params: Params) -> None:
    found = importance(normal("a", "b"), lambda rows: np.full((len(rows), 2), 0.5, "float32"), params.seed)

    assert found == {"a": 0, "b": 0}


def test_the_rows_are_left_as_they_were(params: Params) -> None:
    rows = normal("a", "b")
    before = rows.copy()

    importance(rows, weighted(a=1, b=1), params.seed)

    pd.testing.assert_frame_equal(rows, before)


def test_a_shipped_model_finds_important_what_it_reads_and_nothing_else(
    trained: Callable[[str], Trained],
    split_examples: Callable[[str], Examples],
    params: Params,
    contract: Contract,
) -> None:
    session = model.session_of(trained("rule").onnx)
    rows = split_examples("validation").features

    found = importance(rows, lambda asked: model.predict(session, asked), params.seed)

    read = params.candidates["rule"].settings["by"]
    assert list(found) == list(contract.columns)
    assert {name for name, share in found.items() if share > 0} == set(read)
    assert sum(found.values()) == pytest.approx(1)
