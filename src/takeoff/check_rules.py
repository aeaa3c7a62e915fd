"""What the contract asks of data, as a list of rules: values only, no validator.

A rule says which Great Expectations expectation decides it; `takeoff.checks` builds and runs that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from takeoff.contract import CONTRACT_FILE, Bound, Column, Contract, Severity
from takeoff.errors import TakeoffError
from takeoff.split import Period

# What a rule is about: `columns` and `rows` look at the whole frame, all others at one column.
Kind = Literal[
    "columns",
    "rows",
    "type",
    "missing",
    "bounds",
    "values",
    "pattern",
    "unique",
    "period",
    "freshness",
    "order",
    "unlabelled_share",
    "class_share",
]
Dtype = Literal["category", "number", "integer", "instant"]
# Kinds that describe the data as a whole: held against the rows that go on, not those set aside.
TABLE_KINDS: tuple[Kind, ...] = ("rows", "freshness", "order", "unlabelled_share", "class_share")
LARGEST_FLOAT = float(np.finfo("float32").max)  # above it a number is infinite: columns are float32
DTYPE_NAMES: dict[Dtype, str] = {
    "category": "text",
    "number": "numbers",
    "integer": "whole numbers",
    "instant": "instants with a time zone",
}


@dataclass(frozen=True)
class Rule:
    """One thing that must hold.

    Attributes:
        name: unique in its list, as in ``column.kind``.
        kind: what it is about.
        column: the column that is looked at; None for rules on the whole frame.
        severity: `error` stops the pipeline, `warn` sets the rows aside or is only recorded.
        required: what must hold, for a person.
        expectation: name of the Great Expectations class that decides.
        arguments: its keyword arguments, without the column.
        finds_rows: whether single rows break it, rather than the column or frame as a whole.
        dtype: what the column must be stored as before this rule can be checked.
    """

    name: str
    kind: Kind
    column: str | None
    severity: Severity
    required: str
    expectation: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    finds_rows: bool = False
    dtype: Dtype | None = None


def derive(contract: Contract, period: Period) -> list[Rule]:
    """Rules on the raw rows of the window `period`.

    Raises:
        TakeoffError: a rule of the contract's table lacks the side that it could be broken on.
    """
    rules = [
        _columns_rule(contract),
        _unique_rule(contract),
        *_column_rules(contract),
        _period_rule(contract, period),
        _rows_rule(contract.table.rows, "rows"),
        _freshness_rule(contract, period),
        _unlabelled_rule(contract),
    ]
    return _with_dtypes(rules, contract)


def derive_split(
    contract: Contract, name: str, period: Period, before: pd.Timestamp | None = None
) -> list[Rule]:
    """Rules on the rows of one split.

    Args:
        contract: what a row is.
        name: of the split; starts the name of each rule.
        period: in which its rows must lie.
        before: newest instant measured in the split before it; None for the first one.

    Raises:
        TakeoffError: a rule of the contract's table lacks the side that it could be broken on.
    """
    rules = [
        _columns_rule(contract),
        _never_missing_rule(contract.target.column),
        _period_rule(contract, period),
        _rows_rule(contract.table.split_rows, "split_rows"),
        _freshness_rule(contract, period),
        *_class_share_rules(contract),
    ]
    if before is not None:
        rules.append(_order_rule(contract, before))
    return [replace(rule, name=f"{name}.{rule.name}") for rule in _with_dtypes(rules, contract)]


def derive_splits(contract: Contract) -> list[Rule]:
    """Rules on the rows of all splits together: none stands in two of them, and values are sound.

    Rows that break a rule that only warns were set aside before the split, so here each such rule stops.
    """
    rules = _with_dtypes([_unique_rule(contract), *_column_rules(contract)], contract)
    return [replace(rule, severity="error") if rule.finds_rows else rule for rule in rules]


def has_dtype(values: pd.Series, dtype: Dtype) -> bool:
    """Whether a column as a whole is stored as what the contract calls `dtype`.

    A column without a single value has no type of its own and passes for any.
    """
    if values.isna().all():
        return True
    if dtype == "instant":
        return isinstance(values.dtype, pd.DatetimeTZDtype)
    if dtype == "category":
        return pd.api.types.is_string_dtype(values)
    return bool(pd.api.types.is_numeric_dtype(values)) and not pd.api.types.is_bool_dtype(values)


def dtypes(contract: Contract) -> dict[str, Dtype]:
    """What each column of a row is stored as."""
    roles: dict[str, Dtype] = {
        contract.id: "category",
        contract.time.column: "instant",
        contract.target.known_at: "instant",
        contract.target.column: "category",
    }
    return roles | {name: column.type for name, column in contract.columns.items()}


def _with_dtypes(rules: Sequence[Rule], contract: Contract) -> list[Rule]:
    stored = dtypes(contract)
    return [replace(rule, dtype=stored[rule.column]) if rule.column else rule for rule in rules]


def _column_rules(contract: Contract) -> list[Rule]:
    """Rules on single values: of the id, the times and the target, then of each feature."""
    target = contract.target
    roles = [name for name in dtypes(contract) if name not in contract.columns]
    return [
        *(_type_rule(name, dtypes(contract)[name]) for name in roles),
        *(_never_missing_rule(name) for name in (contract.id, contract.time.column)),
        _values_rule(target.column, target.classes, "error"),
        *(rule for name in contract.columns for rule in _feature_rules(contract, name)),
    ]


def _feature_rules(contract: Contract, name: str) -> list[Rule]:
    column = contract.columns[name]
    rules = [_type_rule(name, column.type, column), _missing_rule(name, column)]
    if column.is_number:
        rules.append(_bounds_rule(name, column))
    if column.values is not None:
        rules.append(_values_rule(name, column.values, _severity(column, "values")))
    if column.pattern is not None:
        rules.append(
            Rule(
                f"{name}.pattern",
                "pattern",
                name,
                _severity(column, "pattern"),
                f"looks like {column.pattern}",
                "ExpectColumnValuesToMatchRegex",
                {"regex": column.pattern},
                finds_rows=True,
            )
        )
    return rules


def _columns_rule(contract: Contract) -> Rule:
    return Rule(
        "columns",
        "columns",
        None,
        "error",
        f"the {len(contract.all_columns)} columns of the contract, none missing, none extra",
        "ExpectTableColumnsToMatchSet",
        {"column_set": contract.all_columns, "exact_match": True},
    )


def _unique_rule(contract: Contract) -> Rule:
    return Rule(
        f"{contract.id}.unique",
        "unique",
        contract.id,
        "error",
        "different in every row",
        "ExpectColumnValuesToBeUnique",
        finds_rows=True,
    )


def _type_rule(name: str, dtype: Dtype, column: Column | None = None) -> Rule:
    return Rule(
        f"{name}.type",
        "type",
        name,
        _severity(column, "type"),
        DTYPE_NAMES[dtype],
        "ExpectColumnValuesToHaveType",
        {"dtype": dtype},
        finds_rows=True,
    )


def _missing_rule(name: str, column: Column) -> Rule:
    severity = _severity(column, "missing")
    if column.missing == 0:
        return _never_missing_rule(name, severity)
    return Rule(
        f"{name}.missing",
        "missing",
        name,
        severity,
        f"at most {column.missing:.2%} missing",
        "ExpectColumnProportionOfNonNullValuesToBeBetween",
        {"min_value": 1 - column.missing},
    )


def _never_missing_rule(name: str, severity: Severity = "error") -> Rule:
    return Rule(
        f"{name}.missing",
        "missing",
        name,
        severity,
        "never missing",
        "ExpectColumnValuesToNotBeNull",
        finds_rows=True,
    )


def _bounds_rule(name: str, column: Column) -> Rule:
    """Between the contract's bounds; without any, still a finite number."""
    low = -LARGEST_FLOAT if column.min is None else _as_stored(column.min)
    high = LARGEST_FLOAT if column.max is None else _as_stored(column.max)
    return Rule(
        f"{name}.bounds",
        "bounds",
        name,
        _severity(column, "bounds"),
        _range_text(column.min, column.max, column.unit),
        "ExpectColumnValuesToBeBetween",
        {"min_value": low, "max_value": high},
        finds_rows=True,
    )


