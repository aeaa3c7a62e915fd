"""What stands between a notebook and production: read it, run it, hold every rule against it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from takeoff.contract import CONTRACT_FILE, read_contract
from takeoff.errors import TakeoffError
from takeoff.pilot import data, environment, evaluation, leaks, onnx_form, order, trial
from takeoff.pilot.code import Code, parse
from takeoff.pilot.facts import NOT_RUN, Outcome
from takeoff.pilot.finding import RULES, SEVERITIES, Finding, score
from takeoff.pilot.trace import trace
from takeoff.promotion.cells import read


class Report(NamedTuple):
    """What a check came to: findings in the order of `RULES`, points of 100, and what the run came to."""

    notebook: Path
    findings: tuple[Finding, ...]
    score: int
    outcome: Outcome


def check(path: Path, project: Path, timeout: int, run: bool = True) -> Report:
    """Check a notebook.

    Args:
        path: of the notebook.
        project: folder with the contract and the lock; the notebook runs here if it opens the project.
        timeout: seconds that the notebook may run for.
        run: whether to run it at all.

    Raises:
        TakeoffError: it can't be read, or has no code.
    """
    notebook = read(path)
    code = parse(notebook)
    if not any(cell.source.strip() for cell in code.cells):
        raise TakeoffError(f"{path.name} has no code, so there is nothing to check.")
    with ThreadPoolExecutor(1) as pool:
        if any(name.startswith("sklearn") for name in code.aliases.values()):
            pool.submit(onnx_form.supported)  # takes seconds to load, during which the notebook runs
        outcome = _run(path, code, project, timeout) if run else NOT_RUN
    findings = judge(code, outcome, path, project)
    return Report(path, findings, score(findings), outcome)


def judge(code: Code, outcome: Outcome, path: Path, project: Path) -> tuple[Finding, ...]:
    """Every rule's findings, the gravest rules first, in the order of the cells within each."""
    followed = trace(code)
    later, safe = _known(project)
    findings = [
        *leaks.leak(followed, outcome, later, safe),
        *data.split(code, outcome),
        *leaks.early_fit(followed),
        *order.order(code),
        *trial.failed(outcome, code, outcome.ran),
        *environment.paths(code),
        *environment.packages(code, path, project),
        *onnx_form.onnx_form(code, outcome),
        *data.contract(code),
        *evaluation.seed(code),
        *evaluation.baseline(code),
        *evaluation.interval(code),
        *environment.installs(code),
    ]
    rank = {name: place for place, name in enumerate(RULES)}
    severities = list(SEVERITIES)
    return tuple(
        sorted(
            findings,
            key=lambda each: (
                severities.index(RULES[each.rule].severity),
                rank[each.rule],
                each.cell or 0,
                each.line or 0,
            ),
        )
    )


def _run(path: Path, code: Code, project: Path, timeout: int) -> Outcome:
    opens_project = any(each.module.partition(".")[0] == "takeoff" for each in code.imports)
    return trial.run(path, code, project if opens_project else path.parent, timeout)


def _known(project: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Raw columns of the project that are known only later, and columns of its contract, known in time."""
    if not (project / CONTRACT_FILE).is_file():
        return frozenset(), frozenset()
    from takeoff.dataset import KNOWN_LATER

    contract = read_contract(project)
    return frozenset({*KNOWN_LATER, contract.target.known_at}), frozenset(contract.columns)
