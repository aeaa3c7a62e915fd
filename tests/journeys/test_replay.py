"""Production played through a running service: in order, truth in its time, and on again after a stop."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from monitoring import replay
from monitoring.faults import SECOND
from takeoff import files, paths
from takeoff.contract import CONTRACT_FILE, read_contract
from tests.evidence import logged, until
from tests.small_package import Packed
from tests.small_release import FIT_ROWS, PROJECT, small_rows
from tests.small_service import Service, serving

pytestmark = pytest.mark.slow

CONTRACT = read_contract(PROJECT)
TIME, TARGET = CONTRACT.time.column, CONTRACT.target
NEVER_KNOWN = 7  # rows of the sample whose truth never comes


def production() -> pd.DataFrame:
    """Some real days after those that the model was fitted on."""
    rows = small_rows()[FIT_ROWS:].sort_values(TIME, kind="stable").reset_index(drop=True)
    rows.loc[rows.index[:NEVER_KNOWN], [TARGET.column, TARGET.known_at]] = None
    return rows


@pytest.fixture
def service(boosted: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """In a project folder of its own, which has production rows."""
    shutil.copy(PROJECT / CONTRACT_FILE, tmp_path / CONTRACT_FILE)
    files.write_rows(tmp_path / paths.PRODUCTION_ROWS, production())
    monkeypatch.chdir(tmp_path)
    with serving(boosted, tmp_path / "service") as running:
        yield running


def arguments(service: Service, *more: str) -> list[str]:
    log = f"sqlite:///{service.folder}/log/predictions.db"
    return ["replay", "--url", f"http://127.0.0.1:{service.port}", "--log", log, *more]


def play(service: Service, monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    monkeypatch.setattr(sys, "argv", arguments(service, *more))
    replay.main()


def row_ids(service: Service) -> list[str]:
    return [each for (each,) in logged(service, "SELECT row_id FROM predictions ORDER BY seq")]


def test_rows_come_once_in_their_order_and_truth_only_after_it_is_known(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = production()

    play(service, monkeypatch)

    times = [each for (each,) in logged(service, "SELECT row_time FROM predictions ORDER BY seq")]
    assert sorted(row_ids(service)) == sorted(rows[CONTRACT.id])
    assert times == sorted(times)
    told = logged(service, "SELECT row_id, label FROM labels JOIN predictions ON id = prediction_id")
    known = rows[rows[TARGET.column].notna()]
    assert dict(told) == dict(zip(known[CONTRACT.id], known[TARGET.column], strict=True))
    # Whatever had happened before the truth was known had been sent before it was told.
    early = (
        "SELECT count(*) FROM labels l WHERE EXISTS "
        "(SELECT 1 FROM predictions p WHERE p.row_time < l.known_at AND p.time > l.time)"
    )
    assert logged(service, early) == [(0,)]


def test_a_replay_that_was_killed_goes_on_and_sends_nothing_twice(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-m", "monitoring.replay", *arguments(service)[1:]]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    for more in (300, 900):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        until(lambda more=more: len(row_ids(service)) > more, f"{more} rows are answered")
        process.kill()
        process.wait()

    play(service, monkeypatch)

    assert sorted(row_ids(service)) == sorted(production()[CONTRACT.id])
    labelled = logged(service, "SELECT count(*) FROM labels")
    assert labelled == [(len(production()) - NEVER_KNOWN,)]


def test_a_replay_outlives_a_service_that_was_killed(
    boosted: Packed, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring.caller.GONE_SECONDS", 0.0)

    def kill_in_the_middle() -> None:
        until(lambda: len(row_ids(service)) > 300, "300 rows are answered")
        service.kill()

    with ThreadPoolExecutor(1) as beside:
        killed = beside.submit(kill_in_the_middle)
        with pytest.raises(replay.TakeoffError, match="No service answers"):
            play(service, monkeypatch)
        killed.result()
    assert len(row_ids(service)) < len(production())

    with serving(boosted, service.folder) as again:
        play(again, monkeypatch)

    assert sorted(row_ids(service)) == sorted(production()[CONTRACT.id])
    assert logged(service, "SELECT count(*) FROM labels") == [(len(production()) - NEVER_KNOWN,)]


def test_a_replay_at_a_speed_takes_the_time_that_this_speed_needs(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = production()[TIME]
    least = 2.0  # seconds
    speed = (times.max() - times.min()).total_seconds() / least
    started = time.monotonic()

    play(service, monkeypatch, "--sample", "0.02", "--speed", f"{speed:g}")

    sample = production().sample(frac=0.02, random_state=0)[TIME]
    assert time.monotonic() - started >= (sample.max() - sample.min()).total_seconds() / speed


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--from", "2020-01-01"], "nothing to play"),
        (["--fault-from", "2013-01-09"], "no fault"),
        (["--fault", "double", "--fault-from", "2020-01-01"], "after the last row"),
    ],
)
def test_what_cannot_be_played_is_said_before_anything_is_sent(
    given: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(PROJECT / CONTRACT_FILE, tmp_path / CONTRACT_FILE)
    files.write_rows(tmp_path / paths.PRODUCTION_ROWS, production())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["replay", *given])

    with pytest.raises(replay.TakeoffError, match=said):
        replay.main()


def test_a_replay_that_was_played_sends_nothing_more(
    service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play(service, monkeypatch, "--sample", "0.1")
    before = row_ids(service)

    play(service, monkeypatch, "--sample", "0.1")

    assert row_ids(service) == before
    assert "played to its end" in capsys.readouterr().out


def test_rows_that_the_service_refuses_are_counted_and_the_others_answered(
    service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    column = next(
        name for name, each in CONTRACT.columns.items() if each.type == "category" and not each.missing
    )

    play(
        service, monkeypatch, "--sample", "0.2", "--fault", f"missing:{column}", "--fault-from", "2013-01-09"
    )

    said = capsys.readouterr().out
    day = pd.Timestamp("2013-01-09", tz=CONTRACT.time.zone)
    sample = production().sample(frac=0.2, random_state=0)
    good = sample[sample[TIME] < day]
    assert 0 < len(good) < len(sample)
    assert sorted(row_ids(service)) == sorted(good[CONTRACT.id])
    assert f"refused: {column}" in said
    assert f"{len(sample) - len(good):,}" in said


def test_doubled_traffic_is_answered_twice_and_labelled_twice(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(service, monkeypatch, "--sample", "0.1", "--fault", "double")

    ids = row_ids(service)
    once = [each for each in ids if not each.endswith(SECOND)]
    assert sorted(ids) == sorted([*once, *(each + SECOND for each in once)])


def test_a_service_that_is_not_there_is_said_plainly(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring.caller.GONE_SECONDS", 0.0)
    service.stop()

    with pytest.raises(replay.TakeoffError, match="No service answers"):
        play(service, monkeypatch)


def test_a_service_that_wants_a_key_says_so_and_takes_it(
    boosted: Packed, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(boosted, tmp_path / "locked", api_keys="a-key-of-some-length-0123456789") as locked:
        with pytest.raises(replay.TakeoffError, match="wants an API key"):
            play(locked, monkeypatch, "--sample", "0.02")
        monkeypatch.setenv(replay.KEY_VARIABLE, "a-key-of-some-length-0123456789")
        play(locked, monkeypatch, "--sample", "0.02")
        assert row_ids(locked)
