"""Prediction logs for tests, closed in the end."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.log_state import NOBODY, Observer, Retention
from serving.prediction_log import PredictionLog
from serving.spool import Spool
from takeoff.log_store import Store
from tests.log_entries import EVERYTHING, ROOM, open_log


@pytest.fixture
def spool_folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path.as_posix()}/log.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """The log at the address that the test's own file names."""
    opened = open_log(url)
    yield opened
    opened.close()


@pytest.fixture
def start_log(spool_folder: Path) -> Iterator[Callable[..., PredictionLog]]:
    """Starts logs at an address; they are closed in the end."""
    logs = []

    def opened(
        url: str, observer: Observer = NOBODY, retention: Retention = EVERYTHING, room: int = ROOM
    ) -> PredictionLog:
        log = PredictionLog(lambda: open_log(url), Spool(spool_folder, room), retention, observer)
        logs.append(log)
        return log

    yield opened
    for log in logs:
        log.close()
