"""The real image, built and run by make as whoever deploys would: called, killed, stopped, looked into."""

import http.client
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from serving.deploy import container
from serving.requests import example_row
from takeoff.contract import read_contract
from takeoff.errors import TakeoffError
from takeoff.ports import unused_port
from tests.small_package import Packed, packing
from tests.small_release import PROJECT
from tests.small_service import JSON

pytestmark = pytest.mark.slow

CONTRACT = read_contract(PROJECT)
EXAMPLE = json.dumps(example_row(CONTRACT)).encode()
# Builds a stand-in for the public base image on a machine that reaches no registry of images.
STAND_IN = PROJECT.parent / "shared" / "tools" / "local-base-image"
# What such a machine needs: no network of their own for containers, and an older sort of control groups.
STAND_IN_OPTIONS = {
    "CONTAINER_ENGINE": "podman --runtime runc --cgroup-manager=cgroupfs",
    "CONTAINER_BUILD_OPTIONS": "--network=host --pull=never --layers=false",
    "CONTAINER_RUN_OPTIONS": "--network=host --ulimit nofile=1024:1024 --ulimit nproc=4096:4096",
}
KEY = uuid.uuid4().hex
BASE = re.findall(r"^ARG BASE_IMAGE=(\S+)", container.CONTAINERFILE.read_text(), flags=re.MULTILINE)[0]
START_SECONDS = 60
PATIENCE_SECONDS = 60  # for what must happen; nothing waits that long unless it is broken

# In no image of a service: package managers, compilers, and what trains.
PROGRAMS = ("pip", "pip3", "uv", "gcc", "cc", "g++", "make", "git", "curl", "wget")
LIBRARIES = ("pip", "setuptools", "wheel", "torch", "sklearn", "pandas", "scipy", "pyarrow", "mlflow", "dvc")

