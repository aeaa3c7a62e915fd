"""Splits by time: no gap, no overlap, midnight where the contract says, no date outside the data."""

from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from takeoff.contract import Contract, read_contract
from takeoff.errors import TakeoffError
from takeoff.params import PARAMS_FILE, Params, Split, Window, read_params
from takeoff.split import SPLITS, check_window, labelled, periods, window, within
from tests.conftest import PROJECT

CONTRACT = read_contract(PROJECT)
PARAMS = read_params(PROJECT, CONTRACT)
TIME, ZONE = CONTRACT.time.column, CONTRACT.time.zone


def with_window(
    start: date, end: date, test: int = 1, validation: int = 1, params: Params = PARAMS
) -> Params:
    split = Split(test_months=test, validation_months=validation)
    return params.model_copy(update={"window": Window(start=start, end=end), "split": split})


@st.composite
def windows(draw: st.DrawFn) -> Params:
    """Windows that leave at least a day to fit on."""
    test, validation = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    start = draw(st.dates(date(1990, 1, 1), date(2037, 1, 1)))
    days = draw(st.integers(31 * (test + validation) + 1, 1000))
    return with_window(start, start + timedelta(days=days), test, validation)


@given(params=windows())
def test_splits_follow_each_other_without_gap_or_overlap_and_fill_the_window(params: Params) -> None:
    found = periods(params, CONTRACT)

    assert tuple(found) == SPLITS
    for one, next_one in pairwise(found.values()):
        assert one.start < one.end == next_one.start
    assert (found["fit"].start, found["test"].end) == window(params, CONTRACT)


@given(params=windows(), share=st.floats(0, 1, exclude_max=True))
def test_every_instant_of_the_window_is_in_exactly_one_split(params: Params, share: float) -> None:
    whole = window(params, CONTRACT)
    instants = [whole.start, whole.start + (whole.end - whole.start) * share]
    rows = pd.DataFrame({TIME: [*instants, *(period.end for period in periods(params, CONTRACT).values())]})

    homes = pd.concat(within(rows, period, CONTRACT) for period in periods(params, CONTRACT).values())

    assert sorted(homes[TIME]) == sorted(time for time in rows[TIME] if time < whole.end)


@given(params=windows())
def test_splits_start_at_midnight_of_the_contracts_zone(params: Params) -> None:
    for period in periods(params, CONTRACT).values():
        local = period.start.tz_convert(ZONE)
        assert local == local.normalize()
        assert str(period.start.tz) == "UTC"


def test_validation_and_test_are_as_many_calendar_months_as_the_parameters_say() -> None:
    found = periods(with_window(date(2013, 1, 1), date(2014, 1, 1), test=2, validation=3), CONTRACT)

    first_days = {name: period.start.tz_convert(ZONE).date() for name, period in found.items()}
    assert first_days == {"fit": date(2013, 1, 1), "validation": date(2013, 8, 1), "test": date(2013, 11, 1)}


@given(params=windows(), months=st.integers(500, 1200))
def test_a_window_too_short_for_its_splits_is_refused_with_its_dates(params: Params, months: int) -> None:
    long = with_window(params.window.start, params.window.end, test=months, validation=1)

    with pytest.raises(TakeoffError, match="leaves nothing to fit on") as refused:
        periods(long, CONTRACT)

    for fragment in (PARAMS_FILE, str(params.window.start), str(params.window.end)):
        assert fragment in str(refused.value)


def test_a_window_with_not_one_day_to_fit_on_is_refused() -> None:
    with pytest.raises(TakeoffError, match="leaves nothing to fit on"):
        periods(with_window(date(2013, 1, 1), date(2013, 3, 1)), CONTRACT)


@pytest.mark.parametrize(("key", "days"), [("start", -1), ("start", -400), ("end", 1), ("end", 400)])
def test_a_date_outside_the_data_is_named_with_its_key_and_what_is_allowed(
    split_rows: Callable[[str], pd.DataFrame], key: str, days: int
) -> None:
    rows = split_rows("fit")
    local = rows[TIME].dt.tz_convert(ZONE)
    first, after = local.min().date(), local.max().date() + timedelta(days=1)
    allowed = {"start": first, "end": after}
    outside = {**allowed, key: allowed[key] + timedelta(days=days)}

    with pytest.raises(TakeoffError, match=rf"{PARAMS_FILE}: window\.{key} is {outside[key]}") as refused:
        check_window(rows, with_window(**outside), CONTRACT)

    assert f"Choose a date from {first} to {after}" in str(refused.value)


def test_a_window_that_ends_where_the_data_ends_is_allowed(
    split_rows: Callable[[str], pd.DataFrame], small_params: Params
) -> None:
    rows = pd.concat(split_rows(name) for name in SPLITS)

    check_window(rows, small_params, CONTRACT)


def test_the_stage_leaves_every_labelled_row_in_exactly_one_split(
    split_rows: Callable[[str], pd.DataFrame], small_params: Params, contract: Contract
) -> None:
    parts = {name: split_rows(name) for name in SPLITS}

    together = pd.concat(parts.values())
    assert together[contract.id].is_unique
    assert len(labelled(together, contract)) == len(together)
    for name, period in periods(small_params, contract).items():
        assert len(within(parts[name], period, contract)) == len(parts[name]) > 0


def test_rows_without_a_label_are_left_out(split_rows: Callable[[str], pd.DataFrame]) -> None:
    rows = split_rows("test").head(5).copy()
    rows.loc[[1, 3], CONTRACT.target.column] = None

    assert labelled(rows, CONTRACT)[CONTRACT.id].tolist() == rows[CONTRACT.id][[0, 2, 4]].tolist()
