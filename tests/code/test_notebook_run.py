"""Running a notebook: whole, from a clean kernel of this interpreter; a cell that fails is named."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from takeoff import notebook_run
from takeoff.errors import TakeoffError
from takeoff.notebook_run import CellFailed, run

pytestmark = pytest.mark.slow


def notebook(*sources: str) -> NotebookNode:
    """One markdown cell, then these."""
    return new_notebook(cells=[new_markdown_cell("First."), *(new_code_cell(each) for each in sources)])


def failed(folder: Path, *sources: str, timeout: int | None = None) -> CellFailed:
    with pytest.raises(CellFailed) as caught:
        run(notebook(*sources), folder, "some.ipynb", timeout)
    return caught.value


def test_it_runs_in_its_folder_with_this_interpreter_and_leaves_the_original(tmp_path: Path) -> None:
    original = notebook("import os, sys", "print(sys.executable)\nprint(os.getcwd())")
    before = original.copy()

    executed = run(original, tmp_path, "some.ipynb")

    assert executed.cells[2].outputs[0].text.split() == [sys.executable, str(tmp_path)]
    assert original == before
    assert "papermill" not in executed.metadata
    assert list(tmp_path.iterdir()) == []


def test_a_cell_that_raises_is_named_with_its_line_and_none_after_it_is_run(tmp_path: Path) -> None:
    found = failed(tmp_path, "def f():\n    return {}['gone']", "x = 1\nf()", "print('later')")

    assert (found.cell, found.line, found.name, found.value) == (3, 2, "KeyError", "'gone'")
    assert found.notebook.cells[3].outputs == []
    assert str(found) == "some.ipynb fails from a clean kernel, in cell 3, line 2: KeyError: 'gone'"


def test_what_costs_seconds_to_import_and_checks_nothing_in_a_notebook_is_not_imported(
    tmp_path: Path,
) -> None:
    lines = (
        "import sys",
        "from pathlib import Path",
        "from takeoff import notebook_run, notebook_file",
        "from takeoff.pilot import check, trial",
        "from takeoff.promotion import check, promote",
        f"notebook_run.run(notebook_file.read(Path({str(tmp_path / 'a.ipynb')!r})), Path(), 'a')",
        "assert 'jsonschema' in sys.modules",
        "assert 'rfc3987_syntax' not in sys.modules",
        "import rfc3987_syntax",  # whoever wants it has it
    )
    nbformat.write(notebook("x = 1"), tmp_path / "a.ipynb")

    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_code_that_is_no_python_is_named_with_its_line(tmp_path: Path) -> None:
    found = failed(tmp_path, "x = 1\ny = = 2")

    assert (found.cell, found.line, found.name) == (2, 2, "SyntaxError")


def test_a_magic_that_does_not_exist_is_said(tmp_path: Path) -> None:
    found = failed(tmp_path, "%nosuch")

    assert found.cell == 2
    assert "%nosuch" in found.value


def test_a_cell_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    found = failed(tmp_path, "1", "import threading\nthreading.Event().wait()", timeout=1)

    assert (found.cell, found.name) == (3, "TimeoutError")


def test_a_cell_that_ends_the_kernel_is_named(tmp_path: Path) -> None:
    found = failed(tmp_path, "1", "import os\nos._exit(1)")

    assert (found.cell, found.name) == (3, "DeadKernelError")


def test_no_kernel_is_left_behind(tmp_path: Path) -> None:
    executed = run(notebook("import os", "os.getpid()"), tmp_path, "some.ipynb")

    process = int(executed.cells[2].outputs[0].data["text/plain"])
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_nothing_is_printed_where_there_is_no_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(notebook("1 + 1"), tmp_path, "some.ipynb")

    assert capfd.readouterr() == ("", "")


def test_a_kernel_that_never_starts_is_one_plain_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook_run.sys, "executable", shutil.which("false"))

    with pytest.raises(TakeoffError, match=r"some\.ipynb was not run: no kernel started"):
        run(notebook("1"), tmp_path, "some.ipynb")
