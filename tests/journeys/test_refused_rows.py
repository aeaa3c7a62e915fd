"""Rows that the service refuses, from the caller to the monitor's numbers."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from monitoring import monitor
from serving.refusals import MOST_PROBLEMS
from takeoff import files, paths
from takeoff.contract import read_contract
from takeoff.log_schema import INVALID_ROWS
from takeoff.stage import run
from tests.evidence import counted
from tests.small_package import Packed
from tests.small_release import PROJECT, small_rows
from tests.small_service import Service, as_sent, serving

pytestmark = pytest.mark.slow

CONTRACT = read_contract(PROJECT)
TIME = CONTRACT.time.column
FIRST, SECOND = "2013-01-08", "2013-01-09"
SOUND = 40  # rows of a day
UNSOUND = MOST_PROBLEMS + 20  # more than one answer names


@pytest.fixture
def service(boosted: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """In a copy of the project that the monitor may write into."""
    folder = tmp_path / "a project"
    shutil.copytree(boosted.folder, folder, ignore=shutil.ignore_patterns(boosted.store.name))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder.as_posix()}/mlflow.db")
    with serving(boosted, tmp_path / "service") as running:
        yield running


def of_day(day: str, count: int, **values: Any) -> list[dict[str, Any]]:
    """Real rows of a day as a caller sends them, with values planted."""
    rows = small_rows()
    local = rows[TIME].dt.tz_convert(CONTRACT.time.zone)
    chosen = rows[local.dt.date == pd.Timestamp(day).date()][:count]
    assert len(chosen) == count
    return [
        as_sent(row, CONTRACT) | {TIME: row[TIME].isoformat(), **values} for row in chosen.to_dict("records")
    ]


def send(service: Service, rows: list[dict[str, Any]]) -> None:
    """As a caller that leaves out the rows that an answer names and sends the others again."""
    while rows:
        status, content = service.post("/predict_batch", {"rows": rows})
        if status == 200:
            return
        named = {each["row"] for each in content["error"]["problems"]}
        rows = [row for number, row in enumerate(rows) if number not in named]


def measured(service: Service, day: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the monitor finds in a day of the service's log."""
    log = f"sqlite:///{service.folder}/log/predictions.db"
    monkeypatch.setattr(sys, "argv", ["monitor", "--window", day, "--log", log, "--no-evidently"])
    with pytest.raises(SystemExit):
        run(monitor.main)
    found: dict[str, Any] = files.read_json(paths.WINDOWS / f"{day}.json")
    return found


def test_refused_rows_are_counted_one_by_one_in_the_day_that_they_are_of(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = of_day(FIRST, SOUND), of_day(SECOND, SOUND)
    send(service, first + of_day(SECOND, UNSOUND, weekday=9) + second)
    service.post("/predict", of_day(SECOND, 1, origin="LAX")[0])
    service.post("/predict", of_day(SECOND, 1, **{TIME: "at noon"})[0])  # of no day that is known
    service.post("/predict", b"{")
    service.post("/feedback", {"labels": [{"prediction_id": "?", "label": "?"}]})
    service.get("/nothing")
    requests = counted(service)
    assert service.stop() == 0

    before, after = (measured(service, day, monkeypatch) for day in (FIRST, SECOND))

    assert [(each["rows"], each["quality"]["refused"]) for each in (before, after)] == [
        (SOUND, {}),
        (SOUND, {INVALID_ROWS: UNSOUND + 1}),
    ]
    # Prometheus counts requests, as it did: the batch twice, two rows, the label.
    assert requests['takeoff_refusals_total{reason="invalid"}'] == 5
