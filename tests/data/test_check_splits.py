"""Splits held against the contract: each fault stops the run and is named with its split."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pipelines import check_split
from takeoff import checks, files, paths
from takeoff.params import Params
from takeoff.split import periods
from tests.data.checking import (
    CONTRACT,
    EVENT,
    ID,
    TABLE,
    TARGET,
    TIME,
    USUAL,
    Run,
    broken_rules,
    ids_that_broke,
    planted,
    refusal,
    stopped,
)


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
