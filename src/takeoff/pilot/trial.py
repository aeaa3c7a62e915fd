"""Runs a notebook whole from a clean kernel, installs nothing, and brings back what it showed."""

import ast
import copy
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from takeoff.errors import TakeoffError
from takeoff.pilot.code import PYTHON_BODIES, Code
from takeoff.pilot.environment import install_places
from takeoff.pilot.facts import Estimator, Facts, Outcome, Stopped, Telling
from takeoff.pilot.finding import Finding

if TYPE_CHECKING:
    from takeoff.notebook_file import NotebookNode

CELL_MAGIC = re.compile(r"\s*%%\s*(\w+)")
# What keeps installers that are called in ways that can't be seen from reaching a registry.
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_NO_INPUT": "1", "UV_OFFLINE": "1", "CONDA_OFFLINE": "true"}
# What an installer's call gives where all goes well, other than 0.
INSTALLED = {
    "run": "__import__('subprocess').CompletedProcess([], 0, '', '')",
    "check_output": "b''",
    "getoutput": "''",
}
# Harmless expressions, that a look at the end may evaluate once more.
PLAIN = (
    ast.Name,
    ast.Attribute,
    ast.Subscript,
    ast.Constant,
    ast.List,
    ast.Tuple,
    ast.expr_context,
    ast.Slice,
)


def run(path: Path, code: Code, folder: Path, timeout: int) -> Outcome:
    """Run a notebook.

    Args:
        path: of the notebook, which stays as it is.
        code: its code.
        folder: where it runs.
        timeout: seconds that it may take.

    Raises:
        TakeoffError: it can't be read.
    """
    from takeoff import notebook_file, notebook_run

    try:
        saved = notebook_file.read(path)
    except Exception:
        raise TakeoffError(f"{path.name} is no valid notebook. Open it in JupyterLab and save it.") from None
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary, _offline():
        facts = Path(temporary) / "facts.json"
        watched = _watched(saved, code, facts, timeout)
        stopped = None
        try:
            notebook_run.run(watched, folder, path.name, timeout)
        except notebook_run.CellFailed as failed:
            # One cell stands before the first.
            number = failed.cell - 1
            stopped = Stopped(number, failed.line, failed.name, failed.value, _worked_once(saved, number))
        return Outcome(True, stopped, _facts(facts), time.perf_counter() - started)


def failed(outcome: Outcome, code: Code, ran: bool) -> list[Finding]:
    """What a run that stopped says; of a notebook that was not run, which cells are no Python."""
    if outcome.stopped is None:
        broken = [(cell.number, cell.broken) for cell in code.cells if cell.broken] if not ran else []
        return [
            Finding("run", number, line, "This is no Python.", "Mend the line, or delete the cell.")
            for number, line in broken
        ]
    stopped = outcome.stopped
    said = " ".join(stopped.value.split())
    text = f"{stopped.name}: {said[:160].rstrip('.')}{'...' if len(said) > 160 else '.'}"
    once = " The saved file shows that it once worked." if stopped.worked_once else ""
    return [
        Finding(
            "run", stopped.cell, stopped.line, f"{text}{once} Nothing below was run.", _next(stopped, code)
        )
    ]


def _next(stopped: Stopped, code: Code) -> str:
    if stopped.name in ("ModuleNotFoundError", "ImportError"):
        return (
            "Make the package a dependency of the project (pyproject.toml, `make lock`, `make setup`), then "
            "check again."
        )
    if stopped.name in ("FileNotFoundError", "OperationalError", "DatabaseError", "NotADirectoryError"):
        return (
            "Put the data where the notebook looks for it, by a path below its own folder, then check again."
        )
    if stopped.name in ("ConnectionError", "URLError", "gaierror", "ConnectError", "HTTPError"):
        return "Keep a copy of the data under data/, as `pipelines.ingest` does, then check again."
    if stopped.name == "NameError":
        return "Restart the kernel and run all cells; define the name above its first use."
    if "Timeout" in stopped.name:
        return "Run it on a sample, or give it longer with --timeout, then check again."
    return "Restart the kernel, run all cells, and mend this one; then check again."


