"""What the tests of the checks share: spoiled rows, and what is left of a run that stopped."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from takeoff import checks, files, paths
from takeoff.check_outcomes import Outcome
from takeoff.check_report import BROKEN_RULES
from takeoff.check_rules import derive
from takeoff.contract import read_contract
from takeoff.errors import TakeoffError
from takeoff.params import read_params
from takeoff.split import window
from tests.conftest import PROJECT

CONTRACT = read_contract(PROJECT)
PARAMS = read_params(PROJECT, CONTRACT)
COLUMNS, TABLE = CONTRACT.columns, CONTRACT.table
ID, TIME, TARGET = CONTRACT.id, CONTRACT.time.column, CONTRACT.target.column
USUAL, EVENT = CONTRACT.target.classes
LEAST_ROWS = int(TABLE.rows.min or 0)


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
