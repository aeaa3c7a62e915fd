"""What the tests of the rules share: the findings on a few lines of a notebook."""

from collections.abc import Callable
from pathlib import Path

from takeoff.contract import read_contract
from takeoff.dataset import KNOWN_LATER
from takeoff.pilot import data, environment, evaluation, leaks, onnx_form, order
from takeoff.pilot.code import Code, parse
from takeoff.pilot.facts import NOT_RUN, Outcome
from takeoff.pilot.finding import Finding
from takeoff.pilot.trace import trace
from takeoff.promotion.cells import Cell, Notebook
from tests.conftest import PROJECT
from tests.pilot.planted import notebook_of


def read_text(text: str) -> Notebook:
    """A notebook from its text; without a mark it is one cell."""
    nodes = notebook_of(text if text.startswith("# %%") else f"# %%\n{text}").cells
    return Notebook(
        Path("a.ipynb"),
        tuple(
            Cell(number, node.cell_type, node.source, frozenset(), node.get("execution_count"))
            for number, node in enumerate(nodes, start=1)
        ),
    )


def code_of(text: str) -> Code:
    return parse(read_text(text))


def found(text: str, rule: str, outcome: Outcome = NOT_RUN) -> list[Finding]:
    """What one rule finds, without running anything; the others are not asked, and load nothing."""
    code = code_of(text)
    contract = read_contract(PROJECT)
    rules: dict[str, Callable[[], list[Finding]]] = {
        "leak": lambda: leaks.leak(trace(code), outcome, frozenset(KNOWN_LATER), frozenset(contract.columns)),
        "early-fit": lambda: leaks.early_fit(trace(code)),
        "split": lambda: data.split(code, outcome),
        "contract": lambda: data.contract(code),
        "order": lambda: order.order(code),
        "path": lambda: environment.paths(code),
        "package": lambda: environment.packages(code, PROJECT / "tests" / "a.ipynb", PROJECT),
        "install": lambda: environment.installs(code),
        "onnx": lambda: onnx_form.onnx_form(code, outcome),
        "seed": lambda: evaluation.seed(code),
        "baseline": lambda: evaluation.baseline(code),
        "interval": lambda: evaluation.interval(code),
    }
    return rules[rule]()


def places(text: str, rule: str, outcome: Outcome = NOT_RUN) -> list[tuple[int | None, int | None]]:
    return [(each.cell, each.line) for each in found(text, rule, outcome)]
