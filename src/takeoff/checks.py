"""Rules held against rows by Great Expectations: the one place that imports it.

The import takes 2 s, so only the stages that check data import this module.
"""

import difflib
import gc
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from takeoff.check_outcomes import NO_POSITIONS, Outcome, broken_rows
from takeoff.check_rules import TABLE_KINDS, Dtype, Rule, derive_split, derive_splits, has_dtype
from takeoff.contract import Contract
from takeoff.lighter import without_grammar
from takeoff.split import Period

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read at import: nothing is to be sent anywhere
# The import makes some millions of objects that all stay; looking for garbage among them takes a
# third of its time.
gc.disable()
with without_grammar():
    import great_expectations as gx
    from great_expectations import expectations as gxe
    from great_expectations.execution_engine import PandasExecutionEngine
    from great_expectations.expectations.expectation import ColumnMapExpectation
    from great_expectations.expectations.metrics import ColumnMapMetricProvider, column_condition_partial

gc.enable()
gc.freeze()

EXAMPLES = 3
EXAMPLE_LETTERS = 40  # of one value in a message


class ColumnValuesHaveType(ColumnMapMetricProvider):  # type: ignore[misc]
    """Whether each value is what the contract calls its type; integer also means whole."""

    condition_metric_name = "column_values.have_type"
    condition_value_keys = ("dtype",)

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column: pd.Series, dtype: Dtype, **_: Any) -> pd.Series:  # noqa: N805
        if not has_dtype(column, dtype):
            return pd.Series(False, index=column.index)
        if dtype == "integer":
            # Infinity is the bounds' business: it equals itself when rounded.
            return column.round() == column
        return pd.Series(True, index=column.index)


class ExpectColumnValuesToHaveType(ColumnMapExpectation):  # type: ignore[misc]
    """Expect the values of a column to be of one of the contract's types."""

    dtype: str
    map_metric = "column_values.have_type"
    success_keys = ("dtype", "mostly")


def check(rows: pd.DataFrame, rules: Sequence[Rule]) -> list[Outcome]:
    """Hold rules against rows; one that breaks keeps no other from being checked.

    Rules on the values of a column run only where it exists and has the right type. Rules on the table
    as a whole look at the rows that go on: those that break no rule that only warns.

    Args:
        rows: any frame with a RangeIndex, also without rows or with columns that are not in the contract.
        rules: as `takeoff.check_rules` derives them.

    Returns:
        One outcome per rule, in the order of the rules.
    """
    by_row = [rule for rule in rules if rule.kind not in TABLE_KINDS]
    found = _check_columns(rows, by_row)
    going_on = rows.drop(index=rows.index[broken_rows(found, "warn")]).reset_index(drop=True)
    found += _check_columns(going_on, [rule for rule in rules if rule.kind in TABLE_KINDS])
    order = {rule.name: place for place, rule in enumerate(rules)}
    return sorted(found, key=lambda outcome: order[outcome.rule.name])


def check_splits(
    splits: Mapping[str, pd.DataFrame], periods: Mapping[str, Period], contract: Contract
) -> list[Outcome]:
    """Hold each split against the rules on a split, and all of them together against those on any row.

    Args:
        splits: rows by name of split, from the oldest to the newest.
        periods: period of each split.
        contract: what a row is.

    Returns:
        Outcomes whose positions count through the splits one after the other.
    """
    outcomes: list[Outcome] = []
    start, before = 0, None
    for name, rows in splits.items():
        found = check(rows, derive_split(contract, name, periods[name], before))
        outcomes += [replace(outcome, positions=outcome.positions + start) for outcome in found]
        before = _newest(rows, contract.time.column) or before
        start += len(rows)
    together = pd.concat(splits.values(), ignore_index=True)
    return outcomes + check(together, derive_splits(contract))


def _newest(rows: pd.DataFrame, time: str) -> pd.Timestamp | None:
    """The newest instant, where the column can be read as one."""
    if time not in rows or not has_dtype(rows[time], "instant"):
        return None
    newest = rows[time].max()
    return newest if isinstance(newest, pd.Timestamp) else None


def _check_columns(rows: pd.DataFrame, rules: Sequence[Rule]) -> list[Outcome]:
    """Check the rules of each column by themselves.

    Great Expectations filters the whole frame for each rule, so it gets only the column in question.
    """
    outcomes = []
    for column in dict.fromkeys(rule.column for rule in rules):
        about = [rule for rule in rules if rule.column == column]
        outcomes += _check_frame(rows, about) if column is None else _check_column(rows, column, about)
    return outcomes


def _check_frame(rows: pd.DataFrame, rules: Sequence[Rule]) -> list[Outcome]:
    """Rules without a column: on names the frame without its rows, on their number that without columns."""
    outcomes = []
    for rule in rules:
        frame = rows.head(0) if rule.kind == "columns" else rows[[]]
        outcomes += _run(frame, [rule])
    return outcomes


