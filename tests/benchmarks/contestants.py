"""Who is measured: the service as it is served, and what it is compared with, as processes."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.ports import unused_port
from tests import postgres
from tests.benchmarks import launch, rows
from tests.benchmarks.launch import HOST, Server
from tests.benchmarks.report import PROJECT, say
from tests.benchmarks.rows import Row
from tests.benchmarks.servers import MODEL_VARIABLE

OURS = "the service"
TWO_WORKERS = "the service, two workers"
ON_POSTGRES = "the service, log in PostgreSQL"
BARE = "bare uvicorn + Starlette + ONNX"
MLFLOW = "`mlflow models serve`"
MLFLOW_TENSORS = "`mlflow models serve`, tensors"
FITTED = "scikit-learn pipeline in a BentoML api"
NOTHING = "a BentoML api that does nothing"

SERVICES = (OURS, TWO_WORKERS, ON_POSTGRES)  # all of them this project's
MLFLOW_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true"}
PORT = "{port}"  # in a command: the server's own
LOG_ROWS = re.compile(r'^takeoff_log_rows_total{where="(\w+)"} (\S+)$', re.MULTILINE)
MOST_DIFFERENCE = 1e-6  # between what two servers say of the same row


class Contestant(NamedTuple):
    """How a server is started and asked; see `launch.running`."""

    command: tuple[str, ...]
    health: str
    environment: Mapping[str, str]
    becomes: str = ""
    path: str = "/predict"


def contestants(work: Path, model: Path, postgres_url: str | None) -> dict[str, Contestant]:
    """All of them by name, in the order in which they are started.

    Args:
        work: folder for what they write.
        model: folder with the champion's model.
        postgres_url: a database for the log; without one that contestant is left out.
    """
    return {
        FITTED: _bento("tests.benchmarks.servers.fitted:Fitted", work),
        NOTHING: _bento("tests.benchmarks.servers.nothing:Nothing", work),
        **_mlflow(work, model),
        BARE: _bare(model),
        **({ON_POSTGRES: _service(postgres_url, work / "postgres")} if postgres_url else {}),
        TWO_WORKERS: _service(f"sqlite:///{work}/two/log.db", work / "two", workers=2),
        OURS: ours(work),
    }


def ours(work: Path) -> Contestant:
    """The service with its log in SQLite and everything on, as `takeoff serve` serves it."""
    return _service(f"sqlite:///{work}/one/log.db", work / "one")


@contextmanager
def started(name: str, contestant: Contestant, work: Path) -> Iterator[Server]:
    """A contestant until the block ends; what it prints goes to a file in `work`."""
    say(f"starting {name}")
    port = unused_port()
    command = [word.replace(PORT, str(port)) for word in contestant.command]
    output = Path(tempfile.mkstemp(prefix="output-", dir=work)[1])
    with launch.running(
        command, port, contestant.health, contestant.environment, output, contestant.becomes
    ) as server:
        yield server


@contextmanager
def database() -> Iterator[str | None]:
    """Address of an empty database on a PostgreSQL server of its own; None where none is installed."""
    binaries = postgres.binaries()
    if binaries is None:
        yield None
        return
    with ExitStack() as stack:
        # Into this folder another user than this one must be able to look.
        folder = Path(tempfile.mkdtemp(prefix="takeoff-postgres-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        server = postgres.Server(folder, binaries)
        stack.callback(server.stop, "immediate")
        yield server.address()


def bodies(name: str, sent: Sequence[Row], contract: Contract) -> list[str]:
    """A body a row, in the form that a contestant takes."""
    if name == MLFLOW:
        return rows.as_frames(sent)
    return rows.as_tensors(sent, contract) if name == MLFLOW_TENSORS else rows.single(sent)


def logged_rows(server: Server) -> dict[str, int]:
    """Rows that one of SERVICES has written to its log so far, by where they went first."""
    with urllib.request.urlopen(f"{server.address}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    return {where: int(float(rows)) for where, rows in LOG_ROWS.findall(text)}


def check_same(
    servers: Mapping[str, Server],
    paths: Mapping[str, str],
    row: Row,
    expected: float,
    contract: Contract,
) -> None:
    """Ask each for the same row: figures of a server that says something else mean nothing.

    Args:
        servers: all of them, by name.
        paths: under which each predicts.
        row: as a caller sends it.
        expected: the model's probability of the event.
        contract: names the event.

    Raises:
        TakeoffError: one refuses the row, or says something else.
    """
    for name, server in servers.items():
        answer = _post(name, server.address + paths[name], bodies(name, [row], contract)[0])
        if name == NOTHING:
            continue
        said = _event(answer, contract)
        # The fitted pipeline lacks the calibration that shipped.
        if not (0 <= said <= 1 if name == FITTED else abs(said - expected) <= MOST_DIFFERENCE):
            raise TakeoffError(f"{name} says {said} of a row of which the model says {expected}.")


def _service(log_url: str, folder: Path, workers: int = 1) -> Contestant:
    environment = {
        "TAKEOFF_LOG_URL": log_url,
        "TAKEOFF_SPOOL_DIR": str(folder / "spool"),
        "TAKEOFF_WORKERS": str(workers),
    }
    # `takeoff serve` looks the champion up and then becomes BentoML, with which the clock starts.
    command = ("-m", "takeoff.cli", "serve", "--host", HOST, "--port", PORT)
    return Contestant(command, "/readyz", environment, becomes="bentoml serve")


def _bare(model: Path) -> Contestant:
    options = ("--http", "httptools", "--no-access-log", "--log-level", "warning")
    command = ("-m", "uvicorn", "tests.benchmarks.servers.bare:app", "--host", HOST, "--port", PORT, *options)
    return Contestant(command, "/livez", {MODEL_VARIABLE: str(model)})


def _bento(service: str, work: Path) -> Contestant:
    environment = {"BENTOML_HOME": str(work / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    return Contestant(
        ("-m", "bentoml", "serve", service, "--host", HOST, "--port", PORT), "/readyz", environment
    )


def _mlflow(work: Path, model: Path) -> dict[str, Contestant]:
    folder = str(work / "mlflow")
    maker = [sys.executable, "-m", "tests.benchmarks.servers.mlflow_model", str(model), folder]
    subprocess.run(maker, cwd=PROJECT, check=True, capture_output=True, env=os.environ | MLFLOW_QUIET)
    options = ("--env-manager", "local", "--workers", "1")
    serve = ("-m", "mlflow", "models", "serve", "--host", HOST, "--port", PORT, *options, "--model-uri")
    return {
        name: Contestant((*serve, f"{folder}/{kind}"), "/health", MLFLOW_QUIET, path="/invocations")
        for name, kind in ((MLFLOW, "rows"), (MLFLOW_TENSORS, "tensors"))
    }


def _post(name: str, url: str, body: str) -> Any:
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise TakeoffError(f"{name} refuses a row of the test split: {error.read()[:500]!r}") from None


def _event(answer: Any, contract: Contract) -> float:
    if "predictions" in answer:  # MLflow
        return float(answer["predictions"]["probabilities"][0][-1])
    return float(answer["probabilities"][contract.target.classes[-1]])
