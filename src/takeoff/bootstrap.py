"""Intervals by resampling whole days.

Rows of one day share its weather and its network, so they are no independent draws: resampling single
rows gives intervals that are too narrow (Kunsch 1989, block bootstrap). All models are measured with the
same resamples, so differences between them are paired.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from takeoff.contract import Contract

Weights = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """A measured value and the interval around it."""

    value: float
    low: float
    high: float


class Resamples(NamedTuple):
    """How often each day was drawn.

    Attributes:
        days: int64, shape (n,): number of each row's day, from 0.
        weights: float64, shape (resamples + 1, days): draws of each day; the first row is all ones, so
            that the first value of every draw is the one measured on the rows as they are.
    """

    days: npt.NDArray[np.int64]
    weights: Weights

    def sums(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Sum over the rows of each resample.

        Args:
            values: shape (n,) or (n, k).

        Returns:
            float64, shape (resamples + 1,) or (resamples + 1, k).
        """
        columns = values.reshape(len(values), -1)
        per_day = [np.bincount(self.days, column, self.weights.shape[1]) for column in columns.T]
        return (self.weights @ np.stack(per_day, axis=1)).reshape(-1, *values.shape[1:])

    def grouped(
        self, values: npt.NDArray[Any], group: npt.NDArray[np.int64], groups: int
    ) -> npt.NDArray[np.float64]:
        """Sum of `values` by group in each resample.

        Args:
            values: shape (n,).
            group: int64, shape (n,), from 0.
            groups: how many there are.

        Returns:
            float64, shape (resamples + 1, groups).
        """
        shape = (self.weights.shape[1], groups)
        flat = np.bincount(self.days * shape[1] + group, weights=values, minlength=shape[0] * shape[1])
        return self.weights @ flat.reshape(shape)

    def first(self, count: int) -> "Resamples":
        """Only the first resamples, where many intervals are wanted and rough ones will do."""
        return Resamples(self.days, self.weights[: count + 1])

    def in_parts(self, size: int) -> Iterator["Resamples"]:
        """The same resamples, at most `size` at a time, in order."""
        for start in range(0, len(self.weights), size):
            yield Resamples(self.days, self.weights[start : start + size])

    def only(self, mask: npt.NDArray[np.bool_]) -> "Resamples":
        """The same resamples for some of the rows."""
        return Resamples(self.days[mask], self.weights)


def resample(rows: pd.DataFrame, contract: Contract, resamples: int, seed: int) -> Resamples:
    """Draw whole days of the contract's time column, with replacement."""
    local = rows[contract.time.column].dt.tz_convert(contract.time.zone).dt.normalize()
    days, names = pd.factorize(local, sort=True)
    count = len(names)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    weights = np.concatenate([np.ones((1, count)), drawn])
    return Resamples(days.astype("int64"), weights)


def interval(draws: npt.NDArray[np.float64], confidence: float) -> Estimate:
    """Percentile interval (Efron 1979) of draws whose first value is the measured one."""
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(draws[1:], [tail, 1 - tail])
    return Estimate(float(draws[0]), float(low), float(high))
