"""What is kept of a notebook's last call of `fit`, and why a call can't be repeated."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ConfigDict, Field, SecretStr, field_validator

from takeoff.candidates import Fitted
from takeoff.contract import Contract
from takeoff.features import Examples
from takeoff.promotion import recorder
from takeoff.promotion.recorder import Record
from takeoff.settings import Settings as Base

Splits = Callable[[str], Examples]


class Settings(Base):
    depth: int = Field(3, description="how deep")
    parts: tuple[str, ...] = ("a",)


class Held(Base):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
    mask: Any = None
    word: SecretStr = SecretStr("x")


class Moved(Base):
    share: float = 0.5

    @field_validator("share")
    @classmethod
    def _halved(cls, share: float) -> float:
        return share / 2


def fitted(fit: Examples, validation: Examples, settings: Any, contract: Contract, seed: int) -> Fitted:
    share = fit.labels.mean()
    classes = len(contract.target.classes)
    return Fitted(
        predict=lambda features: np.full((len(features), classes), share), to_onnx=lambda: NotImplemented
    )


@pytest.fixture
def keep(split_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Record]:
    """Save what the calls in this test left, as the last cell of a run does."""
    monkeypatch.setattr(recorder, "_calls", [])

    def save() -> Record:
        recorder.save(str(split_project), str(tmp_path))
        return recorder.read(tmp_path)

    return save


@pytest.fixture
def call(split_examples: Splits, contract: Contract) -> Callable[..., Any]:
    """Call a watched `fit`; what is given takes the place of what a notebook should give."""

    def watched(function: Any = fitted, names: dict[str, Any] | None = None, **changes: Any) -> Any:
        known: dict[str, Any] = {"fit": function, **(names or {})}
        recorder.watch(known, list(names or {}))
        usual = {
            "fit": split_examples("fit"),
            "validation": split_examples("validation"),
            "settings": Settings(),
            "contract": contract,
            "seed": 7,
        }
        return known["fit"](**{**usual, **changes})

    return watched


def test_the_rows_come_back_as_they_were_given(
    call: Callable[..., Any], keep: Callable[[], Record], split_examples: Splits, tmp_path: Path
) -> None:
    whole = split_examples("fit")
    some = Examples(whole.features.iloc[::7], whole.labels[::7])  # with gaps in its index

    call(fit=some)
    keep()

    back = recorder.read_examples(tmp_path, "fit")
    pd.testing.assert_frame_equal(back.features, some.features, check_exact=True)
    np.testing.assert_array_equal(back.labels, some.labels)


def test_settings_come_with_what_their_author_said_of_them(
    call: Callable[..., Any], keep: Callable[[], Record]
) -> None:
    call(settings=Settings(depth=5, parts=("b", "c")))

    found = keep()

    assert found.settings == {"depth": 5, "parts": ["b", "c"]}
    assert found.comments == {"depth": "how deep", "parts": ""}
    assert found.seed == 7


def test_of_several_calls_the_last_counts(call: Callable[..., Any], keep: Callable[[], Record]) -> None:
    for depth in (1, 2, 3):
        call(settings=Settings(depth=depth))

    assert keep().settings["depth"] == 3


def test_what_fit_does_to_its_rows_is_not_kept(
    call: Callable[..., Any], keep: Callable[[], Record], split_examples: Splits, tmp_path: Path
) -> None:
    def careless(fit: Examples, validation: Examples, settings: Any, contract: Contract, seed: int) -> Fitted:
        fit.features[contract.numbers] = 0.0
        fit.labels[:] = 0
        return fitted(fit, validation, settings, contract, seed)

    whole = split_examples("fit")
    call(careless, fit=Examples(whole.features.copy(), whole.labels.copy()))
    keep()

    back = recorder.read_examples(tmp_path, "fit")
    pd.testing.assert_frame_equal(back.features, whole.features)
    np.testing.assert_array_equal(back.labels, whole.labels)


def test_the_notebook_gets_what_its_own_fit_returns(call: Callable[..., Any]) -> None:
    result = object()

    assert call(lambda fit, validation, settings, contract, seed: result) is result


def test_pulled_in_names_that_hold_data_when_fit_is_called_are_named(
    call: Callable[..., Any], keep: Callable[[], Record]
) -> None:
    call(names={"LIMIT": 3, "MEANS": pd.Series([1.0, 2.0])})

    assert keep().unfit == {"MEANS": "a pandas Series of 2 values"}


def without_a_column(rows: Examples) -> Examples:
    return rows._replace(features=rows.features.iloc[:, 1:])


def with_a_column(rows: Examples) -> Examples:
    return rows._replace(features=rows.features.assign(late_share=np.float32(0.1)))


def returning(result: Any) -> Any:
    return lambda fit, validation, settings, contract, seed: result


def predicting(probabilities: Callable[[int], Any]) -> Any:
    """A `fit` whose result predicts this for a number of rows."""
    return returning(
        Fitted(predict=lambda features: probabilities(len(features)), to_onnx=lambda: NotImplemented)
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"settings": SimpleNamespace(depth=3)},
            "`settings` of the last call of `fit` was a Simple",
        ),
        ({"settings": Held(mask=np.zeros(3))}, "setting `mask` is a ndarray, which params.yaml can't hold"),
        ({"settings": Held()}, "setting `word` is a SecretStr, which comes back from params.yaml changed"),
        ({"settings": Moved()}, "setting `share` is a float, which comes back from params.yaml changed"),
        ({"seed": 1.5}, "was given no whole number as its seed"),
        ({"contract": None, "function": returning(3)}, "was given another contract than contract.yaml"),
        (
            {"fit": 3, "function": returning(3)},
            "`fit` of the last call of `fit` was a int; expected Ex",
        ),
        ({"function": returning(3)}, "`fit` returned a int"),
        ({"function": lambda **given: 3}, "`fit` takes no `fit`"),
        ({"function": predicting(np.zeros)}, "expected a probability for each row and class"),
        ({"function": predicting(lambda rows: 1 / 0)}, "can't predict the validation split: ZeroDivision"),
    ],
)
def test_a_call_that_cannot_be_repeated_says_why(
    call: Callable[..., Any], keep: Callable[[], Record], changes: dict[str, Any], words: str
) -> None:
    call(**changes)

    assert words in keep().refused


@pytest.mark.parametrize(
    ("change", "name"), [(without_a_column, None), (with_a_column, "late_share")], ids=["less", "more"]
)
def test_rows_with_other_columns_than_the_contracts_are_refused_by_name(
    call: Callable[..., Any],
    keep: Callable[[], Record],
    split_examples: Splits,
    contract: Contract,
    change: Callable[[Examples], Examples],
    name: str | None,
) -> None:
    call(fit=change(split_examples("fit")))

    assert f"`{name or next(iter(contract.columns))}`" in keep().refused


def test_a_fit_that_nobody_called_is_said_to_be_so(keep: Callable[[], Record]) -> None:
    assert "never calls the `fit` of its tagged cells" in keep().refused
