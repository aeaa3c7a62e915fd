"""What several folders of tests share: the real configuration, and real rows of a shrunk window."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

# Small models gain nothing from threads, and threads that wait for each other on a busy machine lose much.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pandas as pd
import pytest
import yaml

from pipelines import split as split_stage
from takeoff import dataset, files, paths
from takeoff.contract import CONTRACT_FILE, Contract, read_contract
from takeoff.features import Examples, examples
from takeoff.params import PARAMS_FILE, Params, read_params
from takeoff.training import Trained, train
from tests.postgres import postgres, started_postgres  # noqa: F401  # fixtures for every folder

PROJECT = Path(__file__).parents[1]
FIRST_MONTH, LAST_MONTH = 4, 6  # one each to fit, to validate and to test
KEEP_EVERY = 8  # rows, spread over all days


def shrink(params: dict[str, Any]) -> dict[str, Any]:
    """The real parameters, with less of everything that costs time."""
    settings = {name: each["settings"] for name, each in params["candidates"].items()}
    params["window"] = {"start": f"2013-{FIRST_MONTH:02}-01", "end": f"2013-{LAST_MONTH + 1:02}-01"}
    settings["boosted"].update(trees=15, patience=5, rows_per_leaf=50, learning_rate=0.2)
    settings["network"].update(
        members=2, hidden=[16], epochs=3, batch_rows=256, learning_rate=0.01, device="cpu"
    )
    params["evaluation"].update(resamples=100, slice_rows=100)
    return params


def run_stage(stage: Any, *arguments: str) -> None:
    """A stage in this process, as from the command line in the current folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [stage.__name__, *arguments])
        stage.main()


@pytest.fixture(scope="session")
def contract() -> Contract:
    return read_contract(PROJECT)


@pytest.fixture(scope="session")
def params(contract: Contract) -> Params:
    """As they are in the project: for what a test wants to import."""
    return read_params(PROJECT, contract)


@pytest.fixture(scope="session")
def split_project(tmp_path_factory: pytest.TempPathFactory, contract: Contract) -> Path:
    """A project of small size whose `split` stage has run; not to be changed."""
    folder = tmp_path_factory.mktemp("split project")
    shutil.copy(PROJECT / CONTRACT_FILE, folder)
    shrunk = shrink(yaml.safe_load((PROJECT / PARAMS_FILE).read_text(encoding="utf-8")))
    (folder / PARAMS_FILE).write_text(yaml.safe_dump(shrunk, sort_keys=False), encoding="utf-8")

    tables = dataset.read_tables(dataset.raw_files())
    flights = tables["flights"]
    window = flights[flights["month"].between(FIRST_MONTH, LAST_MONTH)].reset_index(drop=True)
    rows = dataset.build_rows({**tables, "flights": window})[contract.all_columns]
    files.write_rows(folder / paths.CHECKED_ROWS, rows[::KEEP_EVERY].reset_index(drop=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        split_stage.main()
    return folder


@pytest.fixture
def project(split_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of `split_project` to work in, with an empty MLflow store of its own."""
    folder = tmp_path / "a project"
    shutil.copytree(split_project, folder)
    monkeypatch.chdir(folder)
    # With its whole path: within one process MLflow keeps connections by the address alone.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder.as_posix()}/mlflow.db")
    yield folder


@pytest.fixture(scope="session")
def small_params(split_project: Path, contract: Contract) -> Params:
    """The real parameters, shrunk; see `shrink`."""
    return read_params(split_project, contract)


@pytest.fixture(scope="session")
def split_rows(split_project: Path) -> Callable[[str], pd.DataFrame]:
    """Rows of a split by its name; not to be changed."""
    return cache(lambda name: files.read_rows(split_project / paths.split_rows(name)))


@pytest.fixture(scope="session")
def split_examples(
    split_rows: Callable[[str], pd.DataFrame], contract: Contract
) -> Callable[[str], Examples]:
    """Features and labels of a split by its name; not to be changed."""
    return cache(lambda name: examples(split_rows(name), contract))


@pytest.fixture(scope="session")
def trained(
    split_examples: Callable[[str], Examples], small_params: Params, contract: Contract
) -> Callable[[str], Trained]:
    """A trained candidate by its name, each fitted once."""
    return cache(
        lambda name: train(name, split_examples("fit"), split_examples("validation"), small_params, contract)
    )
