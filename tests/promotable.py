"""A small project to promote notebooks in, and the command as a person gives it."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from takeoff.contract import CONTRACT_FILE
from takeoff.params import PARAMS_FILE
from takeoff.promotion.module import LINES
from takeoff.promotion.registration import CANDIDATES
from tests.conftest import PROJECT
from tests.promotion.cell_text import notebook
from tests.whole_project import environment

COPIED = ("src", "pipelines", "tests/conftest.py", "tests/postgres.py", "pyproject.toml")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info")
NOTEBOOK = "notebooks/trial.ipynb"

# A notebook that promotes in the shortest time; tests put their fault in the place of a line of it.
PLAIN = '''
# %% code
from takeoff.notebook import open_project

project = open_project()
contract, params = project.contract, project.params
train, validation = project.examples("fit"), project.examples("validation")

# %% code
STRENGTH = 0.5

# %% candidate
import numpy as np
from pydantic import Field
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from takeoff.candidates import of_pipeline
from takeoff.settings import Settings as Base


class Settings(Base):
    """How firmly weights are held back."""

    penalty: float = Field(gt=0, description="larger is calmer")

# %% candidate
def fit(fit, validation, settings, contract, seed):
    """A weight for each category."""
    columns = ColumnTransformer([("values", OneHotEncoder(handle_unknown="ignore"), contract.categories)])
    regression = LogisticRegression(C=STRENGTH / settings.penalty, random_state=seed)
    pipeline = make_pipeline(columns, regression)
    pipeline.fit(fit.features, fit.labels)
    return of_pipeline(pipeline, contract)

# %% code
fitted = fit(train, validation, Settings(penalty=2.0), contract, params.seed)
'''


def make_promotable(folder: Path, split_project: Path) -> None:
    """The project's code and real configuration around the rows of `split_project`, and a notebook."""
    for name in COPIED:
        source, target = PROJECT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=LEFT_OUT)
        else:
            shutil.copyfile(source, target)
    for module in (folder / CANDIDATES).glob("*.py"):  # as if no notebook of the real ones were known
        text = module.read_text(encoding="utf-8")
        for line in LINES:
            text = line.sub("", text)
        module.write_text(text, "utf-8")
    for name in (CONTRACT_FILE, PARAMS_FILE):
        shutil.copyfile(PROJECT / name, folder / name)
    shutil.copytree(split_project / "data", folder / "data")
    write_notebook(folder, PLAIN)


def write_notebook(folder: Path, text: str, name: str = NOTEBOOK) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    nbformat.write(notebook(text), folder / name)


def promote(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return takeoff(folder, "promote", *arguments)


def takeoff(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The command as its script starts it."""
    return subprocess.run(
        [sys.executable, "-m", "takeoff.cli", *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
    )


def only_added(before: str, after: str) -> bool:
    """Whether all lines of `before` are there, in order."""
    left = iter(after.splitlines(keepends=True))
    return all(line in left for line in before.splitlines(keepends=True))


def tree(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by its path; what Python caches is left out."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
