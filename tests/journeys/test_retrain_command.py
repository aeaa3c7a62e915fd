"""A retrain of a whole small project: released, refused, stopped before the gate, cut off."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from monitoring import workspace
from takeoff import files, history, paths
from takeoff.history import Record
from takeoff.model import CARD_FILE
from takeoff.params import PARAMS_FILE
from tests.whole_project import champion, change, command, contents, environment, repro, store_of

pytestmark = pytest.mark.slow

DAY = "2013-07-15"  # two weeks after the window's end
KEPT = (Path(PARAMS_FILE), Path("dvc.lock"), Path("data"), Path("models"), paths.REPORTS)


@pytest.fixture(scope="module")
def copied(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of `finished` in which one candidate competes, against a champion that is easy to beat."""
    folder = tmp_path_factory.mktemp("retrained") / "a clone"
    shutil.copytree(finished, folder, symlinks=True)
    change(folder / PARAMS_FILE, compete_alone)
    with store_of(folder) as registry:
        before = registry.champion()
        rule = files.read_json(folder / paths.CANDIDATES / "rule" / CARD_FILE)
        version = registry.register(rule | {"upkeep": 1_000_000, "decision": {"threshold": 0.5}})
        assert before is not None
        entry = history.record("release", "to be beaten", version.number, before.number, {})
        registry.promote(version, before.number, entry, {})
    return folder


def compete_alone(params: dict[str, Any]) -> None:
    params["compete"] = ["boosted"]
    params["release"].update(floors={"roc_auc": {"min": 0.5}}, beats=[], slice_margin=1.0)  # rows are few


@pytest.fixture
def clone(copied: Path) -> Iterator[Path]:
    """`copied`, with its parameters put back when the test is over."""
    before = (copied / PARAMS_FILE).read_bytes()
    yield copied
    (copied / PARAMS_FILE).write_bytes(before)


def retrain(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return command(folder, "monitoring.retrain", "--as-of", *arguments)


def records(folder: Path) -> list[Record]:
    """Every decision, oldest first."""
    with store_of(folder) as registry:
        return registry.history()


def started(folder: Path) -> "subprocess.Popen[str]":
    """A retrain whose first stage runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "monitoring.retrain", "--as-of", DAY],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    for line in process.stdout:
        if "pipelines.ingest" in line:
            break
    return process


def cut_off(folder: Path) -> None:
    """Kill a retrain in the middle, as a power cut would: it can put nothing in order."""
    process = started(folder)
    children = psutil.Process(process.pid).children(recursive=True)
    for each in (process, *children):
        each.kill()
    process.communicate()
    psutil.wait_procs(children)
    assert (folder / workspace.ASIDE).is_dir()


def test_a_day_beyond_the_data_is_named_and_everything_is_as_it_was(clone: Path) -> None:
    before, serving, decided = contents(clone, KEPT), champion(clone), records(clone)

    done = retrain(clone, "2014-03-01")

    assert done.returncode == 1
    assert "window.end is 2014-03-01, but the data goes from 2013-01-01 to 2013-12-31" in done.stderr
    assert "stopped before the gate had decided" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert contents(clone, KEPT) == before
    assert (champion(clone), records(clone)) == (serving, decided)


def test_a_request_to_end_stops_the_stage_and_leaves_everything_as_it_was(clone: Path) -> None:
    before = contents(clone, KEPT)
    process = started(clone)
    children = psutil.Process(process.pid).children(recursive=True)

    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()

    assert process.returncode == 130
    assert "Interrupted" in said and "Traceback" not in said
    # One that has ended may still wait to be collected, by whoever became its parent.
    assert not [each for each in children if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    assert contents(clone, KEPT) == before
    assert not (clone / workspace.ASIDE).exists()


def test_one_that_was_cut_off_is_put_back_and_one_that_is_refused_changes_nothing(clone: Path) -> None:
    change(clone / PARAMS_FILE, lambda params: params["release"]["floors"].update(roc_auc={"min": 0.99}))
    before, serving = contents(clone, KEPT), champion(clone)
    cut_off(clone)

    done = retrain(clone, DAY, "--reason", "the world moved")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "What it had changed is put back" in done.stdout
    assert "FAIL" in done.stdout and "floor: ROC AUC" in done.stdout
    assert f"Version {serving[0]} " in done.stdout
    assert "stays champion. As of 2013-07-15" in done.stdout
    assert "failed to reproduce" not in done.stderr
    assert files.read_json(clone / paths.RELEASE_REPORT)["outcome"] == "refused"
    after = contents(clone, KEPT)
    del before[paths.RELEASE_REPORT.as_posix()], after[paths.RELEASE_REPORT.as_posix()]
    assert after == before
    assert champion(clone) == serving
    record = records(clone)[-1]
    assert (record.action, record.champion, record.before) == ("retrain", serving[0], serving[0])
    assert record.why.startswith("the world moved: ") and "at least 0.99" in record.why
    assert (record.numbers["as_of"], record.numbers["outcome"]) == (DAY, "refused")


def test_a_better_one_is_released_with_its_window_and_says_what_to_do_next(clone: Path) -> None:
    (serving, _) = champion(clone)

    done = retrain(clone, DAY)

    number, bento = champion(clone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(number) == int(serving) + 1
    assert f"Version {number} (boosted) is champion as of {DAY}; version {serving} was." in done.stdout
    assert "make serve" in done.stdout
    assert files.read_json(clone / paths.PACKAGE_REPORT)["bento"] == bento
    assert yaml.safe_load((clone / PARAMS_FILE).read_text(encoding="utf-8"))["window"]["end"] == DAY
    record = records(clone)[-1]
    assert (record.action, record.champion, record.before) == ("retrain", number, serving)
    assert "Running stage" not in repro(clone, "--dry").stdout
    again = retrain(clone, DAY)
    assert (again.returncode, "Running stage" in again.stdout) == (0, False)
    assert f"The window ends on {DAY} already" in again.stdout
