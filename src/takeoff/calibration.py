"""Turn scores into probabilities that mean what they say.

Vector scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2) with one common
slope: softmax(slope * log p + bias). With two classes it is Platt scaling of the log odds.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

# Scores closer to 0 count as this close: a logarithm of 0 has no use.
SMALLEST = 1e-7


class Calibration(NamedTuple):
    """What is learnt.

    Attributes:
        slope: above 1 where the scores were too timid, below 1 where they were too sure.
        bias: float64, shape (classes,); the first is 0.
    """

    slope: float
    bias: npt.NDArray[np.float64]


def fit(scores: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> Calibration:
    """The calibration with the lowest log loss.

    Args:
        scores: uncalibrated probabilities, shape (n, classes).
        labels: int64, shape (n,), from 0 to classes - 1.
    """
    logs = _logs(scores)
    rows = np.arange(len(labels))
    truth = np.eye(scores.shape[1])[labels]

    def loss(theta: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        bias = np.concatenate([[0.0], theta[1:]])
        logits = theta[0] * logs + bias
        gap = softmax(logits, axis=1) - truth
        gradient = np.concatenate([[(gap * logs).sum(axis=1).mean()], gap[:, 1:].mean(axis=0)])
        return float(-log_softmax(logits, axis=1)[rows, labels].mean()), gradient

    start = np.concatenate([[1.0], np.zeros(scores.shape[1] - 1)])
    found = minimize(loss, start, jac=True, method="L-BFGS-B").x
    return Calibration(float(found[0]), np.concatenate([[0.0], found[1:]]))


def apply(calibration: Calibration, scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Calibrated probabilities, float64, shape (n, classes), rows sum to 1."""
    return np.asarray(softmax(calibration.slope * _logs(scores) + calibration.bias, axis=1))


def _logs(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    return np.asarray(np.log(np.clip(scores.astype("float64"), SMALLEST, 1.0)))
