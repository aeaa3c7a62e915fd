"""The report of `make bench-monitoring`: it says by itself what a short run leaves open."""

import pandas as pd
import pytest

from takeoff.contract import read_contract
from tests.benchmarks import drift_rates, monitoring, replay_rate
from tests.benchmarks.monitoring import SIZES, Asked, left_out, report
from tests.benchmarks.replay_rate import LEAST_SHARE, Rates
from tests.small_release import PROJECT, small_rows

WHOLE = Asked(small=False, windows=drift_rates.WINDOWS, load=0.0)


def test_a_window_that_was_left_out_is_a_line_that_says_not_measured() -> None:
    text = report(left_out(SIZES[1:]), Asked(small=True, windows=drift_rates.WINDOWS, load=0.0), [])

    [time, memory] = [line for line in text.splitlines() if "left out by --small" in line]
    assert f"{SIZES[1].rows:,} rows" in time and f"at most {SIZES[1].seconds:g} s" in time
    assert all("**not measured**" in line for line in (time, memory))
    assert "Made with `--small`" in text


def test_few_windows_are_said_to_be_few() -> None:
    text = report([], Asked(small=False, windows=5, load=0.0), [])

    assert f"of 5 windows each (`--windows`), instead of {drift_rates.WINDOWS}" in text


def test_a_busy_machine_is_told_of() -> None:
    text = report([], Asked(small=False, windows=drift_rates.WINDOWS, load=2 * monitoring.BUSY), [])

    assert "Other work was going on" in text


def test_a_whole_run_on_a_quiet_machine_leaves_nothing_open() -> None:
    text = report([], WHOLE, ["A note."])

    assert "- A note." in text
    assert not any(word in text for word in ("--small", "--windows", "Other work"))


@pytest.mark.parametrize(("replay", "is_met"), [(LEAST_SHARE * 1000, True), (LEAST_SHARE * 999, False)])
def test_a_replay_is_judged_by_single_rows_and_told_beside_its_own_kind_of_request(
    replay: float, is_met: bool
) -> None:
    found = Rates(rows=140_000, replay=replay, single=1000, batch=3000, batch_rows=38)

    assert replay_rate.line(found).met is is_met
    note = replay_rate.note(found)
    assert "of 38 rows" in note and "3,000 rows/s" in note and f"{replay / 3000:.2f} x" in note


def test_a_request_of_a_replay_has_the_rows_of_an_hour() -> None:
    contract = read_contract(PROJECT)
    rows = small_rows()[:1_000]
    hours = rows[contract.time.column].dt.floor("h")

    found = replay_rate.rows_of_a_request(rows, contract)

    assert found == round(pd.Series(hours.value_counts()).mean())
