"""The page for whoever is on call: the decision, the time lines behind it, and a row per window.

One file without anything from elsewhere: it can be mailed, printed, and read years later.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import jinja2

from monitoring.page_charts import number, text
from monitoring.page_input import (
    ColumnDrift,
    Decision,
    Estimate,
    Reports,
    Result,
    WindowState,
    read_reports,
)
from monitoring.page_lines import by_weight, named, sections
from monitoring.page_words import WORDS, word_of
from takeoff import files, paths
from takeoff.log_schema import INVALID_ROWS
from takeoff.value import PER_ROWS

REASONS = 6  # shown at once; the others behind a click
STATES = {"healthy": "Healthy", "watch": "Watch", "retrain": "Retrain"}

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FunctionLoader(
        lambda name: (resources.files("monitoring") / "templates" / name).read_text(encoding="utf-8")
    ),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
_TEMPLATES.filters.update(number=number, words=text)


class Figure(NamedTuple):
    """One of the numbers on top: what it is, the word that explains it, the value, and beside what."""

    label: str
    word: str
    value: str
    beside: str


class Row(NamedTuple):
    """A window in the table of all windows."""

    result: Result
    state: str
    why: str | None
    cost: Estimate | None
    is_estimated: bool
    worst: ColumnDrift | None
    is_drawn: bool


def write(title: str, folder: Path = paths.MONITORING) -> None:
    """Write `index.html` from what the monitor left in a folder.

    Args:
        title: whose page it is: the name in the contract.
        folder: holds `decision.json` and `windows/`.

    Raises:
        TakeoffError: the page could not be written; an older one is then as it was.
    """
    files.write_text(folder / paths.MONITORING_PAGE.name, render(title, read_reports(folder)))


def render(title: str, reports: Reports) -> str:
    """The page as HTML. What a window's JSON lacks is said to be missing."""
    judged = of_kind(reports)
    latest = _latest(judged, reports.decision)
    states = {each.name: each for each in reports.decision.windows} if reports.decision else {}
    return _TEMPLATES.get_template("page.html").render(
        title=title,
        decision=reports.decision,
        states=STATES,
        latest=latest,
        figures=figures(latest) if latest else [],
        sections=sections(judged),
        sentence=_sentence(reports.decision),
        worst_first=_worst_first(latest),
        instant=_instant,
        reasons_shown=REASONS,
        quality=latest.quality if latest else None,
        invalid_rows=INVALID_ROWS,
        per_rows=f"{PER_ROWS:,} rows",
        named=named,
        words=WORDS,
        word_of=word_of,
        rows=[
            _row(each, states, each.window.name in reports.drawn)
            for each in sorted(reports.results, key=lambda each: each.window.start, reverse=True)
        ],
        notes=[*reports.skipped, *(reports.decision.notes if reports.decision else ())],
    )


def of_kind(reports: Reports) -> list[Result]:
    """Windows of the kind that the decision rests on, or that most are of; the oldest first."""
    decided = {each.name for each in reports.decision.windows} if reports.decision else set()
    kinds = Counter(each.window.kind for each in reports.results if each.window.name in decided)
    kinds = kinds or Counter(each.window.kind for each in reports.results)
    return [each for each in reports.results if kinds and each.window.kind == kinds.most_common(1)[0][0]]


def figures(latest: Result) -> list[Figure]:
    """The numbers that matter most, of one window."""
    performance, labels = latest.performance, latest.labels
    money = performance.money if performance else None
    found = []
    if money and money.model:
        label = f"{money.currency} per {money.per_rows:,} rows"
        against = {"promised": money.promised, "plain rule": money.rule}
        beside = [f"{name} {number(each.value)}" for name, each in against.items() if each]
        found.append(Figure(label, "cost", text(money.model, "number"), ", ".join(beside)))
    elif latest.estimated and (cost := latest.estimated.metrics.get("cost")):
        found.append(
            Figure(
                f"Cost per {PER_ROWS:,} rows",
                "live",
                text(cost, "number"),
                "estimated: too few labels yet",
            )
        )
    if money and money.total_model is not None and money.total_rule is not None:
        gain = money.total_rule - money.total_model
        said = "saved" if gain >= 0 else "lost"
        against_rule = "against the plain rule, on labelled rows"
        found.append(Figure(f"{money.currency} {said}", "promised", number(abs(gain)), against_rule))
    if performance and performance.event_share and performance.predicted_share is not None:
        observed = text(performance.event_share, "share")
        expected = f"the model expected {performance.predicted_share:.1%}"
        found.append(Figure("Events", "events", observed, expected))
    if latest.drift:
        counts = Counter(each.severity for each in latest.drift.columns)
        said = f"{counts['severe']} severe, {counts['watch']} to watch"
        found.append(Figure("Columns that drifted", "psi", said, f"of {len(latest.drift.columns)}"))
    if labels:
        lag = f", half within {labels.lag_hours.median:g} h" if labels.lag_hours else ""
        found.append(Figure("Labels", "labels", f"{labels.share:.1%}", f"of {latest.rows:,} rows{lag}"))
    return found


def _latest(results: Sequence[Result], decision: Decision | None) -> Result | None:
    """The window that the decision names, or the newest that is over."""
    named_by = [each for each in results if decision and each.window.name == decision.window]
    over = [each for each in results if each.window.complete]
    return next(iter([*named_by, *reversed(over), *reversed(results)]), None)


def _row(result: Result, states: Mapping[str, WindowState], is_drawn: bool) -> Row:
    money = result.performance.money if result.performance else None
    live = money.model if money else None
    estimated = result.estimated.metrics.get("cost") if result.estimated else None
    worst = next(iter(_worst_first(result)), None)
    found = states.get(result.window.name)
    return Row(
        result=result,
        state=found.state if found else "not judged",
        why=found.why if found else None,
        cost=live or estimated,
        is_estimated=live is None,
        worst=worst if worst and worst.severity != "none" else None,
        is_drawn=is_drawn,
    )


def _worst_first(result: Result | None) -> list[ColumnDrift]:
    columns = {each.column: each for each in result.drift.columns} if result and result.drift else {}
    return [columns[name] for name in by_weight([result])] if result else []


def _sentence(decision: Decision | None) -> str:
    """The decision's sentence without its first word, where that is the state that stands above it."""
    if decision is None:
        return ""
    said = decision.sentence.removeprefix(f"{STATES[decision.state]}: ")
    return said[:1].upper() + said[1:]


def _instant(iso: str) -> str:
    """An instant to the minute, in UTC; what is no instant stays as it is."""
    try:
        return f"{datetime.fromisoformat(iso).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return iso
