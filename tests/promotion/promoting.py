"""Promote a notebook that is text, and run it and its module beside each other."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

from takeoff.errors import TakeoffError
from takeoff.promotion.cells import Notebook, read
from takeoff.promotion.module import Generated, generate
from tests.conftest import PROJECT
from tests.promotion.cell_text import notebook

NAME = "calm_trees"

SETTINGS = """
# %% candidate
from takeoff.settings import Settings as Base

class Settings(Base):
    size: int = 3
"""
CALL = """
# %% code
result = fit([1.0, 2.0], [3.0], Settings(size=2), None, 7)
"""


def written(text: str, folder: Path) -> Notebook:
    """The notebook of a text, as a file in `folder`, read back."""
    path = folder / "trial.ipynb"
    nbformat.write(notebook(text), path)
    return read(path)


def promoted(text: str, folder: Path, patch: pytest.MonkeyPatch) -> Generated:
    """The module of a text, formatted by the project's own rules."""
    patch.chdir(PROJECT)
    return generate(written(text, folder), NAME)


def refusal(text: str, folder: Path) -> str:
    """Why the notebook of a text can't be promoted."""
    with pytest.raises(TakeoffError) as refused:
        generate(written(text, folder), NAME)
    return str(refused.value)


def run_cells(text: str) -> dict[str, Any]:
    """What the names of a notebook are after a run from top to bottom."""
    module = _module("notebook_of_a_test")
    for cell in notebook(text).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, "<cell>", "exec", dont_inherit=True), vars(module))
    return vars(module)


def run_module(generated: Generated) -> dict[str, Any]:
    """What the names of a module are once it was imported."""
    module = _module("module_of_a_test")
    exec(compile(generated.text, "<module>", "exec", dont_inherit=True), vars(module))
    return vars(module)


def same_answer(text: str, folder: Path, patch: pytest.MonkeyPatch) -> Generated:
    """The module of a text, after its `fit` gave what the notebook's last call of `fit` gave."""
    cells = run_cells(text)
    generated = promoted(text, folder, patch)
    module = run_module(generated)
    answer = module["fit"]([1.0, 2.0], [3.0], module["Settings"](size=2), None, 7)
    assert answer == cells["result"], generated.text
    return generated


def _module(name: str) -> ModuleType:
    """An empty module that pydantic can look annotations up in."""
    sys.modules[name] = ModuleType(name)
    return sys.modules[name]
