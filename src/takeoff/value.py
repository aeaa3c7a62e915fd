"""What errors cost, and the decision that costs least. Money is the measure of a model."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from takeoff.contract import Contract

# Thresholds that are tried. A fixed grid: the minimum over every observed probability would follow noise.
THRESHOLDS = np.arange(1, 1000) / 1000
PER_ROWS = 1000  # money is given for this many rows


class CostCurve(NamedTuple):
    """Mean cost of a row at each threshold; both float64, shape (thresholds,)."""

    thresholds: npt.NDArray[np.float64]
    costs: npt.NDArray[np.float64]


def cost_matrix(contract: Contract) -> npt.NDArray[np.float64]:
    """Money by truth (row) and decision (column), shape (classes, classes); 0 where nothing is said."""
    place = {name: code for code, name in enumerate(contract.target.classes)}
    matrix = np.zeros((len(place), len(place)))
    for error in contract.costs.errors:
        matrix[place[error.truth], place[error.decision]] = error.cost
    return matrix


def decide(probabilities: npt.NDArray[np.floating], threshold: float) -> npt.NDArray[np.int64]:
    """Class of each row, shape (n,): the event (last class) from the threshold up.

    Compares in float64, as the curve and a plain number in the service do: in float32 the threshold itself
    would be rounded, and a row right at it decided differently.
    """
    return (probabilities[:, -1].astype("float64") >= threshold).astype("int64")


def needs_review(
    probabilities: npt.NDArray[np.floating],
    decisions: npt.NDArray[np.int64],
    matrix: npt.NDArray[np.float64],
    review_cost: float | None,
) -> npt.NDArray[np.bool_]:
    """Where asking a human, who decides right, is cheaper than the decision is expected to be; shape (n,).

    The expected cost of a decision is the mean of its column of `matrix`, weighted with the probability of
    each truth (Elkan, The Foundations of Cost-Sensitive Learning, 2001).

    Args:
        probabilities: shape (n, classes).
        decisions: class that was decided, shape (n,).
        matrix: see `cost_matrix`.
        review_cost: of one human decision; None: nobody can be asked.
    """
    if review_cost is None:
        return np.zeros(len(decisions), dtype=bool)
    expected = (probabilities.astype("float64") * matrix.T[decisions]).sum(axis=1)
    return np.asarray(expected > review_cost)


def review_band(
    threshold: float, matrix: npt.NDArray[np.float64], review_cost: float | None
) -> tuple[float, float] | None:
    """Lowest and highest of `THRESHOLDS` at which the event needs a review; None where none does."""
    probabilities = np.column_stack([1 - THRESHOLDS, THRESHOLDS])
    band = THRESHOLDS[needs_review(probabilities, decide(probabilities, threshold), matrix, review_cost)]
    return (float(band[0]), float(band[-1])) if len(band) else None


def costs(
    labels: npt.NDArray[np.int64], decisions: npt.NDArray[np.int64], matrix: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Money that each row's decision costs, shape (n,)."""
    return matrix[labels, decisions]


def cost_curve(
    labels: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.floating],
    matrix: npt.NDArray[np.float64],
) -> CostCurve:
    """Mean cost of a row at every threshold of `THRESHOLDS`."""
    event = np.sort(probabilities[labels == 1, -1])
    other = np.sort(probabilities[labels == 0, -1])
    missed = np.searchsorted(event, THRESHOLDS, side="left")
    alarms = len(other) - np.searchsorted(other, THRESHOLDS, side="left")
    total = (
        missed * matrix[1, 0]
        + (len(event) - missed) * matrix[1, 1]
        + alarms * matrix[0, 1]
        + (len(other) - alarms) * matrix[0, 0]
    )
    return CostCurve(THRESHOLDS, total / len(labels))


def best_threshold(
    labels: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.floating],
    matrix: npt.NDArray[np.float64],
) -> float:
    """The threshold with the lowest cost on these rows; the middle one where several are equal."""
    curve = cost_curve(labels, probabilities, matrix)
    lowest = np.flatnonzero(curve.costs == curve.costs.min())
    return float(curve.thresholds[lowest[len(lowest) // 2]])
