"""The contract's rules on a window, chunk by chunk, against all rows at once."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring import quality
from monitoring.quality import Known, Quality
from takeoff import checks
from takeoff.check_outcomes import broken_rows
from takeoff.check_rules import derive, derive_split
from takeoff.contract import Contract, read_contract
from takeoff.log_read import Chunk
from takeoff.params import read_params
from takeoff.split import Period
from takeoff.training import Trained
from tests.conftest import PROJECT
from tests.monitoring.chunks import Live, labelled_as, live, pieces, take

SHARE_ROWS = read_params(PROJECT, read_contract(PROJECT)).monitoring.quality.share_rows
CUTS = [700, 1500, 1501]
Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture(scope="module")
def here(split_project: Path, trained: Callable[[str], Trained], contract: Contract) -> Live:
    return live(split_project, trained, contract)


@pytest.fixture(scope="module")
def period(here: Live, contract: Contract) -> Period:
    times = here.rows[contract.time.column]
    return Period(times.min(), times.max() + pd.Timedelta(days=1))


@pytest.fixture(scope="module")
def known() -> Known:
    """What is asked of Great Expectations once, for all tests that ask the usual."""
    return Known()


def judged(
    chunks: list[Chunk],
    contract: Contract,
    period: Period,
    known: Known | None = None,
    labels: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    found = Quality(contract, period, SHARE_ROWS, known)
    for each in chunks:
        found.add(each)
    result = found.result(labels=labels)
    assert result is not None
    return result


def rule_of(result: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [each for each in result["rules"] if each["rule"] == name]
    return dict(found)


def number(contract: Contract, whole: bool) -> str:
    """A column of numbers that may be missing, with both bounds."""
    return next(
        name
        for name, column in contract.columns.items()
        if column.is_number and (column.type == "integer") == whole and 0 < column.missing < 0.5
    )


def text(contract: Contract, listed: bool) -> str:
    """A category that is never missing, with listed values or with a pattern."""
    return next(
        name
        for name in contract.categories
        if (contract.columns[name].values is not None) == listed and contract.columns[name].missing == 0
    )


def sound(rows: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    return rows


def out_of_bounds(rows: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    name = number(contract, whole=False)
    values = rows[name].to_numpy(copy=True)
    values[::7] = contract.columns[name].max + 1  # type: ignore[operator]
    return rows.assign(**{name: values})


def infinite(rows: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    name = number(contract, whole=True)
    values = rows[name].to_numpy(copy=True)
    values[5] = np.inf
    return rows.assign(**{name: values})


def not_whole(rows: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    name = number(contract, whole=True)
    values = rows[name].to_numpy(copy=True)
    values[1600::3] = np.abs(values[1600::3]) + np.float32(0.5)
    return rows.assign(**{name: values})


def unlisted(rows: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    return _renamed_first(rows, text(contract, listed=True))


def unlike_the_pattern(rows: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    return _renamed_first(rows, text(contract, listed=False))


def text_missing(rows: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    name = text(contract, listed=True)
    return rows.assign(**{name: rows[name].where(np.arange(len(rows)) % 11 > 0)})


def number_gone(rows: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    return rows.assign(**{number(contract, whole=False): np.full(len(rows), np.nan, dtype="float32")})


def _renamed_first(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    first = rows[name].cat.categories[0]
    return rows.assign(**{name: rows[name].cat.rename_categories({first: "?!"})})


FAULTS = [
    sound,
    out_of_bounds,
    infinite,
    not_whole,
    unlisted,
    unlike_the_pattern,
    text_missing,
    number_gone,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_chunks_give_what_all_rows_at_once_give(
    fault: Callable[[pd.DataFrame, Contract], pd.DataFrame],
    here: Live,
    contract: Contract,
    period: Period,
    known: Known,
) -> None:
    rows = fault(here.chunk.rows, contract)
    texts = rows.astype(dict.fromkeys(contract.categories, "str"))
    # With no fault all columns are compared, else those that it changed: each takes its time.
    changed = [name for name in rows if not rows[name].equals(here.chunk.rows[name])]
    rules = [rule for rule in derive(contract, period) if rule.column in (changed or contract.columns)]
    expected = checks.check(texts, rules)

    found = judged(pieces(here.chunk._replace(rows=rows), CUTS), contract, period, known)

    for outcome in expected:
        mine = rule_of(found, outcome.rule.name)
        assert mine["passed"] == outcome.passed, outcome.rule.name
        assert mine["severity"] == outcome.severity
        if outcome.rule.finds_rows:
            assert mine["failing"] == outcome.failing, outcome.rule.name
        if outcome.failing and outcome.examples:
            assert "rows break it, as " in mine["measured"]
    assert found["broken_rows"] == len(broken_rows(expected))
    assert found["checked_rows"] == len(rows)
    assert (fault is sound) == all(each["passed"] is not False for each in found["rules"])


def test_a_share_is_of_the_whole_window_and_not_of_a_chunk(
    here: Live, contract: Contract, period: Period, known: Known
) -> None:
    name = number(contract, whole=False)
    allowed = contract.columns[name].missing
    count = len(here.rows)
    filled = here.chunk.rows[name].fillna(0).to_numpy(copy=True)
    filled[: int(count * allowed)] = np.nan
    just_right = here.chunk._replace(rows=here.chunk.rows.assign(**{name: filled}))
    result = rule_of(judged(pieces(just_right, CUTS), contract, period, known), f"{name}.missing")
    assert result["passed"] is True

    filled[: int(count * allowed) + 2] = np.nan
    too_many = here.chunk._replace(rows=here.chunk.rows.assign(**{name: filled}))
    result = rule_of(judged(pieces(too_many, CUTS), contract, period, known), f"{name}.missing")
    assert result["passed"] is False
    assert result["failing"] == int(count * allowed) + 2


def test_what_is_known_is_not_asked_again(
    here: Live, contract: Contract, period: Period, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def counted(rows: pd.DataFrame, rules: Any) -> Any:
        asked.append(len(rows))
        return checks.check(rows, rules)

    monkeypatch.setattr(quality, "check", counted)
    known = Known()
    first = judged([here.chunk], contract, period, known)
    assert len(asked) == len(contract.columns)
    assert max(asked) < 200  # bounds and different texts, not the rows
    asked.clear()
    assert judged(pieces(here.chunk, CUTS), contract, period, known) == first
    assert asked == []


def test_more_different_texts_than_are_kept_are_still_judged(
    here: Live, contract: Contract, period: Period, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "MOST_TEXTS", 3)
    name = text(contract, listed=False)
    rows = unlike_the_pattern(here.chunk.rows, contract)
    broken = int((rows[name] == "?!").sum())
    some = here.chunk._replace(rows=rows)
    result = judged(pieces(some, CUTS), contract, period, known)
    assert rule_of(result, f"{name}.pattern")["failing"] == broken > 0
    assert "at least" in rule_of(judged([here.chunk], contract, period, known), f"{name}.pattern")["measured"]


@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_neither_order_nor_chunks_of_rows_change_the_result(
    data: st.DataObject, here: Live, contract: Contract, period: Period, known: Known
) -> None:
    rows = unlisted(number_gone(infinite(here.chunk.rows, contract), contract), contract)
    some = take(here.chunk._replace(rows=rows), np.arange(400))
    whole = judged([some], contract, period, known)
    order = data.draw(st.permutations(range(400)))
    cuts = data.draw(st.lists(st.integers(0, 400), max_size=4))
    assert judged(pieces(take(some, np.array(order)), cuts), contract, period, known) == whole


def test_every_rule_of_the_contract_is_held_or_named_as_left_out(
    here: Live, contract: Contract, period: Period, known: Known
) -> None:
    result = judged([here.chunk], contract, period, known)
    held = {each["rule"] for each in result["rules"]}
    of_a_row = {rule.name for rule in derive(contract, period)}
    roles = {contract.id, contract.time.column, contract.target.column, contract.target.known_at}
    of_roles = {rule.name for rule in derive(contract, period) if rule.column in roles}
    assert of_a_row - held - set(result["left_out"]) <= of_roles
    assert "unlabelled_share" in held
    for rule in derive_split(contract, "window", period):
        if rule.kind == "class_share":
            assert rule.name.removeprefix("window.") in held


def test_few_rows_judge_no_share(here: Live, contract: Contract, period: Period, known: Known) -> None:
    few = take(here.chunk, np.arange(SHARE_ROWS - 1))
    found = Quality(contract, period, SHARE_ROWS, known)
    found.add(few)
    result = found.result()
    assert result is not None
    assert rule_of(result, f"{number(contract, whole=False)}.missing")["passed"] is None
    assert any(str(SHARE_ROWS) in note for note in found.notes)


def test_a_class_that_hardly_comes_breaks_its_share(
    here: Live, contract: Contract, period: Period, known: Known
) -> None:
    common, rare = contract.target.classes
    labels = [rare if i % 50 == 0 else common for i in range(len(here.rows))]
    least = contract.table.class_share.min
    assert least is not None and least > 1 / 50
    result = judged([labelled_as(here.chunk, labels, contract)], contract, period, known)
    assert rule_of(result, f"class_share.{rare}")["passed"] is False
    assert rule_of(result, f"class_share.{common}")["passed"] is True


@pytest.mark.parametrize(("never", "passed"), [(0, True), (900, False)])
def test_rows_whose_label_never_came_are_judged_by_their_share(
    never: int, passed: bool, here: Live, contract: Contract, period: Period, known: Known
) -> None:
    result = judged([here.chunk], contract, period, known, labels={"rows": 3000, "never": never})
    assert rule_of(result, "unlabelled_share")["passed"] is passed


def test_labels_still_to_come_judge_nothing(
    here: Live, contract: Contract, period: Period, known: Known
) -> None:
    result = judged([here.chunk], contract, period, known, labels={"rows": 0, "never": None})
    assert rule_of(result, "unlabelled_share")["passed"] is None


def test_refused_rows_are_told_by_reason_even_alone(contract: Contract, period: Period) -> None:
    found = Quality(contract, period, SHARE_ROWS)
    assert found.result() is None
    result = found.result(refused={"out of bounds": 3})
    assert result is not None
    assert result["refused"] == {"out of bounds": 3}
    assert all(each["passed"] is None for each in result["rules"])
