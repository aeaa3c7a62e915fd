"""Data held against the contract: each fault stops the run and is named, counted, shown and kept.

A run of all rules takes a second, so faults that do not touch each other share one.
"""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from pipelines import check_raw
from takeoff import checks, files, paths
from takeoff.check_report import BROKEN_RULES
from takeoff.contract import CONTRACT_FILE
from takeoff.params import Params
from takeoff.split import window
from tests.data.checking import (
    COLUMNS,
    CONTRACT,
    ID,
    LEAST_ROWS,
    TABLE,
    TARGET,
    TIME,
    Run,
    ids_that_broke,
    planted,
    refusal,
    stopped,
)

# What data may bring; short enough to be shown whole, and longer than no name of a column.
CODE = "<script>alert('&')</script>"


class Fault(NamedTuple):
    """Values that break one rule of a column, as they stand in the data from top to bottom."""

    rule: str
    values: list[Any]
    shown: list[str]

    @property
    def column(self) -> str:
        return self.rule.split(".")[0]


def far(name: str, beyond: float) -> float:
    """A value as far above the largest allowed one."""
    largest = COLUMNS[name].max
    assert largest is not None
    return largest + beyond


VALUE_FAULTS = {
    "above its bound": Fault("distance.bounds", [far("distance", 5), far("distance", 7)], []),
    "below its bound": Fault("temperature.bounds", [(COLUMNS["temperature"].min or 0) - 1], []),
    "infinity": Fault("scheduled_minutes.bounds", [np.inf, -np.inf], ["inf", "-inf"]),
    "infinity among whole numbers": Fault("departure_minute.bounds", [np.inf], ["inf"]),
    "a fraction among whole numbers": Fault("weekday.type", [2.5, 1.25], ["2.5", "1.25"]),
    "out of its set": Fault("origin.values", ["ORD", "ewr"], ["ORD", "ewr"]),
    "unlike its pattern": Fault("destination.pattern", ["Jfk", CODE], ["Jfk", CODE]),
    "three examples of four": Fault("carrier.pattern", ["-1-", "-2-", "-3-", "-4-"], ["-1-", "-2-", "-3-"]),
    "a class that does not exist": Fault(f"{TARGET}.values", ["early"], ["early"]),
    "a feature that is missing": Fault("departure_hour.missing", [None, None], []),
    "an id that is missing": Fault(f"{ID}.missing", [None], []),
}
TYPE_FAULTS: dict[str, Callable[[pd.Series], pd.Series]] = {
    "distance": lambda values: values.astype("str"),
    "weekday": lambda values: values > 3,
    "carrier": lambda values: values.str.len(),
    "wind_speed": lambda values: values.astype("str"),
    CONTRACT.target.known_at: lambda values: values.dt.tz_localize(None),
}
TYPES_IN_WORDS = {
    "distance": "numbers",
    "weekday": "whole numbers",
    "carrier": "text",
    "wind_speed": "numbers",
}
TYPES_IN_WORDS[CONTRACT.target.known_at] = "instants with a time zone"


def stopped_raw(folder: Path, rows: pd.DataFrame) -> Run:
    files.write_rows(folder / paths.RAW_ROWS, rows)
    return stopped(check_raw, folder, rows)


@pytest.fixture(scope="module")
def value_faults(copies: Callable[[], Path], window_rows: pd.DataFrame) -> Run:
    """`check_raw` on rows with all of VALUE_FAULTS, each in rows of its own."""
    rows = window_rows
    for number, fault in enumerate(VALUE_FAULTS.values()):
        rows = planted(rows, fault.column, fault.values, first=100 * (number + 1))
    return stopped_raw(copies(), rows)


@pytest.fixture(scope="module")
def type_faults(copies: Callable[[], Path], window_rows: pd.DataFrame) -> Run:
    """`check_raw` on rows with all of TYPE_FAULTS."""
    changed = {name: spoil(window_rows[name]) for name, spoil in TYPE_FAULTS.items()}
    return stopped_raw(copies(), window_rows.assign(**changed))


@pytest.fixture(scope="module")
def column_faults(copies: Callable[[], Path], window_rows: pd.DataFrame) -> Run:
    """`check_raw` on rows with one column renamed, some missing and one that is extra."""
    rows = window_rows.rename(columns={"dew_point": "dewpoint"}).drop(columns=["carrier", ID, TIME])
    return stopped_raw(copies(), rows.assign(**{CODE: 1.0}))


def test_sound_rows_pass_whole_and_leave_nothing_in_quarantine(
    sound_project: Path, window_rows: pd.DataFrame
) -> None:
    checked = files.read_rows(sound_project / paths.CHECKED_ROWS)

    pd.testing.assert_frame_equal(checked, window_rows)
    assert len(files.read_rows(sound_project / check_raw.QUARANTINE)) == 0
    assert json.loads((sound_project / check_raw.REPORT).read_text(encoding="utf-8"))["passed"] is True