WORKERS = """
import pathlib
for each in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    try:
        command = each.read_text().split(chr(0))
    except OSError:  # it has just ended
        continue
    if "_bentoml_impl.worker.service" in command:
        print(each.parent.name)
"""
LOOK_AROUND = f"""
import json, pathlib, shutil, sys, sysconfig
from importlib import metadata, util
site = sysconfig.get_paths()["purelib"]
paths = "/opt/venv/bin:/usr/local/bin:/usr/bin:/bin"
sources = pathlib.Path("/opt/bento/src").rglob("*.py")
required = {{each.name: [name for name in each.requires or () if "extra ==" not in name]
            for each in metadata.distributions()}}
print(json.dumps(dict(
    programs=[name for name in {PROGRAMS!r} if shutil.which(name, path=paths)],
    libraries=[name for name in {LIBRARIES!r} if util.find_spec(name)],
    packages_of_base=[path for path in sys.path if "-packages" in path and path != site],
    tests=[str(path) for path in pathlib.Path(site).rglob("tests") if path.is_dir()],
    uncompiled=[str(path) for path in sources if not pathlib.Path(util.cache_from_source(path)).exists()],
    required=required,
)))
"""
CONFINED = """
import json, os, pathlib
def refused(path):
    try:
        pathlib.Path(path).write_text("")
    except OSError as error:
        return error.strerror
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/1/status").read_text().splitlines())
print(json.dumps(dict(
    uid=os.getuid(), capabilities=int(status["CapBnd"], 16), new_privileges=status["NoNewPrivs"].strip(),
    refused={each: refused(each) for each in ("/opt/bento/src/x", "/opt/venv/x", "/etc/x", "/x")},
    allowed={each: refused(each) for each in ("/tmp/x", "/var/lib/takeoff/x")},
)))
"""
LOGGED = """
import json, sqlite3
log = sqlite3.connect("/var/lib/takeoff/log.db")
print(json.dumps([id for (id,) in log.execute("SELECT id FROM predictions")]))
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[None]:
    """Where this machine needs the stand-in for the base image: have it, and what goes with it."""
    with pytest.MonkeyPatch.context() as patch:
        if STAND_IN.exists() and os.geteuid() == 0:
            subprocess.run([STAND_IN], check=True, stdin=subprocess.DEVNULL)
            settings = subprocess.run([STAND_IN, "--env"], check=True, capture_output=True, text=True).stdout
            for name, value in [word.split("=", 1) for word in shlex.split(settings) if "=" in word]:
                patch.setenv(name, value)
            for name, value in STAND_IN_OPTIONS.items():
                patch.setenv(name, os.environ.get(name, value))
        yield


@pytest.fixture(scope="module")
def engine(machine: None) -> list[str]:
    return engine_with_base()


def engine_with_base() -> list[str]:
    """The engine, which has the base image or has pulled it. Skips only where no engine is installed."""
    if not any(map(shutil.which, container.ENGINES)):
        pytest.skip(f"none is installed of {', '.join(container.ENGINES)}")
    engine = container.find_engine(os.environ.get("CONTAINER_ENGINE", ""))
    base = os.environ.get("CONTAINER_BASE_IMAGE", BASE)
    found = subprocess.run([*engine, "image", "inspect", base], capture_output=True, check=False)
    if found.returncode != 0:
        command = [*engine, "pull", "--quiet", base]
        pulled = subprocess.run(command, capture_output=True, text=True, check=False)
        if pulled.returncode != 0:
            pytest.fail(
                f"{engine[0]} has no {base} and cannot pull it: {pulled.stderr.strip()}\n"
                f"Load it (`{engine[0]} load`), or name another with Python 3.11 and pip: "
                f"CONTAINER_BASE_IMAGE=... As root, {STAND_IN} makes one, where that is.",
                pytrace=False,
            )
    return engine


@pytest.mark.parametrize(
    ("engines", "outcome", "told"),
    [
        ({}, pytest.skip.Exception, "none is installed"),
        ({"docker": "exit 1"}, TakeoffError, "docker does not work"),
        ({"podman": '[ "$1" = info ] || { echo no route >&2; exit 1; }'}, pytest.fail.Exception, "no route"),
    ],
    ids=["no engine", "an engine that does not work", "no base image"],
)
def test_the_image_is_passed_over_only_where_no_engine_is_installed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engines: dict[str, str],
    outcome: type[BaseException],
    told: str,
) -> None:
    for name, script in engines.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CONTAINER_ENGINE", raising=False)

    with pytest.raises(outcome, match=told):
        engine_with_base()


@pytest.fixture(scope="module")
def packed(engine: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packed]:
    with packing(tmp_path_factory.mktemp("packed"), "logistic") as packed:
        yield packed


@pytest.fixture(scope="module")
def image(packed: Packed, engine: list[str]) -> Iterator[str]:
    """Name and tag of the image that `make container` built."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINER_IMAGE", f"takeoff-test-{uuid.uuid4().hex[:8]}")
        built = subprocess.run(make("container", packed), capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stdout + built.stderr
        name = f"{os.environ['CONTAINER_IMAGE']}:{container.version_of(packed.report['bento'])}"
        try:
            yield name
        finally:
            subprocess.run(
                [*engine, "image", "rm", "--force", name, f"{name.split(':')[0]}:latest"], check=False
            )


def make(target: str, packed: Packed, *variables: str) -> list[str]:
    """A recipe of the real Makefile, in the environment that runs the tests."""
    # Relative, as the Makefile has it: no recipe may break on a space in the project's own path.
    programs = os.path.relpath(Path(sys.executable).parent, PROJECT)
    given = [f"BIN={programs}", f"BENTO={packed.report['bento']}", *variables]
    return ["make", "--directory", str(PROJECT), "--old-file=setup", target, *given]


class Container:
    """One that `make container-run` runs, with an API key.

    Attributes:
        process: make, which ends when the container does.
    """

    def __init__(self, engine: list[str], packed: Packed, volume: str, folder: Path) -> None:
        self.engine, self.port, self.name = engine, unused_port(), f"takeoff-test-{uuid.uuid4().hex[:8]}"
        self.output = folder / f"{self.name}.log"
        own = {"CONTAINER_NAME": self.name, "CONTAINER_VOLUME": volume, "TAKEOFF_API_KEYS": KEY}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                make("container-run", packed, f"PORT={self.port}"),
                env=os.environ | own,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def ask(self, method: str, path: str, body: bytes | None = None, key: str = KEY) -> tuple[int, Any]:
        """Status and content of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, {**JSON, "Authorization": f"Bearer {key}"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def predict(self) -> str:
        """Id of a prediction that was answered."""
        status, answer = self.ask("POST", "/predict", EXAMPLE)
        assert status == 200, answer
        return str(answer["prediction_id"])

    def ready(self) -> bool:
        try:
            return self.ask("GET", "/readyz", key="")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait_until_ready(self) -> None:
        wait_until(lambda: self.ready() or self.process.poll() is not None, START_SECONDS)
        assert self.ready(), self.output.read_text()

    def run(self, script: str, **environment: str) -> str:
        """What a Python script prints inside the container."""
        options = [f"--env={name}={value}" for name, value in environment.items()]
        return self.command("exec", *options, self.name, "python", "-c", script).stdout

    def workers(self) -> list[int]:
        return [int(pid) for pid in self.run(WORKERS).split()]

    def command(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*self.engine, *arguments], capture_output=True, text=True, check=check)

    def kill(self) -> None:
        """kill -9 of all of it."""
        self.command("kill", "--signal=KILL", self.name)
        self.process.wait(timeout=PATIENCE_SECONDS)

    def stop(self) -> int:
        """As an orchestrator stops it, with SIGTERM; the exit code of make."""
        self.command("stop", self.name)
        return self.process.wait(timeout=PATIENCE_SECONDS)


def wait_until(happened: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def volume(image: str, engine: list[str]) -> Iterator[str]:
    """A volume for the prediction log, and where it goes, that outlives its containers."""
    name = f"takeoff-test-{uuid.uuid4().hex[:8]}"
    yield f"{name}:{container.VOLUME.split(':')[1]}"
    subprocess.run([*engine, "volume", "rm", "--force", name], check=False, capture_output=True)


@contextmanager
def running(engine: list[str], packed: Packed, volume: str, folder: Path) -> Iterator[Container]:
    """A container that answers, until the block ends."""
    started = Container(engine, packed, volume, folder)
    try:
        started.wait_until_ready()
        yield started
    finally:
        started.command("rm", "--force", started.name, check=False)
        started.process.wait(timeout=PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def service(
    engine: list[str], packed: Packed, volume: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Container]:
    """One container for the tests that leave it running."""
    with running(engine, packed, volume, tmp_path_factory.mktemp("container")) as started:
        yield started


def test_the_image_is_small(image: str, engine: list[str]) -> None:
    asked = [*engine, "image", "inspect", "--format", "{{.Size}}", image]

    size = int(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)

    assert size <= container.MOST_MB * 1e6


def test_the_image_says_which_model_it_holds(image: str, engine: list[str], packed: Packed) -> None:
    asked = [*engine, "image", "inspect", "--format", "{{json .Config.Labels}}", image]

    labels = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)

    assert labels["takeoff.bento"] == packed.report["bento"]
    assert labels["takeoff.contract-hash"] == CONTRACT.hash
    assert labels["takeoff.model-version"] == "1"


def test_the_image_holds_nothing_that_the_service_does_not_need(service: Container, packed: Packed) -> None:
    found = json.loads(service.run(LOOK_AROUND))

    required = {normal(name): map(normal, others) for name, others in found.pop("required").items()}
    assert found == {name: [] for name in found}
    lines = (packed.bento / "env" / "python" / "requirements.txt").read_text().splitlines()
    needed: set[str] = set()
    new = {normal(line) for line in lines if line}
    while new:
        needed |= new
        new = {other for name in new for other in required.get(name, [])} - needed
    assert required.keys() <= needed


def normal(requirement: str) -> str:
    """The name of the package that a requirement asks for."""
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-").replace(".", "-")


def test_the_service_runs_as_nobody_and_can_change_nothing_but_its_volume(service: Container) -> None:
    found = json.loads(service.run(CONFINED))

    assert found["uid"] > 0 and found["capabilities"] == 0 and found["new_privileges"] == "1"
    assert set(found["refused"].values()) <= {"Read-only file system", "Permission denied"}
    assert set(found["allowed"].values()) == {None}


def test_nothing_reports_on_the_use_of_the_service(service: Container) -> None:
    # given: ONNX Runtime, which keeps what it reports under the home folder, has answered
    service.predict()

    assert "Microsoft" not in service.run("import os; print([each for each in os.walk('/tmp')])")


def test_the_key_that_the_person_set_is_asked_for(service: Container) -> None:
    assert service.ask("POST", "/predict", EXAMPLE, key="another")[0] == 401
    assert service.ask("POST", "/predict", EXAMPLE)[0] == 200


def test_the_health_check_of_the_image_tells_ready_from_not(service: Container, image: str) -> None:
    asked = service.command("image", "inspect", "--format", "{{json .Config.Healthcheck.Test}}", image)
    kind, *check = json.loads(asked.stdout)
    assert kind == "CMD"

    ready = service.command("exec", service.name, *check, check=False)
    elsewhere = service.command(
        "exec", f"--env=BENTOML_PORT={unused_port()}", service.name, *check, check=False
    )

    assert ready.returncode == 0
    assert elsewhere.returncode == 1


def test_a_killed_worker_is_replaced(service: Container) -> None:
    (worker,) = service.workers()

    service.run(f"import os, signal; os.kill({worker}, signal.SIGKILL)")

    wait_until(lambda: bool(service.workers()) and worker not in service.workers())
    wait_until(service.ready)
    assert service.predict()


def test_every_answered_prediction_is_in_the_log_after_kill_9(
    engine: list[str], packed: Packed, volume: str, tmp_path: Path
) -> None:
    answered: list[str] = []
    with running(engine, packed, volume, tmp_path) as first:

        def call() -> None:
            while True:
                try:
                    answered.append(first.predict())
                except (OSError, http.client.HTTPException):
                    return

        callers = [threading.Thread(target=call) for _ in range(4)]
        for caller in callers:
            caller.start()
        wait_until(lambda: len(answered) >= 200)
        first.kill()
        for caller in callers:
            caller.join()

    with running(engine, packed, volume, tmp_path) as second:
        logged = json.loads(second.run(LOGGED))

    assert len(set(answered)) == len(answered) >= 200
    assert set(answered) <= set(logged)
    assert len(set(logged)) == len(logged)


def test_sigterm_ends_it_cleanly_and_leaves_no_container(
    engine: list[str], packed: Packed, volume: str, tmp_path: Path
) -> None:
    with running(engine, packed, volume, tmp_path) as service:
        answered = service.predict()

        code = service.stop()

        assert code == 0
        assert "Traceback" not in service.output.read_text()
        listed = service.command("ps", "--all", "--format", "{{.Names}}").stdout
        assert service.name not in listed.split()

    with running(engine, packed, volume, tmp_path) as again:
        assert answered in json.loads(again.run(LOGGED))


def test_without_its_image_a_person_is_told_to_build_it(packed: Packed, engine: list[str]) -> None:
    environment = os.environ | {"CONTAINER_IMAGE": "takeoff-was-never-built"}

    ended = subprocess.run(
        make("container-run", packed), env=environment, capture_output=True, text=True, check=False
    )

    assert ended.returncode != 0
    assert "Run `make container` first" in ended.stderr and "Traceback" not in ended.stderr
