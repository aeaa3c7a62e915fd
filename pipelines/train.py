"""Stage `train CANDIDATE`: fit, calibrate, write as ONNX, prove parity, track the run in MLflow."""

import sys
import time
from pathlib import Path

import pandas as pd

from takeoff import files, paths
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.features import examples
from takeoff.model import CARD_FILE, MODEL_FILE
from takeoff.params import Params, check_candidate
from takeoff.provenance import git_commit, library_versions, peak_memory_mib
from takeoff.registry import Registry, TrainingRun
from takeoff.split import periods
from takeoff.stage import read_config, run
from takeoff.training import Trained, train

EXAMPLE_ROWS = 5


def main() -> None:
    contract, params = read_config()
    name = _candidate(params)
    registry = Registry(contract.name)  # before the work: a server that is down is known at once
    started = time.time()
    rows = {split: files.read_rows(paths.split_rows(split)) for split in ("fit", "validation")}
    fit, validation = (examples(part, contract) for part in rows.values())
    trained = train(name, fit, validation, params, contract)
    trained.card["training"] = _training(rows["fit"], params, contract)
    registry.log_training(_tracked(trained, rows["fit"], validation.features, contract, started))
    files.replace_folder(paths.CANDIDATES / name, lambda folder: _write(folder, trained))
    print(_summary(name, trained, time.time() - started))


def _candidate(params: Params) -> str:
    if len(sys.argv) != 2:
        raise TakeoffError(
            f"Usage: python -m pipelines.train CANDIDATE, one of {', '.join(params.candidates)}."
        )
    check_candidate(sys.argv[1])
    if sys.argv[1] not in params.candidates:
        raise TakeoffError(f"params.yaml has no settings for '{sys.argv[1]}' under 'candidates'.")
    return sys.argv[1]


def _training(fit: pd.DataFrame, params: Params, contract: Contract) -> dict[str, object]:
    period = periods(params, contract)["fit"]
    return {
        "start": period.start.isoformat(),
        "end": period.end.isoformat(),
        "rows": len(fit),
        "rows_sha256": files.sha256(paths.split_rows("fit")),
        "libraries": library_versions(),
    }


def _tracked(
    trained: Trained, fit: pd.DataFrame, features: pd.DataFrame, contract: Contract, started: float
) -> TrainingRun:
    card = trained.card
    ended = time.time()
    example = features.head(EXAMPLE_ROWS)
    return TrainingRun(
        candidate=card["candidate"],
        settings={**card["settings"], "seed": card["seed"], "upkeep": card["upkeep"]},
        metrics={
            **trained.metrics,
            "parity_largest_difference": card["parity"]["largest_difference"],
            "duration_seconds": ended - started,
            "peak_memory_mib": peak_memory_mib(),
        },
        steps=trained.steps,
        tags={
            "contract_hash": contract.hash,
            "git_commit": git_commit(),
            "rows_sha256": card["training"]["rows_sha256"],
        },
        rows=fit[[*contract.columns, contract.target.column]],
        rows_file=paths.split_rows("fit"),
        rows_sha256=card["training"]["rows_sha256"],
        onnx=trained.onnx,
        onnx_sha256=card["onnx_sha256"],
        card=card,
        example=example,
        predictions=pd.DataFrame(trained.probabilities[:EXAMPLE_ROWS], columns=list(contract.target.classes)),
        started=started,
        ended=ended,
    )


def _write(folder: Path, trained: Trained) -> None:
    files.write_bytes(folder / MODEL_FILE, trained.onnx)
    files.write_json(folder / CARD_FILE, trained.card)


def _summary(name: str, trained: Trained, seconds: float) -> str:
    parity, metrics = trained.card["parity"], trained.metrics
    return (
        f"{name}: on validation ROC AUC {metrics['validation_roc_auc']:.4f}, "
        f"log loss {metrics['validation_log_loss']:.4f}. ONNX {len(trained.onnx) / 1024:,.0f} KiB, "
        f"differs from the fitted model by at most {parity['largest_difference']:.1e} on "
        f"{parity['rows']:,} rows, no decision flipped. {seconds:.0f} s."
    )


if __name__ == "__main__":
    run(main)
