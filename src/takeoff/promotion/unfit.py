"""Values that a module can't carry out of a notebook: data, open files, and what only this run has."""

import io
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from takeoff.features import Examples

MOST_NUMBERS = 1000  # of an array that someone may have written down; what is larger came from data
DEPTH = 3  # how far to look into lists in lists


def kind_of_unfit(value: Any, depth: int = DEPTH) -> str | None:
    """What makes a value unfit for a module, as "a data frame of 12 rows"; None where nothing does."""
    if isinstance(value, Examples):
        return f"{len(value.features):,} rows of data"
    if isinstance(value, pd.DataFrame):
        return f"a data frame of {len(value):,} rows"
    if isinstance(value, pd.Series | pd.Index) and value.size > 0:
        return f"a pandas {type(value).__name__} of {value.size:,} values"
    if isinstance(value, np.ndarray) and value.size > MOST_NUMBERS:
        return f"an array of {value.size:,} values"
    if isinstance(value, io.IOBase):
        return "an open file"
    if type(value).__module__.startswith("IPython."):
        return "the result of a shell command or of a magic"
    if isinstance(value, Iterator):
        return "an iterator, which is empty once it was read"
    return _torch_kind(value) or _sklearn_kind(value) or _inner_kind(value, depth)


def _torch_kind(value: Any) -> str | None:
    torch = sys.modules.get("torch")  # a notebook that did not import it holds nothing of it
    if torch is None:
        return None
    if isinstance(value, torch.nn.Module) and any(True for _ in value.parameters()):
        return "a network with weights"
    if isinstance(value, torch.Tensor) and value.numel() > MOST_NUMBERS:
        return f"a tensor of {value.numel():,} values"
    return None


def _sklearn_kind(value: Any) -> str | None:
    base = sys.modules.get("sklearn.base")
    if base is None or not isinstance(value, base.BaseEstimator):
        return None
    fitted = [name for name in vars(value) if name.endswith("_") and not name.startswith("_")]
    steps = vars(value).get("steps") or []
    if fitted or any(_sklearn_kind(step) for _, step in steps):
        return "a fitted estimator"
    return None


def _inner_kind(value: Any, depth: int) -> str | None:
    inner = list(value.values()) if isinstance(value, Mapping) else value
    if depth == 0 or not isinstance(inner, list | tuple | set | frozenset):
        return None
    kind = next((kind for each in inner if (kind := kind_of_unfit(each, depth - 1))), None)
    return None if kind is None else f"a {type(value).__name__} that holds {kind}"
