"""What a person reads in ten seconds after a run: who won and why, against the plain rule, what next."""

from typing import Any

from rich.console import Group
from rich.table import Table

from takeoff import files, paths
from takeoff.contract import Contract
from takeoff.params import Params
from takeoff.registry import Version
from takeoff.value import PER_ROWS

SHOWN = {
    "roc_auc": ("ROC AUC", ".3f"),
    "calibration_error": ("calibration error", ".3f"),
    "cost": ("", ",.0f"),
}


def describe(champion: Version, contract: Contract, params: Params) -> Group:
    """What serves, why, and how it compares with the plain candidates of the last run.

    Raises:
        TakeoffError: a report is missing; the message says what makes it.
    """
    release = files.read_json(paths.RELEASE_REPORT)
    evaluated = files.read_json(paths.EVALUATION_REPORT)
    name = champion.card["candidate"]
    metrics = {name: champion.card["metrics"]}
    metrics |= {each: evaluated[each]["metrics"] for each in params.release.beats if each not in metrics}
    return Group(
        "",
        f"[bold]{contract.question}[/]",
        f"Champion: [bold]{name}[/], version {champion.number} ({_state(release, champion)})",
        f"The gate said: {release['why']}.",
        _table(metrics, champion.card["test"]["rows"], contract),
        _next_steps(champion.bento),
    )


def _state(release: dict[str, Any], champion: Version) -> str:
    """How the last decision and the champion go together."""
    if release["outcome"] == "refused":
        return "stays: the last challenger was refused"
    if release.get("version") != champion.number:
        return "not the last one released: see the history"
    return "released" if release["outcome"] == "released" else "unchanged, still the best choice"


def _table(metrics: dict[str, Any], rows: int, contract: Contract) -> Table:
    table = Table(title=f"On {rows:,} test rows", title_justify="left")
    table.add_column("")
    for name in metrics:
        table.add_column(name, justify="right")
    for metric, (title, form) in SHOWN.items():
        title = title or f"errors cost, {contract.costs.currency} for {PER_ROWS:,} {contract.costs.per}s"
        cells = [each[metric] for each in metrics.values()]
        table.add_row(title, *(f"{c['value']:{form}} [{c['low']:{form}}, {c['high']:{form}}]" for c in cells))
    return table


def _next_steps(tag: str | None) -> str:
    return "\n".join(
        [
            "Look next:",
            f"  the data        {(paths.CHECK_REPORTS / 'raw.html').as_posix()}",
            "  the experiments make mlflow",
            "  the curves      .venv/bin/dvc plots show",
            f"  the service     make serve   (Bento {tag})" if tag else "  not packaged yet",
            "  the decisions   .venv/bin/takeoff history",
        ]
    )
