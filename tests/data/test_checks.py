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
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import check_raw, check_split
from takeoff import checks, files, paths
from takeoff.check_outcomes import Outcome
from takeoff.check_report import BROKEN_RULES
from takeoff.check_rules import derive
from takeoff.contract import CONTRACT_FILE, read_contract
from takeoff.errors import TakeoffError
from takeoff.params import Params, read_params
from takeoff.split import periods, window
from tests.conftest import PROJECT

CONTRACT = read_contract(PROJECT)
PARAMS = read_params(PROJECT, CONTRACT)
COLUMNS, TABLE = CONTRACT.columns, CONTRACT.table
ID, TIME, TARGET = CONTRACT.id, CONTRACT.time.column, CONTRACT.target.column
USUAL, EVENT = CONTRACT.target.classes
LEAST_ROWS = int(TABLE.rows.min or 0)

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


class Run(NamedTuple):
    """What a stage that stopped has left.

    Attributes:
        rows: that it was given.
        message: that it stopped with.
        found: each broken rule of the message, with what is said of it.
        kept: rows in quarantine.
        report: outcome of each rule in the JSON, by name.
        page: the HTML.
        untouched: whether the rows that were checked before are the same, byte for byte.
    """

    rows: pd.DataFrame
    message: str
    found: dict[str, str]
    kept: pd.DataFrame
    report: dict[str, dict[str, Any]]
    page: str
    untouched: bool


def refusal(stage: Callable[[], None]) -> str:
    with pytest.raises(TakeoffError) as refused:
        stage()
    return str(refused.value)


def broken_rules(message: str) -> dict[str, str]:
    said = [line.strip() for line in message.splitlines() if line.startswith("  ")]
    return dict(line.split(": ", 1) for line in said)


