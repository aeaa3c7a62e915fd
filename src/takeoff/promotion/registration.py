"""Where a promoted candidate is written: module, entry in ``params.yaml`` and tests, all or none."""

import math
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from takeoff import files
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.params import PARAMS_FILE, Params
from takeoff.promotion.acceptance import test_file
from takeoff.promotion.params_entry import entered
from takeoff.promotion.recorder import Record
from takeoff.settings import parse

CANDIDATES = Path("src") / "takeoff" / "candidates"
TESTS = Path("tests") / "model"
STOPS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class Places(NamedTuple):
    """The files of a candidate, from the project folder."""

    module: Path
    tests: Path
    params: Path


class Registration(NamedTuple):
    """What registering comes to.

    Attributes:
        texts: of the files that change.
        notes: what a person should know about it.
    """

    texts: Mapping[Path, str]
    notes: tuple[str, ...]


def places_of(name: str) -> Places:
    """Where the files of a candidate are."""
    return Places(CANDIDATES / f"{name}.py", TESTS / f"test_candidate_{name}.py", Path(PARAMS_FILE))


def is_registered(name: str, module: str, upkeep: float | None, params: Params) -> bool:
    """Whether the module stands there as it would be written, with its tests, and competes at this upkeep."""
    places = places_of(name)
    return (
        places.module.is_file()
        and _text(places.module) == module
        and places.tests.is_file()
        and name in params.candidates
        and name in params.compete
        and upkeep in (None, params.candidates[name].upkeep)
    )


def registration(
    name: str, module: str, record: Record, upkeep: float | None, params: Params, contract: Contract
) -> Registration:
    """What has to be written so that `dvc repro` trains a candidate with the others; nothing is written yet.

    Args:
        name: of the candidate.
        module: its text.
        record: what the notebook's last call of `fit` was given.
        upkeep: what a person says that it costs a year; None keeps what is there, or takes the largest.
        params, contract: of the project in the current folder.

    Raises:
        TakeoffError: ``params.yaml`` can't be extended without touching the rest of it.
    """
    places = places_of(name)
    before = _text(places.params)
    cost, comment = _upkeep(name, upkeep, params, contract)
    after = entered(before, name, record.settings, record.comments, cost, comment)
    parse(Params, yaml.safe_load(after), PARAMS_FILE)
    wanted = {places.module: module, places.params: after}
    if not places.tests.exists():  # one that is there may have been added to
        wanted[places.tests] = test_file(name)
    texts = {path: text for path, text in wanted.items() if not path.is_file() or _text(path) != text}
    return Registration(texts, (*_changes(name, record, params), *_notes(name, upkeep, record, params)))


def write(texts: Mapping[Path, str]) -> None:
    """Write all files, or none: what fails, or stops it, leaves each as it was.

    ``params.yaml`` comes last: it is what makes a candidate compete.

    Raises:
        TakeoffError: a file can't be written.
    """
    order = sorted(texts, key=lambda path: path.name == PARAMS_FILE)
    with _undisturbed():
        before = {path: path.read_bytes() if path.exists() else None for path in order}
        try:
            for path in order:
                files.write_text(path, texts[path])
        except BaseException:
            for path, content in before.items():
                if content is None and path.is_file():
                    path.unlink()
                elif content is not None and path.read_bytes() != content:
                    files.write_bytes(path, content)
            raise


def check_layout(name: str) -> None:
    """Raise a TakeoffError where ``params.yaml`` can't take a candidate of this name."""
    entered(_text(places_of(name).params), name, {}, {}, 0, "")


def check_upkeep(upkeep: float | None) -> None:
    """Raise a TakeoffError unless it is None or an amount of money."""
    if upkeep is not None and not (math.isfinite(upkeep) and upkeep >= 0):
        raise TakeoffError(f"--upkeep {upkeep:g}: expected money a year, 0 or more. Nothing was changed.")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C and the like wait until the block ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _text(path: Path) -> str:
    """As the bytes say it, line ends and all."""
    try:
        return path.read_bytes().decode("utf-8")
    except ValueError:
        raise TakeoffError(f"{path.as_posix()} is not UTF-8 text. Nothing was changed.") from None


def _upkeep(name: str, given: float | None, params: Params, contract: Contract) -> tuple[float, str]:
    unit = f"{contract.costs.currency} a year to keep it alive: people and machines"
    known = params.candidates.get(name)
    if given is not None:
        return _plain(given), unit
    if known is not None:
        return _plain(known.upkeep), unit
    largest = max(each.upkeep for each in params.candidates.values())
    return _plain(largest), f"{unit}; as the dearest of the others, until you set it"


def _plain(number: float) -> float:
    return int(number) if float(number).is_integer() else number


def _changes(name: str, record: Record, params: Params) -> Iterator[str]:
    known = params.candidates.get(name)
    if known is None:
        return
    for key, value in record.settings.items():
        if key not in known.settings:
            yield f"{PARAMS_FILE}: candidates.{name}.settings.{key} is new: {value}"
        elif not _equal(known.settings[key], value):
            yield f"{PARAMS_FILE}: candidates.{name}.settings.{key}: {known.settings[key]} is now {value}"
    for key in known.settings:
        if key not in record.settings:
            yield f"{PARAMS_FILE}: candidates.{name}.settings.{key} is gone"


def _equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _notes(name: str, upkeep: float | None, record: Record, params: Params) -> Iterator[str]:
    if upkeep is None and name not in params.candidates:
        yield (
            f"{PARAMS_FILE}: candidates.{name}.upkeep is that of the dearest of the others: set what it "
            "costs you a year, it decides between equals"
        )
    if record.seed != params.seed:
        yield f"the notebook fitted with seed {record.seed}, the pipeline will with {params.seed}"
