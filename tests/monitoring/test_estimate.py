"""Estimated performance: what calibrated probabilities promise, against brute force and against the truth."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.estimate import Estimated, last_known_error, reported
from monitoring.performance import Performance
from takeoff import value
from takeoff.contract import Contract, read_contract
from takeoff.log_read import Chunk
from takeoff.params import Params, read_params
from takeoff.training import Trained
from tests.conftest import PROJECT
from tests.monitoring.chunks import THRESHOLD, Live, chunk, flat, labelled_as, live, pieces, take
from tests.monitoring.results import estimate, result, without_labels

SEED = 2013


@pytest.fixture(scope="module")
def here(split_project: Path, trained: Callable[[str], Trained], contract: Contract) -> Live:
    return live(split_project, trained, contract)


def estimated(chunks: list[Chunk], contract: Contract, params: Params) -> dict[str, Any]:
    estimate = Estimated(contract, params.evaluation, params.seed)
    for each in chunks:
        estimate.add(each)
    result = estimate.result()
    assert result is not None
    return result


def by_chance(
    event: npt.NDArray[np.floating], contract: Contract, among: np.random.Generator
) -> list[str | None]:
    """Labels of a world in which the probabilities are right."""
    other, late = contract.target.classes
    return [late if drawn else other for drawn in among.random(len(event)) < event]


def test_expected_metrics_are_those_of_every_outcome_weighted(
    here: Live, contract: Contract, small_params: Params
) -> None:
    some = take(here.chunk, np.arange(800))
    probabilities = some.probabilities.astype("float64")
    event = probabilities[:, -1]
    decisions = value.decide(probabilities, THRESHOLD)
    matrix = value.cost_matrix(contract)
    above = (event[:, None] > event) + (event[:, None] == event) / 2
    pairs = event[:, None] * (1 - event)

    found = estimated([some], contract, small_params)["metrics"]

    expected = {
        "roc_auc": (above * pairs).sum() / pairs.sum(),
        "log_loss": -(event * np.log(event) + (1 - event) * np.log(1 - event)).mean(),
        "brier": (event * (1 - event)).mean(),
        "cost": (probabilities * matrix.T[decisions]).sum(axis=1).mean() * value.PER_ROWS,
        "event_share": event.mean(),
    }
    # Rows of one bin (0.00016 wide at most) count as equal.
    assert {name: found[name]["value"] for name in expected} == pytest.approx(expected, rel=2e-4)


def test_where_probabilities_are_right_the_estimate_is_what_comes_true(
    here: Live, contract: Contract, small_params: Params
) -> None:
    among = np.random.default_rng(SEED)
    worlds = [by_chance(here.probabilities[:, -1], contract, among) for _ in range(20)]
    found = [
        estimated([labelled_as(here.chunk, labels, contract)], contract, small_params)["on_labelled"]
        for labels in worlds
    ]
    for metric in found[0]:
        errors = np.array([each[metric]["off_by"] for each in found])
        spread = errors.std(ddof=1)
        # The mean of twenty worlds, within four of its own standard errors.
        assert abs(errors.mean()) < 4 * spread / np.sqrt(len(errors)), metric


def test_probabilities_that_are_too_high_are_found_out_by_the_labels(
    here: Live, contract: Contract, small_params: Params
) -> None:
    among = np.random.default_rng(SEED)
    halved = labelled_as(here.chunk, by_chance(here.probabilities[:, -1] / 2, contract, among), contract)
    found = estimated([halved], contract, small_params)["on_labelled"]["event_share"]
    assert found["estimated"] == pytest.approx(2 * found["realised"], rel=0.15)
    assert found["off_by"] == pytest.approx(found["estimated"] - found["realised"], abs=2e-6)


def test_realised_is_what_live_performance_says(here: Live, contract: Contract, small_params: Params) -> None:
    performance = Performance(contract, small_params.evaluation, small_params.seed)
    performance.add(here.chunk)
    lived = performance.result()
    found = estimated([here.chunk], contract, small_params)["on_labelled"]
    assert lived is not None
    assert len(set(found) & set(lived["metrics"])) == 5
    for metric in set(found) & set(lived["metrics"]):
        # Bins are the same, their mean probability is over more rows here: those without a label too.
        assert found[metric]["realised"] == pytest.approx(lived["metrics"][metric]["value"], abs=2e-5)


def test_rows_without_a_label_are_estimated_by_themselves(
    here: Live, contract: Contract, small_params: Params
) -> None:
    known = here.chunk.answers["label"].notna().to_numpy()
    unlabelled = take(here.chunk, np.flatnonzero(~known))

    found = estimated([here.chunk], contract, small_params)

    assert found["rows"] == len(known)
    assert found["without_label"]["rows"] == len(unlabelled.answers) > 0
    alone = estimated([unlabelled], contract, small_params)
    assert alone["on_labelled"] is None
    for metric, each in alone["metrics"].items():
        mine = found["without_label"]["metrics"][metric]
        assert mine["value"] == pytest.approx(each["value"], rel=1e-3), metric


def test_labels_change_nothing_of_the_estimate(here: Live, contract: Contract, small_params: Params) -> None:
    unlabelled = labelled_as(here.chunk, [None] * len(here.rows), contract)
    with_labels = estimated([here.chunk], contract, small_params)["metrics"]
    assert estimated([unlabelled], contract, small_params)["metrics"] == with_labels


def test_intervals_are_wider_where_days_differ(here: Live, contract: Contract, small_params: Params) -> None:
    days = here.rows[contract.time.column].dt.dayofyear.to_numpy()
    shift = np.where(days % 2, 0.1, 0.0)
    event = np.clip(here.probabilities[:, -1] * 0.5 + shift, 0, 1).astype("float32")
    differing = chunk(here.rows, np.column_stack([1 - event, event]), THRESHOLD, contract)
    shuffled = np.random.default_rng(SEED).permutation(event)
    mixed = chunk(here.rows, np.column_stack([1 - shuffled, shuffled]), THRESHOLD, contract)

    def width(of: Chunk) -> float:
        share = estimated([of], contract, small_params)["metrics"]["event_share"]
        return float(share["high"] - share["low"])

    assert width(differing) > 2 * width(mixed)


def test_one_class_among_the_labels_leaves_out_what_needs_both(
    here: Live, contract: Contract, small_params: Params
) -> None:
    only = labelled_as(here.chunk, [contract.target.classes[0]] * len(here.rows), contract)
    found = estimated([only], contract, small_params)["on_labelled"]
    assert "roc_auc" not in found
    assert found["brier"]["realised"] > 0


@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_neither_order_nor_chunks_of_rows_change_the_result(
    data: st.DataObject, here: Live, contract: Contract, small_params: Params
) -> None:
    some = take(here.chunk, np.arange(400))
    whole = estimated([some], contract, small_params)
    order = data.draw(st.permutations(range(400)))
    cuts = data.draw(st.lists(st.integers(0, 400), max_size=4))
    found = estimated(pieces(take(some, np.array(order)), cuts), contract, small_params)
    assert flat(found) == pytest.approx(flat(whole), abs=2e-6)


def test_no_rows_are_no_estimate(contract: Contract, small_params: Params) -> None:
    estimate = Estimated(contract, small_params.evaluation, small_params.seed)
    assert estimate.result() is None
    assert estimate.notes


ENOUGH = read_params(PROJECT, read_contract(PROJECT)).monitoring.labels


def earlier(name: str, off_by: float | None, **changes: Any) -> dict[str, Any]:
    known = None if off_by is None else {"cost": {"estimated": 2.0, "realised": 1.0, "off_by": off_by}}
    return result({"window": {"name": name}, "estimated": {"on_labelled": known}, **changes})


def test_the_last_known_error_is_of_the_latest_window_with_labels() -> None:
    windows = [earlier("2013-07", 1.0), earlier("2013-08", 2.0), earlier("2013-09", None)]
    assert last_known_error([*windows, result(estimated=None)], ENOUGH) == {"cost": 2.0, "window": "2013-08"}


@pytest.mark.parametrize("few", [{"rows": ENOUGH.rows - 1}, {"share": ENOUGH.share - 0.01}])
def test_a_window_with_a_few_early_labels_hides_no_known_error(few: dict[str, float]) -> None:
    windows = [earlier("2013-07", 1.0), earlier("2013-08", 900.0, labels=few)]
    assert last_known_error(windows, ENOUGH) == {"cost": 1.0, "window": "2013-07"}


def test_without_earlier_labels_no_error_is_known() -> None:
    assert last_known_error([earlier("2013-07", None)], ENOUGH) is None


def test_what_was_said_before_the_labels_came_is_held_against_them() -> None:
    before = result(without_labels(metrics={"cost": estimate(10_000, 1), "roc_auc": None}))
    said = reported(before, ENOUGH)
    windows = [earlier("2013-07", 1.0, estimated={"reported": said})]
    realised = windows[0]["performance"]["metrics"]["cost"]["value"]

    windows[0]["estimated"]["on_labelled"] = {"cost": {"off_by": 1.0}, "brier": {"off_by": 0.1}}

    assert said == {"cost": 10_000}
    assert last_known_error(windows, ENOUGH) == {"cost": 10_000 - realised, "brier": 0.1, "window": "2013-07"}


def test_what_was_said_is_kept_once_the_labels_have_come() -> None:
    assert reported(result({"estimated": {"reported": {"cost": 7.0}}}), ENOUGH) == {"cost": 7.0}


@pytest.mark.parametrize(
    "before",
    [None, result(estimated=None), result(without_labels(metrics={}), {"window": {"complete": False}})],
)
def test_nothing_was_said_of_a_window_that_was_not_measured_or_not_over(before: Any) -> None:
    assert reported(before, ENOUGH) is None
