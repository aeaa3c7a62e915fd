"""A small project as the stage `release` leaves it: real rows, the real contract, a real trained model."""

import shutil
from functools import cache
from pathlib import Path

import pandas as pd

from takeoff import dataset, files, paths, training, value
from takeoff.contract import CONTRACT_FILE, Contract, read_contract
from takeoff.features import examples
from takeoff.model import CARD_FILE, MODEL_FILE
from takeoff.params import PARAMS_FILE, read_params
from takeoff.split import labelled

PROJECT = Path(__file__).parents[1]
FLIGHTS = 9_000  # the first ten days of the year
FIT_ROWS = 6_000


@cache
def small_rows() -> pd.DataFrame:
    """Labelled contract rows of the first days; not to be changed."""
    tables = {
        name: pd.read_csv(path, nrows=FLIGHTS if name == "flights" else None)
        for name, path in dataset.raw_files().items()
    }
    return labelled(dataset.build_rows(tables), read_contract(PROJECT))


def make_released(folder: Path, candidate: str) -> Contract:
    """Fill `folder` with configuration, service, splits and a released model of small rows."""
    for name in (CONTRACT_FILE, PARAMS_FILE):
        shutil.copy(PROJECT / name, folder / name)
    left_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "serving", folder / "serving", ignore=left_out, dirs_exist_ok=True)
    contract = read_contract(folder)
    fit, validation = small_rows()[:FIT_ROWS], small_rows()[FIT_ROWS:].reset_index(drop=True)
    for split, rows in (("fit", fit), ("validation", validation)):
        files.write_rows(folder / paths.split_rows(split), rows)

    judged = examples(validation, contract)
    trained = training.train(
        candidate, examples(fit, contract), judged, read_params(folder, contract), contract
    )
    threshold = value.best_threshold(judged.labels, trained.probabilities, value.cost_matrix(contract))
    files.write_bytes(folder / paths.RELEASED / MODEL_FILE, trained.onnx)
    times = fit[contract.time.column]
    files.write_json(
        folder / paths.RELEASED / CARD_FILE,
        {
            **trained.card,
            "training": {"start": str(times.min()), "end": str(times.max()), "rows": len(fit)},
            "decision": {"threshold": threshold},
        },
    )
    return contract
