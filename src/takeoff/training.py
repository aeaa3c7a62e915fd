"""From examples to one proven ONNX file: fit, calibrate, export, compare."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from takeoff import calibration, candidates, evaluation, export, model, value
from takeoff.candidates import Probabilities
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.features import Examples
from takeoff.params import PARAMS_FILE, Params
from takeoff.settings import parse


class Trained(NamedTuple):
    """What a fit leaves.

    Attributes:
        onnx: the file that ships.
        card: what ``model.json`` says of it.
        metrics: on validation, of the ONNX file.
        steps: metrics by step of the fit.
        probabilities: of the ONNX file on validation, float32, shape (n, classes).
    """

    onnx: bytes
    card: dict[str, Any]
    metrics: dict[str, float]
    steps: Sequence[Mapping[str, float]]
    probabilities: Probabilities


def train(name: str, fit: Examples, validation: Examples, params: Params, contract: Contract) -> Trained:
    """Fit a candidate and write it as ONNX.

    Raises:
        TakeoffError: a setting is not allowed, a split has one class only, the fit diverged, the model
            has no ONNX form, or the ONNX file does not say what the fitted object says.
    """
    for split, labels in (("fit", fit.labels), ("validation", validation.labels)):
        evaluation.check_classes(split, labels, contract)
    module = candidates.load(name)
    declared = params.candidates[name]
    settings = parse(module.Settings, declared.settings, PARAMS_FILE, f"candidates.{name}.settings")
    candidates.be_deterministic()
    fitted = module.fit(fit, validation, settings, contract, params.seed)
    scores = fitted.predict(validation.features)
    if not np.isfinite(scores).all():
        raise TakeoffError(
            f"{name}: the fitted model predicts NaN or infinity on validation. Nothing is kept."
        )
    scaling = calibration.fit(scores, validation.labels)
    content = export.with_calibration(fitted.to_onnx(), scaling, contract)
    probabilities = model.predict(model.session_of(content), validation.features)
    parity = _prove(name, calibration.apply(scaling, scores), probabilities, validation, params, contract)
    card = {
        "candidate": name,
        "task": contract.task,
        "classes": list(contract.target.classes),
        "contract_hash": contract.hash,
        "onnx_sha256": hashlib.sha256(content).hexdigest(),
        "upkeep": declared.upkeep,
        "seed": params.seed,
        "settings": settings.model_dump(mode="json"),
        "calibration": {"slope": round(scaling.slope, 6), "bias": [round(each, 6) for each in scaling.bias]},
        "parity": {**parity._asdict(), "largest_allowed": params.parity.largest_difference},
        "seen": _seen(fit.features, contract),
        "gaps": [name for name in contract.numbers if fit.features[name].isna().any()],
    }
    return Trained(
        content, card, _metrics(validation, probabilities, params, contract), fitted.steps, probabilities
    )


def _prove(
    name: str,
    expected: Probabilities,
    exported: Probabilities,
    validation: Examples,
    params: Params,
    contract: Contract,
) -> export.Parity:
    """Compare fitted object and ONNX file on all of validation, and refuse any doubt."""
    threshold = value.best_threshold(validation.labels, expected, value.cost_matrix(contract))
    found = export.parity(expected, exported, lambda each: value.decide(each, threshold))
    allowed = params.parity.largest_difference
    # Written so that NaN fails too.
    if not (found.largest_difference < allowed and found.flipped == 0):
        raise TakeoffError(
            f"{name}: the ONNX file does not say what the fitted model says. On {found.rows:,} validation "
            f"rows the largest difference is {found.largest_difference:.2g} (must be under {allowed:g}) and "
            f"{found.flipped:,} decisions flip (must be 0). Nothing is kept."
        )
    return found


def _metrics(
    validation: Examples, probabilities: Probabilities, params: Params, contract: Contract
) -> dict[str, float]:
    threshold = value.best_threshold(validation.labels, probabilities, value.cost_matrix(contract))
    scored = evaluation.score(validation.labels, probabilities, threshold, contract)
    measured = evaluation.measure_once(scored, params.evaluation.calibration_bins)
    return {f"validation_{name}": number for name, number in measured.items()}


def _seen(features: pd.DataFrame, contract: Contract) -> dict[str, Any]:
    """What the fit rows held: values of each category, range of each number."""
    values = {name: sorted(set(features[name])) for name in contract.categories}
    ranges = {
        name: [float(features[name].min()), float(features[name].max())]
        for name in contract.numbers
        if features[name].notna().any()
    }
    return {**values, **ranges}
