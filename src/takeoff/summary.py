"""What a person reads in ten seconds after a run: who won and why, against the plain rule, what next."""

from typing import Any

from rich.console import Group
from rich.table import Table

from takeoff import files, paths
from takeoff.contract import Contract
from takeoff.params import Params
from takeoff.value import PER_ROWS

SHOWN = {
    "roc_auc": ("ROC AUC", ".3f"),
    "calibration_error": ("calibration error", ".3f"),
    "cost": ("", ",.0f"),
}


def describe(contract: Contract, params: Params) -> Group:
    """The summary of the last run, from its reports.

    Raises:
        TakeoffError: a report is missing; the message says what makes it.
    """
    release = files.read_json(paths.RELEASE_REPORT)
    evaluated = files.read_json(paths.EVALUATION_REPORT)
    package = files.read_json(paths.PACKAGE_REPORT)
    winner = release["winner"]
    others = [name for name in params.release.beats if name in evaluated and name != winner]
    table = _table([winner, *others], evaluated, contract)
    state = {"released": "released now", "unchanged": "unchanged, still the best choice"}
    return Group(
        "",
        f"[bold]{contract.question}[/]",
        f"Champion: [bold]{winner}[/], version {release['version']} ({state[release['outcome']]})",
        f"Why: {release['why']}.",
        table,
        _next_steps(package["bento"]),
    )


def _table(names: list[str], evaluated: dict[str, Any], contract: Contract) -> Table:
    table = Table(title=f"On {evaluated[names[0]]['rows']:,} test rows", title_justify="left")
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    for metric, (title, form) in SHOWN.items():
        title = title or f"errors cost, {contract.costs.currency} for {PER_ROWS:,} {contract.costs.per}s"
        cells = [evaluated[name]["metrics"][metric] for name in names]
        table.add_row(title, *(f"{c['value']:{form}} [{c['low']:{form}}, {c['high']:{form}}]" for c in cells))
    return table


def _next_steps(tag: str) -> str:
    return "\n".join(
        [
            "Look next:",
            f"  the data        {(paths.CHECK_REPORTS / 'raw.html').as_posix()}",
            "  the experiments make mlflow",
            "  the curves      .venv/bin/dvc plots show",
            f"  the service     make serve   (Bento {tag})",
            "  the decisions   .venv/bin/takeoff history",
        ]
    )
