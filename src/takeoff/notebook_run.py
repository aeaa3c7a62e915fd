"""Runs a notebook whole, from a clean kernel of this interpreter. The one module that knows papermill."""

import copy
import logging
import os
import re
import sys
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from traitlets import default

from takeoff.errors import TakeoffError
from takeoff.notebook_file import NotebookNode

START_SECONDS = 120  # until a kernel has to be there
KERNEL = "python3"
LINE = re.compile(r"Cell In\s?\[\d+\], line (\d+)")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class CellFailed(TakeoffError):  # noqa: N818  # what has become of the run
    """A cell did not end well, so none after it was run.

    Attributes:
        cell: its number among all cells, from 1.
        line: of the cell, from 1; None where that is not known.
        name: of the exception, such as KeyError; TimeoutError and DeadKernelError where there is none.
        value: what the exception says.
        notebook: as far as it was executed.
    """

    def __init__(
        self, title: str, cell: int, line: int | None, name: str, value: str, notebook: NotebookNode
    ) -> None:
        where = f"cell {cell}, line {line}" if line else f"cell {cell}"
        super().__init__(f"{title} fails from a clean kernel, in {where}: {name}: {value}".rstrip(": "))
        self.cell, self.line, self.name, self.value, self.notebook = cell, line, name, value, notebook


class _ThisInterpreter(KernelSpecManager):
    """Knows one kernel: the interpreter that runs this, whatever else is registered on the machine."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        launcher = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        launcher.append("--log-level=CRITICAL")  # what a kernel says of its own doings is for nobody here
        # Without it, the debugger that the kernel brings warns on every start.
        quiet = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        return KernelSpec(argv=launcher, display_name="Python 3", language="python", env=quiet)


class _KernelManager(AsyncKernelManager):
    @default("kernel_spec_manager")
    def _only_this_interpreter(self) -> KernelSpecManager:
        return _ThisInterpreter(parent=self)


def run(notebook: NotebookNode, cwd: Path, title: str, timeout: int | None = None) -> NotebookNode:
    """Run all cells, with a bar of the cells on a terminal and nothing in a log.

    Args:
        notebook: of nbformat 4; it stays as it is.
        cwd: the kernel's folder.
        title: of the notebook, for people.
        timeout: seconds that one cell may take; None: as long as it needs.

    Returns:
        A copy with outputs and execution counts.

    Raises:
        CellFailed: a cell raised, took too long, or took the kernel with it.
        TakeoffError: no kernel started.
    """
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.engines import NBClientEngine
    from papermill.log import logger

    logger.setLevel(logging.CRITICAL + 1)  # what goes wrong is raised
    executed = copy.deepcopy(notebook)
    executed.metadata["papermill"] = NotebookNode()
    problem: tuple[str, str] | None = None
    try:
        NBClientEngine.execute_notebook(
            executed,
            KERNEL,
            progress_bar={"desc": title, "disable": None, "leave": False},
            autosave_cell_every=0,
            start_timeout=START_SECONDS,
            execution_timeout=timeout,
            kernel_manager_class=_KernelManager,
            resources={"metadata": {"path": os.fspath(cwd)}},
        )
    except CellTimeoutError:
        problem = ("TimeoutError", f"it takes longer than {timeout} s")
    except DeadKernelError:
        problem = ("DeadKernelError", "the kernel died: did it run out of memory, or end its own process?")
    except RuntimeError:  # all that is raised of a kernel that does not answer
        raise TakeoffError(
            f"{title} was not run: no kernel started within {START_SECONDS} s. Is the machine very busy, or "
            "out of memory? Try again."
        ) from None
    failed = _first_failure(executed, problem)
    executed.metadata.pop("papermill")
    for cell in executed.cells:
        cell.metadata.pop("papermill", None)
    if failed:
        raise CellFailed(title, *failed, executed)
    return executed


def _first_failure(
    executed: NotebookNode, problem: tuple[str, str] | None
) -> tuple[int, int | None, str, str] | None:
    """Number, line, exception and its text of the cell that failed.

    Args:
        executed: with papermill's notes on each cell.
        problem: what ended the run from outside, in the last cell that was begun.
    """
    notes = [cell.metadata.get("papermill", {}) for cell in executed.cells]
    if problem:
        begun = [number for number, note in enumerate(notes, start=1) if note.get("start_time")]
        return begun[-1] if begun else 1, None, *problem
    failed = [number for number, note in enumerate(notes, start=1) if note.get("exception") is True]
    return (failed[0], *_error(executed.cells[failed[0] - 1])) if failed else None


def _error(cell: NotebookNode) -> tuple[int | None, str, str]:
    errors = [output for output in cell.get("outputs", []) if output.output_type == "error"]
    if not errors:  # such as a magic that does not exist, which only prints
        said = [output.text for output in cell.get("outputs", []) if output.get("name") == "stderr"]
        name, _, text = (said[-1].strip().splitlines() or [""])[-1].partition(": ") if said else ("", "", "")
        return None, name or "an error without a name", text
    trace = COLOURS.sub("", "\n".join(errors[-1].traceback))
    lines = LINE.findall(trace)
    # Of frames in several cells, the first is that of the cell that was being run.
    return (int(lines[0]) if lines else None), errors[-1].ename, errors[-1].evalue
