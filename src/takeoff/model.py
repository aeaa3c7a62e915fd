"""The shipped model: one ONNX file and what is known of it, loaded and asked.

Imports only numpy and ONNX Runtime, so that the packaged service needs nothing else.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from takeoff.errors import TakeoffError

MODEL_FILE = "model.onnx"
CARD_FILE = "model.json"
OUTPUT = "probabilities"
MISSING_TEXT = ""  # how a missing category reaches a model: ONNX has no missing string


@dataclass(frozen=True)
class Model:
    """A loaded model.

    Attributes:
        session: the ONNX Runtime session; its inputs are the contract's columns.
        card: what ``model.json`` says: candidate, contract hash, classes, vocabularies and so on.
    """

    session: ort.InferenceSession
    card: Mapping[str, Any]


def load(folder: Path, threads: int = 1) -> Model:
    """Load ``model.onnx`` and ``model.json`` from a folder.

    Args:
        folder: where both files are.
        threads: threads for one prediction; more than one helps only large batches.

    Raises:
        TakeoffError: a file is missing or cannot be read.
    """
    try:
        card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
        session = session_of(folder / MODEL_FILE, threads)
    except FileNotFoundError as error:
        raise TakeoffError(f"{error.filename} is missing. Run `dvc repro`, which makes it.") from None
    except ValueError:
        raise TakeoffError(f"{folder.as_posix()}/{CARD_FILE} is not valid JSON.") from None
    return Model(session, card)


def session_of(model: Path | bytes, threads: int = 1) -> ort.InferenceSession:
    """A CPU session for an ONNX file or its bytes.

    Raises:
        TakeoffError: it is no ONNX model.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else model.read_bytes()
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has no common base class for what it raises
        name = "the model" if isinstance(model, bytes) else model.name
        raise TakeoffError(f"{name} is not a readable ONNX file ({type(error).__name__}).") from None


def predict(session: ort.InferenceSession, columns: Any) -> npt.NDArray[np.float32]:
    """Probability of each class.

    Args:
        session: of a shipped model.
        columns: by name, as a mapping or a pandas frame: one array of shape (n,) or (n, 1) per contract
            column: float32 with NaN where missing, or object (str) with "" where missing.

    Returns:
        float32, shape (n, classes), rows sum to 1.
    """
    feed = {}
    for entry in session.get_inputs():
        dtype = object if entry.type == "tensor(string)" else np.float32
        feed[entry.name] = np.asarray(columns[entry.name], dtype=dtype).reshape(-1, 1)
    return run(session, feed)


def run(session: ort.InferenceSession, feed: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """`predict` of columns that already have the dtypes and the shape (n, 1) that the model takes."""
    (probabilities,) = session.run([OUTPUT], feed)
    return np.asarray(probabilities, dtype=np.float32)
