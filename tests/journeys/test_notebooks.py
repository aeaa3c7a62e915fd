"""The project's notebooks: each runs whole on what the pipeline leaves, and keeps what it promises."""

import ast
import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from takeoff import files, model, notebook_run, packaging, paths
from takeoff.contract import Contract
from takeoff.log_store import open_store
from takeoff.notebook_run import CellFailed
from takeoff.pilot.check import check
from takeoff.promotion.module import header_of
from tests.conftest import PROJECT
from tests.monitoring import production
from tests.whole_project import command

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
PACKAGES = ("src/takeoff", "monitoring", "serving")
LEAST_NODES = 12  # of a function's tree: shorter ones are alike by chance

LONGEST = 120  # seconds that one may say it takes
STATED = re.compile(r"It takes (?:well )?(?:under )?(half a|a|\d+) (second|minute)s? on two cores")
NUMBERS = {"half a": 0.5, "a": 1.0}
UNITS = {"second": 1, "minute": 60}

READ_DRIFT = PROJECT / "notebooks" / "3_read_drift.ipynb"
DAYS, KEEP_EVERY = 21, 4  # of production, as monitored: weeks large enough to be judged

every_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda each: each.stem)


@pytest.fixture(autouse=True)
def no_server_of_someone_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials and logs are the project's own."""
    for name in ("MLFLOW_TRACKING_URI", packaging.LOG_VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def copied(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Copies of `finished`, with few months of real rows, to work in."""

    def copy() -> Path:
        folder = tmp_path_factory.mktemp("notebooks") / "a project"
        shutil.copytree(finished, folder, ignore=shutil.ignore_patterns(".git", "cache"))
        return folder

    return copy


@pytest.fixture(scope="module")
def project_folder(copied: Callable[[], Path]) -> Path:
    """Where the notebooks run as they are."""
    return copied()


@pytest.fixture(scope="module")
def executed(project_folder: Path) -> Callable[[Path], nbformat.NotebookNode]:
    """A notebook as it is after a run in its own folder."""
    return cache(
        lambda notebook: notebook_run.run(read(notebook), project_folder / "notebooks", notebook.name)
    )


@pytest.fixture(scope="module")
def monitored(copied: Callable[[], Path], contract: Contract) -> Path:
    """A project whose champion has answered production, which the monitor has looked at."""
    folder, time = copied(), contract.time.column
    rows = files.read_rows(folder / paths.PRODUCTION_ROWS)
    some = rows[rows[time] < rows[time].min() + pd.Timedelta(days=DAYS)][::KEEP_EVERY]
    released = model.load(folder / paths.RELEASED)
    production.fill(log_of(folder), some.reset_index(drop=True), released, "1", contract)
    done = command(folder, "monitoring.monitor", "--no-evidently")
    assert done.returncode in (0, 3), done.stdout + done.stderr
    return folder


def log_of(folder: Path) -> str:
    return f"sqlite:///{(folder / packaging.DEFAULT_LOG).as_posix()}"


def read_drift(folder: Path, column: str | None) -> nbformat.NotebookNode:
    """The notebook on drift, run in a project, on a column that a person chose or on the one it chooses."""
    notebook = read(READ_DRIFT)
    cell = next(each for each in notebook.cells if "COLUMN = None" in each.source)
    cell.source = cell.source.replace("COLUMN = None", f"COLUMN = {column!r}")
    return notebook_run.run(notebook, folder / "notebooks", READ_DRIFT.name)


def read(notebook: Path) -> nbformat.NotebookNode:
    return nbformat.read(notebook, as_version=4)


def code(notebook: Path) -> list[str]:
    return [cell.source for cell in read(notebook).cells if cell.cell_type == "code"]


@pytest.mark.slow
@every_notebook
def test_it_runs_from_a_clean_kernel_and_draws_every_plot(
    notebook: Path, executed: Callable[[Path], nbformat.NotebookNode]
) -> None:
    assert_all_is_drawn(executed(notebook))


def assert_all_is_drawn(notebook: nbformat.NotebookNode) -> None:
    drawing = [cell for cell in notebook.cells if "plt.show()" in cell.source]
    images = [
        [output for output in cell.outputs if "image/png" in output.get("data", {})] for cell in drawing
    ]
    assert len(drawing) >= 3
    assert all(images)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["as it comes", "a category"])
def test_drift_is_read_from_what_the_monitor_found_and_the_log_holds(
    kind: str, monitored: Path, contract: Contract
) -> None:
    column = contract.categories[0] if kind == "a category" else None

    notebook = read_drift(monitored, column)

    assert_all_is_drawn(notebook)
    said = "".join(
        str(output.get("text", "")) for cell in notebook.cells for output in cell.get("outputs", [])
    )
    decision = files.read_json(monitored / paths.DECISION_REPORT)
    window = next(each for each in decision["windows"] if each["name"] == decision["window"])
    assert "Read from the last reports of the monitor" in said
    assert decision["sentence"] in said
    assert f"The monitor, of this window alone: {window['state']}" in said


@pytest.mark.slow
def test_where_the_log_no_longer_has_the_rows_it_says_so(
    monitored: Path, contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{(tmp_path / 'empty.db').as_posix()}"
    open_store(url, list(contract.columns), contract.hash, contract.numbers).close()
    monkeypatch.setenv(packaging.LOG_VARIABLE, url)

    with pytest.raises(CellFailed, match=r"The prediction log has no rows of .* any more"):
        read_drift(monitored, None)


@pytest.mark.slow
@every_notebook
def test_the_pilot_check_runs_it_and_says_nothing(notebook: Path, project_folder: Path) -> None:
    report = check(project_folder / "notebooks" / notebook.name, project_folder, timeout=600)

    assert report.outcome.ran
    assert [(each.rule, each.cell, each.found) for each in report.findings] == []


@pytest.mark.slow
@every_notebook
def test_it_prints_no_warning(notebook: Path, executed: Callable[[Path], nbformat.NotebookNode]) -> None:
    outputs = [output for cell in executed(notebook).cells for output in cell.get("outputs", [])]

    assert [output.text for output in outputs if output.get("name") == "stderr"] == []


@every_notebook
def test_it_opens_with_its_question_what_it_needs_and_how_long_it_takes(notebook: Path) -> None:
    first = read(notebook).cells[0]

    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    for said in ("**The question.**", "**What it needs.**"):
        assert said in first.source
    assert stated_seconds(first.source) < LONGEST


def stated_seconds(text: str) -> float:
    """How long a notebook says that it takes."""
    stated = STATED.search(" ".join(text.split()))
    assert stated, "it does not say how long it takes"
    number, unit = stated.groups()
    return (NUMBERS[number] if number in NUMBERS else float(number)) * UNITS[unit]


@every_notebook
def test_it_is_committed_without_outputs(notebook: Path) -> None:
    cells = [cell for cell in read(notebook).cells if cell.cell_type == "code"]

    assert [cell.outputs for cell in cells] == [[]] * len(cells)
    assert {cell.execution_count for cell in cells} == {None}


@every_notebook
def test_it_copies_no_function_of_the_project(notebook: Path) -> None:
    mine = functions("\n".join(source for source in code(notebook)))

    assert not mine & project_functions()


def functions(source: str) -> set[str]:
    """Bodies of functions, whatever they are called, as trees without docstrings."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if sum(1 for statement in body for _ in ast.walk(statement)) >= LEAST_NODES:
                found.add("\n".join(ast.dump(statement) for statement in body))
    return found


@cache
def project_functions() -> set[str]:
    """Of all modules that were not promoted from a notebook."""
    texts = (path.read_text() for package in PACKAGES for path in (PROJECT / package).rglob("*.py"))
    return {each for text in texts if header_of(text) is None for each in functions(text)}
