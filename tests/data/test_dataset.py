"""Rows against the raw tables: nothing of the future in them, and each feature what plain pandas finds."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from takeoff import dataset
from takeoff.contract import Contract
from takeoff.dataset import WEATHER_COMPLETE_AFTER
from takeoff.params import Params

Tables = dict[str, pd.DataFrame]

HOUR = pd.Timedelta(hours=1)
AROUND = pd.Timedelta(days=4)  # of a moment, to build few rows; no feature looks back further than a day
CLOCK_CHANGES = ("2013-03-10", "2013-11-03")
WEATHER = {
    "temperature": "temp",
    "dew_point": "dewp",
    "humidity": "humid",
    "wind_direction": "wind_dir",
    "wind_speed": "wind_speed",
    "precipitation": "precip",
    "pressure": "pressure",
    "visibility": "visib",
}
NETWORK = [
    *(f"{who}_{what}" for who in ("origin", "carrier") for what in ("delay_2h", "delay_6h", "departures_2h")),
    *("origin_waiting", "carrier_waiting", "destination_delay_6h", "plane_last_delay", "plane_last_left"),
]
SAMPLE = 40  # rows that are built by hand


def instants(text: pd.Series) -> pd.Series:
    return pd.to_datetime(text, utc=True).dt.as_unit("us")


def minutes(value: object) -> pd.Timedelta:
    return pd.to_timedelta(value, unit="min")  # type: ignore[call-overload]


def flight_ids(flights: pd.DataFrame) -> pd.Series:
    day = pd.to_datetime(flights[["year", "month", "day"]]).dt.strftime("%Y-%m-%d")
    return day + "-" + flights["carrier"] + flights["flight"].astype("str") + "-" + flights["origin"]


def due(flights: pd.DataFrame) -> pd.Series:
    return instants(flights["time_hour"]) + minutes(flights["minute"])


@pytest.fixture(scope="module")
def flown(tables: Tables, all_rows: pd.DataFrame) -> pd.DataFrame:
    """Every flight with instants in UTC: `due`, `left` and `landed` (missing if it never was), and `arrival`.

    When it was to arrive is taken from the rows; a test of its own holds that against the time in the air.
    """
    flights = tables["flights"]
    by_id = all_rows.set_index("flight_id")
    ids = flight_ids(flights)
    arrival = due(flights) + minutes(ids.map(by_id["scheduled_minutes"]).astype("float64"))
    return flights.assign(
        flight_id=ids,
        due=due(flights),
        arrival=arrival,
        left=due(flights) + minutes(flights["dep_delay"]),
        landed=arrival + minutes(flights["arr_delay"]),
    )


def scrambled(flown: pd.DataFrame, weather: pd.DataFrame, moment: pd.Timestamp, seed: int) -> Tables:
    """Another world, that is the same up to and including a moment: what happened after it is drawn anew.

    A flight that had left by then keeps its departure, one that had landed its arrival too. One that had
    not may leave and land at any later time, or never; many do so in the first minute after the moment.
    """
    random = np.random.default_rng(seed)
    count = len(flown)

    def later(than: pd.Series) -> pd.Series:
        """Whole minutes after the moment, and up to three hours before the other instant."""
        delay = np.where(random.random(count) < 0.3, 1, random.geometric(0.01, count))
        return than.sub(3 * HOUR).clip(lower=moment) + minutes(delay)

    left = flown["left"].where(flown["left"] <= moment, later(flown["due"]).mask(random.random(count) < 0.2))
    landed = later(flown["arrival"]).mask((random.random(count) < 0.1) | left.isna())
    landed = flown["landed"].where(flown["landed"] <= moment, landed)
    never_said = {name: random.integers(1, 2400, count) for name in ("dep_time", "arr_time", "air_time")}
    drawn = pd.DataFrame(never_said, index=flown.index).astype("float64")
    drawn["dep_delay"] = (left - flown["due"]) / minutes(1)
    drawn["arr_delay"] = (landed - flown["arrival"]) / minutes(1)
    told = {"dep_time": "left", "arr_time": "landed", "air_time": "landed"}
    for name, happened in told.items():
        drawn[name] = flown[name].where(flown[happened] <= moment, drawn[name])

    values = list(WEATHER.values())
    observed = instants(weather["time_hour"]) + WEATHER_COMPLETE_AFTER <= moment
    noise = pd.DataFrame(random.normal(50, 30, (len(weather), len(values))), weather.index, values)
    return {
        "flights": flown.assign(**drawn),
        "weather": weather.assign(**weather[values].astype("float64").where(observed, noise)),
    }


def moments() -> st.SearchStrategy[pd.Timestamp]:
    """Any minute of the year, but for the days at its ends."""
    first, last = pd.Timestamp("2013-01-03", tz="UTC"), pd.Timestamp("2013-12-29", tz="UTC")
    return st.integers(0, int((last - first) / minutes(1))).map(lambda minute: first + minutes(minute))


@settings(max_examples=6, deadline=None)
@given(start=moments(), seed=st.integers(0, 2**32 - 1))
@example(start=pd.Timestamp("2013-03-10 07:00", tz="UTC"), seed=1)  # 2:00 is skipped
@example(start=pd.Timestamp("2013-03-10 14:59", tz="UTC"), seed=2)  # the weather's next minute
@example(start=pd.Timestamp("2013-11-03 05:00", tz="UTC"), seed=3)  # 1:00 strikes twice from here on
@example(start=pd.Timestamp("2013-11-03 15:00", tz="UTC"), seed=4)  # the weather's own minute
def test_no_feature_moves_with_what_happens_after_its_prediction_and_all_do_with_what_happens_before(
    tables: Tables, flown: pd.DataFrame, contract: Contract, start: pd.Timestamp, seed: int
) -> None:
    # A moment at which rows are predicted: what happens in the minute after it is just too late for them.
    predicted = flown["due"] - dataset.PREDICT_AHEAD
    moment = predicted[predicted >= start].min()
    flights = flown[flown["due"].between(moment - AROUND, moment + AROUND)].reset_index(drop=True)
    others = {name: tables[name] for name in ("planes", "airports")}

    rows = dataset.build_rows({**others, "flights": flights, "weather": tables["weather"]})
    other = dataset.build_rows({**others, **scrambled(flights, tables["weather"], moment, seed)})

    known = [contract.id, contract.time.column, *contract.columns]
    before = rows[contract.time.column] - dataset.PREDICT_AHEAD <= moment
    assert 0 < before.sum() < len(rows)
    pd.testing.assert_frame_equal(rows.loc[before, known], other.loc[before, known])
    # The same scramble seen from later on: so the comparison above can fail, for each feature of its own.
    one, two = (world.loc[~before, list(contract.columns)] for world in (rows, other))
    moved = (one != two) & (one.notna() | two.notna())
    assert set(moved.columns[moved.any()]) == {*WEATHER, *NETWORK}


@pytest.fixture(scope="module")
def by_hand(all_rows: pd.DataFrame, params: Params) -> pd.DataFrame:
    """Rows to be built by hand: some of the year, and some of both days on which clocks changed."""
    of_change = all_rows[all_rows["flight_id"].str.startswith(CLOCK_CHANGES)]
    chosen = [
        all_rows.sample(SAMPLE, random_state=params.seed),
        of_change.sample(10, random_state=params.seed),
    ]
    return pd.concat(chosen, ignore_index=True).assign(
        now=lambda rows: rows["scheduled_departure"] - dataset.PREDICT_AHEAD
    )


ByHand = Callable[[pd.DataFrame, pd.Series], float]


def of_origin(flown: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    return flown[flown["origin"] == row["origin"]]


def of_carrier(flown: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    return flown[(flown["origin"] == row["origin"]) & (flown["carrier"] == row["carrier"])]


def recent(flights: pd.DataFrame, event: str, row: pd.Series, hours: int) -> pd.DataFrame:
    """Flights with an event in the last hours up to and including the prediction."""
    return flights[(flights[event] <= row["now"]) & (flights[event] > row["now"] - hours * HOUR)]


def waiting(flights: pd.DataFrame, row: pd.Series) -> int:
    overdue = (flights["due"] <= row["now"]) & ~(flights["left"] <= row["now"])
    given_up = flights["due"] + minutes(dataset.FORGOTTEN_AFTER_MINUTES) <= row["now"]
    return int((overdue & ~given_up).sum())


def last_departure(flown: pd.DataFrame, row: pd.Series) -> pd.Series | None:
    """The last flight with the same plane that had left at the prediction, if in the last 24 hours."""
    tail = flown.loc[flown["flight_id"] == row["flight_id"], "tailnum"].iloc[0]
    same = flown[(flown["tailnum"] == tail) & (flown["left"] <= row["now"])]
    same = same[same["left"] >= row["now"] - 24 * HOUR].sort_values("left")
    return None if same.empty else same.iloc[-1]


def last_delay(flown: pd.DataFrame, row: pd.Series) -> float:
    last = last_departure(flown, row)
    return np.nan if last is None else float(last["dep_delay"])


def last_left(flown: pd.DataFrame, row: pd.Series) -> float:
    last = last_departure(flown, row)
    return np.nan if last is None else float((row["now"] - last["left"]) / HOUR)


def same_clock_hour(flown: pd.DataFrame, row: pd.Series) -> int:
    local = row["scheduled_departure"].tz_convert("America/New_York")
    clock = {"month": local.month, "day": local.day, "hour": local.hour}
    return int((of_origin(flown, row)[list(clock)] == pd.Series(clock)).all(axis=1).sum())


BY_HAND: dict[str, ByHand] = {
    "origin_delay_2h": lambda all_, row: recent(of_origin(all_, row), "left", row, 2)["dep_delay"].mean(),
    "origin_delay_6h": lambda all_, row: recent(of_origin(all_, row), "left", row, 6)["dep_delay"].mean(),
    "origin_departures_2h": lambda all_, row: len(recent(of_origin(all_, row), "left", row, 2)),
    "origin_waiting": lambda all_, row: waiting(of_origin(all_, row), row),
    "carrier_delay_2h": lambda all_, row: recent(of_carrier(all_, row), "left", row, 2)["dep_delay"].mean(),
    "carrier_delay_6h": lambda all_, row: recent(of_carrier(all_, row), "left", row, 6)["dep_delay"].mean(),
    "carrier_departures_2h": lambda all_, row: len(recent(of_carrier(all_, row), "left", row, 2)),
    "carrier_waiting": lambda all_, row: waiting(of_carrier(all_, row), row),
    "destination_delay_6h": lambda all_, row: recent(
        all_[all_["dest"] == row["destination"]], "landed", row, 6
    )["arr_delay"].mean(),
    "plane_last_delay": last_delay,
    "plane_last_left": last_left,
    "departures_that_hour": same_clock_hour,
}


@pytest.mark.parametrize("feature", BY_HAND)
def test_a_feature_is_what_plain_pandas_finds_in_the_raw_tables(
    flown: pd.DataFrame, by_hand: pd.DataFrame, feature: str
) -> None:
    expected = []
    for _, row in by_hand.iterrows():
        near = flown[flown["due"].between(row["now"] - AROUND, row["now"] + AROUND)]
        expected.append(BY_HAND[feature](near, row))

    np.testing.assert_allclose(by_hand[feature], np.array(expected, "float32"), rtol=1e-6)
    assert by_hand[feature].nunique() > 3  # a constant would prove nothing


def test_the_weather_is_the_last_observation_at_the_own_origin_and_some_hours_old_at_most(
    tables: Tables, by_hand: pd.DataFrame
) -> None:
    complete = instants(tables["weather"]["time_hour"]) + WEATHER_COMPLETE_AFTER
    weather = tables["weather"].assign(at=complete).sort_values("at")
    for _, row in by_hand.iterrows():
        last = weather[(weather["origin"] == row["origin"]) & (weather["at"] <= row["now"])].iloc[-1]

        found = row[list(WEATHER)].to_numpy("float64")
        np.testing.assert_allclose(found, last[list(WEATHER.values())].to_numpy("float64"), rtol=1e-6)
        assert row["now"] - last["at"] <= 6 * HOUR


def test_the_plane_is_that_of_the_registry(
    tables: Tables, flown: pd.DataFrame, all_rows: pd.DataFrame
) -> None:
    planes = tables["planes"].set_index("tailnum")
    tail = all_rows["flight_id"].map(flown.set_index("flight_id")["tailnum"])

    known = tail.isin(planes.index)
    assert 0.5 < known.mean() < 1
    assert all_rows.loc[~known, ["plane_maker", "plane_age", "plane_seats"]].isna().all(axis=None)
    np.testing.assert_array_equal(all_rows["plane_seats"][known], tail[known].map(planes["seats"]))
    np.testing.assert_array_equal(2013 - all_rows["plane_age"][known], tail[known].map(planes["year"]))
    assert set(all_rows["plane_maker"][tail.isin(planes.index[planes["manufacturer"] == "CANADAIR"])]) == {
        "BOMBARDIER"
    }


def test_rows_have_the_contracts_columns_in_its_order(all_rows: pd.DataFrame, contract: Contract) -> None:
    assert list(all_rows.columns) == contract.all_columns


def test_numbers_are_float32_and_texts_strings_and_times_utc(
    all_rows: pd.DataFrame, contract: Contract
) -> None:
    assert set(all_rows[contract.numbers].dtypes.astype("str")) == {"float32"}
    assert set(
        all_rows[[contract.id, contract.target.column, *contract.categories]].dtypes.astype("str")
    ) == {"str"}
    times = all_rows[[contract.time.column, contract.target.known_at]]
    assert set(times.dtypes.astype("str")) == {"datetime64[us, UTC]"}


def test_ids_are_different_in_every_row_and_name_the_flight(
    all_rows: pd.DataFrame, flown: pd.DataFrame
) -> None:
    assert all_rows["flight_id"].is_unique
    assert set(all_rows["flight_id"]) == set(flown["flight_id"])


def test_the_hour_and_weekday_are_those_of_new_york_also_when_clocks_change(
    all_rows: pd.DataFrame, contract: Contract
) -> None:
    local = all_rows["scheduled_departure"].dt.tz_convert(contract.time.zone)

    assert all_rows["flight_id"].str.startswith(CLOCK_CHANGES).sum() > 1000
    np.testing.assert_array_equal(all_rows["departure_hour"], local.dt.hour)
    np.testing.assert_array_equal(all_rows["departure_minute"], local.dt.minute)
    np.testing.assert_array_equal(all_rows["weekday"], local.dt.isocalendar().day)
    assert (all_rows["flight_id"].str[:10] == local.dt.strftime("%Y-%m-%d")).all()


def test_the_scheduled_time_fits_the_distance(all_rows: pd.DataFrame) -> None:
    """Ten minutes on the ground and 500 miles an hour are fast; three hours more than that are slow."""
    fastest = all_rows["distance"] / 500 * 60 + 10

    assert all_rows["scheduled_minutes"].between(fastest, fastest + 180).all()


@pytest.mark.parametrize(
    ("destinations", "hours"),
    [
        pytest.param(["HNL"], (10, 12), id="Honolulu, which has no summer time"),
        pytest.param(["SJU", "BQN", "PSE", "STT"], (3.5, 4.5), id="the Caribbean, which the table lacks"),
        pytest.param(["PHX"], (4.5, 6), id="Phoenix, which has no summer time either"),
        pytest.param(["LAX"], (5, 7), id="Los Angeles"),
        pytest.param(["BOS"], (0.7, 2), id="Boston"),
    ],
)
def test_the_scheduled_time_is_right_in_every_zone_and_season(
    all_rows: pd.DataFrame, destinations: list[str], hours: tuple[float, float]
) -> None:
    there = all_rows[all_rows["destination"].isin(destinations)]

    for _, month in there.groupby(there["scheduled_departure"].dt.month):
        assert month["scheduled_minutes"].between(hours[0] * 60, hours[1] * 60).all()


def test_a_flight_that_arrives_on_the_next_day_is_not_a_day_too_short_or_long(flown: pd.DataFrame) -> None:
    overnight = flown[flown["sched_arr_time"] < flown["sched_dep_time"]]

    assert len(overnight) > 1000
    took = (overnight["arrival"] - overnight["due"]) / HOUR
    assert took.between(0.5, 12).all()


def test_no_flight_lands_sooner_than_it_could_have_flown(flown: pd.DataFrame) -> None:
    on_ground = (flown["landed"] - flown["left"]) / minutes(1) - flown["air_time"]

    assert on_ground.notna().sum() > 300_000
    assert on_ground.dropna().between(1, 6 * 60).all()


def test_late_is_more_than_the_allowed_minutes_and_what_never_arrived_has_no_label(
    flown: pd.DataFrame, all_rows: pd.DataFrame
) -> None:
    rows = all_rows.set_index("flight_id").loc[flown["flight_id"]]
    # Those that landed after the window's end are late or not, but `ingest` may not know.
    told = rows["landed_at"].notna().to_numpy() | flown["arr_delay"].isna().to_numpy()

    delay, rows = flown["arr_delay"].to_numpy()[told], rows[told]
    edge = dataset.LATE_AFTER_MINUTES
    assert set(rows["outcome"][delay == edge]) == {"on_time"}
    assert set(rows["outcome"][delay == edge + 1]) == {"late"}
    assert set(rows["outcome"][delay > edge]) == {"late"}
    assert set(rows["outcome"][delay <= edge]) == {"on_time"}
    assert rows.loc[np.isnan(delay), ["outcome", "landed_at"]].isna().all(axis=None)
