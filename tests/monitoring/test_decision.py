"""The decision: what one window says, and what the last windows say together."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.decision import NOT_JUDGED, decide, judge_window
from monitoring.findings import Reason
from takeoff.contract import read_contract
from takeoff.log_schema import INVALID_ROWS
from takeoff.params import Levels, Monitoring, read_params
from tests.conftest import PROJECT
from tests.monitoring.results import HEALTHY, column, estimate, result, week, without_labels

SETTINGS: Monitoring = read_params(PROJECT, read_contract(PROJECT)).monitoring
PERFORMANCE, DRIFT, NEEDED = SETTINGS.performance, SETTINGS.drift, SETTINGS.decision
USUAL_WINDOWS = SETTINGS.quality.usual_windows
COST = HEALTHY["reference"]["promised"]["cost"]["value"]
NOW = "2013-12-01T00:00:00+00:00"


def state(*changes: Any, **top: Any) -> str:
    return judge_window(result(*changes, **top), SETTINGS).state


def only_reason(*changes: Any, **top: Any) -> Reason:
    [reason] = judge_window(result(*changes, **top), SETTINGS).reasons
    return reason


def drifted(severity: str, importance: float | None = 1.0, **moved: Any) -> dict[str, Any]:
    """A change: one column moved, and no label says whether the model bears it."""
    level = {"watch": DRIFT.psi.watch, "severe": DRIFT.psi.severe}[severity]
    moved = {"psi": 2 * level + 0.02, "severity": severity, **moved}
    return {"drift": {"columns": [column(importance=importance, **moved)]}, **without_labels()}


def live(**metrics: Any) -> dict[str, Any]:
    return {"performance": {"metrics": metrics}}


def beyond(levels: Levels) -> dict[str, float]:
    """Values that are a reason to watch, and to retrain, if nothing is uncertain."""
    return {"watch": (levels.watch + levels.severe) / 2, "retrain": levels.severe + 0.1}


def test_a_window_in_which_nothing_stands_out_is_healthy_for_no_reason() -> None:
    assert judge_window(result(), SETTINGS) == ("2013-W32", "healthy", [])


@pytest.mark.parametrize("severity", ["watch", "retrain"])
def test_a_cost_above_the_promise_counts_by_how_far_its_whole_interval_is_above(severity: str) -> None:
    cost = COST * (1 + beyond(PERFORMANCE.cost_above_promise)[severity])

    reason = only_reason(live(cost=estimate(cost, 1)))

    assert (reason.severity, reason.what) == (severity, "cost")
    assert reason.measured > reason.required


@pytest.mark.parametrize("severity", ["watch", "retrain"])
def test_a_lost_order_of_rows_counts_by_how_far_its_whole_interval_is_below(severity: str) -> None:
    area = HEALTHY["reference"]["promised"]["roc_auc"]["value"]
    area -= beyond(PERFORMANCE.roc_auc_below_promise)[severity]

    assert only_reason(live(roc_auc=estimate(area, 0.001))).severity == severity


@pytest.mark.parametrize("severity", ["watch", "retrain"])
def test_probabilities_that_are_no_shares_any_more_are_a_reason(severity: str) -> None:
    gap = beyond(PERFORMANCE.calibration_error)[severity]

    assert only_reason(live(calibration_error=estimate(gap, 0.001))).severity == severity


def test_a_model_that_costs_more_than_the_plain_rule_is_a_reason_to_retrain() -> None:
    rule = HEALTHY["performance"]["money"]["rule"]["value"]
    loss = rule * (PERFORMANCE.loss_to_rule.severe + 0.1)
    money = {"model": estimate(rule + loss), "gain_over_rule": estimate(-loss, 1)}

    reason = only_reason({"performance": {"money": money}})

    assert (reason.severity, reason.what) == ("retrain", "cost against the plain rule")


def test_a_loss_to_the_plain_rule_that_may_be_noise_is_no_reason() -> None:
    rule = HEALTHY["performance"]["money"]["rule"]["value"]

    assert state({"performance": {"money": {"gain_over_rule": estimate(-rule / 2, rule)}}}) == "healthy"


@pytest.mark.parametrize("metric", ["cost", "roc_auc", "calibration_error"])
def test_performance_whose_interval_reaches_what_is_allowed_is_no_reason(metric: str) -> None:
    poor = {"cost": 3 * COST, "roc_auc": 0.4, "calibration_error": 0.5}[metric]

    assert state(live(**{metric: estimate(poor, 3 * COST)})) == "healthy"


@pytest.mark.parametrize("metric", ["cost", "roc_auc", "calibration_error"])
def test_a_metric_that_could_not_be_measured_is_no_reason(metric: str) -> None:
    assert state(live(**{metric: None})) == "healthy"


@pytest.mark.parametrize(
    "labels", [{"rows": SETTINGS.labels.rows - 1}, {"share": SETTINGS.labels.share - 0.01}]
)
def test_live_performance_on_too_few_labels_is_not_judged(labels: dict[str, float]) -> None:
    poor = live(calibration_error=estimate(0.5, 0.001))

    assert state(poor) == "retrain"
    assert state(poor, {"labels": labels}) == "healthy"


def test_an_estimate_counts_where_too_few_labels_have_come() -> None:
    cost = COST * (1 + PERFORMANCE.cost_above_promise.severe + 0.1) + 300

    reason = only_reason(without_labels(metrics={"cost": estimate(cost, 1)}))

    assert (reason.severity, reason.what) == ("retrain", "estimated cost")
    assert "estimated" in reason.text


def test_an_estimate_is_discounted_by_how_far_the_last_one_was_off() -> None:
    cost = COST * (1 + PERFORMANCE.cost_above_promise.severe + 0.1)
    error = {"cost": -cost, "window": "2013-W31"}

    assert state(without_labels(metrics={"cost": estimate(cost, 1)}, last_known_error=error)) == "healthy"


def test_an_estimate_of_unknown_error_asks_for_attention_but_for_no_retrain() -> None:
    cost = estimate(3 * COST, 1)

    assert state(without_labels(metrics={"cost": cost}, last_known_error=None)) == "watch"


@pytest.mark.parametrize(("found", "severity"), [("watch", "watch"), ("severe", "retrain")])
def test_drift_of_a_column_that_the_model_uses_counts_by_its_severity(found: str, severity: str) -> None:
    reason = only_reason(drifted(found))

    assert (reason.severity, reason.column, reason.what) == (severity, "pressure", "psi")
    assert reason.measured > reason.required


def test_severe_drift_of_a_column_that_the_model_hardly_uses_is_no_reason() -> None:
    assert state(drifted("severe", importance=DRIFT.importance.watch / 2)) == "healthy"


def test_severe_drift_of_a_column_of_little_use_is_a_reason_to_watch() -> None:
    assert state(drifted("severe", importance=DRIFT.importance.watch)) == "watch"


def test_drift_that_performance_bears_is_no_reason_to_retrain() -> None:
    moved = {"drift": drifted("severe")["drift"]}

    assert state(moved) == "watch"
    assert state(moved, live(calibration_error=estimate(0.5, 0.001))) == "retrain"


@pytest.mark.parametrize(
    ("moved", "what", "said"),
    [
        ({"missing": 0.9}, "missing", "missing in 90.0%, 1.0% in the reference"),
        ({"unseen": 0.9}, "unseen", "never seen before in 90.0%"),
        ({"distance": 9.0}, "distance", "moved by 9 standard deviations"),
        ({"distance": 0.9, "distance_kind": "jensen_shannon"}, "distance", "Jensen-Shannon distance 0.9"),
        ({"distance": None, "psi": 9.0}, "psi", "PSI 9"),
    ],
)
def test_the_measure_that_moved_furthest_is_the_one_that_is_told(
    moved: dict[str, Any], what: str, said: str
) -> None:
    reason = only_reason(
        drifted("severe", psi=0.0, **moved) if "psi" not in moved else drifted("severe", **moved)
    )

    assert reason.what == what
    assert said in reason.text


@pytest.mark.parametrize(("found", "severity"), [("watch", "watch"), ("severe", "retrain")])
def test_predictions_that_moved_are_one_reason_for_all_classes(found: str, severity: str) -> None:
    both = [{**column(psi=2.0, severity=found), "class": name} for name in ("on_time", "late")]

    reason = only_reason({"drift": {"predictions": both}, **without_labels()})

    assert (reason.severity, reason.about) == (severity, "prediction drift")


def test_rows_that_a_classifier_can_tell_apart_are_a_reason_to_watch_at_most() -> None:
    found = {"roc_auc": estimate(0.999, 0.001), "columns": [{"column": "pressure", "importance": 0.4}]}

    reason = only_reason({"multivariate": found, **without_labels()})

    assert (reason.severity, reason.about) == ("watch", "multivariate drift")
    assert "pressure" in reason.text


@pytest.mark.parametrize(
    ("quality", "what"),
    [
        ({"broken_rows": 700}, "broken rows"),
        ({"refused": {INVALID_ROWS: 700}}, "refused rows"),
        (
            {
                "rules": [
                    {
                        "rule": "r",
                        "column": "c",
                        "measured": "9",
                        "failing": 9,
                        "passed": False,
                        "severity": "error",
                    }
                ]
            },
            "broken rule",
        ),
    ],
)
def test_broken_data_is_a_reason_to_watch_and_never_to_retrain(quality: dict[str, Any], what: str) -> None:
    reason = only_reason({"quality": quality})

    assert (reason.severity, reason.what) == ("watch", what)


@pytest.mark.parametrize(
    "quality",
    [
        {"broken_rows": 1},
        {"refused": {INVALID_ROWS: 1}},
        {"refused": {"unauthorized": 70_000, "busy": 70_000}},
        {"refused": None},
        {
            "rules": [
                {
                    "rule": "r",
                    "column": None,
                    "measured": "",
                    "failing": 9,
                    "passed": False,
                    "severity": "warn",
                }
            ]
        },
        {
            "rules": [
                {
                    "rule": "r",
                    "column": None,
                    "measured": "",
                    "failing": 0,
                    "passed": None,
                    "severity": "error",
                }
            ]
        },
    ],
)
def test_what_breaks_few_rows_or_only_warns_is_no_reason(quality: dict[str, Any]) -> None:
    assert state({"quality": quality}) == "healthy"


@pytest.mark.parametrize(
    ("missing", "what"),
    [
        ({"drift": None}, ["drift"]),
        ({"performance": None, "estimated": None}, ["live performance", "estimated performance"]),
    ],
)
def test_what_could_not_be_measured_is_a_reason_to_watch(missing: dict[str, Any], what: list[str]) -> None:
    judged = judge_window(result(**missing), SETTINGS)

    assert (judged.state, [each.what for each in judged.reasons]) == ("watch", what)


@pytest.mark.parametrize("part", ["multivariate", "labels", "quality", "shadow", "estimated", "performance"])
def test_a_window_is_judged_without_any_part(part: str) -> None:
    assert state(**{part: None}) == "healthy"


BAD = live(calibration_error=estimate(0.5, 0.001))
ODD = live(calibration_error=estimate(beyond(PERFORMANCE.calibration_error)["watch"], 0.0001))


def decided(*weeks: dict[str, Any], champion: str | None = "1", **options: Any) -> dict[str, Any]:
    return decide(weeks, SETTINGS, champion, NOW, **options)


@pytest.mark.parametrize("bad", range(NEEDED.last + 1))
def test_a_retrain_needs_as_many_of_the_last_windows_as_params_say(bad: int) -> None:
    last = [week(20 + i, BAD if i < bad else {}) for i in range(NEEDED.last)]

    found = decided(*last)

    expected = "retrain" if bad >= NEEDED.retrain else "watch" if bad >= NEEDED.watch else "healthy"
    assert found["state"] == expected
    assert found["exit_code"] == {"healthy": 0, "watch": 0, "retrain": 3}[expected]


def test_only_the_last_windows_count() -> None:
    old = [week(10 + i, BAD) for i in range(NEEDED.last)]
    new = [week(20 + i) for i in range(NEEDED.last)]

    found = decided(*new, *old)

    assert (found["state"], found["reasons"]) == ("healthy", [])
    assert found["window"] == new[-1]["window"]["name"]
    assert [each["state"] for each in found["windows"]] == ["retrain"] * len(old) + ["healthy"] * len(new)


@pytest.mark.parametrize(
    ("barred", "why"),
    [
        ({"window": {"complete": False}}, "not over yet"),
        ({"rows": SETTINGS.rows - 1, "model_versions": {"1": SETTINGS.rows - 1}}, "fewer than"),
        ({"model_versions": {"1": int(7000 * NEEDED.champions_share) - 1, "2": 701}}, "version 1 gave 90%"),
        ({"model_versions": {"2": 7000, "1": 0}}, "version 1 gave 0%"),
    ],
)
def test_windows_that_say_little_of_the_champion_are_listed_but_not_judged(
    barred: dict[str, Any], why: str
) -> None:
    found = decided(*[week(20 + i, BAD, barred) for i in range(NEEDED.last)])

    assert found["state"] == "watch" and "nothing to judge yet" in found["sentence"]
    assert {each["state"] for each in found["windows"]} == {NOT_JUDGED}
    assert all(why in each["why"] for each in found["windows"])


def test_windows_of_another_kind_have_no_say() -> None:
    days = [week(20 + i, BAD, {"window": {"kind": "day"}}) for i in range(NEEDED.last)]

    assert decided(*days, week(40))["state"] == "healthy"


def test_without_any_window_the_state_is_watch_and_the_exit_code_0() -> None:
    found = decided()

    assert (found["state"], found["exit_code"], found["window"]) == ("watch", 0, None)
    assert "nothing to judge yet" in found["sentence"]


def test_the_sentence_tells_the_state_the_gravest_reason_and_the_money() -> None:
    found = decided(*[week(20 + i, BAD, ODD if i == 2 else {}) for i in range(3)])

    for fragment in (
        "Retrain: calibration error is 0.5",
        "2 of the last 3 weeks say so",
        "9,900 USD per 1,000 rows in 2013-W22",
        "(10,000 promised, 12,000 by the plain rule)",
    ):
        assert fragment in found["sentence"]


def test_the_sentence_tells_an_estimated_cost_where_no_labels_have_come() -> None:
    assert "are estimated to cost 9,950" in decided(week(20, without_labels()))["sentence"]
    nothing = without_labels() | {"estimated": None}
    assert "is not known: no labels have come" in decided(week(20, nothing))["sentence"]


@pytest.mark.parametrize(
    ("before", "changed"), [(None, True), ("healthy", False), ("watch", True), ("retrain", True)]
)
def test_a_change_of_state_is_told(before: str | None, changed: bool) -> None:
    found = decided(week(20), previous={"state": before} if before else None)

    assert (found["state"], found["changed"], found["previous_state"]) == ("healthy", changed, before)


def test_without_a_known_champion_every_window_is_judged() -> None:
    assert decided(week(20, {"model_versions": {"7": 7000}}), champion=None)["state"] == "healthy"


@given(st.lists(st.sampled_from([{}, ODD, BAD]), max_size=6), st.randoms())
def test_the_order_in_which_windows_are_given_does_not_matter(changes: list[Any], random: Any) -> None:
    weeks = [week(20 + i, change) for i, change in enumerate(changes)]
    shuffled = random.sample(weeks, len(weeks))

    assert decided(*weeks) == decided(*shuffled)


@given(st.lists(st.sampled_from([{}, ODD, BAD]), max_size=6), st.integers(0, 5))
def test_a_window_that_gets_worse_never_improves_the_decision(changes: list[Any], place: int) -> None:
    grave = ["healthy", "watch", "retrain"]
    worse = [BAD if i == place else change for i, change in enumerate(changes)]

    before = decided(*[week(20 + i, each) for i, each in enumerate(changes)])["state"]
    after = decided(*[week(20 + i, each) for i, each in enumerate(worse)])["state"]

    assert not changes or grave.index(after) >= grave.index(before)


def test_the_decision_is_plain_json_in_which_every_reason_has_measured_and_required() -> None:
    found = decided(*[week(20 + i, BAD, drifted("severe")) for i in range(3)])

    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["reasons"]
    for reason in found["reasons"]:
        assert {"window", "what", "column", "measured", "required", "direction", "severity", "text"} <= set(
            reason
        )


@pytest.mark.parametrize(
    ("factor", "expected"), [(2.0, "watch"), (0.5, "watch"), (1.2, "healthy"), (0.9, "healthy")]
)
def test_traffic_far_from_that_of_the_windows_before_is_a_reason_to_watch(
    factor: float, expected: str
) -> None:
    usual = HEALTHY["rows"]

    judged = judge_window(result(rows=int(factor * usual)), SETTINGS, [usual] * USUAL_WINDOWS)

    assert judged.state == expected


def test_doubled_traffic_is_noticed_in_the_last_window() -> None:
    weeks = [week(number) for number in range(32, 37)]
    weeks[-1] = {**weeks[-1], "rows": 2 * weeks[-1]["rows"], "model_versions": {"1": 2 * weeks[-1]["rows"]}}

    decision = decide(weeks, SETTINGS, "1", NOW)

    assert (decision["state"], [reason["what"] for reason in decision["reasons"]]) == ("watch", ["traffic"])


SILENT: dict[str, Any] = {
    "rows": 0,
    "model_versions": {},
    "quality": {"checked_rows": 0, "refused": {}},
    **dict.fromkeys(("drift", "multivariate", "labels", "performance", "estimated")),
}
REFUSED = SILENT | {"quality": {"checked_rows": 0, "refused": {INVALID_ROWS: HEALTHY["rows"]}}}
FEW = {"rows": SETTINGS.rows - 1, "model_versions": {"1": SETTINGS.rows - 1}}


def after_usual(*changes: Any) -> dict[str, Any]:
    """The decision on weeks with the usual rows and then on these."""
    usual = [week(20 + i) for i in range(USUAL_WINDOWS)]
    return decided(*usual, *[week(20 + USUAL_WINDOWS + i, each) for i, each in enumerate(changes)])


@pytest.mark.parametrize(
    ("change", "what", "said"),
    [
        (SILENT, "traffic", "no row came"),
        (FEW, "traffic", "times fewer"),
        (REFUSED, "refused rows", "refused 100.00% of the rows"),
    ],
)
def test_a_window_in_which_rows_stay_away_or_are_refused_is_a_reason_to_watch(
    change: dict[str, Any], what: str, said: str
) -> None:
    found = after_usual(change)

    [reason] = found["reasons"]
    assert (found["state"], reason["what"], reason["severity"]) == ("watch", what, "watch")
    assert said in reason["text"]
    assert found["windows"][-1]["state"] == "watch" and "fewer than" in found["windows"][-1]["why"]


def test_rows_that_stay_away_are_told_as_long_as_they_do() -> None:
    found = after_usual(*[SILENT] * (NEEDED.last + USUAL_WINDOWS))

    assert found["state"] == "watch"
    assert {each["what"] for each in found["reasons"]} == {"traffic"}


def test_the_usual_traffic_after_an_outage_is_usual() -> None:
    found = after_usual(*[SILENT] * USUAL_WINDOWS, {})

    assert found["windows"][-1]["state"] == "healthy"


def test_windows_without_rows_take_no_place_of_those_that_ask_for_a_retrain() -> None:
    bad = [BAD] * NEEDED.retrain

    assert after_usual(*bad, *[SILENT] * NEEDED.last)["state"] == "retrain"


@pytest.mark.parametrize("change", [SILENT, FEW, REFUSED])
def test_a_window_that_is_not_over_says_nothing_of_traffic(change: dict[str, Any]) -> None:
    found = after_usual(change | {"window": {"complete": False}})

    assert (found["state"], found["windows"][-1]["state"]) == ("healthy", NOT_JUDGED)


@pytest.mark.parametrize("change", [SILENT, FEW])
def test_traffic_is_not_judged_before_it_is_known_what_is_usual(change: dict[str, Any]) -> None:
    first = [week(20, change), *[week(21 + i) for i in range(USUAL_WINDOWS - 1)], week(30, change)]

    found = decided(*first)

    assert (found["state"], found["windows"][0]["state"]) == ("healthy", NOT_JUDGED)
    assert found["windows"][-1]["state"] == NOT_JUDGED


def test_single_refused_rows_of_a_quiet_window_are_no_reason() -> None:
    quiet = {
        "rows": 3,
        "model_versions": {"1": 3},
        "quality": {"checked_rows": 3, "refused": {INVALID_ROWS: 2}},
    }

    assert decided(week(20, quiet))["windows"][0]["state"] == NOT_JUDGED


def test_calibration_is_not_judged_on_few_labels() -> None:
    error = estimate(beyond(PERFORMANCE.calibration_error)["watch"], 0.0)
    few = {"performance": {"rows": PERFORMANCE.calibration_rows - 1, "metrics": {"calibration_error": error}}}

    assert state(few) == "healthy"
    assert state({"performance": {"metrics": {"calibration_error": error}}}) == "watch"
