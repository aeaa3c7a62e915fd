"""What is looked for in a notebook, what it weighs, and what was found."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

Severity = Literal["misleads", "stops", "weakens"]


class Kind(NamedTuple):
    """A kind of finding.

    Attributes:
        title: what it is, for a heading.
        severity: how much it matters; see `SEVERITIES`.
        why: why it matters, in one line.
    """

    title: str
    severity: Severity
    why: str


# What each severity means, and the points a pilot loses for each rule of it that is broken, however often.
# All rules broken is a score of 0: a test adds them up.
SEVERITIES: dict[Severity, tuple[str, int]] = {
    "misleads": ("The numbers can't be believed", 15),
    "stops": ("It won't run, or won't ship", 6),
    "weakens": ("Nobody can repeat or judge it", 5),
}

RULES: dict[str, Kind] = {
    "leak": Kind(
        "target or a later column among the features",
        "misleads",
        "The model sees the answer, or what is only known after it; in production it won't.",
    ),
    "split": Kind(
        "random split of data that has time",
        "misleads",
        "Rows of the future help to predict the past; production only ever has the past.",
    ),
    "early-fit": Kind(
        "fitting before splitting",
        "misleads",
        "What is learnt from all rows knows the held-out ones, so the score is too good.",
    ),
    "order": Kind(
        "out-of-order state",
        "stops",
        "What the saved file shows came from a state that nobody can reach again from top to bottom.",
    ),
    "run": Kind(
        "a clean run that fails",
        "stops",
        "A pipeline starts from nothing; what only runs in one person's open notebook can't be scheduled.",
    ),
    "path": Kind("absolute path", "stops", "It exists on one machine, and on no other that will run this."),
    "package": Kind(
        "package the project does not have",
        "stops",
        "Production installs requirements.lock and nothing else; the import fails there.",
    ),
    "onnx": Kind(
        "model that ONNX can't hold",
        "stops",
        "Only an ONNX file ships; what has no ONNX form can be tried, but never served.",
    ),
    "contract": Kind(
        "data read without the contract",
        "weakens",
        "Nothing says what a row is, so nothing notices when it changes.",
    ),
    "seed": Kind(
        "no seed", "weakens", "Two runs give two models; nobody can tell a better one from a luckier one."
    ),
    "baseline": Kind(
        "no baseline", "weakens", "A number means nothing before it is known what a plain rule reaches."
    ),
    "interval": Kind(
        "metric without an interval", "weakens", "A difference smaller than the noise looks like progress."
    ),
    "install": Kind(
        "install inside a cell",
        "weakens",
        "It changes the machine while it runs, to whatever version is newest that day.",
    ),
}


class Finding(NamedTuple):
    """One thing that stands between a notebook and production.

    Attributes:
        rule: key of `RULES`.
        cell: its number among all cells, counted from 1; None where it is of the whole notebook.
        line: within the cell, counted from 1.
        found: what was found there.
        action: what to do next.
    """

    rule: str
    cell: int | None
    line: int | None
    found: str
    action: str


def points(rule: str) -> int:
    """What a broken rule costs."""
    return SEVERITIES[RULES[rule].severity][1]


def score(findings: Iterable[Finding]) -> int:
    """From 100, nothing found, to 0, every rule broken; a rule counts once, however often it is broken."""
    return 100 - sum(points(rule) for rule in {each.rule for each in findings})


def explain_score() -> str:
    """How the score comes about, a paragraph for each severity."""
    weights = "\n\n".join(
        f"{meaning}, {weight} each: {', '.join(_titles(severity))}."
        for severity, (meaning, weight) in SEVERITIES.items()
    )
    return f"Score: 100, less the points of each rule that is broken, once however often.\n\n{weights}"


def _titles(severity: Severity) -> list[str]:
    return [kind.title for kind in RULES.values() if kind.severity == severity]
