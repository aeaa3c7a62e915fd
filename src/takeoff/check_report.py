"""What the data checks found: for a person, for a program, and the rows that broke a rule."""

from collections.abc import Sequence
from importlib import resources
from typing import Any, NamedTuple

import jinja2
import numpy as np
import numpy.typing as npt
import pandas as pd

from takeoff.check_outcomes import Outcome, broken_rows
from takeoff.check_rules import DTYPE_NAMES, dtypes
from takeoff.contract import Contract

BROKEN_RULES = "broken_rules"  # column that quarantined rows get
BARS = 24  # of a histogram
TAILS = (0.005, 0.995)  # shares between which a histogram is drawn: one outlier must not flatten it
MOST_FREQUENT = 5  # values of a category that are named

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FunctionLoader(
        lambda name: (resources.files("takeoff") / "templates" / name).read_text(encoding="utf-8")
    ),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


class Profile(NamedTuple):
    """What a column holds, in words and bars.

    Attributes:
        name: of the column.
        about: what the contract says of it.
        type: what it is stored as.
        missing: share of rows without a value.
        facts: label and text of each fact: least, middle and largest, or the most frequent values.
        bars: heights of a number's histogram, 0 to 1; empty for other columns.
        span: first and last value of the histogram.
    """

    name: str
    about: str
    type: str
    missing: float
    facts: tuple[tuple[str, str], ...]
    bars: tuple[float, ...] = ()
    span: tuple[str, str] = ("", "")


def headline(outcomes: Sequence[Outcome]) -> str:
    """One sentence: passed, passed with warnings, or FAILED."""
    stopping = sum(outcome.stops for outcome in outcomes)
    warnings = sum(outcome.warns for outcome in outcomes)
    if stopping:
        rules = "1 rule that must hold is" if stopping == 1 else f"{stopping} rules that must hold are"
        return f"FAILED: {rules} broken, of {len(outcomes)} rules in all."
    if warnings:
        aside = len(broken_rows(outcomes))
        rows = f" {aside:,} row{'s' * (aside != 1)} set aside." if aside else ""
        return f"Passed with {warnings} warning{'s' * (warnings != 1)}, {len(outcomes)} rules in all.{rows}"
    return f"Passed: all {len(outcomes)} rules hold."


def lines(outcomes: Sequence[Outcome]) -> list[str]:
    """One line for each outcome: rule, column, how many rows, examples, what is allowed."""
    return [f"{outcome.rule.name}: {_finding(outcome)}" for outcome in outcomes]


def refusal(source: str, outcomes: Sequence[Outcome], page: str, quarantine: str) -> str:
    """The message of a stage that stops: what broke, and where a person can see more."""
    broken = lines([outcome for outcome in outcomes if outcome.stops])
    return "\n".join(
        [
            f"{source} breaks {len(broken)} rule{'s' * (len(broken) != 1)} of contract.yaml:",
            *(f"  {line}" for line in broken),
            f"Nothing went on. See {page}; the rows in question are in {quarantine}.",
        ]
    )


