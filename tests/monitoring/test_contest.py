"""What each contestant of the story was worth: on real rows, with models that were really trained."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from monitoring import contest
from monitoring.contest import ALONE, CONTESTANTS, LOOP, RULE, Offline, Told
from takeoff import model, value
from takeoff.contract import Contract
from takeoff.features import examples
from takeoff.model import Model
from takeoff.params import Params
from takeoff.training import Trained

THRESHOLD = 0.3


@pytest.fixture(scope="module")
def offline(trained: Callable[[str], Trained]) -> Callable[[str], Offline]:
    """A trained candidate as one that did not serve."""
    return lambda name: Offline(
        Model(model.session_of(trained(name).onnx), trained(name).card), threshold=THRESHOLD
    )


@pytest.fixture(scope="module")
def told(
    split_rows: Callable[[str], pd.DataFrame], offline: Callable[[str], Offline], contract: Contract
) -> Told:
    """Test rows as a service with the boosted candidate would have answered them."""
    rows = split_rows("test")
    test = examples(rows, contract)
    probabilities = model.predict(offline("boosted").model.session, test.features)
    decisions = value.decide(probabilities, THRESHOLD)
    features = rows[list(contract.columns)].astype(dict.fromkeys(contract.categories, "category"))
    return Told(features, rows[contract.time.column], test.labels, decisions, probabilities)


def part(told: Told, places: np.ndarray) -> Told:
    frames = (each.iloc[places].reset_index(drop=True) for each in told[:2])
    return Told(*frames, *(each[places] for each in told[2:]))


def test_a_loop_that_kept_its_first_model_is_worth_what_that_model_is_alone(
    told: Told, offline: Callable[[str], Offline], contract: Contract, small_params: Params
) -> None:
    scored = contest.score(told, offline("boosted"), offline("rule"), contract)

    found = contest.measure(scored, told.times, contract, small_params.evaluation, small_params.seed)

    assert found["contestants"][LOOP] == found["contestants"][ALONE]
    assert found["loop_gains"][ALONE] == {"value": 0, "low": 0, "high": 0}
    assert found["loop_gains"][RULE]["value"] != 0


def test_money_is_what_the_contract_says_of_every_error(
    told: Told, offline: Callable[[str], Offline], contract: Contract, small_params: Params
) -> None:
    always = told._replace(decisions=np.ones_like(told.decisions))

    scored = contest.score(always, offline("boosted"), offline("rule"), contract)
    found = contest.measure(scored, told.times, contract, small_params.evaluation, small_params.seed)

    first, event = contract.target.classes
    (price,) = [each.cost for each in contract.costs.errors if (each.truth, each.decision) == (first, event)]
    wrong = int((told.labels == 0).sum())
    loop = found["contestants"][LOOP]
    assert loop["total"] == wrong * price
    assert loop["cost"]["value"] == pytest.approx(wrong * price * value.PER_ROWS / len(told.labels))
    assert loop["cost"]["low"] < loop["cost"]["value"] < loop["cost"]["high"]


def test_parts_taken_together_are_worth_what_the_whole_is(
    told: Told, offline: Callable[[str], Offline], contract: Contract, small_params: Params
) -> None:
    places = np.random.default_rng(5).permutation(len(told.times))
    alone, rule = offline("boosted"), offline("rule")

    parts = [contest.score(part(told, each), alone, rule, contract) for each in np.array_split(places, 3)]

    whole = contest.score(part(told, places), alone, rule, contract)
    for name, scored in contest.together(parts).items():
        for one, other in zip(scored, whole[name], strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_table_has_a_line_for_each_month_with_its_own_numbers(
    told: Told, offline: Callable[[str], Offline], contract: Contract, small_params: Params
) -> None:
    scored = contest.score(told, offline("boosted"), offline("rule"), contract)
    found = contest.measure(scored, told.times, contract, small_params.evaluation, small_params.seed)
    months = [
        found | {"name": name, "model_versions": versions, "ending": ending, "rows": rows}
        for name, versions, ending, rows in (
            ("2013-06", {"1": 5}, "retrain: refused", 1111),
            ("2013-07", {"1": 3, "2": 2}, "healthy", 2222),
        )
    ]

    lines = contest.table({"months": months, "all": found}, contract).splitlines()

    june, july = ([cell.strip() for cell in line.split("|")] for line in lines[2:4])
    assert (june[1:3], july[1:3]) == (["2013-06", "1,111"], ["2013-07", "2,222"])
    assert june[7] == "version 1 served; retrain: refused"
    assert july[7] == "versions 1 and 2 served; healthy"
    for cell, name in zip(june[4:7], CONTESTANTS, strict=True):
        each = found["contestants"][name]
        assert cell.startswith(f"{each['cost']['value']:,.0f} [")
        assert cell.endswith(f"{each['calibration_error']['value']:.3f}")
    assert len({len(line.split("|")) for line in lines}) == 1
