"""Which windows are due, told from counts of the log and from what was measured before."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.ledger import (
    Held,
    ahead,
    batches,
    empty,
    held,
    is_due,
    outside,
    reached,
    read_results,
    with_gaps,
)
from monitoring.windows import window_of
from takeoff import files
from takeoff.contract import read_contract
from takeoff.log_schema import INVALID_ROWS
from takeoff.params import read_params
from tests.conftest import PROJECT

CONTRACT = read_contract(PROJECT)
SETTINGS = read_params(PROJECT, CONTRACT).monitoring
WEEK = window_of("2013-W36", CONTRACT)
NOW = Held(WEEK, 7000, {"2": 7000}, 9000, "log", {})


def counts(*rows: tuple[str | None, int], **changes: Any) -> pd.DataFrame:
    """What a log holds, by time and number of rows."""
    made = pd.DataFrame(
        {
            "start": pd.to_datetime([time for time, _ in rows], utc=True),
            "model_version": "1",
            "rows": [count for _, count in rows],
            "last_seq": range(1, len(rows) + 1),
            "labels": 0,
            "last_label": float("nan"),
            "last_answer": 1.4e9,
        }
    )
    return made.assign(**changes)


def refused(*rows: tuple[str | None, int], **changes: Any) -> pd.DataFrame:
    """What the service refused, by time and number of rows."""
    made = pd.DataFrame(
        {
            "start": pd.to_datetime([time for time, _ in rows], utc=True),
            "reason": INVALID_ROWS,
            "count": [count for _, count in rows],
            "last_hour": 1.4e9,
        }
    )
    return made.assign(**changes)


NOTHING_REFUSED = refused().astype({"start": "datetime64[s, UTC]"})


def measured(
    log: str = "log", standard: str = "standard", version: str | None = "2", **digest: int
) -> dict[str, Any]:
    known = {"log": log, "standard": standard, "last_seq": 9000, "rows": 7000, **digest}
    return {"digest": known, "reference": {"model_version": version}}


def due(now: Held, before: dict[str, Any] | None, standard: str, version: str) -> bool:
    return is_due(now, before, standard, version, SETTINGS.decision.champions_share)


def test_rows_are_counted_in_the_window_that_holds_them() -> None:
    found = held(
        counts(("2013-09-02T04:00Z", 5), ("2013-09-09T03:45Z", 6), ("2013-09-09T04:00Z", 7)),
        NOTHING_REFUSED,
        "week",
        CONTRACT,
    )

    assert [(each.window.name, each.rows, each.last_seq) for each in found] == [
        ("2013-W36", 11, 2),
        ("2013-W37", 7, 3),
    ]


@pytest.mark.parametrize(
    "change", [{"rows": 6}, {"last_seq": 2}, {"labels": 1}, {"last_label": 1.5e9}, {"model_version": "2"}]
)
def test_the_digest_of_a_window_follows_its_rows_and_labels(change: dict[str, Any]) -> None:
    [before] = held(counts(("2013-09-02T04:00Z", 5)), NOTHING_REFUSED, "week", CONTRACT)
    [after] = held(counts(("2013-09-02T04:00Z", 5), **change), NOTHING_REFUSED, "week", CONTRACT)

    assert before.digest != after.digest
    assert before == held(counts(("2013-09-02T04:00Z", 5)), NOTHING_REFUSED, "week", CONTRACT)[0]


def test_what_was_refused_is_counted_in_the_window_of_its_rows_alone() -> None:
    rows = counts(("2013-09-02T04:00Z", 5), ("2013-09-09T04:00Z", 5))
    before = held(rows, NOTHING_REFUSED, "week", CONTRACT)

    found = held(
        rows,
        refused(("2013-09-02T03:00Z", 1), ("2013-09-02T04:00Z", 2), ("2013-09-09T03:00Z", 3), (None, 4)),
        "week",
        CONTRACT,
    )

    assert [each.refused for each in found] == [{INVALID_ROWS: 1}, {INVALID_ROWS: 5}, {}]
    assert [new.digest == old.digest for new, old in zip(found[1:], before, strict=True)] == [False, True]


def test_a_window_is_due_until_it_was_measured() -> None:
    assert due(NOW, None, "standard", "2")
    assert not due(NOW, measured(), "standard", "2")


@pytest.mark.parametrize("before", [measured(log="other"), measured(standard="other")])
def test_a_window_is_due_again_when_its_rows_or_the_standard_change(before: dict[str, Any]) -> None:
    assert due(NOW, before, "standard", "2")


def test_windows_of_an_earlier_champion_stay_as_they_were_measured() -> None:
    earlier = measured(standard="other", version="2")

    assert not due(NOW, earlier, "standard", "3")
    assert due(NOW._replace(rows=7001), earlier, "standard", "3")
    assert due(NOW._replace(versions={"3": 7000}), earlier, "standard", "3")


def test_rows_that_leave_the_log_by_their_age_take_no_result_with_them() -> None:
    assert not due(NOW._replace(rows=10, digest="less"), measured(), "standard", "2")


def test_another_log_is_measured_even_if_it_holds_less() -> None:
    assert due(NOW._replace(rows=10, last_seq=10, digest="less"), measured(), "standard", "2")


def test_a_few_rows_of_a_wrong_clock_do_not_move_the_instant_that_the_log_has_reached() -> None:
    many, few = ("2013-09-02T04:00Z", 1000), ("2099-01-01T00:00Z", 9)

    assert reached(counts(many, few), NOTHING_REFUSED, 10) == pd.Timestamp("2013-09-02T04:00Z")
    late = counts(many, few, last_answer=seconds("2099-01-01"))
    assert reached(late, NOTHING_REFUSED, 9) == pd.Timestamp("2099-01-01T00:00Z")
    assert reached(counts(("2013-09-02T04:00Z", 3)), NOTHING_REFUSED, 10) == pd.Timestamp("2013-09-02T04:00Z")


def seconds(time: str) -> float:
    return pd.Timestamp(time).timestamp()


def test_refused_rows_count_for_the_instant_that_the_log_has_reached() -> None:
    found = reached(
        counts(("2013-09-02T04:00Z", 1000)),
        pd.concat(
            [
                refused(("2013-09-09T04:00Z", 9)),
                refused(("2013-09-16T04:00Z", 9)),
                refused(("2026-09-02T04:00Z", 9000), reason="unauthorized"),
            ]
        ),
        10,
    )

    assert found == pd.Timestamp("2013-09-09T04:00Z")


def test_a_single_row_counts_where_the_services_clock_bears_it_out() -> None:
    at = ["2013-09-02T04:00Z", "2013-09-09T06:00Z"]
    rows = counts((at[0], 1000), (at[1], 1))

    live = reached(rows.assign(last_answer=[seconds(at[0]), seconds(at[1]) - 7200]), NOTHING_REFUSED, 10)
    again = reached(rows.assign(last_answer=seconds("2026-01-01")), NOTHING_REFUSED, 10)

    assert live == pd.Timestamp("2013-09-09T04:00Z")  # when it was answered: before its own time
    assert again == pd.Timestamp(at[0])  # in rows long past, any of them may be dated wrongly


def test_rows_dated_long_after_their_answers_move_nothing_however_many_they_are() -> None:
    rows = counts(("2013-09-02T04:00Z", 1000), ("2099-01-01T00:00Z", 9000))

    assert reached(rows, NOTHING_REFUSED, 10) == pd.Timestamp("2013-09-02T04:00Z")
    assert reached(rows[1:], NOTHING_REFUSED, 10) is None
    assert (ahead(rows), ahead(rows[:1])) == (9000, 0)


def test_no_log_has_reached_more_than_its_newest_answer() -> None:
    rows = counts(("2013-09-02T04:00Z", 1000), ("2013-09-12T04:00Z", 9000))
    answered = "2013-09-02T02:00Z"

    found = reached(rows.assign(last_answer=seconds(answered)), NOTHING_REFUSED, 10)

    assert found == pd.Timestamp(answered)


def test_one_row_of_today_does_not_end_the_windows_of_a_replay() -> None:
    today = "2026-01-01T12:00Z"
    rows = counts(("2013-09-02T04:00Z", 1000), (today, 1), last_answer=seconds(today))

    assert reached(rows, NOTHING_REFUSED, 10) == pd.Timestamp("2013-09-02T04:00Z")


def test_what_was_answered_while_the_services_clock_was_wrong_bears_nothing_out() -> None:
    at = ["2013-09-02T04:00Z", "2013-09-20T04:00Z", "2013-09-02T05:00Z"]  # in the order in which they came
    rows = counts((at[0], 1000), (at[1], 1), (at[2], 1), last_answer=[seconds(each) for each in at])

    assert reached(rows, NOTHING_REFUSED, 10) == pd.Timestamp(at[2])


def test_windows_without_a_row_between_others_are_held_once_they_are_over() -> None:
    now = pd.Timestamp("2013-09-23T04:00Z")
    found = held(
        counts(("2013-09-02T04:00Z", 5), ("2013-09-24T04:00Z", 5)), NOTHING_REFUSED, "week", CONTRACT
    )

    filled = with_gaps(found, refused(("2013-09-10T04:00Z", 1), reason="busy"), "week", CONTRACT, now)

    assert [(each.window.name, each.rows, each.refused) for each in filled] == [
        ("2013-W36", 5, {}),
        ("2013-W37", 0, {"busy": 1}),
        ("2013-W38", 0, {}),
        ("2013-W39", 5, {}),
    ]


@pytest.mark.parametrize("now", ["2013-09-08T04:00Z", None])
def test_what_is_not_over_yet_is_no_gap(now: str | None) -> None:
    found = held(
        counts(("2013-09-02T04:00Z", 5), ("2099-09-24T04:00Z", 5)), NOTHING_REFUSED, "week", CONTRACT
    )

    filled = with_gaps(found, NOTHING_REFUSED, "week", CONTRACT, None if now is None else pd.Timestamp(now))

    assert filled == found


def test_the_years_between_a_wrong_clock_and_the_other_rows_are_no_gap() -> None:
    found = held(counts(("1970-01-01T04:00Z", 5), ("2013-09-02T04:00Z", 5)), NOTHING_REFUSED, "day", CONTRACT)

    assert with_gaps(found, NOTHING_REFUSED, "day", CONTRACT, pd.Timestamp("2013-09-03T04:00Z")) == found


def test_a_window_of_which_every_row_was_refused_is_held() -> None:
    requests = refused(("2013-09-16T04:00Z", 7), reason="busy")
    found = held(
        counts(("2013-09-02T04:00Z", 5)),
        pd.concat([refused(("2013-09-09T04:00Z", 7)), requests]),
        "week",
        CONTRACT,
    )

    assert [(each.window.name, each.rows, each.refused) for each in found] == [
        ("2013-W36", 5, {}),
        ("2013-W37", 0, {INVALID_ROWS: 7}),
    ]


def test_a_window_whose_rows_have_all_left_the_log_stays_as_it_was_measured() -> None:
    gone = empty(WEEK, NOTHING_REFUSED)

    assert not due(gone, measured(), "standard", "2")
    assert not due(gone, measured(rows=0) | {"quality": {"refused": {"busy": 1}}}, "standard", "2")
    assert due(gone, measured(rows=0), "another", "2")


def test_an_empty_log_has_reached_nothing() -> None:
    nothing = counts().astype({"start": "datetime64[s, UTC]"})

    assert reached(nothing, NOTHING_REFUSED, 10) is None
    assert held(nothing, NOTHING_REFUSED, "week", CONTRACT) == []


def test_rows_of_no_calendar_are_counted_apart() -> None:
    assert outside(counts(("2013-09-02T04:00Z", 5), (None, 2), ("1800-01-01T00:00Z", 4)), CONTRACT) == 6


@given(st.lists(st.integers(1, 2000), max_size=30), st.integers(1, 2000), st.integers(1, 5000))
def test_batches_hold_every_window_in_order_and_no_more_samples_than_fit(
    rows: list[int], sampled: int, most: int
) -> None:
    due = [empty(WEEK, NOTHING_REFUSED)._replace(rows=each, last_seq=i) for i, each in enumerate(rows)]

    found = list(batches(due, sampled, most))

    assert [each for batch in found for each in batch] == due
    for batch in found:
        assert len(batch) == 1 or sum(min(each.rows, sampled) for each in batch) <= most


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"window": {"name": "2013-W36"}}', b"\xff"])
def test_a_result_that_cannot_be_read_is_passed_over_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "2013-W36.json").write_bytes(content)

    found, problems = read_results(tmp_path)

    assert found == {}
    assert "2013-W36.json can't be read" in problems[0]


def test_results_are_found_by_the_name_of_their_window(tmp_path: Path) -> None:
    assert read_results(tmp_path / "nothing") == ({}, [])

    window = {"name": "2013-W36", "kind": "week", "start": "a", "end": "b", "complete": True}
    result = {**measured(), "window": window, "rows": 1, "model_versions": {}}
    files.write_json(tmp_path / "2013-W36.json", result)

    assert read_results(tmp_path) == ({"2013-W36": result}, [])
