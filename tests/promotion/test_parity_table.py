"""The rows on which notebook and module differ, worst first."""

import numpy as np
import pandas as pd
import pytest

from takeoff.promotion.parity import WORST, differences_of, table_of

CLASSES = ("no", "yes")


def pair(differences: list[float]) -> tuple[np.ndarray, np.ndarray]:
    expected = np.full((len(differences), 2), 0.5)
    return expected, expected + np.array([[-each, each] for each in differences])


def rows_of(differences: list[float], allowed: float = 1e-5) -> list[list[str]]:
    ids = pd.Series([f"id-{place}" for place in range(len(differences))], name="key")
    table = table_of(*pair(differences), ids, CLASSES, allowed)
    return [line.split() for line in table.splitlines()]


def test_each_differing_row_is_shown_with_both_probabilities() -> None:
    assert rows_of([0, 0.25, 1e-6]) == [
        ["row", "key", "class", "notebook", "module", "difference"],
        ["1", "id-1", "no", "0.500000", "0.250000", "0.25"],
    ]


def test_the_worst_come_first_and_the_rest_are_counted() -> None:
    _, *lines, last = rows_of([each / 100 for each in range(1, WORST + 6)])

    assert [line[0] for line in lines] == [str(each) for each in range(WORST + 4, 4, -1)]
    assert last == ["...", "and", "5", "rows", "more"]


def test_a_number_that_is_none_is_worst_of_all() -> None:
    assert rows_of([0.25, np.nan])[1][0] == "1"


@pytest.mark.parametrize("shape", [(3, 3), (2, 2)])
def test_other_shapes_differ_in_every_row(shape: tuple[int, int]) -> None:
    assert (differences_of(np.zeros((3, 2)), np.zeros(shape)) == np.inf).all()
