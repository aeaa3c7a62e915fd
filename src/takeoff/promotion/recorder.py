"""What runs inside the notebook's kernel: it watches `fit`, and writes down its last call.

It reads the notebook's names and replaces one, `fit`, by a function that does the same.
"""

import functools
import inspect
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from takeoff import files, paths
from takeoff.candidates import Fitted, be_deterministic
from takeoff.contract import Contract, read_contract
from takeoff.features import Examples, features
from takeoff.promotion.unfit import kind_of_unfit
from takeoff.settings import Settings

RECORD, PREDICTED = "record.json", "predicted.npy"
ARGUMENTS = ("fit", "validation", "settings", "contract", "seed")

Fit = Callable[..., Any]


class Refused(Exception):  # noqa: N818  # no error of the program's
    """Why what a notebook did can't be repeated outside it."""


class Call(NamedTuple):
    """One call of `fit`.

    Attributes:
        given: its arguments by name, rows copied before the call.
        result: what it returned.
        unfit: pulled-in constants that a module can't carry, name to what it is.
        seconds: how long it took.
    """

    given: Mapping[str, Any]
    result: Any
    unfit: Mapping[str, str]
    seconds: float


class Record(NamedTuple):
    """What `save` wrote of the last call, next to rows and predictions.

    Attributes:
        refused: why it can't be repeated; then all else is empty.
        unfit: see `Call`.
        settings: what JSON can hold, by key.
        comments: what the author wrote about each.
        threads: that torch used; 0 where it was not imported.
        rows: fitted on.
    """

    refused: str = ""
    unfit: Mapping[str, str] = {}  # of a tuple, never changed
    settings: Mapping[str, Any] = {}
    comments: Mapping[str, str] = {}
    seed: int = 0
    seconds: float = 0.0
    threads: int = 0
    rows: int = 0


_calls: list[Call] = []  # of this kernel: at most one, the last


def watch(names: dict[str, Any], constants: list[str]) -> None:
    """Remember from here on what `fit` is given, and what it returns.

    Args:
        names: of the notebook; `fit` is replaced among them.
        constants: names to look at when `fit` is called.
    """
    original: Fit = names["fit"]
    signature = inspect.signature(original)

    @functools.wraps(original)
    def fit(*positional: Any, **named: Any) -> Any:
        try:
            bound = signature.bind(*positional, **named)
        except TypeError:
            return original(*positional, **named)  # which says what is wrong in its own words
        bound.apply_defaults()
        given = {name: _copied(value) for name, value in bound.arguments.items()}
        be_deterministic()  # as training will be
        started = time.perf_counter()
        result = original(*positional, **named)
        seconds = time.perf_counter() - started
        found = {name: kind_of_unfit(names[name]) for name in constants if name in names}
        _calls[:] = [Call(given, result, {name: kind for name, kind in found.items() if kind}, seconds)]
        return result

    names["fit"] = fit


def save(project: str, folder: str) -> None:
    """Write into `folder` what the last call was given, and what its result predicts on validation.

    It raises nothing: what stands in the way becomes `Record.refused`.
    """
    try:
        record = _saved(Path(project), Path(folder))
    except Refused as error:
        record = Record(refused=str(error))
    except Exception as error:  # the author's model may raise anything
        record = Record(refused=f"its `fit` can't be repeated: {type(error).__name__}: {_first_line(error)}")
    files.write_json(Path(folder) / RECORD, record._asdict())


def read(folder: Path) -> Record:
    """The record that `save` wrote."""
    return Record(**files.read_json(folder / RECORD))


def read_examples(folder: Path, split: str) -> Examples:
    """The rows that `fit` was given as `fit` or as `validation`, index and types as they were."""
    content = files.read_json(folder / f"{split}.json")
    frame = pd.read_parquet(folder / f"{split}.parquet")
    return Examples(frame.astype(content["dtypes"]), np.load(folder / f"{split}.npy", allow_pickle=False))


def read_predicted(folder: Path) -> npt.NDArray[np.floating]:
    """What the notebook's object predicts on validation, shape (n, classes)."""
    return np.asarray(np.load(folder / PREDICTED, allow_pickle=False))


def _saved(project: Path, folder: Path) -> Record:
    if not _calls:
        raise Refused(
            "it never calls the `fit` of its tagged cells. Add a cell below them that does, such as "
            "`fitted = fit(train, validation, Settings(...), contract, params.seed)`: its settings go to "
            "params.yaml, and what it gives is what the module must give"
        )
    call, contract = _calls[-1], read_contract(project)
    _check_call(call, contract)
    settings = call.given["settings"]
    kept = _plain(settings)
    for split in ("fit", "validation"):
        _write_examples(folder, split, call.given[split], contract)
    rows = features(files.read_rows(project / paths.split_rows("validation")), contract)
    np.save(folder / PREDICTED, _predicted(call.result, rows, contract), allow_pickle=False)
    torch = sys.modules.get("torch")
    return Record(
        unfit=call.unfit,
        settings=kept,
        comments={name: each.description or "" for name, each in type(settings).model_fields.items()},
        seed=int(call.given["seed"]),
        seconds=call.seconds,
        threads=torch.get_num_threads() if torch else 0,
        rows=len(call.given["fit"].labels),
    )


