"""A project of its own, as a clone has it, whose pipeline runs with DVC in processes of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from takeoff.contract import read_contract
from takeoff.registry import BENTO_TAG, Registry
from tests.conftest import PROJECT, shrink


def copy_project(folder: Path) -> None:
    """The files that git knows or would take, as they are now, in a repository of their own."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, folder / name)
    (folder / "dvc.lock").unlink(missing_ok=True)


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def environment(folder: Path) -> dict[str, str]:
    left_out = ("MLFLOW_TRACKING_URI", "BENTOML_HOME")
    return {name: value for name, value in os.environ.items() if name not in left_out} | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "src"),
        "PYTHONUNBUFFERED": "1",
    }


def command(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
    )


def repro(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return command(folder, "dvc", "repro", *arguments)


def change(file: Path, edit: Any) -> None:
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    edit(content)
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def shrink_to_a_quarter(params: dict[str, Any]) -> None:
    """Three months and small models, which can't be as well calibrated as the real ones."""
    shrink(params)
    params["release"]["floors"]["calibration_error"]["max"] *= 3


def contents(folder: Path, places: tuple[Path, ...]) -> dict[str, bytes]:
    found = {}
    for place in places:
        for path in [folder / place, *(folder / place).rglob("*")]:
            if path.is_file():
                found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def champion(folder: Path) -> tuple[str, str | None]:
    """Number and Bento of the champion, as MLflow has them."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{folder.as_posix()}/mlruns/mlflow.db"
    found = MlflowClient(uri, uri).get_model_version_by_alias(read_contract(folder).name, "champion")
    return str(found.version), found.tags.get(BENTO_TAG)


@contextmanager
def store_of(folder: Path) -> Iterator[Registry]:
    """The project's own MLflow store, seen from here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder.as_posix()}/mlruns/mlflow.db")
        yield Registry(read_contract(folder).name)
