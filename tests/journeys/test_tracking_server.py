"""MLflow elsewhere: a server that holds everything, and one that is closed, silent, locked or nowhere."""

import contextlib
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT

from pipelines import train
from takeoff import files, history, paths
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.model import CARD_FILE, MODEL_FILE
from takeoff.registry import Registry
from tests.conftest import run_stage

FAIL_WITHIN = 15.0  # seconds, promised for a server that cannot be reached
SERVER_START_SECONDS = 60


def models_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): files.sha256(path)
        for path in (folder / paths.MODELS).rglob("*")
        if path.is_file()
    }


@contextlib.contextmanager
def port_that(listens: bool) -> Iterator[int]:
    """A port of this machine that refuses connections, or takes them and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listens:
            server.listen(20)
        yield int(server.getsockname()[1])


@pytest.mark.parametrize("listens", [False, True], ids=["closed port", "silent server"])
def test_a_server_that_does_not_answer_ends_the_stage_with_one_line_and_loses_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, listens: bool
) -> None:
    files.write_text(project / paths.CANDIDATES / "rule" / CARD_FILE, "from an earlier run")
    before = models_of(project)
    with port_that(listens) as port:
        address = f"http://someone:secret@127.0.0.1:{port}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        started = time.monotonic()

        with pytest.raises(TakeoffError) as refused:
            run_stage(train, "rule")

    assert time.monotonic() - started < FAIL_WITHIN
    assert f"127.0.0.1:{port} does not answer" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert models_of(project) == before


def test_a_server_that_falls_silent_later_is_given_up_in_time() -> None:
    longest = MLFLOW_HTTP_REQUEST_TIMEOUT.get() * (1 + MLFLOW_HTTP_REQUEST_MAX_RETRIES.get())

    assert longest < FAIL_WITHIN


@pytest.mark.parametrize("address", ["http://127.0.0.1:99999", "http://", "nonsense://x"])
def test_an_address_that_is_none_is_called_so(
    project: Path, monkeypatch: pytest.MonkeyPatch, contract: Contract, address: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)

    with pytest.raises(TakeoffError, match="is not an address MLflow knows"):
        Registry(contract.name)


@pytest.mark.slow  # MLflow itself tries again for 20 s
@pytest.mark.parametrize("exists", [False, True], ids=["new store", "old store"])
def test_a_locked_database_is_told_in_one_line(
    project: Path, contract: Contract, capfd: pytest.CaptureFixture[str], exists: bool
) -> None:
    if exists:
        Registry(contract.name)
    capfd.readouterr()
    with contextlib.closing(sqlite3.connect(project / "mlflow.db", isolation_level=None)) as other:
        other.execute("begin exclusive")

        with pytest.raises(TakeoffError, match="database is locked by another process") as refused:
            Registry(contract.name)

    assert len(str(refused.value).splitlines()) == 1
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of an MLflow server of its own."""
    with port_that(listens=False) as port:
        pass
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path.as_posix()}/server.db", "--workers", "1"]
    command += ["--artifacts-destination", (tmp_path / "server artifacts").as_uri()]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path)
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=20)


def wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + SERVER_START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(URLError, OSError), urlopen(address, timeout=2):
            return
        time.sleep(0.2)
    raise AssertionError(f"the MLflow server did not start (exit code {process.poll()})")


@pytest.mark.slow
def test_a_server_holds_runs_versions_and_history_instead_of_the_project(
    project: Path, server: str, monkeypatch: pytest.MonkeyPatch, contract: Contract
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)

    run_stage(train, "rule")

    card = files.read_json(paths.CANDIDATES / "rule" / CARD_FILE)
    registry = Registry(contract.name)
    version = registry.register(card)
    registry.promote(version, None, history.record("release", "first", version.number, None, {}), {})
    assert registry.champion() == version
    assert registry.onnx_of(version) == (paths.CANDIDATES / "rule" / MODEL_FILE).read_bytes()
    assert [each.why for each in registry.history()] == ["first"]
    assert not (project / "mlruns").exists() and not (project / "mlflow.db").exists()
    assert MlflowClient(server).search_registered_models()[0].name == contract.name


@pytest.mark.slow
def test_the_installed_command_ends_an_expected_failure_without_a_stack_trace(project: Path) -> None:
    command = [str(Path(sys.executable).with_name("takeoff")), "rollback", "--reason", "nothing is there"]

    ended = subprocess.run(command, capture_output=True, text=True, cwd=project)

    assert ended.returncode == 1
    assert "There is no champion yet" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
