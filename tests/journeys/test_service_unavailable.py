"""No answer in time, or no place to log it: callers are told to come again, and soon are answered again."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from serving.requests import example_row
from takeoff.contract import read_contract
from tests.evidence import counted, until
from tests.log_entries import ids_in
from tests.small_package import Packed
from tests.small_release import PROJECT
from tests.small_service import JSON, Service, serving

pytestmark = pytest.mark.slow

CONTRACT = read_contract(PROJECT)
EXAMPLE = example_row(CONTRACT)
LABEL = {"prediction_id": "01997a0e-6d2b-7c41-9b5e-3f8f5d1c2a77", "label": CONTRACT.target.classes[0]}
BODIES: dict[str, Any] = {
    "/predict": EXAMPLE,
    "/predict_batch": {"rows": [EXAMPLE, EXAMPLE]},
    "/feedback": {"labels": [LABEL]},
}
SPOOL_MB = 1


def ask(service: Service, path: str) -> tuple[int, Mapping[str, str], Any]:
    return service.ask("POST", path, json.dumps(BODIES[path]).encode(), JSON)


def readiness(service: Service) -> tuple[int, str]:
    status, state = service.get("/readyz")
    return status, state["log"]["mode"]


def is_refusal(reply: tuple[int, Mapping[str, str], Any], code: str) -> bool:
    status, headers, content = reply
    return (status, headers.get("retry-after"), content["error"]["code"]) == (503, "1", code)


def test_what_is_not_answered_in_time_is_refused_and_the_next_one_is_answered(
    boosted: Packed, tmp_path: Path
) -> None:
    with serving(boosted, tmp_path, deadline_seconds="0.3") as service:
        file = service.folder / "log" / "predictions.db"
        with closing(sqlite3.connect(file, isolation_level=None)) as client:
            client.execute("BEGIN IMMEDIATE")  # now nobody else can write there
            late = ask(service, "/predict")
        until(lambda: ask(service, "/predict")[0] == 200, "it is answered again")
        until(lambda: counted(service)["takeoff_in_flight"] == 0, "nothing is left of what was late")
        refused = counted(service)['takeoff_refusals_total{reason="overdue"}']

    assert is_refusal(late, "overdue")
    assert refused >= 1


@pytest.mark.parametrize("fast_path", ["true", "false"])
def test_what_nothing_can_hold_is_refused_until_something_can(
    boosted: Packed, tmp_path: Path, fast_path: str
) -> None:
    folder, spool = tmp_path / "log", tmp_path / "spool"
    folder.touch()  # a file, where the log wants its folder
    url, filling = f"sqlite:///{folder}/log.db", spool / "of somebody else"
    own = {"log_url": url, "spool_dir": str(spool), "spool_max_mb": str(SPOOL_MB), "fast_path": fast_path}

    with serving(boosted, tmp_path / "service", **own) as service:
        answered = [ask(service, "/predict")[2]["prediction_id"]]
        filling.write_bytes(bytes(SPOOL_MB * 2**20))
        until(lambda: readiness(service) == (503, "nowhere"), "it is not ready")
        refused = [ask(service, path) for path in BODIES]
        assert all(is_refusal(reply, "log_unavailable") for reply in refused), refused
        assert counted(service)['takeoff_refusals_total{reason="log_unavailable"}'] == len(BODIES)

        filling.unlink()
        until(lambda: readiness(service) == (200, "spool"), "the spool has room, though nobody asked")
        answered.append(ask(service, "/predict")[2]["prediction_id"])

        folder.unlink()
        until(lambda: readiness(service) == (200, "database"), "the database is there")
        answered.append(ask(service, "/predict")[2]["prediction_id"])
        until(lambda: set(answered) == set(ids_in(url)), "all that was answered is in the log")

    assert "Traceback" not in service.output.read_text()
