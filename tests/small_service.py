"""A running service for tests: the packed Bento behind `bentoml serve`, and a plain client."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from takeoff import packaging
from takeoff.contract import Contract
from takeoff.ports import unused_port
from tests.small_package import Packed

START_SECONDS = 60
STOP_SECONDS = 30
JSON = {"Content-Type": "application/json"}


class Service:
    """One that runs.

    Attributes:
        port: on 127.0.0.1.
        folder: where its log database, spool and output are.
        process: the supervisor; workers are its children.
    """

    def __init__(self, folder: Path, store: Path, tag: str, settings: Mapping[str, str]) -> None:
        self.folder, self.port = folder, unused_port()
        self.output = folder / f"service-{self.port}.log"
        environment = {
            name: value for name, value in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE",)
        }
        environment |= {
            packaging.STORE_VARIABLE: str(store),
            packaging.LOG_VARIABLE: f"sqlite:///{folder}/log/predictions.db",
            "BENTOML_DO_NOT_TRACK": "True",
            "PYTHONDONTWRITEBYTECODE": "1",
            **settings,
        }
        command = [sys.executable, "-m", "bentoml", "serve", tag, f"--port={self.port}", "--host=127.0.0.1"]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that what the terminal sends to the tests stays with them
            )

    def workers(self) -> list[psutil.Process]:
        """The processes that answer."""
        return psutil.Process(self.process.pid).children()

    def wait_for(self, status: int) -> Any:
        """What `/readyz` says once it answers with this status."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                found, content = self.get("/readyz")
                if found == status:
                    return content
            except OSError:
                time.sleep(0.05)
        pytest.fail(f"the service did not start:\n{self.output.read_text()}")

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        return self.ask("GET", path, None, headers or {})[::2]

    def post(self, path: str, content: Any, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.ask("POST", path, body, {**JSON, **(headers or {})})[::2]

    def ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers (lower case) and content, as JSON where it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            text = response.read()
            given = {name.lower(): value for name, value in response.getheaders()}
            is_json = given.get("content-type", "").startswith("application/json")
            return response.status, given, json.loads(text) if is_json and text else text.decode()
        finally:
            connection.close()

    def stop(self) -> int:
        """End it as a supervisor of services would; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """Kill supervisor and workers at once; each has a session of its own, so no one signal does."""
        self.process.send_signal(signal.SIGSTOP)  # so that it makes no more of them
        workers = self.workers()
        for each in (self.process, *workers):
            each.kill()
        self.process.wait()
        psutil.wait_procs(workers)


@contextmanager
def serving(packed: Packed, folder: Path, **settings: str) -> Iterator[Service]:
    """The packed Bento as a service of its own, with TAKEOFF_... settings, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {f"TAKEOFF_{name.upper()}": value for name, value in settings.items()}
    service = Service(folder, packed.store, packed.report["bento"], environment)
    try:
        service.wait_for(200)
        yield service
    finally:
        if service.process.poll() is None:
            service.stop()


def as_sent(row: Mapping[str, Any], contract: Contract) -> dict[str, Any]:
    """A row of a frame as a caller would write it: null where missing."""
    return {
        name: None if pd.isna(row[name]) else float(row[name]) if column.is_number else row[name]
        for name, column in contract.columns.items()
    }
