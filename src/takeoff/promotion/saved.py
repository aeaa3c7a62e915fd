"""Whether a notebook file is what its author sees: lying in the project, saved, and free to be promoted."""

import keyword
import re
from datetime import datetime
from pathlib import Path

import yaml

from takeoff.errors import TakeoffError
from takeoff.params import known_candidates
from takeoff.promotion.cells import Notebook, digest, read, shown
from takeoff.promotion.module import header_of
from takeoff.promotion.registration import places_of

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def read_saved(path: Path) -> Notebook:
    """A notebook of the project in the current folder, by its path from there.

    What only an open browser tab holds can't be seen from outside; Jupyter saves it after two minutes.

    Raises:
        TakeoffError: it lies outside the project, is no notebook, or was not saved whole.
    """
    project = Path.cwd().resolve()
    whole = path.resolve()
    if not whole.is_relative_to(project):
        raise TakeoffError(
            f"{path.name} lies outside this project, so nobody who clones it could promote it again. Move it "
            "into notebooks/ first."
        )
    inside = whole.relative_to(project)
    name = inside.as_posix()
    if whole.is_file() and not whole.read_bytes().strip():
        raise TakeoffError(f"{name} is empty: it was never saved. Save it in JupyterLab (Ctrl-S) first.")
    if whole.with_name(f".~{whole.name}").exists():  # where Jupyter keeps the old one while it saves
        raise TakeoffError(
            f"{name} is being saved, or its last save was cut off: {inside.with_name(f'.~{whole.name}')} is "
            "still there. Save it again in JupyterLab (Ctrl-S); if that file stays, delete it."
        )
    notebook = read(inside)
    _check_checkpoint(notebook)
    return notebook


def when_saved(notebook: Notebook) -> str:
    """Local time of the last save, for whoever still has it open."""
    return f"{datetime.fromtimestamp(notebook.path.stat().st_mtime):%Y-%m-%d %H:%M:%S}"


def check_name(name: str) -> None:
    """Raise a TakeoffError unless it can name a module, a DVC stage and a key of params.yaml."""
    if NAME.fullmatch(name) and not keyword.iskeyword(name) and yaml.safe_load(name) == name:
        return
    raise TakeoffError(
        f"--as {name}: a candidate's name starts with a lower-case letter, has at most 40 letters a-z, "
        "digits and _, and is no word of Python's or YAML's own (such as class, none, true). Choose another."
    )


def check_free(name: str, notebook: Notebook) -> None:
    """Raise a TakeoffError where the name belongs to a candidate that does not come from this notebook."""
    places = places_of(name)
    advice = f"Choose another name; there are {', '.join(known_candidates())}. Nothing was changed."
    if places.module.exists():
        header = header_of(places.module.read_text(encoding="utf-8"))
        if header is None:
            raise TakeoffError(f"{places.module.as_posix()} exists and was written by hand. {advice}")
        if header.notebook != notebook.path.as_posix():
            raise TakeoffError(f"{places.module.as_posix()} was promoted from {header.notebook}. {advice}")
    elif places.tests.exists():
        raise TakeoffError(
            f"{places.tests.as_posix()} exists, but no candidate '{name}'. Delete or rename that file, or "
            "choose another name. Nothing was changed."
        )


def _check_checkpoint(notebook: Notebook) -> None:
    path = notebook.path
    checkpoint = path.parent / ".ipynb_checkpoints" / f"{path.stem}-checkpoint.ipynb"
    if not checkpoint.is_file() or checkpoint.stat().st_mtime_ns <= path.stat().st_mtime_ns:
        return
    try:
        same = digest(read(checkpoint)) == digest(notebook)
    except TakeoffError:
        return  # a broken checkpoint says nothing about the notebook
    if not same:
        raise TakeoffError(
            f"{shown(path)} is older than Jupyter's checkpoint of it, and its code differs: it was not saved "
            "since. Save it in JupyterLab (Ctrl-S), or delete the checkpoint in .ipynb_checkpoints/ if the "
            "file is what you want."
        )