@pytest.mark.parametrize("name", VALUE_FAULTS)
def test_values_that_break_a_rule_are_named_and_counted_with_examples(value_faults: Run, name: str) -> None:
    fault = VALUE_FAULTS[name]
    rows = f"{len(fault.values)} row{'s' * (len(fault.values) > 1)}"
    shown = fault.shown or [f"{value:,g}" for value in fault.values if value is not None]
    examples = f", such as {', '.join(shown)}" if shown else ""

    assert value_faults.found[fault.rule].startswith(f"column '{fault.column}', {rows}{examples}; allowed: ")
    recorded = value_faults.report[fault.rule]
    assert (recorded["passed"], recorded["failing_rows"]) == (False, len(fault.values))
    assert recorded["examples"] == shown


@pytest.mark.parametrize("name", VALUE_FAULTS)
def test_rows_that_break_a_rule_are_kept_in_quarantine_with_its_name(value_faults: Run, name: str) -> None:
    fault = VALUE_FAULTS[name]
    first = 100 * (list(VALUE_FAULTS).index(name) + 1)

    kept = value_faults.kept[value_faults.kept[BROKEN_RULES] == fault.rule]

    expected = value_faults.rows.iloc[first : first + len(fault.values)].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept.drop(columns=BROKEN_RULES).reset_index(drop=True), expected)


def test_every_broken_rule_is_said_in_one_run_and_no_other(value_faults: Run) -> None:
    rules = {fault.rule for fault in VALUE_FAULTS.values()}

    assert set(value_faults.found) == rules
    assert {name for name, rule in value_faults.report.items() if rule["passed"] is not True} == rules
    assert value_faults.message.startswith(
        f"{paths.RAW_ROWS.as_posix()} breaks {len(rules)} rules of {CONTRACT_FILE}:"
    )
    for place in (check_raw.PAGE, check_raw.QUARANTINE):
        assert place.as_posix() in value_faults.message


@pytest.mark.parametrize("kind", ["value_faults", "type_faults", "column_faults"])
def test_rows_that_were_checked_before_are_the_same_bytes_after_a_run_that_stopped(
    kind: str, request: pytest.FixtureRequest
) -> None:
    assert request.getfixturevalue(kind).untouched


@pytest.mark.parametrize("column", TYPE_FAULTS)
def test_a_column_of_another_type_stops_the_run_and_keeps_its_rows(type_faults: Run, column: str) -> None:
    said = type_faults.found[f"{column}.type"]

    assert set(type_faults.found) == {f"{name}.type" for name in TYPE_FAULTS}
    known = type_faults.rows[column].notna().sum()  # a missing value has no type
    assert said.startswith(f"column '{column}', {known:,} rows, such as ")
    assert said.endswith(f"; allowed: {TYPES_IN_WORDS[column]}.")
    assert len(ids_that_broke(type_faults, f"{column}.type")) == known


def test_columns_renamed_missing_or_extra_are_named(column_faults: Run) -> None:
    finding, allowed = column_faults.found["columns"].split("; allowed: ")

    assert set(finding.split("; ")) == {
        "'dew_point' is missing",
        "'carrier' is missing",
        f"'{ID}' is missing",
        f"'{TIME}' is missing",
        "'dewpoint' is extra (did you mean 'dew_point'?)",
        f"'{CODE}' is extra",
    }
    assert allowed.startswith(f"the {len(CONTRACT.all_columns)} columns of the contract")


def test_rules_on_a_missing_column_are_recorded_as_not_checked(column_faults: Run) -> None:
    about = [rule for rule in column_faults.report.values() if rule["column"] == "dew_point"]

    assert {rule["kind"] for rule in about} == {"type", "missing", "bounds"}
    assert all(rule["passed"] is None and "not checked" in rule["measured"] for rule in about)
    assert set(column_faults.found) == {"columns"}