def stopped(stage: Any, folder: Path, rows: pd.DataFrame) -> Run:
    """Run `check_raw` or `check_split` in a folder; it has to stop."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        before = paths.CHECKED_ROWS.read_bytes()
        message = refusal(stage.main)
        report = json.loads(stage.REPORT.read_text(encoding="utf-8"))
        assert report["passed"] is False
        return Run(
            rows=rows,
            message=message,
            found=broken_rules(message),
            kept=files.read_rows(stage.QUARANTINE),
            report={rule["rule"]: rule for rule in report["rules"]},
            page=stage.PAGE.read_text(encoding="utf-8"),
            untouched=paths.CHECKED_ROWS.read_bytes() == before,
        )


def stopped_raw(folder: Path, rows: pd.DataFrame) -> Run:
    files.write_rows(folder / paths.RAW_ROWS, rows)
    return stopped(check_raw, folder, rows)


def planted(rows: pd.DataFrame, column: str, values: list[Any], first: int = 0) -> pd.DataFrame:
    """The rows with other values in a column, one below the other from the place `first` on."""
    spoiled = rows[column].copy()
    for place, value in enumerate(values, first):
        spoiled.iloc[place] = value
    return rows.assign(**{column: spoiled})


def ids_that_broke(run: Run, rule: str) -> list[str]:
    return run.kept[run.kept[BROKEN_RULES].str.split(", ").map(lambda rules: rule in rules)][ID].tolist()


def outcomes_of(rows: pd.DataFrame, *columns: str | None) -> dict[str, Outcome]:
    """Outcomes of the rules on some columns only, by rule; None stands for the rules on the whole frame."""
    rules = [rule for rule in derive(CONTRACT, window(PARAMS, CONTRACT)) if rule.column in columns]
    return {outcome.rule.name: outcome for outcome in checks.check(rows, rules)}


@pytest.fixture(scope="module")
def storm(tables: dict[str, pd.DataFrame]) -> float:
    """The wind that the sensor at Newark reported, as rows hold it."""
    return float(np.float32(tables["weather"]["wind_speed"].max()))


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


def test_a_column_too_many_is_enough_to_stop_the_run(window_rows: pd.DataFrame) -> None:
    outcome = outcomes_of(window_rows.assign(gate=1.0), None)["columns"]

    assert (outcome.stops, outcome.measured) == (True, "'gate' is extra")


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


@pytest.fixture(scope="module")
def split_faults(copies: Callable[[], Path], storm: float) -> Run:
    """`check_split` on splits of which each is spoiled in another way.

    fit: late flights only, and one wind that only warns in raw rows. validation: flights on time only.
    test: an id and a time of fit, a row without a label, and none of its newest rows.
    """
    folder = copies()
    fit, validation, test = (
        files.read_rows(folder / paths.split_rows(name)) for name in ("fit", "validation", "test")
    )
    newest = test[TIME].max() - pd.Timedelta(days=(TABLE.fresh_days.max or 0) + 1)
    stale = test[test[TIME] < newest].reset_index(drop=True)
    spoiled = {
        "fit": planted(fit.assign(**{TARGET: EVENT}), "wind_speed", [storm]),
        "validation": validation.assign(**{TARGET: USUAL}),
        "test": planted(
            planted(planted(stale, ID, [fit[ID][10]]), TIME, [fit[TIME][20]], first=1),
            TARGET,
            [None],
            first=2,
        ),
    }
    for name, rows in spoiled.items():
        files.write_rows(folder / paths.split_rows(name), rows)
    return stopped(check_split, folder, pd.concat(spoiled.values(), keys=spoiled))


def test_sound_splits_pass(workplace: Path) -> None:
    check_split.main()

    assert len(files.read_rows(check_split.QUARANTINE)) == 0
    report = json.loads(check_split.REPORT.read_text(encoding="utf-8"))
    assert report["passed"] is True
    assert all(rule["passed"] for rule in report["rules"])


def test_each_fault_of_the_splits_is_found_and_no_other(split_faults: Run) -> None:
    assert set(split_faults.found) == {
        f"fit.class_share.{USUAL}",
        f"validation.class_share.{EVENT}",
        f"test.{TARGET}.missing",
        f"test.{TIME}.period",
        "test.order",
        "test.freshness",
        f"{ID}.unique",
        "wind_speed.bounds",
    }


@pytest.mark.parametrize(("name", "lacking"), [("fit", USUAL), ("validation", EVENT)])
def test_a_split_with_one_class_only_is_named_with_the_class_it_lacks(
    split_faults: Run, name: str, lacking: str
) -> None:
    assert split_faults.found[f"{name}.class_share.{lacking}"] == (
        f"column '{TARGET}', 0 of {len(split_faults.rows.loc[name]):,} rows (0.00%); "
        f"allowed: at least {TABLE.class_share.min:.2%} {lacking}."
    )


def test_an_id_in_two_splits_is_named_and_both_rows_are_kept(split_faults: Run) -> None:
    twice = split_faults.rows.loc["fit"][ID][10]

    assert split_faults.found[f"{ID}.unique"].startswith(f"column '{ID}', 2 rows, such as {twice}; ")
    assert ids_that_broke(split_faults, f"{ID}.unique") == [twice, twice]


def test_a_row_whose_time_lies_in_another_split_is_named_and_kept(split_faults: Run) -> None:
    test = split_faults.rows.loc["test"]

    said = split_faults.found[f"test.{TIME}.period"]
    assert said.startswith(f"column '{TIME}', 1 row, such as {checks.show(test[TIME][1])}; allowed: from ")
    assert ids_that_broke(split_faults, f"test.{TIME}.period") == [test[ID][1]]


def test_a_row_of_a_split_without_a_label_is_counted_and_kept(split_faults: Run) -> None:
    said = split_faults.found[f"test.{TARGET}.missing"]

    assert said == f"column '{TARGET}', 1 row; allowed: never missing."
    assert ids_that_broke(split_faults, f"test.{TARGET}.missing") == [split_faults.rows.loc["test"][ID][2]]


def test_a_split_without_its_newest_rows_is_named(split_faults: Run, small_params: Params) -> None:
    end = periods(small_params, CONTRACT)["test"].end
    oldest = checks.show(end - pd.Timedelta(days=TABLE.fresh_days.max or 0))

    assert split_faults.found["test.freshness"].endswith(f"allowed: newest row at {oldest} or later.")


def test_a_value_that_only_warns_in_raw_rows_stops_the_run_in_a_split(split_faults: Run) -> None:
    assert split_faults.report["wind_speed.bounds"]["severity"] == "error"
    assert ids_that_broke(split_faults, "wind_speed.bounds") == [split_faults.rows.loc["fit"][ID][0]]


def test_a_split_with_one_row_too_few_or_a_column_less_is_named(workplace: Path) -> None:
    least = int(TABLE.split_rows.min or 0)
    fit, validation = (files.read_rows(paths.split_rows(name)) for name in ("fit", "validation"))
    files.write_rows(paths.split_rows("fit"), fit.tail(least - 1))
    files.write_rows(paths.split_rows("validation"), validation.drop(columns="plane_seats"))

    found = broken_rules(refusal(check_split.main))

    assert found["fit.rows"] == f"{least - 1:,} rows; allowed: at least {least:,} rows."
    assert found["validation.columns"].startswith("'plane_seats' is missing; allowed: ")


def test_a_split_that_is_not_there_is_named(workplace: Path) -> None:
    paths.split_rows("test").unlink()

    assert f"{paths.split_rows('test').as_posix()} is missing" in refusal(check_split.main)


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