def quarantined(rows: pd.DataFrame, outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Rows that broke a rule, with the names of these rules in one more column, as text.

    Columns of mixed content become text, so that any frame can be kept.
    """
    found = [outcome for outcome in outcomes if outcome.failing]
    names = pd.Series("", index=range(len(rows)), dtype="str")
    for outcome in found:
        before = names.iloc[outcome.positions]
        names.iloc[outcome.positions] = before.where(before == "", before + ", ") + outcome.rule.name
    positions = broken_rows(found)
    kept = rows.iloc[positions].reset_index(drop=True)
    mixed = kept.select_dtypes("object").columns
    return kept.astype(dict.fromkeys(mixed, "str")).assign(**{BROKEN_RULES: names.iloc[positions].to_numpy()})


def without_broken(rows: pd.DataFrame, outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Rows that broke no rule."""
    return rows.drop(index=rows.index[broken_rows(outcomes)]).reset_index(drop=True)


def as_json(source: str, rows: pd.DataFrame, outcomes: Sequence[Outcome], contract: Contract) -> Any:
    """All outcomes as plain values, the same for the same rows and contract."""
    return {
        "source": source,
        "contract": contract.hash,
        "passed": not any(outcome.stops for outcome in outcomes),
        "rows": len(rows),
        "broken_rows": len(broken_rows(outcomes)),
        "rules": [
            {
                "rule": outcome.rule.name,
                "kind": outcome.rule.kind,
                "column": outcome.rule.column,
                "severity": outcome.severity,
                "passed": outcome.passed,
                "measured": outcome.measured,
                "required": outcome.rule.required,
                "failing_rows": outcome.failing,
                "examples": list(outcome.examples),
            }
            for outcome in outcomes
        ],
    }


def page(title: str, source: str, rows: pd.DataFrame, outcomes: Sequence[Outcome], contract: Contract) -> str:
    """A self-contained HTML page: the verdict, broken rules, rules that hold, and what each column holds."""
    return _TEMPLATES.get_template("checks.html").render(
        title=title,
        source=source,
        rows=len(rows),
        columns=len(rows.columns),
        contract=contract,
        headline=headline(outcomes),
        stopped=any(outcome.stops for outcome in outcomes),
        warned=any(outcome.warns for outcome in outcomes),
        broken=sorted((o for o in outcomes if o.passed is False), key=lambda o: not o.stops),
        unchecked=[outcome for outcome in outcomes if outcome.passed is None],
        held=[outcome for outcome in outcomes if outcome.passed],
        profiles=profiles(rows, contract),
        tails=TAILS,
    )


def profiles(rows: pd.DataFrame, contract: Contract) -> list[Profile]:
    """What each column of a frame holds, in the frame's order."""
    return [_profile(rows[name], contract) for name in rows.columns]


def _finding(outcome: Outcome) -> str:
    allowed = f"allowed: {outcome.rule.required}."
    if not outcome.rule.finds_rows:
        where = f"column '{outcome.rule.column}', " if outcome.rule.column else ""
        return f"{where}{outcome.measured}; {allowed}"
    examples = f", such as {', '.join(outcome.examples)}" if outcome.examples else ""
    rows = f"{outcome.failing:,} row{'s' * (outcome.failing != 1)}"
    return f"column '{outcome.rule.column}', {rows}{examples}; {allowed}"


def _profile(values: pd.Series, contract: Contract) -> Profile:
    name = str(values.name)
    column = contract.columns.get(name)
    known = dtypes(contract).get(name)
    about = column.about if column else _roles(contract).get(name, "not in the contract")
    unit = f" ({column.unit})" if column and column.unit else ""
    present = values.dropna()
    missing = 1 - len(present) / max(len(values), 1)
    kind = DTYPE_NAMES[known] if known else str(values.dtype)
    profile = Profile(name, about + unit, kind, missing, ())
    if present.empty:
        return profile
    if pd.api.types.is_numeric_dtype(present) and not pd.api.types.is_bool_dtype(present):
        return _number_profile(profile, present.to_numpy("float64"), whole=known == "integer")
    if isinstance(present.dtype, pd.DatetimeTZDtype):
        edges = (("first", present.min()), ("last", present.max()))
        return profile._replace(facts=tuple((label, f"{when:%Y-%m-%d %H:%M} UTC") for label, when in edges))
    return _text_profile(profile, present.astype("str"))


def _roles(contract: Contract) -> dict[str, str]:
    """What the columns are for that are no features."""
    return {
        contract.id: "names the row",
        contract.time.column: "orders the rows",
        contract.target.known_at: "when the truth is known",
        contract.target.column: "the truth",
    }


def _number_profile(profile: Profile, values: npt.NDArray[np.float64], whole: bool) -> Profile:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return profile._replace(facts=(("finite values", "none"),))
    low, middle, high = np.quantile(finite, [TAILS[0], 0.5, TAILS[1]])
    facts = (("least", finite.min()), ("median", middle), ("largest", finite.max()))
    # Few whole numbers get a bar each: more bars than numbers would leave gaps that mean nothing.
    bars = min(BARS, int(high - low) + 1) if whole else BARS
    heights, _ = np.histogram(np.clip(finite, low, high), bins=bars)
    return profile._replace(
        facts=tuple((label, f"{value:,.4g}") for label, value in facts),
        bars=tuple(float(height) for height in np.round(heights / heights.max(), 3)),
        span=(f"{low:,.4g}", f"{high:,.4g}"),
    )


def _text_profile(profile: Profile, values: pd.Series) -> Profile:
    """The most frequent values; where none stands out, how many there are and the first."""
    counts = values.value_counts()
    different = (("different values", f"{len(counts):,}"),)
    if len(counts) == len(values):
        return profile._replace(facts=(*different, ("for instance", str(values.iloc[0]))))
    # Equal counts by name: the order must not hang on that of the rows.
    frequent = counts.sort_index().sort_values(ascending=False, kind="stable").head(MOST_FREQUENT)
    shares = tuple((str(value), f"{count / len(values):.1%}") for value, count in frequent.items())
    return profile._replace(facts=(*different, *shares))