@pytest.mark.parametrize(
    ("spoil", "finding"),
    [
        pytest.param(lambda content: b"", "is an empty file", id="empty"),
        pytest.param(lambda content: content[: len(content) // 2], "cut off?", id="truncated"),
        pytest.param(lambda content: b"flight,late\n1,0\n", "cannot be read as Parquet", id="not Parquet"),
    ],
)
def test_a_file_that_is_not_whole_is_named_and_loses_nothing(
    workplace: Path, spoil: Callable[[bytes], bytes], finding: str
) -> None:
    before = paths.CHECKED_ROWS.read_bytes()
    paths.RAW_ROWS.write_bytes(spoil(paths.RAW_ROWS.read_bytes()))

    message = refusal(check_raw.main)

    assert paths.RAW_ROWS.as_posix() in message
    assert finding in message
    assert "dvc repro" in message
    assert paths.CHECKED_ROWS.read_bytes() == before


def test_a_frame_without_rows_stops_the_run(workplace: Path, window_rows: pd.DataFrame) -> None:
    run = stopped_raw(workplace, window_rows.head(0))

    assert list(run.found) == ["rows"]
    assert run.found["rows"].startswith(f"0 rows; allowed: {LEAST_ROWS:,} to ")
    assert run.untouched
    assert list(run.kept.columns) == [*CONTRACT.all_columns, BROKEN_RULES]


def test_stale_rows_and_an_id_that_stands_twice_stop_the_run(
    workplace: Path, window_rows: pd.DataFrame, small_params: Params
) -> None:
    oldest = window(small_params, CONTRACT).end - pd.Timedelta(days=TABLE.fresh_days.max or 0)
    stale = window_rows[window_rows[TIME] < oldest]
    twice = stale[ID].iloc[10]

    run = stopped_raw(workplace, planted(stale, ID, [twice]))

    assert run.found == {
        f"{ID}.unique": f"column '{ID}', 2 rows, such as {twice}; allowed: different in every row.",
        "freshness": f"column '{TIME}', {checks.show(stale[TIME].max())}; "
        f"allowed: newest row at {checks.show(oldest)} or later.",
    }
    assert run.kept[TIME].tolist() == stale[TIME].iloc[[0, 10]].tolist()


def test_too_few_rows_and_rows_outside_the_window_stop_the_run(
    workplace: Path, window_rows: pd.DataFrame, small_params: Params
) -> None:
    period = window(small_params, CONTRACT)
    # The window's end is no part of it; its start is.
    instants = [period.start - pd.Timedelta(minutes=1), period.end, period.start]
    rows = planted(window_rows.tail(LEAST_ROWS - 1), TIME, instants)

    run = stopped_raw(workplace, rows)

    assert set(run.found) == {"rows", f"{TIME}.period"}
    assert run.found["rows"].startswith(f"{LEAST_ROWS - 1:,} rows; allowed: {LEAST_ROWS:,} to ")
    shown = ", ".join(map(checks.show, instants[:2]))
    assert run.found[f"{TIME}.period"].startswith(f"column '{TIME}', 2 rows, such as {shown}; allowed: ")
    assert run.kept[ID].tolist() == rows[ID].head(2).tolist()


def test_a_row_that_breaks_two_rules_names_both_in_quarantine(
    workplace: Path, window_rows: pd.DataFrame
) -> None:
    rows = planted(planted(window_rows, "origin", ["ORD"]), "distance", [far("distance", 1)])

    run = stopped_raw(workplace, rows)

    assert run.kept[[ID, BROKEN_RULES]].to_numpy().tolist() == [
        [rows[ID][0], "origin.values, distance.bounds"]
    ]


def test_the_wind_of_1048_mph_is_set_aside_with_a_warning_and_the_run_goes_on(
    workplace: Path,
    storm: float,
    window_rows: pd.DataFrame,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = planted(window_rows, "wind_speed", [storm, storm], first=500)
    files.write_rows(paths.RAW_ROWS, rows)

    check_raw.main()

    said = capsys.readouterr().out
    assert said.startswith("Passed with 1 warning, ")
    assert "2 rows set aside" in said
    assert "warning: wind_speed.bounds: column 'wind_speed', 2 rows, such as 1,048.361; allowed: " in said
    kept = files.read_rows(check_raw.QUARANTINE)
    assert kept[ID].tolist() == rows[ID].iloc[[500, 501]].tolist()
    assert set(kept[BROKEN_RULES]) == {"wind_speed.bounds"}
    assert files.read_rows(paths.CHECKED_ROWS)[ID].tolist() == rows[ID].drop(index=[500, 501]).tolist()


def test_reports_of_the_same_rows_are_the_same_byte_for_byte(
    copies: Callable[[], Path], value_faults: Run
) -> None:
    again = stopped_raw(copies(), value_faults.rows)

    assert again.message == value_faults.message
    assert again.page == value_faults.page
    assert json.dumps(again.report) == json.dumps(value_faults.report)
    pd.testing.assert_frame_equal(again.kept, value_faults.kept)


class Page(HTMLParser):
    """Tags and texts of a page, and the attributes that would load or run something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        fetching = ("src", "srcset", "href", "xlink:href", "data", "action", "poster", "background")
        self.loads += [name for name, _ in attrs if name in fetching or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_names_every_broken_rule(value_faults: Run) -> None:
    texts = Page(value_faults.page).texts

    assert {fault.rule for fault in VALUE_FAULTS.values()} <= set(texts)
    assert f"FAILED: {len(VALUE_FAULTS)} rules that must hold are broken, " in "".join(texts)


@pytest.mark.parametrize("kind", ["value_faults", "column_faults"])
def test_the_page_runs_and_loads_nothing_that_data_brought(kind: str, request: pytest.FixtureRequest) -> None:
    text = request.getfixturevalue(kind).page

    page = Page(text)
    assert any(CODE in shown for shown in page.texts)
    assert not page.tags & {"script", "link", "iframe", "img", "object", "embed", "base"}
    assert page.loads == []
    assert not any(sign in text for sign in ("url(", "@import", "://"))


def test_the_page_of_sound_rows_says_what_every_column_holds(sound_project: Path) -> None:
    texts = Page((sound_project / check_raw.PAGE).read_text(encoding="utf-8")).texts

    assert set(CONTRACT.all_columns) <= set(texts)
    assert any(text.startswith("Passed: all ") for text in texts)
