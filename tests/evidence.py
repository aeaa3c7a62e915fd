"""What can be seen of a service from outside: its log in SQLite, its metrics, its memory and connections."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psutil
import pytest

from tests.small_service import Service

PATIENCE_SECONDS = 90  # generous: no test measures with it


def until(holds: Callable[[], Any], what: str) -> None:
    """Wait until something holds; fail where it never does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {PATIENCE_SECONDS} s: {what}")
        time.sleep(0.01)


def logged(service: Service, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Rows of the log, read as anybody might while the service runs."""
    file = service.folder / "log" / "predictions.db"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        return connection.execute(sql, values).fetchall()


def logged_ids(service: Service) -> list[str]:
    """Ids of all predictions in the log."""
    return [id_ for (id_,) in logged(service, "SELECT id FROM predictions")]


def counted(service: Service) -> dict[str, float]:
    """All metrics: value by name and labels, as Prometheus reads them."""
    lines = service.get("/metrics")[1].splitlines()
    samples = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


def memory(service: Service) -> int:
    """Bytes that the workers hold (RSS)."""
    return sum(worker.memory_info().rss for worker in service.workers())


def connections(worker: psutil.Process, service: Service) -> int:
    """Connections to clients that a worker has not closed."""
    open_ones = (psutil.CONN_ESTABLISHED, psutil.CONN_CLOSE_WAIT)
    return sum(
        each.status in open_ones and each.laddr.port == service.port for each in worker.net_connections("tcp")
    )


def open_connections(service: Service) -> int:
    """Connections to clients that the service has not closed."""
    return sum(connections(worker, service) for worker in service.workers())
