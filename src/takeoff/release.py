"""The release decision, as a pure function: which candidate, and may it serve."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from takeoff.bootstrap import Estimate, interval
from takeoff.evaluation import HIGHER_IS_BETTER
from takeoff.params import Floor, Metric, Release

Outcome = Literal["released", "refused", "unchanged"]
Standing = Literal["equal", "behind", "misses a floor"]


class Judged(NamedTuple):
    """A model as the gate sees it.

    Attributes:
        name: of the candidate.
        identity: which release it would be; see `identity`.
        contract_hash: of the contract that it was made under.
        upkeep: money a year to keep it alive.
        metrics: measured on the test split.
        draws: the release metric in each resample, the measured value first; float64, shape
            (resamples + 1,). The same resamples for every model, so that differences are paired.
        slices: the release metric by (slice, group), for the critical slices.
    """

    name: str
    identity: str
    contract_hash: str
    upkeep: float
    metrics: Mapping[str, float]
    draws: npt.NDArray[np.float64]
    slices: Mapping[tuple[str, str], float]


class Check(NamedTuple):
    """One line of the gate's table."""

    name: str
    measured: str
    required: str
    passed: bool


class Comparison(NamedTuple):
    """A candidate against the best one.

    Attributes:
        name: of the candidate.
        upkeep: money a year to keep it alive.
        behind_best: in units of the release metric; positive is worse.
        standing: equal to the best within the noise, behind it, or out of the running.
    """

    name: str
    upkeep: float
    behind_best: Estimate
    standing: Standing


class Decision(NamedTuple):
    """What the gate says, and why."""

    outcome: Outcome
    winner: str
    why: str
    comparisons: tuple[Comparison, ...]
    checks: tuple[Check, ...]


