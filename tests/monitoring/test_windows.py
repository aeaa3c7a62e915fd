"""Windows have the right edges in every zone, and each instant is in exactly one of them."""

from datetime import UTC, datetime
from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring import windows
from monitoring.windows import NO_WINDOW, Kind, Window, place, window_at, window_of, windows_between
from takeoff.contract import Contract, read_contract
from takeoff.errors import TakeoffError
from tests.conftest import PROJECT

CONTRACT = read_contract(PROJECT)
KINDS: list[Kind] = ["day", "week", "month"]
# Clocks that skip a midnight, have one twice, are set back over it, or leave out a day.
ZONES = [
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "America/St_Johns",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "UTC",
]
INSTANTS = st.datetimes(datetime(1987, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)).map(pd.Timestamp)


def in_zone(zone: str) -> Contract:
    return CONTRACT.model_copy(update={"time": CONTRACT.time.model_copy(update={"zone": zone})})


def holds(window: Window, instant: pd.Timestamp) -> bool:
    return window.period.start <= instant < window.period.end


@pytest.mark.parametrize(
    ("name", "kind", "start", "end"),
    [
        ("2013-09-05", "day", "2013-09-05T04:00Z", "2013-09-06T04:00Z"),
        ("2013-W36", "week", "2013-09-02T04:00Z", "2013-09-09T04:00Z"),
        ("2013-09", "month", "2013-09-01T04:00Z", "2013-10-01T04:00Z"),
        ("2013-12", "month", "2013-12-01T05:00Z", "2014-01-01T05:00Z"),
        ("2013-11-03", "day", "2013-11-03T04:00Z", "2013-11-04T05:00Z"),  # 25 hours
        ("2020-W53", "week", "2020-12-28T05:00Z", "2021-01-04T05:00Z"),  # a week of two years
    ],
)
def test_a_name_means_the_time_between_two_midnights_of_the_contracts_zone(
    name: str, kind: Kind, start: str, end: str
) -> None:
    found = window_of(name, CONTRACT)

    assert (found.name, found.kind) == (name, kind)
    assert found.period == (pd.Timestamp(start), pd.Timestamp(end))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "september",
        "2013",
        "2013-9-5",
        "2013-02-30",
        "2013-13",
        "2013-W54",
        "2013-W00",
        "2013-w36",
        "\uff12\uff10\uff11\uff13-09",
    ],
)
def test_a_name_that_means_nothing_is_refused_with_what_is_allowed(name: str) -> None:
    with pytest.raises(TakeoffError, match="2013-W36") as refused:
        window_of(name, CONTRACT)

    assert f"'{name}' is no window" in str(refused.value)


@pytest.mark.parametrize("name", ["1899-12-31", "2200-01", "0001-W01", "9999-12"])
def test_a_window_outside_the_calendar_that_is_counted_is_refused(name: str) -> None:
    with pytest.raises(TakeoffError, match="between the years 1900 and 2199"):
        window_of(name, CONTRACT)


@given(st.lists(INSTANTS, min_size=1, max_size=20), st.sampled_from(KINDS), st.sampled_from(ZONES))
def test_each_instant_is_placed_in_the_window_that_holds_it(
    instants: list[pd.Timestamp], kind: Kind, zone: str
) -> None:
    placed = place(pd.DatetimeIndex(instants), kind, in_zone(zone))

    assert all(holds(placed.windows[at], each) for at, each in zip(placed.places, instants, strict=True))
    assert sorted(set(placed.places)) == list(range(len(placed.windows)))


@given(INSTANTS, st.sampled_from(KINDS), st.sampled_from(ZONES))
def test_a_window_can_be_asked_for_by_the_name_it_was_given(
    instant: pd.Timestamp, kind: Kind, zone: str
) -> None:
    window = window_at(instant, kind, in_zone(zone))

    assert window_of(window.name, in_zone(zone)) == window


@given(INSTANTS, st.integers(0, 24 * 400), st.sampled_from(KINDS), st.sampled_from(ZONES))
def test_windows_between_two_instants_follow_each_other_without_gap_or_overlap(
    start: pd.Timestamp, hours: int, kind: Kind, zone: str
) -> None:
    end = start + pd.Timedelta(hours=hours, seconds=1)

    found = windows_between(start, end, kind, in_zone(zone))

    assert holds(found[0], start) and holds(found[-1], end - pd.Timedelta(seconds=1))
    assert all(before.period.end == after.period.start for before, after in pairwise(found))


@pytest.mark.parametrize(
    ("zone", "instant"),
    [  # clocks were set back from 00:01 to 23:01 of the day before; an hour of that day followed midnight
        ("America/St_Johns", "2010-11-07T03:00Z"),
        ("America/St_Johns", "2010-11-07T02:30:30Z"),
        ("Pacific/Apia", "2011-12-30T10:00Z"),  # 31 December there: the 30th was left out
        ("America/Sao_Paulo", "2018-11-04T03:00Z"),  # a day that begins at 01:00
    ],
)
def test_a_clock_that_is_set_at_midnight_places_each_instant_once(zone: str, instant: str) -> None:
    time = pd.Timestamp(instant)

    assert holds(window_at(time, "day", in_zone(zone)), time)


def test_a_midnight_that_comes_twice_begins_the_day_when_it_comes_first() -> None:
    found = window_of("2012-11-04", in_zone("America/Havana"))

    assert found.period == (pd.Timestamp("2012-11-04T04:00Z"), pd.Timestamp("2012-11-05T05:00Z"))


def test_times_without_a_calendar_are_in_no_window() -> None:
    times = pd.DatetimeIndex(
        ["2013-09-05T12:00Z", None, "1700-01-01T00:00Z", "2261-01-01T00:00Z"], dtype="datetime64[us, UTC]"
    )

    placed = place(times, "week", CONTRACT)

    assert [each.name for each in placed.windows] == ["2013-W36"]
    assert placed.places.tolist() == [0, NO_WINDOW, NO_WINDOW, NO_WINDOW]
    assert place(times[1:], "week", CONTRACT).windows == []


def test_windows_are_counted_up_to_the_last_year_and_no_further() -> None:
    start = pd.Timestamp(f"{windows.LAST_YEAR}-12-01T12:00Z")

    found = windows_between(start, start + pd.Timedelta(days=400), "month", CONTRACT)

    assert [each.name for each in found] == ["2199-12"]
