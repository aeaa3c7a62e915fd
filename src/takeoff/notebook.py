"""What a notebook opens the project with: configuration, rows, and the model that serves."""

import os
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from takeoff import features, files, model, paths
from takeoff.contract import CONTRACT_FILE, Contract
from takeoff.errors import TakeoffError
from takeoff.features import Examples
from takeoff.model import Model
from takeoff.params import PARAMS_FILE, Params
from takeoff.settings import nearest
from takeoff.split import SPLITS
from takeoff.stage import read_config


class Project(NamedTuple):
    """The project around a notebook.

    Attributes:
        folder: of the project, and the current one from now on.
        contract: what a row is.
        params: how models are built, gated and watched.
    """

    folder: Path
    contract: Contract
    params: Params

    def rows(self, split: str) -> pd.DataFrame:
        """Labelled rows of a split, in the order of their time.

        Args:
            split: fit, validation or test.

        Raises:
            TakeoffError: there is no such split, or the pipeline has not made it yet.
        """
        if split not in SPLITS:
            raise TakeoffError(f"There is no split '{split}'; {nearest(split, list(SPLITS))}")
        return files.read_rows(self.folder / paths.split_rows(split))

    def examples(self, split: str) -> Examples:
        """The same rows as models see them; see `takeoff.features.Examples`."""
        return features.examples(self.rows(split), self.contract)

    def production(self) -> pd.DataFrame:
        """Rows from the end of the window on, which nothing was fitted on; labelled where that is known."""
        return files.read_rows(self.folder / paths.PRODUCTION_ROWS)

    def champion(self) -> Model:
        """The released model.

        Raises:
            TakeoffError: nothing was released yet.
        """
        return model.load(self.folder / paths.RELEASED)


def open_project(start: Path | None = None) -> Project:
    """Find the project, go to its folder, and read its configuration.

    Args:
        start: where to look first, then above it; the current folder, if not given.

    Raises:
        TakeoffError: there is no project there or above, or its configuration is not valid.
    """
    here = (start or Path()).resolve()
    for folder in (here, *here.parents):
        if (folder / CONTRACT_FILE).is_file() and (folder / PARAMS_FILE).is_file():
            os.chdir(folder)  # all paths of the project are relative to it
            if str(folder) not in sys.path:
                sys.path.insert(0, str(folder))  # where monitoring/ and serving/ are
            contract, params = read_config()
            return Project(folder, contract, params)
    raise TakeoffError(
        f"There is no project here: neither this folder nor one above it holds {CONTRACT_FILE} and "
        f"{PARAMS_FILE}. Open the notebook from the project with `make lab`, or give its folder: "
        "open_project(Path('...'))."
    )