def _check_column(rows: pd.DataFrame, column: str, rules: Sequence[Rule]) -> list[Outcome]:
    if column not in rows:
        return [_unchecked(rule, "not checked: the column is missing") for rule in rules]
    if rows.empty:
        return [_unchecked(rule, "not checked: there are no rows") for rule in rules]
    values, dtype = rows[column], rules[0].dtype
    if dtype is None or has_dtype(values, dtype):
        return _run(rows[[column]], rules)
    holds = f"not checked: the column holds {values.dtype}"
    outcomes = []
    for rule in rules:
        if rule.kind == "type":
            # What is wrong throughout can't be set aside row by row, so it stops whatever the contract says.
            outcomes += [replace(outcome, severity="error") for outcome in _run(rows[[column]], [rule])]
        else:
            outcomes.append(_unchecked(rule, holds))
    return outcomes


def _as_float64(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers as float64: with any narrower type Great Expectations compares value by value, in Python."""
    return frame.astype(dict.fromkeys(frame.select_dtypes("number").columns, "float64"))


def _run(frame: pd.DataFrame, rules: Sequence[Rule]) -> list[Outcome]:
    """Validate rules on a frame that they all can read; either all about single rows, or none."""
    # Complete results list every row that breaks a rule: for the share of a class those are most rows.
    detail = "BASIC" if rules[0].kind in TABLE_KINDS else "COMPLETE"
    suite = gx.ExpectationSuite(name="rules", expectations=[_expectation(rule) for rule in rules])
    batch = _batch_definition().get_batch({"dataframe": _as_float64(frame)})
    report = batch.validate(suite, result_format={"result_format": detail})
    results = {result.expectation_config.meta["rule"]: result for result in report.results}
    return [_outcome(rule, results[rule.name], frame) for rule in rules]


@cache
def _batch_definition() -> Any:
    """Where frames are handed to Great Expectations: a context in memory, without progress bars."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
    return asset.add_batch_definition_whole_dataframe("rows")


def _expectation(rule: Rule) -> Any:
    arguments = dict(rule.arguments) | ({"column": rule.column} if rule.column else {})
    made = ExpectColumnValuesToHaveType if rule.kind == "type" else getattr(gxe, rule.expectation)
    return made(**arguments, meta={"rule": rule.name})


def _outcome(rule: Rule, result: Any, frame: pd.DataFrame) -> Outcome:
    if result.exception_info.get("raised_exception", True):
        # A rule that the validator itself could not decide must not pass for one that holds.
        raise RuntimeError(f"{rule.name}: {result.exception_info}")
    positions = NO_POSITIONS
    if rule.finds_rows:
        positions = np.sort(np.asarray(result.result.get("unexpected_index_list") or [], dtype="int64"))
    return Outcome(
        rule=rule,
        severity=rule.severity,
        passed=bool(result.success),
        measured=_measured(rule, result.result, frame),
        failing=len(positions),
        examples=_examples(rule, frame, positions),
        positions=positions,
    )


def _unchecked(rule: Rule, why: str) -> Outcome:
    return Outcome(rule, rule.severity, None, why, 0, (), NO_POSITIONS)


def _measured(rule: Rule, result: Any, frame: pd.DataFrame) -> str:
    """What was found, in words."""
    if rule.column is None:
        return _measured_columns(result) if rule.kind == "columns" else f"{result['observed_value']:,} rows"
    values = frame[rule.column]
    if rule.kind == "class_share":
        seen = result["element_count"] - result["missing_count"]
        count = seen - result["unexpected_count"]
        return f"{count:,} of {seen:,} rows ({count / max(seen, 1):.2%})"
    if rule.kind in ("missing", "unlabelled_share"):
        missing = int(values.isna().sum())
        return f"{missing:,} of {len(values):,} missing ({missing / len(values):.2%})"
    if rule.kind == "type":
        return str(values.dtype)
    if rule.kind in ("freshness", "order"):
        return show(result["observed_value"])
    if values.notna().sum() == 0:
        return "no values"
    if rule.kind in ("bounds", "period"):
        return f"{show(values.min())} to {show(values.max())}"
    return f"{values.nunique():,} different values"


def _measured_columns(result: Any) -> str:
    """Columns that are missing or extra, and for each extra one the missing one it resembles."""
    mismatched = (result.get("details") or {}).get("mismatched", {})
    missing, extra = mismatched.get("missing", []), mismatched.get("unexpected", [])
    parts = [f"'{name}' is missing" for name in missing]
    for name in extra:
        close = difflib.get_close_matches(name, missing, n=1)
        parts.append(f"'{name}' is extra" + (f" (did you mean '{close[0]}'?)" if close else ""))
    return "; ".join(parts) or f"{len(result['observed_value'])} columns"


def _examples(rule: Rule, frame: pd.DataFrame, positions: npt.NDArray[np.int64]) -> tuple[str, ...]:
    if rule.column is None or rule.kind == "missing":
        return ()
    values = frame[rule.column].iloc[positions].drop_duplicates()
    return tuple(show(value) for value in values.head(EXAMPLES))


def show(value: Any) -> str:
    """One value as a person reads it."""
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    if isinstance(value, float | np.floating):
        return f"{value:,.7g}"  # what a float32 holds
    text = str(value)
    return text if len(text) <= EXAMPLE_LETTERS else text[: EXAMPLE_LETTERS - 1] + "…"
