"""Faults that a replay plants: what changes, from when on, and nothing else."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from monitoring.faults import CHANGES, DOUBLE, UNITS, plant, read_fault, unseen
from takeoff.contract import Contract, read_contract
from takeoff.errors import TakeoffError
from tests.small_release import PROJECT, small_rows

CONTRACT = read_contract(PROJECT)
TIME = CONTRACT.time.column


def rows() -> pd.DataFrame:
    return small_rows()[:2_000]


def middle() -> pd.Timestamp:
    return rows()[TIME].iloc[1_000]


def column_for(name: str, contract: Contract = CONTRACT) -> str:
    if name == "new-category":
        return next(each for each in contract.categories if contract.columns[each].pattern)
    return next(each for each in contract.numbers if contract.columns[each].unit in UNITS)


def planted(name: str) -> pd.DataFrame:
    text = name if name == DOUBLE else f"{name}:{column_for(name)}"
    return plant(rows(), read_fault(text, middle(), CONTRACT), CONTRACT)


@pytest.mark.parametrize("name", CHANGES)
def test_a_fault_changes_its_column_from_its_start_and_nothing_else(name: str) -> None:
    column = column_for(name)
    before = rows()[TIME] < middle()

    changed = planted(name)

    pd.testing.assert_frame_equal(changed[before], rows()[before])
    pd.testing.assert_frame_equal(changed.drop(columns=column), rows().drop(columns=column))
    assert not changed.loc[~before, column].equals(rows().loc[~before, column])


@given(
    name=st.sampled_from(sorted(CHANGES)),
    column=st.sampled_from(list(CONTRACT.columns)),
    place=st.integers(0, 1_999),
)
def test_whatever_goes_wrong_and_wherever_what_was_before_and_beside_it_stays(
    name: str, column: str, place: int
) -> None:
    given_rows = rows()
    start = given_rows[TIME].iloc[place]
    try:
        fault = read_fault(f"{name}:{column}", start, CONTRACT)
    except TakeoffError:
        assume(False)

    changed = plant(given_rows, fault, CONTRACT)

    before = given_rows[TIME] < start
    pd.testing.assert_frame_equal(given_rows, rows())
    pd.testing.assert_frame_equal(changed.drop(columns=column), given_rows.drop(columns=column))
    pd.testing.assert_series_equal(changed.loc[before, column], given_rows.loc[before, column])
    assert changed[column].dtype == given_rows[column].dtype
    was_missing = given_rows[column].isna()
    assert name in ("missing", "stuck") or (changed[column].isna() == was_missing).all()


def test_a_column_without_any_value_cannot_go_wrong() -> None:
    column = column_for("stuck")
    empty = rows().assign(**{column: np.float32("nan")})

    with pytest.raises(TakeoffError, match="no row that is played has a value"):
        plant(empty, read_fault(f"stuck:{column}", middle(), CONTRACT), CONTRACT)


def test_a_stuck_sensor_repeats_the_last_value_that_it_gave() -> None:
    column, before = column_for("stuck"), rows()[TIME] < middle()

    changed = planted("stuck")

    assert set(changed.loc[~before, column]) == {rows().loc[before, column].dropna().iloc[-1]}


def test_fahrenheit_becomes_celsius() -> None:
    column = next(name for name, each in CONTRACT.columns.items() if each.unit == "degF")
    fault = read_fault(f"units:{column}", rows()[TIME].min(), CONTRACT)

    changed = plant(rows(), fault, CONTRACT)[column]

    expected = (rows()[column].astype("float64") - 32) * 5 / 9
    np.testing.assert_allclose(changed, expected, rtol=1e-5, atol=1e-4)


def test_doubled_traffic_has_every_row_twice_with_an_id_of_its_own_in_the_order_of_time() -> None:
    changed = planted(DOUBLE)

    since = rows()[TIME] >= middle()
    assert len(changed) == len(rows()) + since.sum()
    assert changed[CONTRACT.id].is_unique
    assert changed[TIME].is_monotonic_increasing
    assert changed[CONTRACT.target.column].value_counts().sum() == len(changed)


@given(
    value=st.text("ABCDEFG12", min_size=1, max_size=4),
    known=st.sets(st.text("ABCDEFGQXZ12", min_size=1, max_size=4), max_size=30),
)
def test_a_new_category_is_unknown_and_fits_the_pattern(value: str, known: set[str]) -> None:
    pattern = f"^[A-Z0-9]{{{len(value)}}}$"

    made = unseen(value, known, pattern)

    assert made not in known
    assert re.search(pattern, made)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stuk:x", "did you mean 'stuck'"),
        ("stuck", "needs a column"),
        ("double:x", "takes no column"),
        ("stuck:nothing", "needs a column"),
    ],
)
def test_a_fault_that_cannot_be_says_what_can(text: str, said: str) -> None:
    with pytest.raises(TakeoffError, match=said):
        read_fault(text, middle(), CONTRACT)


def test_a_number_cannot_get_a_new_category() -> None:
    with pytest.raises(TakeoffError, match="can't happen"):
        read_fault(f"new-category:{CONTRACT.numbers[0]}", middle(), CONTRACT)
