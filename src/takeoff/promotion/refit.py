"""The fresh process of a promotion: ``python -m takeoff.promotion.refit FOLDER NAME`` fits the module again.

It knows the module's text and what `recorder` wrote, and nothing of the notebook.
"""

import importlib.util
import sys
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from takeoff import calibration, export, files, model, paths, value
from takeoff.candidates import Fitted, Probabilities, be_deterministic
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.features import Examples, examples
from takeoff.params import PARAMS_FILE
from takeoff.promotion import recorder
from takeoff.promotion.onnx_advice import advice
from takeoff.settings import parse
from takeoff.stage import read_config

RESULT, AGAIN = "result.json", "again.npy"


class Result(NamedTuple):
    """What came of it.

    Attributes:
        refused: why it failed; then all else is empty.
        seconds: of the fit alone.
        onnx_bytes: size of the file that would ship.
        onnx_difference: largest, between a probability of the fitted object and of that file.
        flipped: decisions on which the two differ.
    """

    refused: str = ""
    seconds: float = 0.0
    onnx_bytes: int = 0
    onnx_difference: float = 0.0
    flipped: int = 0


def main() -> None:
    """Fit once more, and leave what came of it in the folder."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    try:
        result = _repeated(folder, name)
    except TakeoffError as error:
        result = Result(refused=str(error))
    except Exception as error:  # the author's code may raise anything
        result = Result(refused=_explained(error, folder / f"{name}.py"))
    files.write_json(folder / RESULT, result._asdict())


def read(folder: Path) -> Result:
    """What `main` wrote."""
    return Result(**files.read_json(folder / RESULT))


def _repeated(folder: Path, name: str) -> Result:
    contract, _ = read_config()
    record = recorder.read(folder)
    module = _loaded(folder / f"{name}.py", f"takeoff.candidates.{name}")
    settings = parse(module.Settings, record.settings, PARAMS_FILE, f"candidates.{name}.settings")
    fit, validation = (recorder.read_examples(folder, split) for split in ("fit", "validation"))
    project = examples(files.read_rows(paths.split_rows("validation")), contract)
    _be_alike(record)
    started = time.perf_counter()
    fitted = module.fit(fit, validation, settings, contract, record.seed)
    seconds = time.perf_counter() - started
    predicted = np.asarray(fitted.predict(project.features))
    np.save(folder / AGAIN, predicted, allow_pickle=False)
    return _shipped(fitted, predicted, project, contract)._replace(seconds=seconds)


def _loaded(path: Path, name: str) -> ModuleType:
    """A module by its file, under the name that it will have."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where pydantic and dataclasses look for annotations
    spec.loader.exec_module(module)
    return module


def _be_alike(record: recorder.Record) -> None:
    """As the notebook's kernel was; other numbers of threads add up numbers in another order."""
    be_deterministic()
    torch = sys.modules.get("torch")
    if torch and record.threads:
        torch.set_num_threads(record.threads)


def _shipped(fitted: Fitted, predicted: Probabilities, rows: Examples, contract: Contract) -> Result:
    """Calibrate, write as ONNX and compare on all rows, as training will."""
    if not np.isfinite(predicted).all():
        return Result()  # the notebook's did the same or parity says so
    scaling = calibration.fit(predicted, rows.labels)
    try:
        content = export.with_calibration(fitted.to_onnx(), scaling, contract)
        found = model.predict(model.session_of(content), rows.features)
    except Exception as error:  # skl2onnx, torch and ONNX Runtime each raise many
        raise TakeoffError(advice(error)) from None
    expected = calibration.apply(scaling, predicted)
    threshold = value.best_threshold(rows.labels, expected, value.cost_matrix(contract))
    parity = export.parity(expected, found, lambda each: value.decide(each, threshold))
    return Result(onnx_bytes=len(content), onnx_difference=parity.largest_difference, flipped=parity.flipped)


def _explained(error: Exception, path: Path) -> str:
    words = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}".strip(": ")
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
    where = f", at `{(own[-1].line or '').strip()}`" if own else ""
    missing: Any = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    what_to_do = (
        f"`{missing}` is only found from the notebook's folder, or is not installed: what a candidate "
        "imports has to be in src/ or among the project's dependencies"
        if missing
        else "it has to work without the notebook: give `fit` what it needs, or define it in a tagged cell"
    )
    return f"in a fresh process the module fails where the notebook did not: {words}{where}. {what_to_do}"


if __name__ == "__main__":
    main()
