"""Real tables and real rows for the tests of the data, and projects whose stages up to `split` have run."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from pipelines import check_raw, ingest
from pipelines import split as split_stage
from takeoff import dataset, files, paths
from takeoff.contract import CONTRACT_FILE, Contract
from takeoff.params import PARAMS_FILE
from tests.conftest import FIRST_MONTH, LAST_MONTH, PROJECT, shrink

KEEP_EVERY = 4  # rows of the shrunk window, spread over all days: just more than the contract asks for


@pytest.fixture(scope="session")
def tables() -> dict[str, pd.DataFrame]:
    """The raw tables, whole; not to be changed."""
    return dataset.read_tables(dataset.raw_files())


@pytest.fixture(scope="session")
def window_rows(tables: dict[str, pd.DataFrame], contract: Contract) -> pd.DataFrame:
    """Sound rows of the shrunk window, enough for every rule on the table; not to be changed."""
    flights = tables["flights"]
    window = flights[flights["month"].between(FIRST_MONTH, LAST_MONTH)].reset_index(drop=True)
    rows = dataset.build_rows({**tables, "flights": window})[contract.all_columns]
    return rows[::KEEP_EVERY].reset_index(drop=True)


@pytest.fixture(scope="session")
def storm(tables: dict[str, pd.DataFrame]) -> float:
    """The wind that the sensor at Newark reported, as rows hold it."""
    return float(np.float32(tables["weather"]["wind_speed"].max()))


@pytest.fixture(scope="session")
def sound_project(tmp_path_factory: pytest.TempPathFactory, window_rows: pd.DataFrame) -> Path:
    """A project of small size whose rows were checked and split; not to be changed."""
    folder = tmp_path_factory.mktemp("sound project")
    shutil.copy(PROJECT / CONTRACT_FILE, folder)
    shrunk = shrink(yaml.safe_load((PROJECT / PARAMS_FILE).read_text(encoding="utf-8")))
    (folder / PARAMS_FILE).write_text(yaml.safe_dump(shrunk, sort_keys=False), encoding="utf-8")
    files.write_rows(folder / paths.RAW_ROWS, window_rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        check_raw.main()
        split_stage.main()
    return folder


@pytest.fixture(scope="module")
def copies(sound_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes a copy of `sound_project` to spoil."""

    def copy() -> Path:
        folder = tmp_path_factory.mktemp("spoiled") / "a project"
        return Path(shutil.copytree(sound_project, folder))

    return copy


@pytest.fixture
def workplace(copies: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `sound_project` to spoil, and the current folder."""
    folder = copies()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the real configuration, in which `ingest` has run on all flights."""
    folder = tmp_path_factory.mktemp("ingested project")
    for name in (CONTRACT_FILE, PARAMS_FILE):
        shutil.copy(PROJECT / name, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        ingest.main()
    return folder


@pytest.fixture(scope="session")
def all_rows(ingested: Path) -> pd.DataFrame:
    """Every row that `ingest` made, of the window and of production; not to be changed."""
    parts = [files.read_rows(ingested / path) for path in (paths.RAW_ROWS, paths.PRODUCTION_ROWS)]
    return pd.concat(parts, ignore_index=True)
