"""False alarms and misses of the whole monitor, on few windows; see `tests.benchmarks.drift_rates`."""

import pytest

from monitoring.quality import Known
from monitoring.standard import Standard
from takeoff import model
from takeoff.contract import read_contract
from takeoff.params import read_params
from tests.benchmarks import drift_rates
from tests.benchmarks.drift_rates import Subject
from tests.small_reference import small_reference
from tests.small_release import PROJECT

CONTRACT = read_contract(PROJECT)
PARAMS = read_params(PROJECT, CONTRACT)
WINDOWS = 2
ROWS = 5_000


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
    assert drift_rates.false_alarms(subject, WINDOWS, ROWS) == {"healthy": WINDOWS}


@pytest.mark.slow
def test_what_was_planted_is_noticed(subject: Subject) -> None:
    planted = drift_rates.changes(subject)
    some = {name: planted[name] for name in list(planted)[::4]}

    found = drift_rates.misses(subject, 1, some, ROWS)

    assert {name: states["healthy"] for name, states in found.items()} == dict.fromkeys(some, 0)
