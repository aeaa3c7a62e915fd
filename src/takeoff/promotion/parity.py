"""Prove, in a fresh process, that a module computes what its notebook computed."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from takeoff import files, paths
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.params import Params
from takeoff.promotion import recorder, refit
from takeoff.promotion.onnx_advice import SCALED_TREES
from takeoff.promotion.refit import Result
from takeoff.promotion.trial import environment

WORST = 10  # differing rows that are shown


class Proof(NamedTuple):
    """What held.

    Attributes:
        rows: of validation, on which both were asked.
        largest_difference: between a probability of the notebook's object and of the module's.
        seconds: of the module's fit.
        onnx_bytes, onnx_difference: see `refit.Result`.
    """

    rows: int
    largest_difference: float
    seconds: float
    onnx_bytes: int
    onnx_difference: float


def prove(name: str, text: str, folder: Path, contract: Contract, params: Params) -> Proof:
    """Fit a module anew on the rows that the notebook's `fit` was given, and compare on validation.

    Args:
        name: of the candidate.
        text: of its module.
        folder: where `recorder.save` wrote.
        contract, params: of the project in the current folder.

    Raises:
        TakeoffError: the module fails, does not predict what the notebook's object predicted, or its ONNX
            file does not say what it says.
    """
    result = _refit(name, text, folder, "module")
    if result.refused:
        raise TakeoffError(f"{name}: {result.refused.rstrip('.')}. Nothing was changed.")
    expected, found = recorder.read_predicted(folder), _again(folder)
    differences = differences_of(expected, found)
    allowed = params.parity.largest_difference
    if not (differences < allowed).all():  # NaN fails too
        same_twice = _fits_the_same_twice(name, text, folder, found)
        raise TakeoffError(_unequal(name, expected, found, allowed, same_twice, contract))
    if not (result.onnx_difference < allowed and result.flipped == 0):
        raise TakeoffError(
            f"{name}: the ONNX file does not say what the fitted model says. On {len(found):,} validation "
            f"rows the largest difference is {result.onnx_difference:.2g} (must be under {allowed:g}) and "
            f"{result.flipped:,} decisions flip (must be 0). {SCALED_TREES} Nothing was changed."
        )
    largest = float(differences.max(initial=0))
    return Proof(len(found), largest, result.seconds, result.onnx_bytes, result.onnx_difference)


def differences_of(
    expected: npt.NDArray[np.floating], found: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Largest difference of each row, shape (n,); infinite for all where the shapes differ, NaN stays."""
    if expected.shape != found.shape:
        return np.full(len(expected), np.inf)
    return np.asarray(np.abs(expected.astype("float64") - found.astype("float64")).max(axis=1))


def table_of(
    expected: npt.NDArray[np.floating],
    found: npt.NDArray[np.floating],
    ids: pd.Series,
    classes: tuple[str, ...],
    allowed: float,
) -> str:
    """The rows that differ most, as lines for people.

    Args:
        expected, found: probabilities, shape (n, classes).
        ids: of the rows.
        allowed: from here on a row differs.
    """
    differences = differences_of(expected, found)
    differing = np.flatnonzero(~(differences < allowed))
    # A NaN is the worst of all.
    worst = sorted(differing, key=lambda row: -np.nan_to_num(differences[row], nan=np.inf))[:WORST]
    lines: list[tuple[str, ...]] = [("row", str(ids.name), "class", "notebook", "module", "difference")]
    for row in worst:
        place = int(np.argmax(np.nan_to_num(np.abs(expected[row] - found[row]), nan=np.inf)))
        numbers = (float(expected[row, place]), float(found[row, place]))
        shown = (*(f"{number:.6f}" for number in numbers), f"{differences[row]:.2g}")
        lines.append((str(row), str(ids.iloc[row]), classes[place], *shown))
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    text = "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    more = len(differing) - len(worst)
    return f"{text}\n... and {more:,} rows more" if more else text


def _refit(name: str, text: str, folder: Path, who: str) -> Result:
    files.write_text(folder / f"{name}.py", text)
    (folder / refit.RESULT).unlink(missing_ok=True)
    # What a library prints is of use only where the process dies; on a terminal progress is.
    watched = sys.stderr.isatty()
    process = subprocess.run(
        [sys.executable, "-m", "takeoff.promotion.refit", str(folder), name],
        env={**os.environ, **environment(who)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=None if watched else subprocess.PIPE,
        text=True,
    )
    if process.returncode != 0 or not (folder / refit.RESULT).is_file():
        words = (process.stderr or "").strip().splitlines()[-1:] or ["it said nothing"]
        raise TakeoffError(
            f"{name}: the process that fits the module again ended with {process.returncode} ({words[0]}). "
            "Where memory ran out, let the notebook fit on fewer rows. Nothing was changed."
        )
    return refit.read(folder)


def _again(folder: Path) -> npt.NDArray[np.floating]:
    return np.asarray(np.load(folder / refit.AGAIN, allow_pickle=False))


def _fits_the_same_twice(name: str, text: str, folder: Path, before: npt.NDArray[np.floating]) -> bool:
    result = _refit(name, text, folder, "module again")
    return not result.refused and np.array_equal(before, _again(folder), equal_nan=True)


def _unequal(
    name: str,
    expected: npt.NDArray[np.floating],
    found: npt.NDArray[np.floating],
    allowed: float,
    same_twice: bool,
    contract: Contract,
) -> str:
    if expected.shape != found.shape:
        return (
            f"{name}: the module predicts an array of shape {found.shape}, the notebook {expected.shape}. "
            "Nothing was changed."
        )
    ids = files.read_rows(paths.split_rows("validation"))[contract.id]
    differing = int((~(differences_of(expected, found) < allowed)).sum())
    if not np.isfinite(expected).all():
        reason = (
            "The notebook's object predicts NaN or infinity: its fit diverged, or missing values reach it."
        )
    elif same_twice:
        reason = (
            "Two fresh processes agree with each other, so the notebook's `fit` used something that the "
            "module does not have: a variable that changes from call to call, a seed set in another cell, a "
            "model that was changed after `fit`; or it iterates over a set, whose order is another in each "
            "process. Give `fit` all it needs as arguments, sort what comes out of a set, and promote again."
        )
    else:
        reason = (
            "Two fresh processes differ from each other too, so `fit` draws random numbers without a seed, "
            "iterates over a set, or reads the clock or what else changes. Pass `seed` to all that is random "
            "(random_state=seed, np.random.default_rng(seed), torch.manual_seed(seed)) inside `fit`, sort "
            "what comes out of a set, and promote again."
        )
    return (
        f"{name}: the module does not predict what the notebook predicted. {differing:,} of "
        f"{len(expected):,} validation rows differ by {allowed:g} (parity.largest_difference) or more:\n\n"
        f"{table_of(expected, found, ids, contract.target.classes, allowed)}\n\n{reason} Nothing was changed."
    )
