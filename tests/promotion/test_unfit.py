"""Which values a module can't carry out of a notebook."""

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from IPython.utils.text import SList
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from takeoff.features import Examples
from takeoff.promotion.unfit import MOST_NUMBERS, kind_of_unfit

FRAME = pd.DataFrame({"a": [1.0, 2.0]})
FITTED = LogisticRegression().fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (FRAME, "a data frame of 2 rows"),
        (FRAME["a"], "a pandas Series of 2 values"),
        (Examples(FRAME, np.array([0, 1])), "2 rows of data"),
        (np.zeros(MOST_NUMBERS + 1), "an array of 1,001 values"),
        (torch.zeros(MOST_NUMBERS + 1), "a tensor of 1,001 values"),
        (torch.nn.Linear(1, 1), "a network with weights"),
        (FITTED, "a fitted estimator"),
        (make_pipeline(FITTED), "a fitted estimator"),
        (io.StringIO(), "an open file"),
        (SList(["a.csv"]), "the result of a shell command or of a magic"),
        (iter([1]), "an iterator, which is empty once it was read"),
        ({"means": [FRAME]}, "a dict that holds a list that holds a data frame of 2 rows"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_came_from_data_or_from_this_run_is_unfit(value: object, kind: str) -> None:
    assert kind_of_unfit(value) == kind


@pytest.mark.parametrize(
    "value",
    [
        3,
        "text",
        None,
        (1.0, "a", {"b": [2]}),
        np.array([0.1, 0.9]),
        re.compile("a"),
        Path("a"),
        frozenset({1}),
        torch.tensor([1.0]),
        torch.nn.ReLU(),
        LogisticRegression(),
        make_pipeline(LogisticRegression()),
        LogisticRegression,
        list,
        len,
    ],
    ids=str,
)
def test_what_a_person_can_write_down_is_fit(value: object) -> None:
    assert kind_of_unfit(value) is None