def _watched(saved: "NotebookNode", code: Code, facts: Path, timeout: int) -> "NotebookNode":
    """A copy that installs nothing, and is looked at where it fails and at its end."""
    from takeoff.notebook_file import new_code_cell

    watched = copy.deepcopy(saved)
    for place, text, call in reversed(install_places(code)):
        cell = watched.cells[place.cell - 1]
        cell.source = (
            _without_call(cell.source, call, text) if call else _without_command(cell.source, place.line)
        )
    arguments = f"{str(facts)!r}), {_expressions(code)!r}"
    first = new_code_cell(
        "from pathlib import Path as _Path; from takeoff.pilot import probe as _probe\n"
        f"_probe.watch(get_ipython(), _Path({arguments}, {timeout})"
    )
    last = new_code_cell(f"_probe.tell(get_ipython().user_ns, _Path({arguments})")
    watched.cells = [first, *watched.cells, last]
    return watched


def _without_command(source: str, line: int) -> str:
    """Source without the command at a line, which installs something."""
    lines = source.split("\n")
    text, last = lines[line - 1], line
    while lines[last - 1].endswith("\\") and last < len(lines):
        last += 1
    magic = CELL_MAGIC.match(source)
    bound, _, rest = text.partition("=")
    if magic and magic[1] not in PYTHON_BODIES:
        harmless = "true"
    elif rest.lstrip().startswith(("!", "%")):
        harmless = f"{bound.rstrip()} = []"
    else:
        harmless = f"{text[: len(text) - len(text.lstrip())]}pass"
    lines[line - 1 : last] = [f"{harmless}  # nothing is installed by a check", *[""] * (last - line)]
    return "\n".join(lines)


def _without_call(source: str, call: ast.Call, name: str) -> str:
    """Source with what a call that installs something gives where all goes well, instead of the call."""
    lines = source.encode().split(b"\n")
    first, last = call.lineno - 1, (call.end_lineno or call.lineno) - 1
    after = lines[last][call.end_col_offset or 0 :]
    given = INSTALLED.get(name.partition("(")[0].rpartition(".")[2], "0")
    lines[first] = lines[first][: call.col_offset] + f"({given}".encode()
    lines[first + 1 : last + 1] = [b""] * (last - first)
    lines[last] += b")" + after
    return b"\n".join(lines).decode()


def _expressions(code: Code) -> list[tuple[str, str]]:
    """Features and target of each fit, as expressions that name, select and do nothing else."""
    found = []
    for call in code.calls:
        if call.last in ("fit", "train_test_split", "cross_val_score", "cross_validate"):
            given = call.node.args[-2:] if call.last.startswith("cross") else call.node.args[:2]
            if len(given) == 2 and all(isinstance(node, PLAIN) for each in given for node in ast.walk(each)):
                found.append((ast.unparse(given[0]), ast.unparse(given[1])))
    return list(dict.fromkeys(found))


def _worked_once(saved: "NotebookNode", number: int) -> bool:
    if not 1 <= number <= len(saved.cells):
        return False
    cell = saved.cells[number - 1]
    outputs = cell.get("outputs", [])
    return bool(outputs) and all(each.get("output_type") != "error" for each in outputs)


def _facts(path: Path) -> Facts | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Facts(
        {name: tuple(columns) for name, columns in content["columns"].items()},
        tuple((frame, column) for frame, column in content["times"]),
        tuple(Telling(*each) for each in content["telling"]),
        tuple(Estimator(*each) for each in content["estimators"]),
    )


@contextmanager
def _offline() -> Iterator[None]:
    """Keep installers of the kernel, which inherits this process's environment, from the network."""
    before = {name: os.environ.get(name) for name in OFFLINE}
    os.environ.update(OFFLINE)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
