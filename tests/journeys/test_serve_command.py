"""`takeoff serve` and `takeoff rollback`: whoever deploys decides what answers."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from pipelines import package, reference, train
from takeoff import files, history, model, packaging, paths
from takeoff.contract import read_contract
from takeoff.ports import unused_port
from takeoff.registry import Registry
from tests.small_package import packing
from tests.small_release import PROJECT, make_released
from tests.small_service import STOP_SECONDS, Service

pytestmark = pytest.mark.slow

NAME = read_contract(PROJECT).name


class Command(Service):
    """`takeoff serve` in the project folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, unused_port()
        self.output = folder / "command.log"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "takeoff.cli", "serve", f"--port={self.port}"],
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


@contextmanager
def command(folder: Path) -> Iterator[Command]:
    running = Command(folder)
    try:
        running.wait_for(200)
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()


def promote(registry: Registry, before: str | None) -> str:
    """Make the released model of the current folder champion; its version."""
    version = registry.released(files.read_json(paths.RELEASED / model.CARD_FILE))
    registry.promote(version, before, history.record("release", "better", version.number, before, {}), {})
    return version.number


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project in which `rule` was released after `logistic`."""
    folder = tmp_path_factory.mktemp("project")
    with packing(folder, "logistic"), pytest.MonkeyPatch.context() as patch:
        patch.delenv(packaging.LOG_VARIABLE, raising=False)
        registry = Registry(NAME)
        first = promote(registry, None)
        make_released(folder, "rule")
        patch.setattr(sys, "argv", ["train", "rule"])
        train.main()
        registry.register(files.read_json(paths.RELEASED / model.CARD_FILE))
        reference.main()
        package.main()
        promote(registry, first)
        yield folder


def test_what_serves_is_the_champion_and_after_a_rollback_and_a_restart_the_one_before(project: Path) -> None:
    with command(project) as running:
        served = running.get("/model")[1]["candidate"]

    subprocess.run(
        [sys.executable, "-m", "takeoff.cli", "rollback", "--reason", "all wrong"], cwd=project, check=True
    )
    with command(project) as running:
        after = running.get("/model")[1]["candidate"]

    assert (served, after) == ("rule", "logistic")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_command_alone_ends_all_of_the_service(project: Path, number: signal.Signals) -> None:
    with command(project) as running:
        workers = running.workers()
        os.kill(running.process.pid, number)

        assert running.process.wait(STOP_SECONDS) == 0
        assert not [each for each in workers if psutil.pid_exists(each.pid)]


def test_the_log_is_in_the_project_unless_said_otherwise(project: Path) -> None:
    with command(project) as running:
        running.post("/feedback", {"labels": []})

    assert (project / packaging.DEFAULT_LOG).is_file()
