"""False alarms and misses of the whole monitor, on few windows; see `tests.benchmarks.drift_rates`."""

from collections import Counter

import numpy as np
import pytest

from monitoring import faults
from monitoring.decision import NOT_JUDGED
from monitoring.quality import Known
from monitoring.standard import Standard
from takeoff import model
from takeoff.contract import read_contract
from takeoff.params import read_params
from tests.benchmarks import drift_rates
from tests.benchmarks.drift_rates import Noticed, Planted, Subject
from tests.small_reference import small_reference
from tests.small_release import PROJECT

CONTRACT = read_contract(PROJECT)
PARAMS = read_params(PROJECT, CONTRACT)
WINDOWS = 2
ROWS = 5_000
# How the lines of the report speak of each fault.
FAULTS = {
    "stuck": "stuck",
    "units": " instead of ",
    "missing": "gone missing",
    "new-category": "under a new name",
    faults.DOUBLE: "doubled",
}


@pytest.fixture(scope="module")
def subject() -> Subject:
    small = small_reference()
    against = Standard(
        contract=CONTRACT,
        params=PARAMS,
        registry=None,
        version=None,
        card={},
        reference=small.reference,
        owns_reference=True,
        rule=None,
        thresholds={},
        notes=[],
        digest="",
    )
    return Subject(against, small.reference, model.session_of(small.onnx), 0.3, small.rows, Known())


@pytest.mark.slow
def test_windows_in_which_nothing_has_changed_are_healthy(subject: Subject) -> None:
    assert drift_rates.false_alarms(subject, range(WINDOWS), ROWS) == {"healthy": WINDOWS}


@pytest.mark.slow
def test_what_was_planted_is_noticed(subject: Subject) -> None:
    planted = drift_rates.changes(subject)
    some = {name: planted[name] for name in list(planted)[::4]}

    found = drift_rates.misses(subject, range(1), some, ROWS)

    assert {name: each.states["healthy"] for name, each in found.items()} == dict.fromkeys(some, 0)


def test_every_fault_of_a_replay_is_planted_and_a_shift_goes_both_ways(subject: Subject) -> None:
    planted = drift_rates.changes(subject)
    rows = drift_rates.draw(subject, ROWS, 0)
    time = CONTRACT.time.column

    assert set(FAULTS) == set(faults.FAULTS)
    assert all(any(word in name for name in planted) for word in FAULTS.values())
    for name in (each for each in planted if each.endswith("higher by 0.5 sigma")):
        column, lower = planted[name].column, planted[name.replace("higher", "lower")]
        assert column is not None
        moved = [each.change(rows)[column].mean() - rows[column].mean() for each in (planted[name], lower)]
        assert moved[0] > 0 > moved[1] and moved[0] == pytest.approx(-moved[1], rel=1e-3)
    doubled = planted["traffic doubled"].change(rows)
    assert len(doubled) == 2 * ROWS and doubled[time].is_monotonic_increasing


def test_rows_that_the_service_would_refuse_are_left_to_what_the_monitor_knows_of_refusals(
    subject: Subject,
) -> None:
    planted = drift_rates.changes(subject)
    bounded = next(each for each in CONTRACT.numbers if CONTRACT.columns[each].max is not None)

    def beyond(every: int) -> Planted:
        too_much = np.float32(CONTRACT.columns[bounded].max or 0) + np.float32(1)
        return Planted(
            bounded,
            lambda rows: rows.assign(
                **{bounded: rows[bounded].where(np.arange(len(rows)) % every != 0, too_much)}
            ),
        )

    some = {"all": beyond(1), "none": planted["traffic doubled"], "a third": beyond(3)}
    found = drift_rates.misses(subject, range(1), some, ROWS)

    assert {name: round(each.refused, 2) for name, each in found.items()} == {
        "all": 1.0,
        "none": 0.0,
        "a third": 0.33,
    }
    assert found["all"].states == {"watch": 1}  # of which nothing is left but that they were refused
    assert found["a third"].states == {"watch": 1}


def test_a_line_says_how_many_rows_would_be_refused() -> None:
    noticed = {
        "a fault": Noticed(Counter({NOT_JUDGED: 1, "watch": 1}), 0.25),
        "another": Noticed(Counter({"watch": 2}), 0.0),
    }

    found = drift_rates.lines({}, noticed)

    assert [(each.met, "refuses 25.0% of the rows" in each.measured) for each in found] == [
        (False, True),
        (True, False),
    ]


def test_windows_of_several_processes_are_counted_together() -> None:
    parts = [
        {"a fault": Noticed(Counter({"watch": 1}), 0.0)},
        {"a fault": Noticed(Counter({"watch": 1, "retrain": 2}), 0.4)},
    ]

    assert drift_rates.joined(parts) == {
        "a fault": Noticed(Counter({"watch": 2, "retrain": 2}), pytest.approx(0.3))
    }
