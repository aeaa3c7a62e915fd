"""Rows as a model sees them: features without gaps in their types, and labels as numbers."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from takeoff.contract import Contract
from takeoff.model import MISSING_TEXT


class Examples(NamedTuple):
    """Rows to learn from.

    Attributes:
        features: one column per contract column, in its order; numbers float32 with NaN where missing,
            categories str (object) with `MISSING_TEXT` where missing.
        labels: int64, shape (n,): position of the truth in the contract's classes.
    """

    features: pd.DataFrame
    labels: npt.NDArray[np.int64]


def examples(rows: pd.DataFrame, contract: Contract) -> Examples:
    """Features and labels of labelled rows."""
    classes = {name: code for code, name in enumerate(contract.target.classes)}
    labels = rows[contract.target.column].map(classes).to_numpy().astype(np.int64)
    return Examples(features(rows, contract), labels)


def features(rows: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Features of rows, labelled or not; see `Examples`."""
    return pd.DataFrame(
        {
            name: rows[name].astype("float32")
            if column.is_number
            else rows[name].astype(object).where(rows[name].notna(), MISSING_TEXT)
            for name, column in contract.columns.items()
        }
    )
