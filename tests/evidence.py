"""What a service leaves for others to see: the rows of its log in SQLite, and its metrics."""

import sqlite3
from contextlib import closing
from typing import Any

import psutil

from tests.small_service import Service


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


def connections(service: Service) -> int:
    """Connections that the workers have open to clients."""
    return sum(
        connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == service.port
        for worker in service.workers()
        for connection in worker.net_connections("tcp")
    )
