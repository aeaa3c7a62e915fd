"""Single rules on real rows: what is just allowed passes, and what is just not is found."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from takeoff import checks
from takeoff.check_rules import derive
from takeoff.split import window
from tests.data.checking import COLUMNS, CONTRACT, LEAST_ROWS, PARAMS, TABLE, TARGET, outcomes_of, planted


def test_a_column_that_is_all_of_another_type_stops_the_run_even_where_a_wrong_type_only_warns(
    window_rows: pd.DataFrame,
) -> None:
    rows = window_rows.head(100)
    weekday = COLUMNS["weekday"].model_copy(update={"warn": ("type",)})
    lenient = CONTRACT.model_copy(update={"columns": {**COLUMNS, "weekday": weekday}})
    rules = [rule for rule in derive(lenient, window(PARAMS, lenient)) if rule.name == "weekday.type"]

    (one_fraction,) = checks.check(planted(rows, "weekday", [2.5]), rules)
    (all_text,) = checks.check(rows.assign(weekday=rows["weekday"].astype("str")), rules)

    assert (one_fraction.warns, one_fraction.failing) == (True, 1)
    assert (all_text.stops, all_text.failing) == (True, len(rows))


def test_a_column_too_many_is_enough_to_stop_the_run(window_rows: pd.DataFrame) -> None:
    outcome = outcomes_of(window_rows.assign(gate=1.0), None)["columns"]

    assert (outcome.stops, outcome.measured) == (True, "'gate' is extra")


def test_the_fewest_allowed_rows_pass(window_rows: pd.DataFrame) -> None:
    fewest = window_rows.tail(LEAST_ROWS).reset_index(drop=True)

    assert outcomes_of(fewest, None)["rows"].passed


@pytest.mark.parametrize(("over", "passed"), [(0, True), (1, False)])
def test_no_larger_share_of_a_column_may_be_missing_than_the_contract_says(
    window_rows: pd.DataFrame, over: int, passed: bool
) -> None:
    count = 1000
    most = int(COLUMNS["plane_seats"].missing * count) + over
    seats = window_rows["plane_seats"].head(count).fillna(1)
    rows = window_rows.head(count).assign(plane_seats=seats.mask(seats.index < most))

    outcome = outcomes_of(rows, "plane_seats")["plane_seats.missing"]

    assert (outcome.passed, outcome.stops) == (passed, not passed)
    assert outcome.measured == f"{most} of {count:,} missing ({most / count:.2%})"


def test_rows_set_aside_do_not_count_for_the_rules_on_the_table(
    storm: float, window_rows: pd.DataFrame
) -> None:
    fewest = window_rows.tail(LEAST_ROWS).reset_index(drop=True)

    outcome = outcomes_of(planted(fewest, "wind_speed", [storm]), "wind_speed", None)["rows"]

    assert (outcome.passed, outcome.measured) == (False, f"{LEAST_ROWS - 1:,} rows")


def test_many_rows_without_a_label_are_recorded_and_stop_nothing(window_rows: pd.DataFrame) -> None:
    most = int((TABLE.unlabelled_share.max or 0) * len(window_rows))
    unlabelled = window_rows[TARGET].mask(window_rows.index <= most)

    outcome = outcomes_of(window_rows.assign(**{TARGET: unlabelled}), TARGET)["unlabelled_share"]

    assert (outcome.warns, outcome.stops, outcome.failing) == (True, False, 0)


@st.composite
def out_of_bounds(draw: st.DrawFn) -> tuple[str, float]:
    """A column of numbers, and a value that a float32 can hold but the contract does not allow there."""
    name = draw(st.sampled_from(CONTRACT.numbers))
    low, high = np.float32(COLUMNS[name].min), np.float32(COLUMNS[name].max)
    below = st.floats(max_value=float(np.nextafter(low, np.float32(-np.inf))), width=32)
    above = st.floats(min_value=float(np.nextafter(high, np.float32(np.inf))), width=32)
    return name, draw(below | above)


@settings(max_examples=40, deadline=None)
@given(fault=out_of_bounds(), place=st.integers(0, 199))
def test_any_single_value_out_of_bounds_is_found_named_and_counted(
    window_rows: pd.DataFrame, fault: tuple[str, float], place: int
) -> None:
    name, value = fault

    found = outcomes_of(planted(window_rows.head(200), name, [value], first=place), name)[f"{name}.bounds"]

    assert found.passed is False
    assert found.positions.tolist() == [place]
    assert (found.failing, found.examples) == (1, (checks.show(np.float32(value)),))


@pytest.mark.parametrize("name", CONTRACT.numbers)
def test_values_on_the_bounds_are_allowed(window_rows: pd.DataFrame, name: str) -> None:
    rows = window_rows.head(2).assign(**{name: np.float32([COLUMNS[name].min, COLUMNS[name].max])})

    assert all(outcome.passed for outcome in outcomes_of(rows, name).values())
