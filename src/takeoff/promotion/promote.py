"""``takeoff promote``: a notebook's tagged cells become a candidate that competes, with proof of parity."""

from pathlib import Path
from tempfile import TemporaryDirectory

from rich.text import Text

import takeoff
from takeoff import paths
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.params import Params
from takeoff.promotion import registration, saved
from takeoff.promotion.cells import Notebook
from takeoff.promotion.module import Generated, body_digest_of, generate, header_of, same_code
from takeoff.promotion.parity import Proof, prove
from takeoff.promotion.recorder import Record
from takeoff.promotion.registration import CANDIDATES, Registration, places_of
from takeoff.promotion.trial import record
from takeoff.stage import read_config, show


def promote(path: Path, name: str, upkeep: float | None, overwrite: bool) -> None:
    """Bring a notebook's candidate into production code; run in the project folder.

    Args:
        path: of the notebook.
        name: of the candidate.
        upkeep: money a year; None keeps what is there, or takes the largest of the others.
        overwrite: also over what someone changed in the module by hand.

    Raises:
        TakeoffError: whatever stands in the way; every file is then as it was.
    """
    contract, params = read_config()
    notebook = _checked(path, name, upkeep)
    generated = generate(notebook, name)
    if registration.is_registered(name, generated.text, upkeep, params):
        _say(f"{name} is up to date with {notebook.path.as_posix()}. Nothing was changed.")
        return
    _check_unchanged_by_hand(name, generated, overwrite)
    with TemporaryDirectory() as folder:
        found, proof = _proven(notebook, generated, name, Path(folder), contract, params)
    done = registration.registration(name, generated.text, found, upkeep, params, contract)
    registration.write(done.texts)
    _say(_summary(name, found, proof, generated, done))


def _checked(path: Path, name: str, upkeep: float | None) -> Notebook:
    saved.check_name(name)
    registration.check_upkeep(upkeep)
    _check_installation()
    notebook = saved.read_saved(path)
    saved.check_free(name, notebook)
    registration.check_layout(name)
    for split in ("fit", "validation"):
        if not paths.split_rows(split).is_file():
            raise TakeoffError(
                f"{paths.split_rows(split).as_posix()} is missing, and a promotion fits on real rows. Run "
                "`make run` first. Nothing was changed."
            )
    return notebook


def _check_installation() -> None:
    """What is written here must be what `dvc repro` imports."""
    if Path(takeoff.__file__).resolve().parent / "candidates" != CANDIDATES.resolve():
        raise TakeoffError(
            "This `takeoff` belongs to another copy of the project than the one in this folder. Run "
            "`make setup` here, then `.venv/bin/takeoff promote ...`. Nothing was changed."
        )


def _check_unchanged_by_hand(name: str, generated: Generated, overwrite: bool) -> None:
    path = places_of(name).module
    if overwrite or not path.exists():
        return
    text = path.read_text(encoding="utf-8")
    header = header_of(text)
    if header and body_digest_of(text) != header.body_digest and not same_code(text, generated.text):
        raise TakeoffError(
            f"{path.as_posix()} was changed by hand since it was promoted, and promoting again would undo "
            f"that. Carry the change into {header.notebook}, then promote with --overwrite. Nothing changed."
        )


def _proven(
    notebook: Notebook, generated: Generated, name: str, folder: Path, contract: Contract, params: Params
) -> tuple[Record, Proof]:
    _say(f"Running {notebook.path.as_posix()} as saved on {saved.when_saved(notebook)}, from a clean kernel.")
    found = record(notebook, generated.needs, folder)
    _say(
        f"Its last call of `fit` took {found.seconds:,.1f} s on {found.rows:,} rows. Doing the same with the "
        "module alone, in a fresh process."
    )
    return found, prove(name, generated.text, folder, contract, params)


def _say(words: str) -> None:
    show(Text(words))  # as it is: what is in brackets is no markup


def _summary(name: str, found: Record, proof: Proof, generated: Generated, done: Registration) -> str:
    written = [f"  {path.as_posix()}" for path in done.texts]
    kept = places_of(name).tests
    notes = [f"  {note}" for note in (*done.notes, *generated.hints)]
    return "\n".join(
        [
            f"{name} is promoted. The module predicts what the notebook's object predicted: on "
            f"{proof.rows:,} validation rows the largest difference is {proof.largest_difference:.1e}.",
            f"Its ONNX file has {proof.onnx_bytes / 1024:,.0f} KiB and differs from the fitted model by at "
            f"most {proof.onnx_difference:.1e}; no decision flips. Fitted on {found.rows:,} rows in "
            f"{proof.seconds:,.1f} s.",
            *(["Written:", *written] if written else ["Every file already says so: nothing was changed."]),
            *([f"Kept as it was: {kept.as_posix()}"] if kept not in done.texts else []),
            *(["To know:", *notes] if notes else []),
            "Next: `make run` (or `dvc repro`) trains it and judges it with the others.",
        ]
    )
