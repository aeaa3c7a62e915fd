"""The project's notebooks: each runs whole on what the pipeline leaves, and keeps what it promises."""

import ast
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nbformat
import pytest

from takeoff import notebook_run
from takeoff.promotion.module import header_of
from tests.conftest import PROJECT

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
PACKAGES = ("src/takeoff", "monitoring", "serving")
LEAST_NODES = 12  # of a function's tree: shorter ones are alike by chance

every_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda each: each.stem)


@pytest.fixture(scope="module")
def executed(
    finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path], nbformat.NotebookNode]:
    """A notebook as it is after a run in its own folder, on few months of real rows."""
    folder = tmp_path_factory.mktemp("notebooks") / "a project"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns(".git", "cache"))

    @cache
    def run(notebook: Path) -> nbformat.NotebookNode:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            return notebook_run.run(read(notebook), folder / "notebooks", notebook.name)

    return run


def read(notebook: Path) -> nbformat.NotebookNode:
    return nbformat.read(notebook, as_version=4)


def code(notebook: Path) -> list[str]:
    return [cell.source for cell in read(notebook).cells if cell.cell_type == "code"]


@pytest.mark.slow
@every_notebook
def test_it_runs_from_a_clean_kernel_and_draws_every_plot(
    notebook: Path, executed: Callable[[Path], nbformat.NotebookNode]
) -> None:
    cells = [cell for cell in executed(notebook).cells if cell.cell_type == "code"]

    drawing = [cell for cell in cells if "plt.show()" in cell.source]
    images = [
        [output for output in cell.outputs if "image/png" in output.get("data", {})] for cell in drawing
    ]
    assert len(drawing) >= 3
    assert all(images)


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
    for said in ("**The question.**", "**What it needs.**", "minute"):
        assert said in first.source


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
