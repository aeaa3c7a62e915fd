"""The gate: every check is broken on purpose once; thresholds are those of the real params.yaml."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from takeoff.contract import read_contract
from takeoff.evaluation import HIGHER_IS_BETTER
from takeoff.params import read_params
from takeoff.release import Check, Decision, Judged, decide, identity
from tests.conftest import PROJECT

PARAMS = read_params(PROJECT, read_contract(PROJECT))
SETTINGS, CONFIDENCE = PARAMS.release, PARAMS.evaluation.confidence
UPKEEP = {name: each.upkeep for name, each in PARAMS.candidates.items()}
(BASELINE,) = SETTINGS.beats
COST = 8000.0  # of a candidate as it is; noise and gains below are against it
DAYS = np.random.default_rng(3).normal(size=500)
# What all models feel alike on a good or bad day, and what each feels alone.
SHARED, ALONE = 400 * DAYS, 20.0
SLICE = (SETTINGS.critical_slices[0], "JFK")


def passing() -> dict[str, float]:
    """Metrics that clear every floor, just."""
    return {
        name: floor.min if floor.min is not None else float(floor.max or 0)
        for name, floor in SETTINGS.floors.items()
    }


def judged(
    name: str,
    cost: float = COST,
    *,
    file: str | None = None,
    metrics: Mapping[str, float] | None = None,
    **changes: Any,
) -> Judged:
    own = np.random.default_rng(sum(map(ord, name + (file or "")))).normal(size=len(DAYS)) * ALONE
    made = Judged(
        name=name,
        identity=file or name,
        contract_hash="the same",
        upkeep=UPKEEP[name],
        metrics={**passing(), **(metrics or {})},
        draws=np.concatenate([[cost], cost + SHARED + own - own.mean()]),
        slices={SLICE: cost},
    )
    return made._replace(**changes)


WEAK = judged(BASELINE, COST + 2000)


def gate(*candidates: Judged, champion: Judged | None = None) -> Decision:
    return decide(candidates, champion, SETTINGS, CONFIDENCE)


def failed(decision: Decision) -> list[Check]:
    return [check for check in decision.checks if not check.passed]


def test_a_first_release_needs_no_champion() -> None:
    found = gate(WEAK, judged("boosted"))

    assert (found.outcome, found.winner, failed(found)) == ("released", "boosted", [])


@pytest.mark.parametrize("metric", SETTINGS.floors)
def test_a_winner_right_at_a_floor_passes_and_beyond_it_is_refused(metric: Any) -> None:
    floor = SETTINGS.floors[metric]
    beyond = floor.min - 1e-6 if floor.min is not None else float(floor.max or 0) + 1e-6

    missed = gate(
        WEAK._replace(metrics={**passing(), metric: beyond}), judged("boosted", metrics={metric: beyond})
    )

    assert gate(WEAK, judged("boosted")).outcome == "released"
    assert missed.outcome == "refused"
    assert [check.name.startswith("floor") for check in failed(missed)] == [True]
    assert failed(missed)[0].name in missed.why


@pytest.mark.parametrize("metric", SETTINGS.floors)
def test_a_floor_that_is_not_a_number_is_missed(metric: Any) -> None:
    lost = {metric: float("nan")}

    found = gate(WEAK._replace(metrics={**passing(), **lost}), judged("boosted", metrics=lost))

    assert found.outcome == "refused"


def test_a_candidate_that_misses_a_floor_leaves_the_win_to_a_sound_one() -> None:
    unsound = judged("logistic", COST - 500, metrics={"roc_auc": 0.5})

    found = gate(WEAK, unsound, judged("boosted"))

    assert (found.outcome, found.winner) == ("released", "boosted")
    assert {each.name: each.standing for each in found.comparisons}["logistic"] == "misses a floor"


def test_a_winner_that_does_not_beat_the_baseline_is_refused() -> None:
    unsound_baseline = judged(BASELINE, COST, metrics={"roc_auc": 0.5})

    found = gate(unsound_baseline, judged("boosted", COST))

    assert (found.outcome, found.winner) == ("refused", "boosted")
    assert [check.name for check in failed(found)] == [f"better than {BASELINE}"]


def test_the_baseline_itself_may_win_where_nothing_beats_it() -> None:
    found = gate(judged(BASELINE), judged("boosted"))

    assert (found.outcome, found.winner) == ("released", BASELINE)


def test_the_cheapest_within_the_noise_wins_over_a_better_measured_one() -> None:
    found = gate(WEAK, judged("logistic", COST + 0.5), judged("boosted", COST), judged("network", COST + 0.2))

    assert (found.outcome, found.winner) == ("released", "logistic")
    assert "lowest upkeep" in found.why and "boosted" in found.why
    assert {each.name: each.standing for each in found.comparisons} == {
        BASELINE: "behind",
        "logistic": "equal",
        "boosted": "equal",
        "network": "equal",
    }


def test_a_costlier_candidate_that_is_better_by_more_than_the_noise_wins() -> None:
    found = gate(WEAK, judged("logistic", COST + 200), judged("boosted", COST))

    assert (found.outcome, found.winner) == ("released", "boosted")
    assert "better than every other" in found.why


def test_noise_that_all_candidates_share_hides_no_difference() -> None:
    """Paired: the intervals of the two overlap almost wholly, that of their difference is clear of 0."""
    better, worse = judged("boosted", COST), judged("logistic", COST + 200)

    assert better.draws[1:].std() > 200 > (worse.draws - better.draws)[1:].std() * 4
    assert gate(WEAK, better, worse).winner == "boosted"


def test_a_challenger_better_than_the_champion_is_released() -> None:
    found = gate(WEAK, judged("boosted", COST - 300), champion=judged("boosted", file="old"))

    assert (found.outcome, failed(found)) == ("released", [])


@pytest.mark.parametrize("loss", [0.0, 300.0])
def test_a_challenger_that_is_no_better_and_no_cheaper_is_refused(loss: float) -> None:
    found = gate(WEAK, judged("boosted", COST + loss), champion=judged("boosted", file="old"))

    assert found.outcome == "refused"
    assert failed(found)[0].name.startswith("against the champion")


def test_an_equal_may_replace_a_champion_of_another_contract() -> None:
    champion = judged("boosted", file="old")._replace(contract_hash="another")

    assert gate(WEAK, judged("boosted", file="new"), champion=champion).outcome == "released"


def test_a_worse_one_may_not_replace_a_champion_of_another_contract() -> None:
    champion = judged("boosted", file="old")._replace(contract_hash="another")

    decision = gate(WEAK, judged("boosted", COST + 500, file="new"), champion=champion)

    assert decision.outcome == "refused"


def test_another_threshold_makes_another_release_and_another_measurement_does_not() -> None:
    card = {"onnx_sha256": "a", "contract_hash": "b", "decision": {"threshold": 0.3}, "metrics": {"cost": 1}}

    assert identity(card) != identity({**card, "decision": {"threshold": 0.4}})
    assert identity(card) == identity({**card, "metrics": {"cost": 2}})


def test_a_challenger_that_is_no_worse_and_cheaper_is_released() -> None:
    found = gate(WEAK, judged("logistic", COST), champion=judged("network", file="old"))

    assert (found.outcome, found.winner, failed(found)) == ("released", "logistic", [])


def test_a_cheaper_challenger_that_is_worse_by_more_than_the_noise_is_refused() -> None:
    found = gate(WEAK, judged("logistic", COST + 300), champion=judged("network", file="old"))

    assert found.outcome == "refused"
    assert failed(found)[0].name.startswith("against the champion")


@pytest.mark.parametrize(("beyond", "outcome"), [(-1.0, "released"), (1.0, "refused")])
def test_a_critical_slice_may_be_worse_than_the_champions_up_to_the_margin(
    beyond: float, outcome: str
) -> None:
    limit = COST * (1 + SETTINGS.slice_margin)
    challenger = judged("boosted", COST - 300, slices={SLICE: limit + beyond})

    found = gate(WEAK, challenger, champion=judged("boosted", file="old"))

    assert found.outcome == outcome
    assert [check.name for check in failed(found)] == (
        [f"slice {SLICE[0]} = {SLICE[1]}"] if outcome == "refused" else []
    )


def test_a_slice_that_only_one_of_both_has_is_not_compared() -> None:
    challenger = judged("boosted", COST - 300, slices={(SLICE[0], "new"): COST * 9})

    assert gate(WEAK, challenger, champion=judged("boosted", file="old")).outcome == "released"


def test_the_champions_own_file_as_winner_changes_nothing() -> None:
    same = judged("boosted")

    found = gate(WEAK, same, champion=same)

    assert (found.outcome, found.winner) == ("unchanged", "boosted")


def test_the_champions_own_file_is_refused_too_once_it_misses_a_floor() -> None:
    same = judged("boosted", metrics={"roc_auc": 0.5})
    weak = WEAK._replace(metrics=same.metrics)

    assert gate(weak, same, champion=same).outcome == "refused"


@pytest.mark.parametrize("metric", sorted(HIGHER_IS_BETTER))
def test_where_higher_is_better_gains_slices_and_the_best_turn_round(metric: Any) -> None:
    settings = SETTINGS.model_copy(update={"metric": metric})

    def area(name: str, shift: float, **changes: Any) -> Judged:
        each = judged(name, **changes)
        return each._replace(draws=0.7 + shift + (each.draws - COST) / 1e5, slices={SLICE: 0.7 + shift})

    weak, good, old = area(BASELINE, -0.1), area("boosted", 0.05), area("boosted", 0.0, file="old")
    poor_slice = good._replace(slices={SLICE: 0.7 * (1 - SETTINGS.slice_margin) - 0.001})

    assert decide([weak, good], old, settings, CONFIDENCE).outcome == "released"
    assert decide([weak, area("boosted", -0.05)], old, settings, CONFIDENCE).outcome == "refused"
    assert decide([weak, poor_slice], old, settings, CONFIDENCE).outcome == "refused"


def test_every_failed_check_is_in_the_reason() -> None:
    challenger = judged("boosted", COST + 300, slices={SLICE: COST * 9})

    found = gate(WEAK, challenger, champion=judged("boosted", file="old"))

    assert len(failed(found)) == 2
    assert all(check.name in found.why for check in failed(found))
