"""Stage `release`: hold the candidates against the gate and the champion; act on what it says."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from rich.table import Table

from takeoff import bootstrap, evaluation, files, history, model, paths
from takeoff.bootstrap import Resamples
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.evaluation import METRICS, Scored
from takeoff.features import examples
from takeoff.history import Record
from takeoff.model import CARD_FILE, MODEL_FILE
from takeoff.params import Params
from takeoff.registry import Registry, Version
from takeoff.release import Decision, Judged, decide, figure, identity
from takeoff.split import periods
from takeoff.stage import read_config, run, show


def main() -> None:
    contract, params = read_config()
    registry = Registry(contract.name)
    rows = files.read_rows(paths.split_rows("test"))
    evaluated = files.read_json(paths.EVALUATION_REPORT)
    cards = {name: _released_card(name, evaluated, params, contract) for name in params.compete}
    contents = {name: _content(card) for name, card in cards.items()}
    champion = _comparable(registry.champion(), contract)

    resamples = bootstrap.resample(rows, contract, params.evaluation.resamples, params.seed)
    judged = [
        _judge(cards[name], contents[name], rows, resamples, params, contract) for name in params.compete
    ]
    serving = (
        _judge(champion.card, registry.onnx_of(champion), rows, resamples, params, contract)
        if champion
        else None
    )
    decision = decide(judged, serving, params.release, params.evaluation.confidence, _taken_back(registry))
    card = cards[decision.winner]
    caution = _caution(champion, params, contract) if champion else None
    show(_table(decision, champion, caution))
    report = _report(decision, card, champion, caution)
    if decision.outcome == "refused":
        _refuse(registry, decision, report)
    _release(registry, decision, card, report)
    challenger = params.release.challenger

    def fill(folder: Path) -> None:
        _write(folder, contents[decision.winner], card)
        if challenger and challenger != decision.winner:
            _write(folder / paths.CHALLENGER.name, contents[challenger], cards[challenger])

    files.replace_folder(paths.RELEASED, fill)


def _released_card(
    name: str, evaluated: dict[str, Any], params: Params, contract: Contract
) -> dict[str, Any]:
    """What ``model.json`` says of a candidate once its threshold and its test are known."""
    if name not in evaluated:
        raise TakeoffError(
            f"{paths.EVALUATION_REPORT.as_posix()} says nothing of candidate {name}. "
            f"Run `dvc repro`, which measures it first."
        )
    period, found = periods(params, contract)["test"], evaluated[name]
    return {
        **files.read_json(paths.CANDIDATES / name / CARD_FILE),
        "decision": {"threshold": found["threshold"], "costs": contract.costs.model_dump(mode="json")},
        "test": {"start": period.start.isoformat(), "end": period.end.isoformat(), "rows": found["rows"]},
        "metrics": found["metrics"],
    }


def _content(card: dict[str, Any]) -> bytes:
    """The ONNX file of a candidate, which must be the one that its card is about."""
    path = paths.CANDIDATES / card["candidate"] / MODEL_FILE
    content = path.read_bytes() if path.exists() else b""
    if hashlib.sha256(content).hexdigest() != card["onnx_sha256"]:
        raise TakeoffError(
            f"{path.as_posix()} is not the file that training wrote. "
            f"Run `dvc repro --force train@{card['candidate']}`, then `dvc repro`."
        )
    return content


def _taken_back(registry: Registry) -> dict[str, str]:
    """Identities of the releases that were rolled back, with the reason."""
    found = {}
    for number, why in history.taken_back(registry.history()).items():
        if version := registry.version(number):
            found[identity(version.card)] = why
    return found


def _comparable(champion: Version | None, contract: Contract) -> Version | None:
    """The champion, unless it takes columns that rows no longer have."""
    if champion and (lost := set(champion.card["seen"]) - set(contract.columns)):
        print(
            f"The champion (version {champion.number}) needs columns that the contract no longer has "
            f"({', '.join(sorted(lost))}), so it can't be compared: floors and baselines decide."
        )
        return None
    return champion


def _caution(champion: Version, params: Params, contract: Contract) -> str | None:
    """What has to be said where the window moved back, so that the champion has met rows it is judged on."""
    start = periods(params, contract)["test"].start
    until = pd.Timestamp(champion.card["test"]["start"]) if "test" in champion.card else start
    if until <= start:
        return None
    day, first = (each.tz_convert(contract.time.zone).date() for each in (until, start))
    return (
        f"Version {champion.number} was made with rows up to {day}, and the test split starts on {first}: "
        f"it is judged too kindly"
    )


def _judge(
    card: dict[str, Any],
    content: bytes,
    rows: pd.DataFrame,
    resamples: Resamples,
    params: Params,
    contract: Contract,
) -> Judged:
    test = examples(rows, contract)
    probabilities = model.predict(model.session_of(content), test.features)
    scored = evaluation.score(test.labels, probabilities, card["decision"]["threshold"], contract)
    settings, metric = params.evaluation, METRICS[params.release.metric]
    return Judged(
        name=card["candidate"],
        identity=identity(card),
        contract_hash=card["contract_hash"],
        upkeep=card["upkeep"],
        metrics=evaluation.measure_once(scored, settings.calibration_bins),
        draws=metric(scored, resamples, settings.calibration_bins),
        slices=_slices(scored, rows, params, contract),
    )


def _slices(
    scored: Scored, rows: pd.DataFrame, params: Params, contract: Contract
) -> dict[tuple[str, str], float]:
    """The release metric in every group of the critical slices that holds both classes."""
    return {
        (name, group): evaluation.measure_once(scored.only(mask), params.evaluation.calibration_bins)[
            params.release.metric
        ]
        for name, group, mask in evaluation.slice_masks(rows, params.evaluation, contract)
        if name in params.release.critical_slices and len(np.unique(scored.labels[mask])) > 1
    }


def _table(decision: Decision, champion: Version | None, caution: str | None) -> Table:
    against = f"champion: version {champion.number}" if champion else "no champion yet"
    caption = f"{decision.why}\n{caution}" if caution else decision.why
    table = Table(title=f"Release gate: {decision.winner} ({against})", caption=caption)
    for heading in ("check", "measured", "required", ""):
        table.add_column(heading)
    for each in decision.comparisons:
        behind = each.behind_best
        table.add_row(
            f"candidate: {each.name}, upkeep {figure(each.upkeep)}",
            f"{figure(behind.value)} [{figure(behind.low)}, {figure(behind.high)}] behind the best",
            "interval reaches 0",
            each.standing,
        )
    table.add_section()
    for check in decision.checks:
        verdict = "[green]pass[/]" if check.passed else "[bold red]FAIL[/]"
        table.add_row(check.name, check.measured, check.required, verdict)
    return table


def _report(
    decision: Decision, card: dict[str, Any], champion: Version | None, caution: str | None
) -> dict[str, Any]:
    return {
        "outcome": decision.outcome,
        "winner": decision.winner,
        "why": decision.why,
        "champion_before": champion.number if champion else None,
        "caution": caution,
        "onnx_sha256": card["onnx_sha256"],
        "threshold": card["decision"]["threshold"],
        "checks": [check._asdict() for check in decision.checks],
        "comparisons": [
            {**each._asdict(), "behind_best": each.behind_best._asdict()} for each in decision.comparisons
        ],
        "metrics": card["metrics"],
    }


def _refuse(registry: Registry, decision: Decision, report: dict[str, Any]) -> NoReturn:
    """Record the refusal and end the pipeline here; the champion stays as it is."""
    before = report["champion_before"]
    files.write_json(paths.RELEASE_REPORT, report)
    registry.note(
        history.record("refusal", decision.why, before, before, _numbers(report)),
        {"release.json": _text(report)},
    )
    raise TakeoffError(
        f"Refused: {decision.why}.\n"
        f"{f'Version {before} stays champion.' if before else 'There is still no champion.'} "
        f"Nothing after the gate was changed. The table above is also in {paths.RELEASE_REPORT.as_posix()}."
    )


def _release(registry: Registry, decision: Decision, card: dict[str, Any], report: dict[str, Any]) -> None:
    """Register the winner and make it champion, unless it is already and that is on record."""
    version = registry.register(card)
    report["version"] = version.number
    serving = registry.champion()
    before = serving.number if serving else None
    records = registry.history()
    if before == version.number and history.champions(records)[-1:] == [before]:
        print(f"Unchanged: version {version.number} ({decision.winner}) stays champion.")
    else:
        previous = before if before != version.number else _before(version.number, records)
        entry = history.record("release", decision.why, version.number, before, _numbers(report))
        registry.promote(version, previous, entry, {"release.json": _text(report)})
        print(f"Released: version {version.number} ({decision.winner}) is champion.")
    files.write_json(paths.RELEASE_REPORT, report)


def _before(version: str, records: Sequence[Record]) -> str | None:
    """The champion before this version; its own release may have been cut off after the alias moved."""
    return next((each for each in reversed(history.champions(records)) if each != version), None)


def _numbers(report: dict[str, Any]) -> dict[str, Any]:
    """What the history keeps beside the reason; the rest is in the record's own release.json."""
    metrics = {name: estimate["value"] for name, estimate in report["metrics"].items()}
    caution = {"caution": report["caution"]} if report["caution"] else {}
    return {"candidate": report["winner"], "metrics": metrics, **caution}


def _text(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=2)


def _write(folder: Path, content: bytes, card: dict[str, Any]) -> None:
    files.write_bytes(folder / MODEL_FILE, content)
    files.write_json(folder / CARD_FILE, card)


if __name__ == "__main__":
    run(main)
