"""What the reports of all benchmarks share: lines with a target, and where and of what they were made."""

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

PROJECT = Path(__file__).resolve().parents[2]
REPORTS = PROJECT / "reports" / "benchmarks"


class Line(NamedTuple):
    """One row of a report.

    Attributes:
        what: was measured.
        target: and its unit.
        measured: the figure, and what it is made of.
        met: None where nothing could be measured.
        held_back: what holds the figure back; for a miss.
    """

    what: str
    target: str
    measured: str
    met: bool | None
    held_back: str = ""


VERDICTS = {True: "met", False: "**missed**", None: "**not measured**"}


def at_most(what: str, measured: float, most: float, unit: str, detail: str = "") -> Line:
    """A line whose figure must not be above its target."""
    return Line(what, f"at most {most:g} {unit}", f"{measured:.2f} {unit}{detail}", measured <= most)


def at_least(what: str, measured: float, least: float, unit: str, detail: str = "") -> Line:
    """A line whose figure must not be below its target."""
    return Line(what, f"at least {least:g} {unit}", f"{measured:.2f} {unit}{detail}", measured >= least)


def targets_table(lines: Sequence[Line]) -> list[str]:
    """Lines of a Markdown table; a miss stands beside its target."""
    return table(
        ("what", "target", "measured", ""),
        [(each.what, each.target, each.measured, VERDICTS[each.met]) for each in lines],
    )


def misses(lines: Sequence[Line]) -> list[str]:
    """A list item for each missed line on what holds it back."""
    return [f"- {each.what}: {each.held_back}" for each in lines if each.met is False and each.held_back]


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [
        f"| {' | '.join(headings)} |",
        "|" + "---|" * len(headings),
        *(f"| {' | '.join(cells)} |" for cells in rows),
    ]


def made_by(command: str, lines: Sequence[Line]) -> str:
    """A sentence on what made a report, where, and how many targets it misses."""
    missed = sum(line.met is False for line in lines)
    unknown = sum(line.met is None for line in lines)
    verdict = "Every target is met." if not missed else f"{missed} of {len(lines)} targets are missed."
    verdict = f"{len(lines) - missed - unknown} of {len(lines)} targets are met." if unknown else verdict
    return f"Made by `{command}` at commit {_commit()} on {_machine()}. {verdict}"


def write(name: str, text: str) -> None:
    """Write a report and print it."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / name).write_text(text, encoding="utf-8")
    print(text)


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.strip()


def _machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = [
        line.split(":", 1)[1].strip()
        for line in (cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else "").splitlines()
        if line.startswith("model name")
    ]
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores ({names[0] if names else platform.machine()}), {memory:.0f} GiB"