def _check_call(call: Call, contract: Contract) -> None:
    given = call.given
    if missing := [name for name in ARGUMENTS if name not in given]:
        raise Refused(f"its `fit` takes no `{missing[0]}`; its parameters have to be {', '.join(ARGUMENTS)}")
    for name in ("fit", "validation"):
        if not isinstance(given[name], Examples):
            raise Refused(
                f"`{name}` of the last call of `fit` was a {type(given[name]).__name__}; expected Examples, "
                "as `project.examples('fit')` gives them"
            )
    if not isinstance(given["settings"], Settings):
        raise Refused(
            f"`settings` of the last call of `fit` was a {type(given['settings']).__name__}; expected the "
            "notebook's own `Settings(...)`, a class with `takeoff.settings.Settings` as its base"
        )
    if not isinstance(given["contract"], Contract) or given["contract"].hash != contract.hash:
        raise Refused(
            "the last call of `fit` was given another contract than contract.yaml. Pass `project.contract`"
        )
    if isinstance(given["seed"], bool) or not isinstance(given["seed"], int | np.integer):
        raise Refused("the last call of `fit` was given no whole number as its seed. Pass `params.seed`")
    if not isinstance(call.result, Fitted):
        raise Refused(
            f"its `fit` returned a {type(call.result).__name__}; expected a Fitted: end it with "
            "`return of_pipeline(pipeline, contract)` or `return of_network(network, vocabularies, contract)`"
        )


def _plain(settings: Settings) -> dict[str, Any]:
    """Settings as params.yaml will hold them, once it is sure that they come back the same."""
    kept = {}
    for name in type(settings).model_fields:
        try:
            kept[name] = settings.model_dump(mode="json", include={name})[name]
        except Exception as error:  # pydantic raises several
            raise Refused(_unfit_setting(settings, name)) from error
    try:
        back = type(settings).model_validate(kept)
    except Exception as error:  # a validator of the author's may raise anything
        raise Refused(
            f"its settings don't come back from params.yaml: written as {kept}, they are refused by "
            f"`Settings`: {_first_line(error)}"
        ) from error
    for name in kept:
        if not _same(getattr(back, name), getattr(settings, name)):
            raise Refused(_unfit_setting(settings, name, "which comes back from params.yaml changed"))
    return kept


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(np.all(one == other))


def _unfit_setting(settings: Settings, name: str, why: str = "which params.yaml can't hold") -> str:
    return (
        f"its setting `{name}` is a {type(getattr(settings, name)).__name__}, {why}. Use numbers, text, true "
        "or false, and tuples, lists or mappings of these"
    )


def _write_examples(folder: Path, split: str, rows: Examples, contract: Contract) -> None:
    names = [str(name) for name in rows.features.columns]
    if names != list(contract.columns):
        wrong = sorted({*names} ^ {*contract.columns}) or names
        raise Refused(
            f"`{split}` of the last call of `fit` does not have the contract's columns in their order (look "
            f"at `{wrong[0]}`). Production feeds a model contract rows: compute further columns inside "
            "`fit`, as a step of the pipeline or a part of the network"
        )
    frame, labels = rows
    frame.to_parquet(folder / f"{split}.parquet")
    files.write_json(
        folder / f"{split}.json", {"dtypes": {name: str(frame[name].dtype) for name in contract.columns}}
    )
    np.save(folder / f"{split}.npy", np.asarray(labels), allow_pickle=False)
    try:
        pd.testing.assert_frame_equal(read_examples(folder, split).features, frame, check_exact=True)
    except AssertionError as error:
        raise Refused(
            f"the rows that `fit` was given as `{split}` can't be carried to a fresh process as they were "
            f"({_first_line(error)}). Pass what `project.examples('{split}')` gives, or some rows of it"
        ) from None


def _predicted(fitted: Fitted, rows: pd.DataFrame, contract: Contract) -> npt.NDArray[np.floating]:
    try:
        found = np.asarray(fitted.predict(rows))
    except Exception as error:  # the author's model may raise anything
        raise Refused(
            f"what its `fit` returned can't predict the validation split: {type(error).__name__}: "
            f"{_first_line(error)}"
        ) from error
    expected = (len(rows), len(contract.target.classes))
    if found.shape != expected or found.dtype.kind != "f":
        raise Refused(
            f"what its `fit` returned predicts {found.dtype} of shape {found.shape}; expected a probability "
            f"for each row and class, shape {expected}"
        )
    return found


def _copied(value: Any) -> Any:
    """Rows as they were, whatever the call does to them."""
    if not isinstance(value, Examples):
        return value
    frame, labels = value
    return Examples(frame.copy() if isinstance(frame, pd.DataFrame) else frame, np.array(labels))


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
