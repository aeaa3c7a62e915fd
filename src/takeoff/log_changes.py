"""What a prediction log holds at which time, in small: enough to tell what changed since the last look."""

from contextlib import closing
from typing import Any

import pandas as pd

from takeoff.log_lines import WINDOW_TIME
from takeoff.log_read import ROWS_A_QUERY, bounds, open_reader
from takeoff.log_schema import REFUSALS

END_OF_CALENDAR = 253_402_300_800  # the year 10000, in unix seconds
STEP_SECONDS = 900  # every zone's midnights lie between such steps
COUNTED = (
    "count(*), max(p.seq), count(l.label), max(l.time), max(p.time) FROM predictions p "
    "LEFT JOIN labels l ON l.prediction_id = p.id WHERE p.seq > ? AND p.seq <= ?"
)
SQL = f"SELECT floor({WINDOW_TIME} / {STEP_SECONDS}), p.model_version, {COUNTED} GROUP BY 1, 2"
REFUSED = "SELECT row_hour, reason, sum(count), max(hour) FROM refusals GROUP BY 1, 2 ORDER BY 1, 2"
COLUMNS = ["step", "model_version", "rows", "last_seq", "labels", "last_label", "last_answer"]


def count_by_time(url: str) -> pd.DataFrame:
    """How many predictions and labels there are in each quarter of an hour of `window_time`.

    Reads what was in the log at the start, without the rows themselves, in short queries.

    Returns:
        One row for each quarter of an hour and model version: `start` (datetime64 UTC; NaT where no calendar
        has the time), `model_version`, `rows`, `last_seq` (of the prediction that came last), `labels`,
        `last_label` (unix seconds, NaN without labels), `last_answer` (unix seconds).

    Raises:
        StoreUnavailable: the database cannot be used now.
        TakeoffError: there is no log, or it is of a newer version of this project.
    """
    parts = []
    with closing(open_reader(url)) as reader:
        position, last = bounds(reader)
        for start in range(position, last, ROWS_A_QUERY):
            found = reader.query(SQL, start, min(start + ROWS_A_QUERY, last))
            parts.append(pd.DataFrame(found, columns=COLUMNS))
    everything = pd.concat(parts) if parts else pd.DataFrame([], columns=COLUMNS)
    counted = everything.groupby(["step", "model_version"], as_index=False).agg(
        rows=("rows", "sum"),
        last_seq=("last_seq", "max"),
        labels=("labels", "sum"),
        last_label=("last_label", "max"),
        last_answer=("last_answer", "max"),
    )
    starts = _starts(counted.pop("step") * STEP_SECONDS)
    kinds = {"rows": "int64", "labels": "int64", "last_seq": "int64", "last_label": "float64"}
    return pd.concat([starts, counted.astype(kinds)], axis=1)


def count_labels(url: str) -> int:
    """All labels in the log, those among them whose prediction is not there: not yet, or no more.

    Raises:
        StoreUnavailable: the database cannot be used now.
        TakeoffError: there is no log, or it is of a newer version of this project.
    """
    with closing(open_reader(url)) as reader:
        [(labels,)] = reader.query("SELECT count(*) FROM labels")
        return int(labels)


def count_refusals(url: str) -> pd.DataFrame:
    """What the service refused in each hour of the rows' own time, or of the request where none is known.

    Returns:
        One row for each hour and reason: `start` (datetime64 UTC; NaT where no calendar has the time),
        `reason` and `count` (see `takeoff.log_schema.Refused`), `last_hour` (unix seconds: start of the
        hour in which the last of these was refused).

    Raises:
        StoreUnavailable: the database cannot be used now.
        TakeoffError: there is no log, or it is of a newer version of this project.
    """
    with closing(open_reader(url)) as reader:
        # A log from before refusals were counted has no table of them.
        found = reader.query(REFUSED) if reader.has_table(REFUSALS.name) else []
    counted = pd.DataFrame(found, columns=["row_hour", "reason", "count", "last_hour"])
    starts = _starts(counted.pop("row_hour"))
    kinds = {"reason": "str", "count": "int64", "last_hour": "float64"}
    return pd.concat([starts, counted.astype(kinds)], axis=1)


def _starts(seconds: "pd.Series[Any]") -> "pd.Series[pd.Timestamp]":
    seconds = seconds.astype("float64")
    seconds = seconds.where(seconds.abs() < END_OF_CALENDAR)
    return pd.to_datetime(seconds, unit="s", utc=True, errors="coerce").rename("start")
