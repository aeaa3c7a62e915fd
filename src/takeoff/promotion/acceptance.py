"""The text of a promoted candidate's tests: what must hold for any candidate, for its owner to add to."""

CANDIDATE = "CANDIDATE_NAME"  # what stands in the text for the name

TEXT = '''"""What must hold for CANDIDATE_NAME; promotion never changes this file again."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from takeoff import candidates, export, model, training
from takeoff.calibration import Calibration
from takeoff.contract import Contract
from takeoff.features import MISSING_TEXT, Examples
from takeoff.params import Params
from takeoff.training import Trained

pytestmark = pytest.mark.slow  # it is fitted several times

NAME = "CANDIDATE_NAME"
Splits = Callable[[str], Examples]


def ask(trained: Callable[[str], Trained], features: pd.DataFrame) -> np.ndarray:
    return model.predict(model.session_of(trained(NAME).onnx), features)


def test_contract_rows_get_valid_probabilities(
    trained: Callable[[str], Trained], split_examples: Splits, contract: Contract
) -> None:
    rows = split_examples("test").features

    found = ask(trained, rows)

    assert found.shape == (len(rows), len(contract.target.classes))
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_missing_values_are_answered(
    trained: Callable[[str], Trained], split_examples: Splits, contract: Contract
) -> None:
    rows = split_examples("test").features.head(20).copy()
    rows[contract.numbers] = np.float32("nan")
    rows[contract.categories] = MISSING_TEXT

    found = ask(trained, rows)

    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_unseen_categories_are_answered(
    trained: Callable[[str], Trained], split_examples: Splits, contract: Contract
) -> None:
    rows = split_examples("test").features.head(20).copy()
    rows[contract.categories] = "never seen"

    found = ask(trained, rows)

    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_fitting_twice_gives_the_same_file(
    trained: Callable[[str], Trained], split_examples: Splits, small_params: Params, contract: Contract
) -> None:
    again = training.train(NAME, split_examples("fit"), split_examples("validation"), small_params, contract)

    assert again.onnx == trained(NAME).onnx


def test_the_onnx_file_says_what_the_fitted_model_says(
    split_examples: Splits, small_params: Params, contract: Contract
) -> None:
    module = candidates.load(NAME)
    settings = module.Settings.model_validate(small_params.candidates[NAME].settings)
    fit, validation, test = (split_examples(each) for each in ("fit", "validation", "test"))

    fitted = module.fit(fit, validation, settings, contract, small_params.seed)
    unchanged = Calibration(1.0, np.zeros(len(contract.target.classes)))
    file = export.with_calibration(fitted.to_onnx(), unchanged, contract)

    found = model.predict(model.session_of(file), test.features)
    difference = np.abs(found - fitted.predict(test.features)).max()
    assert difference < small_params.parity.largest_difference
'''


def test_file(name: str) -> str:
    """The text of ``tests/model/test_candidate_NAME.py``."""
    return TEXT.replace(CANDIDATE, name)
