"""Whatever happens to the service or its database under load, what it answered is in the log, once."""

from collections import Counter
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from serving.edge import ANSWERS_A_CONNECTION
from takeoff.contract import read_contract
from tests.evidence import connections, counted, logged, logged_ids, until
from tests.log_entries import ids_in
from tests.postgres import Server
from tests.small_package import Packed
from tests.small_release import PROJECT, small_rows
from tests.small_service import Service, as_sent, serving
from tests.traffic import Load, Request, load, predict, predict_batch, send_all

pytestmark = pytest.mark.slow

CONTRACT = read_contract(PROJECT)
KILLS = {"sqlite": 12, "postgresql": 4, "spool": 4}  # by where answers go; of a worker, and as many of all
REPLACED = 2  # workers, whose replacement is waited for: the supervisor looks after them every 10 s only
SPOOLING, SPOOLED = "takeoff_log_spooling", "takeoff_log_spooled_rows"
SEED = 5


@cache
def requests() -> list[Request]:
    """Single rows and, here and there, a batch."""
    rows = [as_sent(row, CONTRACT) for row in small_rows().sample(200, random_state=SEED).to_dict("records")]
    return [*map(predict, rows), predict_batch(rows[:20]), predict_batch(rows[20:120])]


def more_answers(clients: Load, number: int) -> None:
    """Wait until so many more requests have been answered."""
    enough = clients.answered + number
    until(lambda: clients.answered >= enough, f"{number} more answers; so far {clients.statuses}")


def is_whole(service: Service) -> bool:
    """Whether SQLite finds nothing wrong with its file."""
    return logged(service, "PRAGMA integrity_check") == [("ok",)]


# several workers


@pytest.mark.parametrize(("workers", "asks"), [("1", False), ("2", True)])
def test_a_connection_is_let_go_now_and_then_only_where_another_worker_could_take_it(
    boosted: Packed, tmp_path: Path, workers: str, asks: bool
) -> None:
    alive = Request("/livez", b"", method="GET")

    with serving(boosted, tmp_path, workers=workers) as service:
        replies = send_all(service.port, [alive] * ANSWERS_A_CONNECTION, connections=1)

    assert {reply.status for reply in replies} == {200}
    assert any("connection" in reply.headers for reply in replies) == asks


# killed


@pytest.mark.parametrize("home", KILLS)
def test_what_was_answered_is_in_the_log_however_often_a_worker_and_then_all_of_the_service_is_killed(
    boosted: Packed, tmp_path: Path, home: str, request: pytest.FixtureRequest
) -> None:
    postgres = None if home == "sqlite" else request.getfixturevalue("postgres")
    url = postgres.new_log() if postgres else f"sqlite:///{tmp_path}/log/predictions.db"
    own = {"workers": "2", "log_url": url, "spool_dir": str(tmp_path / "spool")}
    random, answered = Random(SEED), Counter[str]()
    if home == "spool":
        postgres.stop()
    for _ in range(KILLS[home]):
        with serving(boosted, tmp_path, **own) as service:
            if home == "sqlite":
                assert is_whole(service)
            if home != "spool":
                assert not answered - Counter(ids_in(url))
            with load(service.port, requests()) as clients:
                more_answers(clients, random.randint(1, 500))
                kill_busiest_worker(service)
                more_answers(clients, random.randint(1, 500))  # by the other one
                service.kill()
                clients.stop()
            answered.update(clients.ids)

    if home == "spool":
        postgres.start()
        with serving(boosted, tmp_path, **own) as service:
            until(lambda: not list((tmp_path / "spool").iterdir()), "what the dead have left is drained")
    assert not answered - Counter(ids_in(url))
    assert max(answered.values()) == 1


def test_a_killed_worker_is_replaced_and_what_it_had_answered_is_in_the_log(
    boosted: Packed, tmp_path: Path
) -> None:
    with serving(boosted, tmp_path, workers="2") as service, load(service.port, requests()) as clients:
        for _ in range(REPLACED):
            more_answers(clients, 500)
            killed = kill_busiest_worker(service)
            more_answers(clients, 500)  # by the other one
            until_replaced(service, killed)
        clients.stop()

        assert not Counter(clients.ids) - Counter(logged_ids(service))
        assert is_whole(service)
        assert set(clients.statuses) == {200}
        assert clients.lost > 0  # or none of those that were killed had anything to do
        assert service.stop() == 0


def kill_busiest_worker(service: Service) -> int:
    """Kill the worker with the most connections; its process id."""
    busiest = max(service.workers(), key=lambda worker: connections(worker, service))
    busiest.kill()
    return busiest.pid


def until_replaced(service: Service, killed: int) -> None:
    """Wait until another process is there in place of a killed worker."""

    def is_replaced() -> bool:
        workers = {worker.pid for worker in service.workers()}
        return len(workers) == 2 and killed not in workers

    until(is_replaced, "the worker is replaced")


# told to stop


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_that_is_told_to_stop_answers_what_it_has_begun_and_logs_nothing_else(
    boosted: Packed, tmp_path: Path, workers: str
) -> None:
    with serving(boosted, tmp_path, workers=workers) as service:
        with load(service.port, requests(), connections=32) as clients:
            more_answers(clients, 1_000)
            code = service.stop()
            clients.stop()

        assert code == 0
        assert set(clients.statuses) == {200}
        assert clients.cut == 0
        assert Counter(logged_ids(service)) == Counter(clients.ids)
    assert "Traceback" not in service.output.read_text()


# the database goes away


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_database_that_stops_and_starts_costs_no_request_and_no_row(
    boosted: Packed, tmp_path: Path, postgres: Server, workers: str
) -> None:
    address = postgres.new_log()
    own = {"log_url": address, "spool_dir": str(tmp_path / "spool"), "workers": workers}

    with serving(boosted, tmp_path, **own) as service, load(service.port, requests()) as clients:
        for mode in ("immediate", "fast", "immediate"):
            more_answers(clients, 500)
            postgres.stop(mode)
            until(lambda: counted(service)[SPOOLING] == 1, "the metrics say that it spools")
            until(lambda: log_state(service)["mode"] == "spool", "/readyz says that it spools")
            more_answers(clients, 500)
            postgres.start()
            until(lambda: not {*map(counted(service).get, (SPOOLING, SPOOLED))} - {0}, "all is drained")
        more_answers(clients, 500)
        clients.stop()
        metrics = counted(service)

    assert set(clients.statuses) == {200}
    assert clients.lost == 0
    assert Counter(ids_in(address)) == Counter(clients.ids)
    by_place = [metrics[f'takeoff_log_rows_total{{where="{place}"}}'] for place in ("database", "spool")]
    assert sum(by_place) == len(clients.ids)
    assert by_place[1] > 0
    assert metrics["takeoff_log_drained_rows_total"] >= by_place[1]


def log_state(service: Service) -> dict[str, Any]:
    """What /readyz says of the log; it is ready all the while."""
    status, state = service.get("/readyz")
    assert status == 200
    return state["log"]
