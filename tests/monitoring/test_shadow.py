"""Challenger against champion, against the exact evaluation of both on the same rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.shadow import Shadow
from takeoff import bootstrap, evaluation, value
from takeoff.contract import Contract
from takeoff.evaluation import METRICS
from takeoff.features import examples
from takeoff.log_read import Chunk
from takeoff.params import Params
from takeoff.training import Trained
from tests.monitoring.chunks import (
    CHALLENGER,
    THRESHOLD,
    TOLERANCE,
    Live,
    chunk,
    flat,
    labelled_as,
    live,
    pieces,
    take,
)

ITS_THRESHOLD = 0.3


@pytest.fixture(scope="module")
def here(split_project: Path, trained: Callable[[str], Trained], contract: Contract) -> Live:
    return live(split_project, trained, contract)


def compare(
    chunks: list[Chunk], contract: Contract, params: Params, thresholds: dict[str, float] | None = None
) -> tuple[dict[str, Any] | None, list[str]]:
    """Result and notes."""
    if thresholds is None:
        thresholds = {CHALLENGER: ITS_THRESHOLD}
    shadow = Shadow(contract, params.evaluation, params.seed, thresholds)
    for each in chunks:
        shadow.add(each)
    return shadow.result(), shadow.notes


def test_both_and_their_paired_difference_are_those_of_the_exact_evaluation(
    here: Live, contract: Contract, small_params: Params
) -> None:
    known = here.rows[contract.target.column].notna().to_numpy()
    rows = here.rows[known].reset_index(drop=True)
    labels = examples(rows, contract).labels
    champion = evaluation.score(labels, here.probabilities[known], THRESHOLD, contract)
    challenger = evaluation.score(labels, here.shadow[known], ITS_THRESHOLD, contract)
    drawn = bootstrap.resample(rows, contract, small_params.evaluation.resamples, small_params.seed)

    found, notes = compare([here.chunk], contract, small_params)

    assert found is not None
    assert notes == []
    bins, confidence = small_params.evaluation.calibration_bins, small_params.evaluation.confidence
    for name, draws in METRICS.items():
        mine, theirs = draws(champion, drawn, bins), draws(challenger, drawn, bins)
        each, near = found["metrics"][name], 2 * TOLERANCE[name]
        assert each["champion"] == pytest.approx(mine[0], abs=near), name
        assert each["challenger"] == pytest.approx(theirs[0], abs=near), name
        expected = bootstrap.interval(theirs - mine, confidence)._asdict()
        assert each["difference"] == pytest.approx(expected, abs=near), name


def test_agreement_is_on_all_rows_labelled_or_not(
    here: Live, contract: Contract, small_params: Params
) -> None:
    same = value.decide(here.probabilities, THRESHOLD) == value.decide(here.shadow, ITS_THRESHOLD)
    found, _ = compare([here.chunk], contract, small_params)
    assert found is not None
    assert found["rows"] == len(here.rows)
    assert found["model_version"] == CHALLENGER
    assert found["agree_share"] == pytest.approx(same.mean(), abs=1e-6)


def test_a_challenger_that_is_the_champion_differs_in_nothing(
    here: Live, contract: Contract, small_params: Params
) -> None:
    itself = here.chunk._replace(shadow=here.probabilities)
    found, _ = compare([itself], contract, small_params, {CHALLENGER: THRESHOLD})
    assert found is not None
    assert found["agree_share"] == 1
    for name, each in found["metrics"].items():
        assert each["difference"] == {"value": 0, "low": 0, "high": 0}, name


def test_rows_that_it_failed_on_are_counted_and_not_compared(
    here: Live, contract: Contract, small_params: Params
) -> None:
    failed = np.arange(len(here.rows)) % 5 == 0
    with_errors = here.chunk._replace(shadow=np.where(failed[:, None], np.float32(np.nan), here.shadow))
    found, _ = compare([with_errors], contract, small_params)
    rest, _ = compare([take(here.chunk, np.flatnonzero(~failed))], contract, small_params)
    assert found is not None
    assert rest is not None
    assert found["errors"] == failed.sum()
    assert found["rows"] == (~failed).sum()
    assert found["metrics"] == rest["metrics"]


def test_a_challenger_that_only_fails_agrees_with_nobody(
    here: Live, contract: Contract, small_params: Params
) -> None:
    failed = here.chunk._replace(shadow=np.full_like(here.shadow, np.nan))
    found, _ = compare([failed], contract, small_params)
    assert found == {
        "model_version": CHALLENGER,
        "rows": 0,
        "errors": len(here.rows),
        "agree_share": None,
        "metrics": None,
    }


def test_rows_without_a_challenger_are_passed_over(
    here: Live, contract: Contract, small_params: Params
) -> None:
    alone = chunk(here.rows, here.probabilities, THRESHOLD, contract)
    assert compare([alone], contract, small_params) == (None, [])


def test_without_its_card_neither_agreement_nor_cost_is_shown(
    here: Live, contract: Contract, small_params: Params
) -> None:
    found, notes = compare([here.chunk], contract, small_params, {})
    assert found is not None
    assert found["agree_share"] is None
    assert found["metrics"]["cost"] is None
    assert found["metrics"]["roc_auc"] is not None
    assert any("where it decides" in note for note in notes)


def test_without_labels_it_is_compared_by_agreement_alone(
    here: Live, contract: Contract, small_params: Params
) -> None:
    unlabelled = labelled_as(here.chunk, [None] * len(here.rows), contract)
    found, notes = compare([unlabelled], contract, small_params)
    assert found is not None
    assert found["metrics"] is None
    assert 0 < found["agree_share"] < 1
    assert any("No label" in note or "no label" in note for note in notes)


def test_one_class_leaves_out_what_needs_both(here: Live, contract: Contract, small_params: Params) -> None:
    only = labelled_as(here.chunk, [contract.target.classes[0]] * len(here.rows), contract)
    found, _ = compare([only], contract, small_params)
    assert found is not None
    assert found["metrics"]["roc_auc"] is None
    assert found["metrics"]["cost"] is not None


def test_of_several_challengers_the_one_with_most_rows_is_reported(
    here: Live, contract: Contract, small_params: Params
) -> None:
    few = np.arange(len(here.rows)) < 100
    versions = pd.Series(np.where(few, "earlier", CHALLENGER), dtype="category")
    several = here.chunk._replace(shadow_versions=versions)
    found, notes = compare([several], contract, small_params)
    assert found is not None
    assert found["model_version"] == CHALLENGER
    assert found["rows"] == (~few).sum()
    assert any("Left out: earlier" in note for note in notes)


@given(data=st.data())
@settings(max_examples=6, deadline=None)
def test_neither_order_nor_chunks_of_rows_change_the_result(
    data: st.DataObject, here: Live, contract: Contract, small_params: Params
) -> None:
    some = take(here.chunk, np.arange(400))
    whole, _ = compare([some], contract, small_params)
    order = data.draw(st.permutations(range(400)))
    cuts = data.draw(st.lists(st.integers(0, 400), max_size=4))
    found, _ = compare(pieces(take(some, np.array(order)), cuts), contract, small_params)
    assert flat(found) == pytest.approx(flat(whole), abs=2e-6)
