"""A check's report, for people and as values."""

from itertools import groupby
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from takeoff.pilot.check import Report
from takeoff.pilot.finding import RULES, SEVERITIES, Finding, points

MOST_PLACES = 6  # shown of one rule and action
COLOURS = {"misleads": "red", "stops": "yellow", "weakens": "cyan"}


def render(report: Report) -> RenderableType:
    """The findings by severity, each with its place, why it matters and what to do; the score last."""
    parts: list[RenderableType] = []
    for severity, (meaning, _) in SEVERITIES.items():
        of_it = [each for each in report.findings if RULES[each.rule].severity == severity]
        if not of_it:
            continue
        parts.append(Text(f"\n{meaning}", style=f"bold {COLOURS[severity]}"))
        for rule, each in groupby(of_it, key=lambda finding: finding.rule):
            parts.append(_rule(rule, list(each)))
    if not parts:
        parts.append(Text("\nNothing was found that stands between this notebook and production."))
    return Group(*parts, Text(), *_end(report))


def as_json(report: Report) -> dict[str, Any]:
    """The report as plain values."""
    stopped = report.outcome.stopped
    return {
        "notebook": report.notebook.name,
        "score": report.score,
        "ran": report.outcome.ran,
        "stopped_in_cell": stopped.cell if stopped else None,
        "findings": [
            {
                **each._asdict(),
                "title": RULES[each.rule].title,
                "severity": RULES[each.rule].severity,
                "why": RULES[each.rule].why,
            }
            for each in report.findings
        ],
    }


def _rule(rule: str, findings: list[Finding]) -> RenderableType:
    kind = RULES[rule]
    table = Table.grid(padding=(0, 2))
    table.add_column(width=4, no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("why", Text(kind.why), style="dim")
    for action, same in groupby(findings, key=lambda each: each.action):
        of_it = list(same)
        for each in of_it[:MOST_PLACES]:
            table.add_row("", Text.assemble((f"{_where(each)}: ", "bold"), each.found))
        if len(of_it) > MOST_PLACES:
            table.add_row("", f"and {len(of_it) - MOST_PLACES} more; --json FILE has them all")
        table.add_row("next", Text(action))
    return Group(
        Padding(Text(f"{kind.title}  (-{points(rule)})", style="bold"), (1, 0, 0, 2), expand=False),
        Padding(table, (0, 0, 0, 4), expand=False),
    )


def _where(finding: Finding) -> str:
    if finding.cell is None:
        return "notebook"
    return f"cell {finding.cell}" + (f", line {finding.line}" if finding.line else "")


def _end(report: Report) -> list[RenderableType]:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("severity", "rules broken", "findings", "points lost"):
        table.add_column(heading, justify="left" if heading == "severity" else "right")
    for severity, (meaning, weight) in SEVERITIES.items():
        of_it = [each for each in report.findings if RULES[each.rule].severity == severity]
        broken = {each.rule for each in of_it}
        every = sum(kind.severity == severity for kind in RULES.values())
        table.add_row(meaning, f"{len(broken)} of {every}", str(len(of_it)), str(weight * len(broken)))
    return [table, Text(_run_line(report)), Text(f"Pilot score: {report.score} of 100", style="bold")]


def _run_line(report: Report) -> str:
    outcome = report.outcome
    if not outcome.ran:
        return "It was not run, so what only a run can show was not looked at."
    if outcome.stopped:
        return (
            f"Its clean run stopped in cell {outcome.stopped.cell}; "
            "what only the cells below could show was not looked at."
        )
    return f"It ran clean, from top to bottom, in {outcome.seconds:.0f} s."