def identity(card: Mapping[str, Any]) -> str:
    """What makes a release this one and no other: the ONNX file, its contract, its threshold and costs.

    Args:
        card: what ``model.json`` says.

    Returns:
        The first 16 hex digits of a SHA-256.
    """
    parts = {name: card.get(name) for name in ("onnx_sha256", "contract_hash", "decision")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def decide(
    candidates: Sequence[Judged],
    champion: Judged | None,
    settings: Release,
    confidence: float,
    taken_back: Mapping[str, str] | None = None,
) -> Decision:
    """Choose the cheapest candidate within the noise of the best, and hold it against every requirement.

    Args:
        candidates: at least one, all judged on the same rows with the same resamples.
        champion: the serving model on those rows, or None before the first release.
        settings: what the gate asks.
        confidence: of the paired intervals.
        taken_back: why a release was rolled back, by its identity. Such a one does not come again by
            itself: whoever wants it rolls forward to its version.

    Returns:
        released if every check passes, unchanged if the winner already serves, refused otherwise.
    """
    comparisons = _compare(candidates, settings, confidence)
    winner = _winner(candidates, comparisons)
    checks = [
        *_floor_checks(winner, settings.floors),
        *_baseline_checks(winner, candidates, settings, confidence),
    ]
    if champion and champion.identity != winner.identity:
        checks += _champion_checks(winner, champion, settings, confidence)
    if winner.identity in (taken_back or {}):
        reason = (taken_back or {})[winner.identity]
        checks.append(Check("not rolled back before", f"rolled back: {reason}", "another release", False))
    failed = [
        f"{check.name}: {check.measured} (required: {check.required})" for check in checks if not check.passed
    ]
    if failed:
        outcome: Outcome = "refused"
        why = f"{winner.name} does not pass: {'; '.join(failed)}"
    elif champion and champion.identity == winner.identity:
        outcome, why = "unchanged", f"{winner.name}, just as it serves, is still the best choice"
    else:
        outcome, why = "released", _reason(winner, comparisons, settings)
    return Decision(outcome, winner.name, why, comparisons, tuple(checks))


def _compare(candidates: Sequence[Judged], settings: Release, confidence: float) -> tuple[Comparison, ...]:
    """Every candidate against the one with the best measured value, cheapest first.

    One that misses a floor can win only where all do, so that the gate's table says what is missing.
    """
    sound = [each.name for each in candidates if _reaches_floors(each, settings)]
    running = sound or [each.name for each in candidates]
    best = min(
        (each for each in candidates if each.name in running), key=lambda each: _loss(each, settings)[0]
    )
    found = []
    for each in candidates:
        behind = interval(_loss(each, settings) - _loss(best, settings), confidence)
        standing: Standing = "equal" if behind.low <= 0 else "behind"
        if each.name not in running:
            standing = "misses a floor"
        found.append(Comparison(each.name, each.upkeep, behind, standing))
    return tuple(sorted(found, key=lambda each: (each.upkeep, each.behind_best.value)))


def _winner(candidates: Sequence[Judged], comparisons: Sequence[Comparison]) -> Judged:
    name = next(each.name for each in comparisons if each.standing == "equal")
    return next(each for each in candidates if each.name == name)


def _reaches_floors(judged: Judged, settings: Release) -> bool:
    return all(check.passed for check in _floor_checks(judged, settings.floors))


def _floor_checks(winner: Judged, floors: Mapping[Metric, Floor]) -> list[Check]:
    checks = []
    for name, floor in floors.items():
        measured = winner.metrics[name]
        if floor.min is not None:
            required, passed = f"at least {floor.min:g}", measured >= floor.min
        else:
            required, passed = f"at most {floor.max:g}", measured <= float(floor.max or 0)
        checks.append(Check(f"floor: {_words(name)}", figure(measured), required, passed))
    return checks


def _baseline_checks(
    winner: Judged, candidates: Sequence[Judged], settings: Release, confidence: float
) -> list[Check]:
    checks = []
    for each in candidates:
        if each.name in settings.beats and each.name != winner.name:
            gain = _gain(winner, each, settings, confidence)
            checks.append(
                Check(f"better than {each.name}", _shown(gain), "gain above the noise", gain.low > 0)
            )
    return checks


def _champion_checks(winner: Judged, champion: Judged, settings: Release, confidence: float) -> list[Check]:
    gain = _gain(winner, champion, settings, confidence)
    better, not_worse = gain.low > 0, gain.high >= 0
    cheaper = winner.upkeep < champion.upkeep
    # A champion made under another contract has to go, so equals may take its place.
    outdated = winner.contract_hash != champion.contract_hash
    checks = [
        Check(
            f"against the champion ({champion.name})",
            f"{_shown(gain)}, upkeep {figure(winner.upkeep)} for {figure(champion.upkeep)}",
            "no loss above the noise (it has another contract)"
            if outdated
            else "gain above the noise, or within it and cheaper",
            better or (not_worse and (cheaper or outdated)),
        )
    ]
    for key in sorted(set(winner.slices) & set(champion.slices)):
        allowed = _slice_limit(champion.slices[key], settings)
        measured = winner.slices[key]
        passed = measured >= allowed if settings.metric in HIGHER_IS_BETTER else measured <= allowed
        side = "at least" if settings.metric in HIGHER_IS_BETTER else "at most"
        checks.append(
            Check(f"slice {key[0]} = {key[1]}", figure(measured), f"{side} {figure(allowed)}", passed)
        )
    return checks


def _slice_limit(champion: float, settings: Release) -> float:
    sign = -1 if settings.metric in HIGHER_IS_BETTER else 1
    return champion + sign * abs(champion) * settings.slice_margin


def _gain(winner: Judged, other: Judged, settings: Release, confidence: float) -> Estimate:
    """By how much the winner is better: paired, positive is better."""
    return interval(_loss(other, settings) - _loss(winner, settings), confidence)


def _loss(judged: Judged, settings: Release) -> npt.NDArray[np.float64]:
    return -judged.draws if settings.metric in HIGHER_IS_BETTER else judged.draws


def _reason(winner: Judged, comparisons: Sequence[Comparison], settings: Release) -> str:
    equals = [each.name for each in comparisons if each.standing == "equal" and each.name != winner.name]
    if equals:
        return (
            f"{winner.name} has the lowest upkeep of those that cannot be told apart by "
            f"{_words(settings.metric)} (with {', '.join(equals)})"
        )
    return f"{winner.name} is better than every other candidate by more than the noise"


def _words(name: str) -> str:
    return name.replace("roc_auc", "ROC AUC").replace("_", " ")


def _shown(estimate: Estimate) -> str:
    return f"gain {figure(estimate.value)} [{figure(estimate.low)}, {figure(estimate.high)}]"


def figure(number: float) -> str:
    """Four digits, or as many as stand before the point."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"
