"""What the log holds by time, from real SQLite files and a real PostgreSQL server."""

from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from takeoff import log_changes
from takeoff.log_changes import STEP_SECONDS, count_by_time, count_refusals
from takeoff.log_store import Refused
from tests.log_entries import entries, label, open_log

MIDNIGHT = 1_378_180_800.0  # 2013-09-03, 04:00 UTC: a midnight in New York


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path.as_posix()}/log.db"
    return str(request.getfixturevalue("postgres").new_log())


def test_rows_are_counted_where_their_time_is_up_to_the_step_and_no_further(url: str) -> None:
    times = [MIDNIGHT - 0.001, MIDNIGHT, MIDNIGHT, MIDNIGHT + STEP_SECONDS - 0.001, MIDNIGHT + STEP_SECONDS]
    with closing(open_log(url)) as store:
        store.insert([entries(1, row_time=time)[0] for time in times])

    found = count_by_time(url)

    expected = pd.to_datetime(
        [MIDNIGHT - STEP_SECONDS, MIDNIGHT, MIDNIGHT + STEP_SECONDS], unit="s", utc=True
    )
    assert list(found["start"]) == list(expected)
    assert found["rows"].tolist() == [1, 3, 1]


def test_a_row_without_a_time_of_its_own_counts_when_it_was_answered(url: str) -> None:
    with closing(open_log(url)) as store:
        store.insert(entries(1, time=MIDNIGHT, row_time=None))

    assert count_by_time(url)["start"].tolist() == [pd.Timestamp(MIDNIGHT, unit="s", tz="UTC")]


def test_versions_labels_and_answers_are_told_apart_and_add_up_over_queries(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_changes, "ROWS_A_QUERY", 2)
    ones = [entries(1, row_time=MIDNIGHT, time=MIDNIGHT - i, model_version="1")[0] for i in range(5)]
    twos = entries(2, row_time=MIDNIGHT, time=MIDNIGHT, model_version="2")
    with closing(open_log(url)) as store:
        store.insert([*ones, *twos], labels=[label(ones[0], at=7.0), label(ones[4], at=9.0)])

    found = count_by_time(url).set_index("model_version")

    assert found["rows"].to_dict() == {"1": 5, "2": 2}
    assert found["labels"].to_dict() == {"1": 2, "2": 0}
    assert found["last_label"]["1"] == 9.0 and pd.isna(found["last_label"]["2"])
    assert found["last_answer"].to_dict() == {"1": MIDNIGHT, "2": MIDNIGHT}
    assert found["last_seq"]["2"] > found["last_seq"]["1"]


def test_a_time_of_no_calendar_is_counted_without_one(url: str) -> None:
    with closing(open_log(url)) as store:
        store.insert([*entries(2, row_time=1e300), *entries(1, row_time=MIDNIGHT)])

    found = count_by_time(url)

    assert found["rows"][found["start"].isna()].tolist() == [2]


def test_an_empty_log_is_counted_as_nothing(url: str) -> None:
    open_log(url).close()

    found = count_by_time(url)

    assert len(found) == 0
    assert str(found["start"].dtype).startswith("datetime64")


def test_what_was_refused_is_added_up_by_reason_in_the_hour_of_its_rows(url: str) -> None:
    now, hour = 1_800_000_000, int(MIDNIGHT)
    with closing(open_log(url)) as store:
        store.write_refusals(
            [
                Refused(now, hour, "invalid_rows", "a", 3),
                Refused(now + 3600, hour, "invalid_rows", "a", 4),
                Refused(now, hour, "invalid_rows", "b", 5),
                Refused(now, now, "busy", "a", 1),
                Refused(now, 10**15, "invalid_rows", "a", 2),
            ]
        )

    found = count_refusals(url)

    assert found["reason"].tolist() == ["invalid_rows", "busy", "invalid_rows"]
    assert found["count"].tolist() == [12, 1, 2]
    assert found["start"].tolist()[:2] == [pd.Timestamp(each, unit="s", tz="UTC") for each in (hour, now)]
    assert found["start"].isna().tolist() == [False, False, True]
    assert found["last_hour"].tolist() == [now + 3600, now, now]


def test_a_log_in_which_nothing_was_refused_is_counted_as_nothing(url: str) -> None:
    open_log(url).close()

    found = count_refusals(url)

    assert len(found) == 0
    assert str(found["start"].dtype).startswith("datetime64")