def _values_rule(name: str, values: Sequence[str], severity: Severity) -> Rule:
    return Rule(
        f"{name}.values",
        "values",
        name,
        severity,
        f"one of {', '.join(values)}",
        "ExpectColumnValuesToBeInSet",
        {"value_set": list(values)},
        finds_rows=True,
    )


def _period_rule(contract: Contract, period: Period) -> Rule:
    return Rule(
        f"{contract.time.column}.period",
        "period",
        contract.time.column,
        "error",
        f"from {_instant(period.start)} up to, but not including, {_instant(period.end)}",
        "ExpectColumnValuesToBeBetween",
        {"min_value": period.start, "max_value": period.end, "strict_max": True},
        finds_rows=True,
    )


def _freshness_rule(contract: Contract, period: Period) -> Rule:
    bound = contract.table.fresh_days
    oldest = period.end - pd.Timedelta(days=_limit(bound, "max", "fresh_days"))
    return Rule(
        "freshness",
        "freshness",
        contract.time.column,
        bound.severity,
        f"newest row at {_instant(oldest)} or later",
        "ExpectColumnMaxToBeBetween",
        {"min_value": oldest},
    )


def _order_rule(contract: Contract, before: pd.Timestamp) -> Rule:
    return Rule(
        "order",
        "order",
        contract.time.column,
        "error",
        f"oldest row after {_instant(before)}, the newest of the split before it",
        "ExpectColumnMinToBeBetween",
        {"min_value": before, "strict_min": True},
    )


