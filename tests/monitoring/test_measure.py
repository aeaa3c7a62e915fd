"""The sample of a window: whole where it fits, never too large, and the same however rows came in chunks."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from monitoring.measure import Sample
from takeoff.contract import read_contract
from takeoff.log_read import Chunk
from tests.conftest import PROJECT
from tests.monitoring.chunks import pieces

CONTRACT = read_contract(PROJECT)
ROWS = 400
NUMBER = CONTRACT.numbers[0]


def whole() -> Chunk:
    """Rows that are numbered in one column."""
    rows = pd.DataFrame(
        {
            name: np.arange(ROWS, dtype="float32")
            if name == NUMBER
            else np.zeros(ROWS, dtype="float32")
            if column.is_number
            else pd.Series([f"value {i % 7}" for i in range(ROWS)], dtype="category")
            for name, column in CONTRACT.columns.items()
        }
    )
    answers = pd.DataFrame({"label": pd.Categorical([None] * ROWS, categories=CONTRACT.target.classes)})
    classes = len(CONTRACT.target.classes)
    nothing = np.full((ROWS, classes), np.nan, dtype="float32")
    said = np.tile(np.arange(ROWS, dtype="float32")[:, None], classes)
    return Chunk(rows, answers, said, nothing, pd.Series([None] * ROWS, dtype="category"))


def sampled(size: int, cuts: list[int], seed: int = 1) -> pd.DataFrame:
    sample = Sample(size, seed, CONTRACT)
    for part in pieces(whole(), cuts):
        sample.add(part)
    return sample.rows()


@given(st.integers(1, 2 * ROWS), st.lists(st.integers(0, ROWS), max_size=8))
def test_a_sample_does_not_depend_on_how_rows_came_in_chunks(size: int, cuts: list[int]) -> None:
    pd.testing.assert_frame_equal(sampled(size, cuts), sampled(size, []))


@given(st.integers(1, 2 * ROWS), st.lists(st.integers(0, ROWS), max_size=8))
def test_a_sample_holds_as_many_rows_as_allowed_each_once_and_whole(size: int, cuts: list[int]) -> None:
    found = sampled(size, cuts)

    assert len(found) == min(size, ROWS)
    assert found[NUMBER].is_monotonic_increasing and found[NUMBER].is_unique
    assert (found[f"probability_{CONTRACT.target.classes[0]}"] == found[NUMBER]).all()


def test_every_row_is_as_likely_as_any_other() -> None:
    size, runs = 40, 100

    drawn = np.concatenate([sampled(size, [50, 100, 300], seed)[NUMBER].to_numpy() for seed in range(runs)])

    times = np.bincount(drawn.astype(int), minlength=ROWS)
    expected = runs * size / ROWS
    # Five standard deviations of a binomial: one in a million for a row, and seeds are fixed.
    assert np.abs(times - expected).max() < 5 * np.sqrt(expected)


def test_no_rows_are_an_empty_sample() -> None:
    assert Sample(10, 1, CONTRACT).rows().empty
