"""Money: the matrix is the contract's, the curve is what deciding costs, the threshold costs least."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from takeoff import value
from takeoff.contract import Contract, read_contract
from takeoff.features import Examples
from takeoff.training import Trained
from tests.conftest import PROJECT

CONTRACT = read_contract(PROJECT)
MATRIX = value.cost_matrix(CONTRACT)

# Float32, right on thresholds and right beside them: where rounding would show.
on_edge = st.sampled_from(np.concatenate([[0.0, 1.0], value.THRESHOLDS]).astype("float32").tolist())
scores = on_edge | st.floats(0, 1, width=32)


@st.composite
def answers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of a few rows."""
    count = draw(st.integers(1, 30))
    labels = draw(arrays("int64", count, elements=st.integers(0, 1)))
    event = draw(arrays("float32", count, elements=scores))
    return labels, np.column_stack([1 - event, event])


def cost_by_hand(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> float:
    """Mean cost of a row, one row at a time, in Python's own floats."""
    classes, total = CONTRACT.target.classes, 0.0
    for label, event in zip(labels.tolist(), probabilities[:, -1].tolist(), strict=True):
        decision = classes[int(event >= threshold)]
        for error in CONTRACT.costs.errors:
            if (error.truth, error.decision) == (classes[label], decision):
                total += error.cost
    return total / len(labels)


def test_the_matrix_holds_the_contracts_costs_and_nothing_for_deciding_right() -> None:
    place = {name: code for code, name in enumerate(CONTRACT.target.classes)}

    for error in CONTRACT.costs.errors:
        assert MATRIX[place[error.truth], place[error.decision]] == error.cost > 0
    assert np.count_nonzero(MATRIX) == len(CONTRACT.costs.errors)


@given(rows=answers())
def test_every_point_of_the_curve_is_what_deciding_there_costs(rows: tuple[np.ndarray, np.ndarray]) -> None:
    curve = value.cost_curve(*rows, MATRIX)

    for threshold, cost in itertools.islice(zip(*curve, strict=True), 0, None, 37):
        assert cost == pytest.approx(cost_by_hand(*rows, float(threshold)))


@given(rows=answers())
def test_the_decision_at_the_chosen_threshold_costs_what_the_curve_said(
    rows: tuple[np.ndarray, np.ndarray],
) -> None:
    labels, probabilities = rows
    threshold = value.best_threshold(labels, probabilities, MATRIX)

    decided = value.costs(labels, value.decide(probabilities, threshold), MATRIX)

    assert decided.mean() == pytest.approx(value.cost_curve(*rows, MATRIX).costs.min())
    assert decided.mean() == pytest.approx(cost_by_hand(*rows, threshold))


def test_a_row_is_the_event_from_the_threshold_up_in_decision_and_curve_alike() -> None:
    for place, threshold in enumerate(value.THRESHOLDS.tolist()):
        event = np.array([threshold], dtype="float32")  # a little more or less than the threshold, or equal
        answer, labels = np.column_stack([1 - event, event]), np.array([1])

        decided = value.decide(answer, threshold)

        assert decided == [int(float(event[0]) >= threshold)]
        assert value.costs(labels, decided, MATRIX) == value.cost_curve(labels, answer, MATRIX).costs[place]


@given(rows=answers())
def test_no_threshold_costs_less_than_the_chosen_one(rows: tuple[np.ndarray, np.ndarray]) -> None:
    chosen = cost_by_hand(*rows, value.best_threshold(*rows, MATRIX))

    assert all(chosen <= cost_by_hand(*rows, each) + 1e-9 for each in value.THRESHOLDS[::50].tolist())


@pytest.mark.parametrize("candidate", ["rule", "logistic"])
def test_on_real_predictions_no_threshold_costs_less_than_the_chosen_one(
    trained: Callable[[str], Trained], split_examples: Callable[[str], Examples], candidate: str
) -> None:
    labels, probabilities = split_examples("validation").labels, trained(candidate).probabilities

    chosen = value.best_threshold(labels, probabilities, MATRIX)

    costs = {
        each: value.costs(labels, value.decide(probabilities, each), MATRIX).mean()
        for each in value.THRESHOLDS.tolist()
    }
    assert costs[chosen] == min(costs.values()) < min(costs[0.001], costs[0.999])


def test_of_equal_thresholds_the_middle_one_is_chosen() -> None:
    labels, event = np.array([0, 1]), np.array([0.2, 0.8])

    chosen = value.best_threshold(labels, np.column_stack([1 - event, event]), MATRIX)

    assert chosen == pytest.approx(0.5, abs=0.002)


def test_missing_an_event_that_costs_more_lowers_the_threshold(
    trained: Callable[[str], Trained], split_examples: Callable[[str], Examples]
) -> None:
    labels, probabilities = split_examples("validation").labels, trained("logistic").probabilities
    dearer = MATRIX * np.array([[1], [4]])

    assert value.best_threshold(labels, probabilities, dearer) < value.best_threshold(
        labels, probabilities, MATRIX
    )


def test_thresholds_are_plain_decimals_that_a_card_can_hold() -> None:
    assert [float(f"{each:.3f}") for each in value.THRESHOLDS] == value.THRESHOLDS.tolist()


def test_a_contract_with_other_costs_gives_another_matrix() -> None:
    first, *rest = CONTRACT.costs.errors
    errors = (first.model_copy(update={"cost": first.cost + 1}), *rest)
    edited: Contract = CONTRACT.model_copy(
        update={"costs": CONTRACT.costs.model_copy(update={"errors": errors})}
    )

    assert value.cost_matrix(edited).sum() == MATRIX.sum() + 1


@given(rows=answers(), threshold=st.sampled_from(value.THRESHOLDS.tolist()), cost=st.floats(0, 100))
def test_a_human_is_asked_exactly_where_that_is_cheaper_than_the_decision(
    rows: tuple[np.ndarray, np.ndarray], threshold: float, cost: float
) -> None:
    probabilities = rows[1]
    decisions = value.decide(probabilities, threshold)

    asked = value.needs_review(probabilities, decisions, MATRIX, cost)

    for p, decision, review in zip(probabilities.astype("float64"), decisions, asked, strict=True):
        expected = sum(p[truth] * MATRIX[truth, decision] for truth in range(len(p)))
        assert review == (expected > cost) or expected == pytest.approx(cost)


def test_nobody_is_asked_where_the_contract_names_no_cost_of_asking() -> None:
    unsure = np.array([[0.5, 0.5]])

    assert not value.needs_review(unsure, np.array([0]), MATRIX, None).any()
    assert value.review_band(0.25, MATRIX, None) is None


def test_the_band_holds_what_needs_a_review_and_ends_where_deciding_is_cheaper() -> None:
    cost = CONTRACT.costs.review
    assert cost is not None
    band = value.review_band(0.25, MATRIX, cost)
    assert band is not None

    false_alarm, missed = MATRIX[0, 1], MATRIX[1, 0]
    assert band[0] == pytest.approx(cost / missed, abs=0.0011)
    assert band[1] == pytest.approx(1 - cost / false_alarm, abs=0.0011)
