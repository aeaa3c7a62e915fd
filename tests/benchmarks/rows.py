"""Real rows of the test split, as each server wants them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from takeoff.contract import Contract
from takeoff.features import features
from takeoff.model import MISSING_TEXT

Row = Mapping[str, Any]
Arrays = dict[str, npt.NDArray[Any]]


def spread(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """So many rows, evenly over all."""
    places = np.linspace(0, len(rows) - 1, count).astype(int)
    return rows.iloc[places].reset_index(drop=True)


def as_sent(rows: pd.DataFrame, contract: Contract) -> list[Row]:
    """Each row as a caller would send it: shortest numbers, null where missing."""
    columns = contract.columns.items()
    return [
        {name: _plain(row[name], column.type) for name, column in columns} for row in rows.to_dict("records")
    ]


def single(rows: Iterable[Row]) -> list[str]:
    """A body a row."""
    return [json.dumps(row) for row in rows]


def batches(rows: list[Row], size: int) -> list[str]:
    """A body every `size` rows, as /predict_batch wants them."""
    return [json.dumps({"rows": rows[start : start + size]}) for start in range(0, len(rows), size)]


def as_frames(rows: Iterable[Row]) -> list[str]:
    """A body a row as MLflow's frame."""
    return [
        json.dumps({"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}) for row in rows
    ]


def as_tensors(rows: Iterable[Row], contract: Contract) -> list[str]:
    """A body a row as MLflow's tensors: of shape (1, 1), and never missing."""
    gaps = {
        name: float("nan") if column.is_number else MISSING_TEXT for name, column in contract.columns.items()
    }
    return [
        json.dumps({"inputs": {name: [[gaps[name] if v is None else v]] for name, v in row.items()}})
        for row in rows
    ]


def arrays(rows: pd.DataFrame, size: int, contract: Contract) -> list[Arrays]:
    """Every `size` rows as what ONNX Runtime is fed: an array of shape (size, 1) per column."""
    frame = features(rows, contract)
    return [
        {name: frame[name].to_numpy()[start : start + size].reshape(-1, 1) for name in contract.columns}
        for start in range(0, len(frame), size)
    ]


def write(bodies: Iterable[str], file: Path) -> Path:
    """Bodies as the lines of a file, for `load`."""
    file.write_text("".join(f"{body}\n" for body in bodies), encoding="utf-8")
    return file


def _plain(value: Any, kind: str) -> Any:
    if pd.isna(value):
        return None
    if kind == "category":
        return value
    # A float32 as a float64 has digits that nobody would send.
    return int(value) if kind == "integer" else float(str(np.float32(value)))
