"""Calibration: scores become probabilities that mean what they say, and never worse ones."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, logit, softmax
from sklearn.metrics import log_loss

from takeoff import calibration
from takeoff.contract import read_contract
from takeoff.evaluation import measure_once, score
from takeoff.features import Examples
from takeoff.params import Params
from takeoff.training import Trained
from tests.conftest import PROJECT

RNG = np.random.default_rng(5)


def two_classes(event: np.ndarray) -> np.ndarray:
    return np.column_stack([1 - event, event])


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a few rows and labels of both classes; scores may be exactly 0 or 1."""
    count = draw(st.integers(4, 40))
    event = draw(arrays("float64", count, elements=st.floats(0, 1)))
    labels = draw(arrays("int64", count, elements=st.integers(0, 1)))
    labels[:2] = [0, 1]
    return two_classes(event), labels


@given(rows=scored())
def test_probabilities_are_finite_and_sum_to_one_whatever_the_scores(
    rows: tuple[np.ndarray, np.ndarray],
) -> None:
    found = calibration.apply(calibration.fit(*rows), rows[0])

    assert np.isfinite(found).all()
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)


@given(rows=scored())
def test_on_the_rows_it_is_fitted_to_log_loss_never_rises(rows: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = rows
    clipped = np.clip(scores, calibration.SMALLEST, 1)

    found = calibration.apply(calibration.fit(scores, labels), scores)

    before = log_loss(labels, clipped / clipped.sum(axis=1, keepdims=True))
    assert log_loss(labels, found) <= before + 1e-6


@pytest.mark.parametrize(("slope", "bias"), [(1.0, 0.0), (0.5, 0.0), (2.0, -1.0), (1.3, 0.7)])
def test_a_known_distortion_is_found_and_undone(slope: float, bias: float) -> None:
    truth = RNG.uniform(0.02, 0.98, 100_000)
    labels = (RNG.random(len(truth)) < truth).astype("int64")
    distorted = two_classes(expit((logit(truth) - bias) / slope))

    found = calibration.fit(distorted, labels)

    assert found.slope == pytest.approx(slope, rel=0.05)
    assert found.bias == pytest.approx([0, bias], abs=0.05)
    np.testing.assert_allclose(calibration.apply(found, distorted)[:, 1], truth, atol=0.02)


def test_three_classes_are_calibrated_too() -> None:
    logits = RNG.normal(size=(50_000, 3))
    truth = softmax(logits, axis=1)
    labels = (RNG.random((len(truth), 1)) > truth.cumsum(axis=1)).sum(axis=1)
    bias = np.array([0.0, 0.8, -0.4])
    distorted = softmax((logits - bias) / 1.5, axis=1)

    found = calibration.apply(calibration.fit(distorted, labels), distorted)

    np.testing.assert_allclose(found, truth, atol=0.03)


def test_the_order_of_real_scores_stays(
    trained: Callable[[str], Trained], split_examples: Callable[[str], Examples]
) -> None:
    probabilities, labels = trained("logistic").probabilities, split_examples("validation").labels

    found = calibration.apply(calibration.fit(probabilities, labels), probabilities)

    assert (np.diff(found[np.argsort(probabilities[:, 1], kind="stable"), 1]) >= 0).all()


@pytest.mark.parametrize("power", [0.4, 3.0])
def test_real_scores_that_are_too_timid_or_too_sure_are_put_right(
    trained: Callable[[str], Trained],
    split_examples: Callable[[str], Examples],
    params: Params,
    power: float,
) -> None:
    labels = split_examples("validation").labels
    odds = logit(trained("logistic").probabilities[:, 1].astype("float64"))
    wrong = two_classes(expit(odds * power))

    right = calibration.apply(calibration.fit(wrong, labels), wrong)

    errors = [error_of(labels, each, params) for each in (wrong, right)]
    assert errors[1] < params.release.floors["calibration_error"].max < errors[0]


def error_of(labels: np.ndarray, probabilities: np.ndarray, params: Params) -> float:
    judged = score(labels, probabilities, 0.5, read_contract(PROJECT))
    return measure_once(judged, params.evaluation.calibration_bins)["calibration_error"]
