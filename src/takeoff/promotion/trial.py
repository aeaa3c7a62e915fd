"""Run a notebook from a clean kernel, and keep what its last call of `fit` was given and gave."""

import ast
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from takeoff import notebook_file
from takeoff.errors import TakeoffError
from takeoff.notebook_file import NotebookNode, new_code_cell
from takeoff.notebook_run import CellFailed, run
from takeoff.promotion import recorder
from takeoff.promotion.cells import Notebook, digest, read, shown, tagged
from takeoff.promotion.module import Need
from takeoff.promotion.recorder import Record

# What CUDA needs to add up numbers in one order.
CUDA = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
# In each of these, sets of text have another order, as in every process of training: who relies on it fails.
HASH_SEEDS = {"notebook": "0", "module": "1", "module again": "2"}


class Prepared(NamedTuple):
    """A notebook that will be watched.

    Attributes:
        node: with two cells more than the author's.
        numbers: for each of its cells the number of the author's; None for ours.
    """

    node: NotebookNode
    numbers: tuple[int | None, ...]


def record(notebook: Notebook, needs: tuple[Need, ...], folder: Path) -> Record:
    """Run a notebook, and leave in `folder` what `recorder.save` writes.

    Args:
        notebook: a file of the project that runs from the current folder.
        needs: what the module pulls in; its constants are looked at when `fit` is called.
        folder: exists, empty.

    Raises:
        TakeoffError: a cell fails, `fit` is never called, or what it was given can't be repeated.
    """
    name = shown(notebook.path)
    constants = [need for need in needs if need.kind == "constant"]
    prepared = _prepared(notebook, [need.name for need in constants], folder)
    try:
        with _environment():
            run(prepared.node, notebook.path.parent, name)
    except CellFailed as error:
        raise _failed(name, prepared, error) from None
    found = recorder.read(folder)
    if found.refused:
        raise TakeoffError(f"{name} can't be promoted: {found.refused}. Nothing was changed.")
    _check_constants(name, constants, found)
    return found


def environment(who: str) -> dict[str, str]:
    """What a process that fits has in its environment: the notebook's, or one that repeats it."""
    return {**CUDA, "PYTHONHASHSEED": HASH_SEEDS[who]}


def _prepared(notebook: Notebook, constants: list[str], folder: Path) -> Prepared:
    node = notebook_file.read(notebook.path)
    if digest(read(notebook.path)) != digest(notebook):
        raise TakeoffError(
            f"{shown(notebook.path)} was saved with other code while it was being promoted. Nothing was "
            "changed; promote it again."
        )
    defines = _where_fit_is_defined(notebook)
    module = "__import__('takeoff.promotion.recorder', fromlist=['_'])"  # binds no name in the notebook
    watch = new_code_cell(f"{module}.watch(globals(), {constants!r})")
    save = new_code_cell(f"{module}.save({str(Path.cwd())!r}, {str(folder.resolve())!r})")
    authors: list[tuple[int | None, NotebookNode]] = list(enumerate(node.cells, start=1))
    cells = [*authors[:defines], (None, watch), *authors[defines:], (None, save)]
    node.cells = [cell for _, cell in cells]
    if node.nbformat_minor < 5:  # earlier ones know no id of a cell, which ours have
        for _, cell in cells:
            cell.pop("id", None)
    return Prepared(node, tuple(number for number, _ in cells))


def _where_fit_is_defined(notebook: Notebook) -> int:
    """Number of the last tagged cell that binds `fit`."""
    binding = [cell.number for cell in tagged(notebook) if _binds_fit(cell.source)]
    if not binding:
        raise TakeoffError(
            f"{shown(notebook.path)}: no tagged cell defines `fit`. Tag the cell that does as `candidate`."
        )
    return binding[-1]


def _binds_fit(source: str) -> bool:
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "fit":
            return True
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            stored = (each for each in ast.walk(statement) if isinstance(each, ast.Name))
            if any(each.id == "fit" and isinstance(each.ctx, ast.Store) for each in stored):
                return True
    return False


@contextmanager
def _environment() -> Iterator[None]:
    """The kernel inherits what stands in this process's environment when it starts."""
    wanted = environment("notebook")
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _failed(name: str, prepared: Prepared, error: CellFailed) -> TakeoffError:
    number = prepared.numbers[error.cell - 1]
    if number is None:
        return TakeoffError(
            f"{name} ran, but what its `fit` was given could not be kept: {error.name}: {error.value}. "
            "Does the notebook change how modules are imported, or end its own kernel?"
        )
    return TakeoffError(
        f"{name} fails from a clean kernel, in cell {number}: {error.name}: {error.value}. "
        "Nothing was changed. Choose Kernel > Restart Kernel and Run All Cells in JupyterLab, mend that "
        "cell, save, and promote again."
    )


def _check_constants(name: str, constants: list[Need], found: Record) -> None:
    lines = [
        f"{name}: cell {need.cell}, line {need.line}: `{need.name}` is {found.unfit[need.name]}, which a "
        "module can't carry. Pass it to `fit`, compute it inside `fit`, or write it down as a literal."
        for need in constants
        if need.name in found.unfit
    ]
    if lines:
        raise TakeoffError("\n".join([*lines, "Nothing was changed."]))