def _rows_rule(bound: Bound, key: str) -> Rule:
    least = _limit(bound, "min", key)
    return Rule(
        "rows",
        "rows",
        None,
        bound.severity,
        _range_text(least, bound.max, "rows"),
        "ExpectTableRowCountToBeBetween",
        {
            "min_value": int(np.ceil(least)),
            "max_value": None if bound.max is None else int(bound.max),
        },
    )


def _unlabelled_rule(contract: Contract) -> Rule:
    bound = contract.table.unlabelled_share
    most = _limit(bound, "max", "unlabelled_share")
    return Rule(
        "unlabelled_share",
        "unlabelled_share",
        contract.target.column,
        bound.severity,
        f"at most {most:.2%} missing",
        "ExpectColumnProportionOfNonNullValuesToBeBetween",
        {"min_value": 1 - most},
    )


def _class_share_rules(contract: Contract) -> list[Rule]:
    """At least the smallest allowed share of each class: so many values must be "in the set" of that one."""
    bound = contract.table.class_share
    least = _limit(bound, "min", "class_share")
    return [
        Rule(
            f"class_share.{name}",
            "class_share",
            contract.target.column,
            bound.severity,
            f"at least {least:.2%} {name}",
            "ExpectColumnValuesToBeInSet",
            {"value_set": [name], "mostly": least},
        )
        for name in contract.target.classes
    ]


def _limit(bound: Bound, side: Literal["min", "max"], key: str) -> float:
    """The side of a table rule without which it could never be broken."""
    limit = bound.min if side == "min" else bound.max
    if limit is None:
        raise TakeoffError(f"{CONTRACT_FILE}: table.{key} needs '{side}': without it the rule cannot fail.")
    return limit


def _severity(column: Column | None, kind: str) -> Severity:
    return "warn" if column is not None and kind in column.warn else "error"


def _as_stored(bound: float) -> float:
    """A bound rounded as a float32 column rounds its values, so that a value on the bound is inside."""
    return float(np.float32(bound))


def _range_text(low: float | None, high: float | None, unit: str | None) -> str:
    unit = f" {unit}" if unit else ""
    if low is not None and high is not None:
        return f"{low:,.12g} to {high:,.12g}{unit}"
    if low is not None:
        return f"at least {low:,.12g}{unit}"
    if high is not None:
        return f"at most {high:,.12g}{unit}"
    return f"finite{unit}"


def _instant(when: pd.Timestamp) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
