"""A small project as the stage `package` leaves it: everything in it has really run, on few rows."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipelines import package, reference, train
from takeoff import files, model, packaging, paths
from takeoff.contract import read_contract
from takeoff.registry import Registry
from tests.small_release import make_released


class Packed(NamedTuple):
    """A project whose `package` stage has run."""

    folder: Path
    store: Path
    bento: Path
    report: dict[str, Any]


def prepare(folder: Path, candidate: str = "rule") -> Path:
    """Fill `folder` with a small project whose `reference` stage has run, ready to be packaged."""
    make_released(folder, candidate)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        reference.main()
    return folder


@contextmanager
def packing(folder: Path, candidate: str) -> Iterator[Packed]:
    """Train, register, package; then stay in the folder, with its Bento store, until the block ends."""
    prepare(folder, candidate)
    store = folder / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        # With its whole path: within one process MLflow keeps connections by the address alone.
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder.as_posix()}/mlflow.db")
        patch.setenv(packaging.STORE_VARIABLE, str(store))
        patch.setattr(sys, "argv", ["train", candidate])
        train.main()
        Registry(read_contract(folder).name).register(files.read_json(paths.RELEASED / model.CARD_FILE))
        package.main()
        report = files.read_json(paths.PACKAGE_REPORT)
        yield Packed(folder, store, packaging.bento_folder(store, report["bento"]), report)
