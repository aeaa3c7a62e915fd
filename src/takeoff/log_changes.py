"""What a prediction log holds at which time, in small: enough to tell what changed since the last look."""

from contextlib import closing

import pandas as pd

from takeoff.log_read import ROWS_A_QUERY, WINDOW_TIME, bounds, open_reader

END_OF_CALENDAR = 253_402_300_800  # the year 10000, in unix seconds
STEP_SECONDS = 900  # every zone's midnights lie between such steps
COUNTED = (
    "count(*), max(p.seq), count(l.label), max(l.time), min(p.time), max(p.time) FROM predictions p "
    "LEFT JOIN labels l ON l.prediction_id = p.id WHERE p.seq > ? AND p.seq <= ?"
)
SQL = f"SELECT floor({WINDOW_TIME} / {STEP_SECONDS}), p.model_version, {COUNTED} GROUP BY 1, 2"
COLUMNS = ["step", "model_version", "rows", "last_seq", "labels", "last_label", "first_answer", "last_answer"]


def count_by_time(url: str) -> pd.DataFrame:
    """How many predictions and labels there are in each quarter of an hour of `window_time`.

    Reads what was in the log at the start, without the rows themselves, in short queries.

    Returns:
        One row for each quarter of an hour and model version: `start` (datetime64 UTC; NaT where no calendar
        has the time), `model_version`, `rows`, `last_seq` (of the prediction that came last), `labels`,
        `last_label` (unix seconds, NaN without labels), `first_answer` and `last_answer` (unix seconds).

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
        first_answer=("first_answer", "min"),
        last_answer=("last_answer", "max"),
    )
    seconds = counted.pop("step").astype("float64") * STEP_SECONDS
    seconds = seconds.where(seconds.abs() < END_OF_CALENDAR)
    starts = pd.to_datetime(seconds, unit="s", utc=True, errors="coerce").rename("start")
    kinds = {"rows": "int64", "labels": "int64", "last_seq": "int64", "last_label": "float64"}
    return pd.concat([starts, counted.astype(kinds)], axis=1)
