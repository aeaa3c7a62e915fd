"""Where a retrain moves the window to, and what it sets aside and puts back."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from monitoring import as_of, retrain, workspace
from monitoring.params_text import replaced
from takeoff import files, paths
from takeoff.contract import CONTRACT_FILE, read_contract
from takeoff.errors import TakeoffError
from takeoff.params import PARAMS_FILE, Window, read_params
from tests.conftest import PROJECT

CONTRACT = read_contract(PROJECT)
PARAMS = read_params(PROJECT, CONTRACT)
TEXT = (PROJECT / PARAMS_FILE).read_text(encoding="utf-8")
WINDOW = PARAMS.window
FIRST, TODAY = WINDOW.start, WINDOW.end + timedelta(days=1000)
OUTPUT = Path("models") / "made.txt"

days = st.dates(date(1990, 1, 1), date(2037, 1, 1))


# The window


def test_the_window_moves_by_whole_months_and_keeps_its_length() -> None:
    later = (pd.Timestamp(WINDOW.end) + pd.DateOffset(months=2)).date()

    found = as_of.moved(WINDOW, later, FIRST, TODAY)

    assert found == Window(start=(pd.Timestamp(WINDOW.start) + pd.DateOffset(months=2)).date(), end=later)


def test_a_window_that_moves_back_starts_no_sooner_than_the_data() -> None:
    earlier = WINDOW.end - timedelta(days=40)

    assert as_of.moved(WINDOW, earlier, FIRST, TODAY) == Window(start=FIRST, end=earlier)


@given(start=days, length=st.integers(60, 900), shift=st.integers(0, 900))
def test_a_window_ends_on_the_day_and_is_as_long_as_it_was_but_for_the_lengths_of_months(
    start: date, length: int, shift: int
) -> None:
    end = start + timedelta(days=length)
    day = end + timedelta(days=shift)

    found = as_of.moved(Window(start=start, end=end), day, start, day)

    assert found.end == day
    assert abs((found.end - found.start).days - length) <= 6
    assert shift or found.start == start


@pytest.mark.parametrize(
    ("day", "said"),
    [
        (TODAY + timedelta(days=1), "has not come yet"),
        (WINDOW.start, "is not after"),
        (WINDOW.start - timedelta(days=400), "is not after"),
    ],
)
def test_a_day_that_leaves_no_window_is_refused(day: date, said: str) -> None:
    with pytest.raises(TakeoffError, match=said):
        as_of.moved(WINDOW, day, FIRST, TODAY)


@pytest.mark.parametrize("text", ["", "  ", "tomorrow", "2013-13-01", "01.10.2013", "2013-02-30"])
def test_what_is_no_day_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(TakeoffError, match=r"is no day\. Write a day as in AS_OF=2013-10-01"):
        as_of.read_day(text)


@given(start=days, length=st.integers(1, 4000))
def test_only_the_two_days_change_in_the_text_of_the_parameters(start: date, length: int) -> None:
    window = Window(start=start, end=start + timedelta(days=length))

    text = as_of.with_window(TEXT, window)

    assert as_of.with_window(text, WINDOW) == TEXT
    expected = yaml.safe_load(TEXT) | {"window": {"start": str(window.start), "end": str(window.end)}}
    assert yaml.safe_load(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "window: {end: 2013-08-01, start: '2013-01-01'}  # in one line, the other way round\n",
        'window:\n  # ä, before\n  start: "2013-01-01"\n\n  end: 2013-08-01\n',
    ],
)
def test_days_are_found_however_they_are_written(text: str) -> None:
    window = Window(start=date(2012, 2, 3), end=date(2012, 4, 5))

    changed = as_of.with_window(text, window)

    assert yaml.safe_load(changed) == {"window": {"start": "2012-02-03", "end": "2012-04-05"}}
    assert [line.partition("#")[2] for line in changed.splitlines()] == [
        line.partition("#")[2] for line in text.splitlines()
    ]


@pytest.mark.parametrize("text", ["seed: 1\n", "window: 7\n", "window: {start: '2013-01-01'}\n", ""])
def test_parameters_without_a_window_are_refused(text: str) -> None:
    with pytest.raises(TakeoffError, match=r"has no 'window\.(start|end)'"):
        as_of.with_window(text, WINDOW)


@pytest.mark.parametrize("before", [TEXT, yaml.safe_dump(yaml.safe_load(TEXT), sort_keys=False)])
@pytest.mark.parametrize("name", ["compete", "release.beats"])
def test_a_list_gives_way_to_another_and_what_follows_it_stays(name: str, before: str) -> None:
    text = replaced(before, name, "[rule, boosted]")

    expected = yaml.safe_load(before)
    group, _, key = name.rpartition(".")
    (expected[group] if group else expected)[key] = ["rule", "boosted"]
    assert yaml.safe_load(text) == expected
    after = before.index("\ncandidates:" if name == "compete" else "  critical_slices:")
    assert text.endswith(before[after:])


# What is set aside


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of one stage that has run, under the real parameters; not to be changed."""
    folder = tmp_path_factory.mktemp("made") / "a project"
    for name in (CONTRACT_FILE, PARAMS_FILE, ".dvc/config"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, folder / name)
    copy = "import shutil; shutil.copy('params.yaml', 'models/made.txt')"
    stage = {
        "cmd": f'python -c "{copy}" && echo 1 > reports/made.json',
        "params": ["window"],
        "outs": [OUTPUT.as_posix()],
        "metrics": [{"reports/made.json": {"cache": False}}],
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"make": stage}}), encoding="utf-8")
    for place in ("models", "reports"):
        (folder / place).mkdir()
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert workspace.reproduce() == 0
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of `made` to work in."""
    folder = tmp_path / "a project"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    files.write_json(paths.RELEASE_REPORT, {"outcome": "released"})
    yield folder


def contents(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    own = [path for path in found if not {".git", ".dvc"} & set(path.relative_to(folder).parts)]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in own}


def move_and_run() -> None:
    text = as_of.with_window(TEXT, Window(start=WINDOW.start, end=WINDOW.end + timedelta(days=31)))
    files.write_text(Path(PARAMS_FILE), text)
    assert workspace.reproduce() == 0


def test_after_a_run_everything_can_be_put_back_as_it_was(project: Path) -> None:
    before = contents(project)
    workspace.set_aside("1")
    move_and_run()
    files.write_text(Path("reports") / "made.json", "2\n")
    files.write_json(paths.TIMING_REPORT, {"new": 1})
    assert contents(project) != before

    workspace.put_back()

    assert contents(project) == before
    workspace.check_can_come_back()


def test_the_gates_report_of_the_run_can_be_left(project: Path) -> None:
    workspace.set_aside("1")
    files.write_json(paths.RELEASE_REPORT, {"outcome": "refused"})

    workspace.put_back(leave=(paths.RELEASE_REPORT,))

    assert files.read_json(paths.RELEASE_REPORT) == {"outcome": "refused"}


def test_a_run_that_was_cut_off_is_put_back_by_the_next_once(project: Path) -> None:
    before = contents(project)
    workspace.set_aside("1")
    move_and_run()

    assert [workspace.recover("1"), workspace.recover("1")] == [True, False]
    assert contents(project) == before


def test_a_run_that_was_cut_off_after_its_release_stays(project: Path) -> None:
    workspace.set_aside("1")
    move_and_run()
    after = contents(project)

    assert not workspace.recover("2")
    assert contents(project) == after


@pytest.mark.parametrize("spoil", [OUTPUT.unlink, lambda: OUTPUT.write_text("by hand")])
def test_an_output_that_could_not_come_back_is_named_before_anything_is_done(
    project: Path, spoil: object
) -> None:
    assert callable(spoil)
    spoil()

    with pytest.raises(TakeoffError, match=rf"{OUTPUT.as_posix()} is not what dvc.lock says.*make run"):
        workspace.check_can_come_back()


def test_two_retrains_at_once_do_not_meet(project: Path) -> None:
    code = (
        "from monitoring import workspace; from takeoff import files\n"
        "with files.alone(workspace.ASIDE_LOCK, 'retrain'): print('in', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdin and other.stdout and other.stdout.readline()

    refused = pytest.raises(TakeoffError, match="Another retrain of this project is running")
    with refused, files.alone(workspace.ASIDE_LOCK, "retrain"):
        pass

    other.communicate(b"\n")
    with files.alone(workspace.ASIDE_LOCK, "retrain"):
        pass


# What stands in front of it


def test_without_a_champion_there_is_nothing_to_retrain(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.as_posix()}/mlflow.db")
    monkeypatch.setattr(sys, "argv", ["retrain", "--as-of", "2013-10-01"])
    before = contents(project)

    with pytest.raises(TakeoffError, match="There is no champion yet"):
        retrain.main()

    assert {name: before[name] for name in before} == {name: contents(project)[name] for name in before}
