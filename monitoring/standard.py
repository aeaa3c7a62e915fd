"""What production is measured against: the champion and its promise, its reference, the plain rule.

Whatever of it is missing or does not fit is left out with a note, as the rest can still be measured.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from monitoring import plain_rule
from monitoring.plain_rule import PlainRule
from monitoring.profiles import Reference
from takeoff import files, paths
from takeoff.contract import CONTRACT_FILE, Contract
from takeoff.errors import TakeoffError
from takeoff.loading import loading
from takeoff.model import CARD_FILE
from takeoff.params import Params

if TYPE_CHECKING:
    from takeoff.registry import Registry, Version

METHOD = 1  # raised when windows have to be measured anew because the way of measuring has changed
Found = TypeVar("Found")


class Standard(NamedTuple):
    """What windows are measured against.

    Attributes:
        contract, params: of the project.
        registry: of model versions; None where it can't be asked.
        version: number of the champion; None where the registry can't say.
        card: of the champion, or of the released model.
        reference: what drift is measured against; None where there is none for this contract.
        owns_reference: whether the reference is the champion's own; after a rollback it is another's.
        rule: the plain rule; None where there is none to compare with.
        thresholds: by the challenger's version, as the service logs it.
        notes: what is missing, and why.
        digest: of all of it.
    """

    contract: Contract
    params: Params
    registry: "Registry | None"
    version: str | None
    card: Mapping[str, Any]
    reference: Reference | None
    owns_reference: bool
    rule: PlainRule | None
    thresholds: Mapping[str, float]
    notes: list[str]
    digest: str

    def describe(self) -> dict[str, Any]:
        """The part `reference` of a window's JSON."""
        return {
            "model_version": self.version,
            "candidate": self.card.get("candidate"),
            "onnx_sha256": self.reference.onnx_sha256 if self.reference else None,
            "contract_hash": self.reference.contract_hash if self.reference else None,
            "promised": dict(self.card.get("metrics", {})),
        }


def load(contract: Contract, params: Params) -> Standard:
    """What the pipeline and the registry of the project in the current folder say.

    Raises:
        TakeoffError: no model was released yet.
    """
    with loading():  # MLflow takes a second
        from takeoff.registry import Registry

    notes: list[str] = []
    registry = _or_note(lambda: Registry(contract.name), notes)
    champion = _or_note(registry.champion, notes) if registry else None
    card = champion.card if champion else files.read_json(paths.RELEASED / CARD_FILE)
    if champion is None:
        notes.append(
            "The registry names no champion: windows are judged whichever version answered, against the "
            "model in models/released."
        )
    reference = _reference(contract, notes)
    owns = reference is not None and reference.onnx_sha256 == card["onnx_sha256"]
    if reference and not owns:
        notes.append(
            "The reference was made for another model than the champion, as after a rollback: drift of the "
            "predictions is left out. Run `make run`, which makes the champion's own."
        )
    rule = None
    if params.release.beats:
        name = params.release.beats[0]
        rule = _or_note(lambda: plain_rule.load(Path(), name, contract), notes)
    return Standard(
        contract=contract,
        params=params,
        registry=registry,
        version=champion.number if champion else None,
        card=card,
        reference=reference,
        owns_reference=owns,
        rule=rule,
        thresholds=_thresholds(),
        notes=notes,
        digest=_digest(contract, params, champion, card, reference, rule),
    )


def unknown_versions(against: Standard, versions: Iterable[str]) -> list[str]:
    """Versions that gave answers and are not in the registry; none where it can't be asked."""
    registry = against.registry
    if registry is None:
        return []
    others = [each for each in versions if each != against.version]
    try:
        return [each for each in others if not (each.isdecimal() and registry.version(each))]
    except TakeoffError:
        return []


def _or_note(get: Callable[[], Found], notes: list[str]) -> Found | None:
    try:
        return get()
    except TakeoffError as error:
        notes.append(str(error))
        return None


def _reference(contract: Contract, notes: list[str]) -> Reference | None:
    reference = _or_note(Reference.load, notes)
    if reference is None or reference.contract_hash == contract.hash:
        return reference
    notes.append(
        f"{CONTRACT_FILE} has changed since the reference was made ({reference.contract_hash}, now "
        f"{contract.hash}): drift can't be measured. Run `make run`, which makes a model and a reference "
        "for it."
    )
    return None


def _thresholds() -> dict[str, float]:
    if not (paths.CHALLENGER / CARD_FILE).is_file():
        return {}
    card = files.read_json(paths.CHALLENGER / CARD_FILE)
    # The name that the service logs for it.
    return {f"{card['candidate']}-{card['onnx_sha256'][:12]}": float(card["decision"]["threshold"])}


def _digest(
    contract: Contract,
    params: Params,
    champion: "Version | None",
    card: Mapping[str, Any],
    reference: Reference | None,
    rule: PlainRule | None,
) -> str:
    folder = sorted(paths.REFERENCE.iterdir()) if reference else []
    parts = {
        "method": METHOD,
        "contract": contract.hash,
        "seed": params.seed,
        "evaluation": params.evaluation.model_dump(mode="json"),
        "monitoring": params.monitoring.model_dump(mode="json", exclude={"decision", "webhook_seconds"}),
        "champion": champion.number if champion else None,
        "card": {key: card.get(key) for key in ("onnx_sha256", "decision", "metrics")},
        "reference": {file.name: files.sha256(file) for file in folder if file.is_file()},
        "rule": [rule.name, rule.threshold] if rule else None,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
