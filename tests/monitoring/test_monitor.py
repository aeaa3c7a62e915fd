"""The monitor as a command: a real log of real rows, a real model, and everything that may be wrong."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pandas as pd
import pytest
import yaml

from monitoring import monitor
from monitoring.decision import EXIT_CODES, NOT_JUDGED, State
from monitoring.webhook import VARIABLE
from monitoring.windows import window_of
from takeoff import files, model, paths
from takeoff.contract import CONTRACT_FILE, read_contract
from takeoff.log_schema import INVALID_ROWS
from takeoff.log_store import HOUR_SECONDS, Entry, Label, Refused, open_store
from takeoff.packaging import DEFAULT_LOG, LOG_VARIABLE
from takeoff.params import PARAMS_FILE
from takeoff.ports import unused_port
from takeoff.stage import run
from tests.evidence import PATIENCE_SECONDS, until
from tests.log_entries import ask, python_environment
from tests.monitoring.production import fill, make_watched
from tests.monitoring.test_webhook import receiver
from tests.small_release import PROJECT

pytestmark = pytest.mark.slow

URL = f"sqlite:///{DEFAULT_LOG.as_posix()}"
DAYS = ["2013-01-08", "2013-01-09", "2013-01-10"]
EARLIER = [f"2013-01-{day:02}" for day in range(2, 8)]
MOST_ROWS = 150  # of a day
ROOM = 40_000  # bytes of a file: reading SQLite takes 32 KiB, a window's result takes more
Monitor = Callable[..., int]


@pytest.fixture(scope="module")
def released_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project with a model and its reference, watched by the day; not to be changed."""
    folder = tmp_path_factory.mktemp("released project")
    make_watched(folder)
    return folder


@pytest.fixture
def project(released_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it to work in. Its registry does not answer, so that nothing waits for an MLflow store."""
    folder = tmp_path / "a project"
    shutil.copytree(released_project, folder)
    (folder / DEFAULT_LOG).parent.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv(LOG_VARIABLE, raising=False)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{unused_port()}")
    yield folder


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, project: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the log that the monitor reads: the project's own, or one in a real server."""
    if request.param == "sqlite":
        return URL
    address = str(request.getfixturevalue("postgres").new_log())
    monkeypatch.setenv(LOG_VARIABLE, address)
    return address


@pytest.fixture
def watch(project: Path, monkeypatch: pytest.MonkeyPatch) -> Monitor:
    """The command, without Evidently unless asked for; its exit code."""

    def command(*arguments: str, evidently: bool = False) -> int:
        arguments = arguments if evidently else (*arguments, "--no-evidently")
        monkeypatch.setattr(sys, "argv", ["monitor", *arguments])
        with pytest.raises(SystemExit) as ended:
            run(monitor.main)
        return int(ended.value.code or 0)

    return command


def rows_of(project: Path, days: list[str]) -> pd.DataFrame:
    contract = read_contract(project)
    rows = files.read_rows(project / paths.split_rows("validation"))
    fit = files.read_rows(project / paths.split_rows("fit"))
    rows = pd.concat([fit, rows], ignore_index=True)
    time = rows[contract.time.column]
    parts = []
    for day in days:
        period = window_of(day, contract).period
        parts.append(rows[(time >= period.start) & (time < period.end)].iloc[::5][:MOST_ROWS])
    return pd.concat(parts, ignore_index=True)


def log(
    project: Path,
    days: list[str] = DAYS,
    change: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    **changes: Any,
) -> list[Entry]:
    contract = read_contract(project)
    rows = rows_of(project, days)
    released = model.load(project / paths.RELEASED)
    rows = change(rows) if change else rows
    return fill(changes.pop("url", URL), rows, released, changes.pop("version", "1"), contract, **changes)


def unlabelled(rows: pd.DataFrame) -> pd.DataFrame:
    contract = read_contract(Path())
    return rows.assign(**{contract.target.column: None})


def tell(project: Path, entries: Sequence[Entry], url: str = URL) -> None:
    """The truth of answers in the log, all alike."""
    contract = read_contract(project)
    with closing(open_store(url, list(contract.columns), contract.hash, contract.numbers)) as store:
        store.insert(
            labels=[Label(each.id, contract.target.classes[0], each.time, each.time) for each in entries]
        )


def result(day: str) -> dict[str, Any]:
    found: dict[str, Any] = files.read_json(paths.WINDOWS / f"{day}.json")
    return found


def decision() -> dict[str, Any]:
    found: dict[str, Any] = files.read_json(paths.DECISION_REPORT)
    return found


def notes(day: str) -> str:
    return " ".join(result(day)["notes"])


def reports() -> dict[str, bytes]:
    return {
        str(file): file.read_bytes() for file in paths.MONITORING.rglob("*") if file.is_file() and file.suffix
    }


def test_a_run_measures_every_window_decides_and_writes_the_page(
    project: Path, url: str, watch: Monitor
) -> None:
    log(project, url=url)

    code = watch()

    found = decision()
    assert code == found["exit_code"]
    assert [each["name"] for each in found["windows"]] == DAYS
    assert found["windows"][-1]["state"] == NOT_JUDGED  # no later row says that the day is over
    assert found["sentence"] and DAYS[0] in paths.MONITORING_PAGE.read_text(encoding="utf-8")
    first = result(DAYS[0])
    assert first["rows"] == MOST_ROWS and first["model_versions"] == {"1": MOST_ROWS}
    for part in ("drift", "multivariate", "labels", "performance", "estimated", "quality"):
        assert first[part] is not None, part
    assert first["window"]["complete"] and not result(DAYS[-1])["window"]["complete"]


def test_what_has_not_changed_is_not_measured_again(
    project: Path, watch: Monitor, capsys: pytest.CaptureFixture[str]
) -> None:
    log(project)
    watch()
    before = {name: content for name, content in reports().items() if "windows" in name}

    watch()

    assert "Measured 0 of 3 days" in capsys.readouterr().out
    assert {name: content for name, content in reports().items() if "windows" in name} == before


def test_a_label_that_comes_late_has_only_its_own_window_measured_again(
    project: Path, url: str, watch: Monitor, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = log(project, change=unlabelled, url=url)
    watch()
    assert "No label has come yet" in notes(DAYS[1])
    tell(project, entries[MOST_ROWS:][:9], url)
    tell(project, entries[MOST_ROWS:][:9], url)  # twice: the second changes nothing

    watch()

    assert "Measured 1 of 3 days" in capsys.readouterr().out
    assert result(DAYS[1])["labels"]["rows"] == 9


def test_what_was_estimated_of_a_day_is_kept_to_be_held_against_its_labels(
    project: Path, watch: Monitor
) -> None:
    contract = read_contract(project)
    entries = log(project, change=unlabelled)
    watch()
    told = {name: each["value"] for name, each in result(DAYS[0])["estimated"]["metrics"].items()}
    with closing(open_store(URL, list(contract.columns), contract.hash, contract.numbers)) as store:
        truths = contract.target.classes
        store.insert(
            labels=[
                Label(each.id, truths[i % len(truths)], each.time, each.time)
                for i, each in enumerate(entries[:MOST_ROWS])
            ]
        )

    watch()

    known = result(DAYS[0])
    assert known["estimated"]["reported"] == told
    cost = known["performance"]["metrics"]["cost"]["value"]
    error = result(DAYS[1])["estimated"]["last_known_error"]
    assert error["window"] == DAYS[0]
    assert error["cost"] == pytest.approx(told["cost"] - cost, abs=1e-5)


def test_labels_without_a_prediction_are_told(project: Path, watch: Monitor) -> None:
    contract = read_contract(project)
    entries = log(project, DAYS[:1])
    with closing(open_store(URL, list(contract.columns), contract.hash, contract.numbers)) as store:
        strange = ["ffffffff" + each.id[8:] for each in entries[:7]]
        store.insert(labels=[Label(each, contract.target.classes[0], 1.0) for each in strange])

    watch()

    assert any("7 labels are of predictions that are not in the log" in each for each in decision()["notes"])


def test_a_window_that_was_asked_for_is_the_only_one_measured(project: Path, watch: Monitor) -> None:
    log(project)

    watch("--window", DAYS[1])

    assert [file.stem for file in sorted(paths.WINDOWS.glob("*.json"))] == [DAYS[1]]


def test_a_window_without_rows_is_reported_as_empty(project: Path, watch: Monitor) -> None:
    log(project)

    assert watch("--window", "2013-03-01") == 0

    assert result("2013-03-01")["rows"] == 0
    assert "holds no row of this window" in notes("2013-03-01")
    assert result("2013-03-01")["drift"] is None


def test_a_log_without_rows_leaves_nothing_to_judge_and_says_so(project: Path, watch: Monitor) -> None:
    contract = read_contract(project)
    open_store(URL, list(contract.columns), contract.hash, contract.numbers).close()

    assert watch() == 0

    assert (decision()["state"], decision()["windows"]) == ("watch", [])
    assert "nothing to judge yet" in decision()["sentence"]
    assert "make monitor" in paths.MONITORING_PAGE.read_text(encoding="utf-8")


def test_without_labels_performance_is_estimated_and_the_report_says_so(
    project: Path, watch: Monitor
) -> None:
    log(project, change=unlabelled)

    watch("--window", DAYS[0])

    assert result(DAYS[0])["performance"] is None
    assert result(DAYS[0])["estimated"]["metrics"]["cost"]
    assert "No label has come yet" in notes(DAYS[0])


def test_one_class_alone_has_no_order_to_measure_and_the_report_says_so(
    project: Path, watch: Monitor
) -> None:
    def all_alike(rows: pd.DataFrame) -> pd.DataFrame:
        contract = read_contract(Path())
        return rows.assign(**{contract.target.column: contract.target.classes[0]})

    log(project, change=all_alike)

    watch("--window", DAYS[0])

    assert result(DAYS[0])["performance"]["metrics"]["roc_auc"] is None
    assert "need both classes" in notes(DAYS[0])


def test_a_contract_that_changed_since_the_reference_leaves_out_drift_and_says_what_to_do(
    project: Path, watch: Monitor
) -> None:
    log(project)
    text = (project / CONTRACT_FILE).read_text(encoding="utf-8")
    (project / CONTRACT_FILE).write_text(text.replace("cost: 75", "cost: 80"), encoding="utf-8")

    watch("--window", DAYS[0])

    assert result(DAYS[0])["drift"] is None and result(DAYS[0])["performance"]
    for said in ("has changed since the reference was made", "Run `make run`", "another contract.yaml"):
        assert said in notes(DAYS[0])


def test_a_contract_with_other_columns_than_the_log_is_read_by_those_that_both_have(
    project: Path, watch: Monitor
) -> None:
    log(project)
    told = (project / PARAMS_FILE).read_text(encoding="utf-8")
    content = yaml.safe_load((project / CONTRACT_FILE).read_text(encoding="utf-8"))
    removed = next(name for name in read_contract(project).numbers if name not in told)
    content["columns"]["added"] = content["columns"].pop(removed)
    (project / CONTRACT_FILE).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    code = watch("--window", DAYS[0])

    found = result(DAYS[0])
    assert code == decision()["exit_code"] and found["rows"] == MOST_ROWS
    assert found["drift"] is None and found["performance"] and found["estimated"]
    assert "has changed since the reference was made" in notes(DAYS[0])
    assert f"{MOST_ROWS:,} of {MOST_ROWS:,} rows were answered by another contract.yaml" in notes(DAYS[0])
    assert {each["column"] for each in found["quality"]["rules"]} >= {"added"}
    assert removed not in {each["column"] for each in found["quality"]["rules"]}
    assert DAYS[0] in paths.MONITORING_PAGE.read_text(encoding="utf-8")


def test_a_registry_that_does_not_answer_leaves_the_rest_as_it_is(project: Path, watch: Monitor) -> None:
    log(project)

    watch("--window", DAYS[0])

    assert "does not answer" in notes(DAYS[0])
    assert decision()["model_version"] is None


def test_a_version_that_the_registry_does_not_know_is_named(
    project: Path, watch: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.as_posix()}/mlflow.db")
    log(project, DAYS[:1], version="7")

    watch()

    assert any(
        "Version 7 gave answers, but the registry does not know it" in each for each in decision()["notes"]
    )


def test_rows_of_wrong_clocks_make_windows_of_their_own_and_end_no_other(
    project: Path, watch: Monitor
) -> None:
    def half_labelled(rows: pd.DataFrame) -> pd.DataFrame:
        target = read_contract(Path()).target.column
        return rows.assign(**{target: rows[target].where(rows.index % 2 == 0)})

    first = log(project, DAYS[:1], half_labelled)
    log(project, DAYS[1:2], row_time=pd.Timestamp("2099-06-01T12:00Z").timestamp(), time=first[0].time - 1e6)
    log(project, DAYS[2:], lambda rows: rows[:5], row_time=-1e10)

    watch()

    assert [each["name"] for each in decision()["windows"]] == [DAYS[0], "2099-06-01"]
    assert any("5 rows are dated before 1900" in each for each in decision()["notes"])
    assert any(f"{MOST_ROWS} rows are dated more than" in each for each in decision()["notes"])
    first_day = result(DAYS[0])
    assert not first_day["window"]["complete"]
    assert first_day["rows"] - first_day["labels"]["rows"] > first_day["labels"]["never"]  # some may come


def test_a_few_rows_of_the_future_leave_the_day_open(project: Path, watch: Monitor) -> None:
    log(project, DAYS[:1])
    log(project, DAYS[1:2], lambda rows: rows[:5], row_time=pd.Timestamp("2099-06-01T12:00Z").timestamp())

    watch()

    assert not result(DAYS[0])["window"]["complete"]
    assert "a clock is wrong" in notes("2099-06-01")


USUAL = ["2013-01-05", "2013-01-06", "2013-01-07"]


def refuse(day: str, rows: int) -> None:
    """Put rows of a day that the service has refused into the log, as it does."""
    contract = read_contract(Path())
    noon = int(window_of(day, contract).period.start.timestamp()) + 12 * HOUR_SECONDS
    with closing(open_store(URL, list(contract.columns), contract.hash, contract.numbers)) as store:
        store.write_refusals([Refused(noon, noon, INVALID_ROWS, day, rows)])


def said_of(day: str) -> list[str]:
    return [each["text"] for each in decision()["reasons"] if each["window"] == day]


def test_a_day_on_which_no_row_came_is_told(project: Path, watch: Monitor) -> None:
    log(project, [*USUAL, DAYS[1]])

    watch()

    assert [each["name"] for each in decision()["windows"]] == [*USUAL, DAYS[0], DAYS[1]]
    assert said_of(DAYS[0]) == [f"no row came, {MOST_ROWS} did in the windows before"]
    assert decision()["windows"][-1]["state"] == NOT_JUDGED
    watch()
    assert result(DAYS[0])["rows"] == 0 and result(DAYS[0])["window"]["complete"]


def test_days_on_which_every_row_is_refused_are_told_without_an_answer_after_them(
    project: Path, watch: Monitor
) -> None:
    log(project, USUAL)
    for day in DAYS:
        refuse(day, MOST_ROWS)

    watch()

    assert decision()["state"] in ("watch", "retrain")
    for day in DAYS[:2]:
        assert result(day)["quality"]["refused"] == {INVALID_ROWS: MOST_ROWS}
        assert [each.split(",")[0] for each in said_of(day)] == ["the service refused 100.00% of the rows"]
    assert said_of(DAYS[2]) == []  # it may not be over


def test_days_on_which_next_to_no_row_comes_are_told(project: Path, watch: Monitor) -> None:
    log(project, USUAL)
    for day in DAYS:
        log(project, [day], lambda rows: rows[::30])

    watch()

    for day in DAYS[:2]:
        assert ["times fewer than" in each for each in said_of(day)] == [True]
    assert decision()["windows"][-1]["state"] == NOT_JUDGED


def test_a_log_that_is_written_to_meanwhile_is_read_as_it_was(
    project: Path, url: str, watch: Monitor
) -> None:
    log(project, DAYS[:2], url=url)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            log(project, DAYS[2:], lambda rows: rows[:20], url=url)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        watch()
    finally:
        stop.set()
        writer.join()

    assert [result(day)["rows"] for day in DAYS[:2]] == [MOST_ROWS, MOST_ROWS]
    watch()
    [(count,)] = ask(url, "SELECT count(*) FROM predictions")
    assert result(DAYS[2])["rows"] == count - 2 * MOST_ROWS


def test_a_disk_that_fills_up_leaves_the_last_good_report(
    project: Path, watch: Monitor, capsys: pytest.CaptureFixture[str]
) -> None:
    log(project, DAYS[:2])
    watch()
    before = reports()
    log(project, DAYS[2:])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, limits[1]))
    try:
        code = watch()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)

    assert code == 1
    said = capsys.readouterr().err
    assert "could not be written" in said and "Traceback" not in said
    assert reports() == before
    assert watch() in (0, 3)


@pytest.mark.parametrize(
    "file", [paths.WINDOWS / f"{DAYS[2]}.json", paths.DECISION_REPORT, paths.MONITORING_PAGE]
)
def test_reports_are_written_all_or_none(
    file: Path, project: Path, watch: Monitor, capsys: pytest.CaptureFixture[str]
) -> None:
    log(project, DAYS[:2])
    watch()
    before = reports()
    log(project, DAYS[2:])
    files.neighbour(file).mkdir()  # so that it can't be written

    assert watch() == 1

    assert f"{file.name} could not be written" in capsys.readouterr().err
    assert reports() == before
    files.neighbour(file).rmdir()
    assert watch() in (0, 3)
    assert DAYS[2] in paths.MONITORING_PAGE.read_text(encoding="utf-8")


def test_a_drawing_that_cannot_be_written_is_named_and_takes_nothing_else_with_it(
    project: Path, watch: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    log(project, DAYS[:1])
    drawn = paths.WINDOWS / f"{DAYS[0]}.html"
    files.write_text(drawn, "old")
    files.neighbour(drawn).mkdir()

    assert watch(evidently=True) in (0, 3)

    assert any(f"No Evidently report of {DAYS[0]}" in each for each in decision()["notes"])
    assert drawn.read_text(encoding="utf-8") == "old"
    assert result(DAYS[0])["rows"] == MOST_ROWS


def test_a_log_that_is_gone_leaves_the_last_good_report(
    project: Path, watch: Monitor, capsys: pytest.CaptureFixture[str]
) -> None:
    log(project, DAYS[:1])
    watch()
    before = reports()
    for file in (project / DEFAULT_LOG).parent.glob("predictions.db*"):
        file.unlink()

    assert watch() == 1

    assert "There is no prediction log" in capsys.readouterr().err
    assert reports() == before


def test_a_change_of_state_is_posted_once_and_again_if_it_was_not_taken(
    project: Path, watch: Monitor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log(project, DAYS[:1])
    with receiver(500) as deaf:
        monkeypatch.setenv(VARIABLE, deaf.url)
        watch()
    said = capsys.readouterr()
    assert "the webhook was not told: it answered 500" in said.err
    assert deaf.url not in said.out + said.err

    with receiver() as server:
        monkeypatch.setenv(VARIABLE, server.url)
        watch()
        watch()

    [(_, body)] = server.received
    assert json.loads(body)["state"] == decision()["state"]


def test_every_change_of_state_is_posted_also_back_and_nothing_between(
    project: Path, watch: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as server:
        monkeypatch.setenv(VARIABLE, server.url)
        log(project, EARLIER[:2])
        watch()
        entries = log(project, EARLIER[2:5], unlabelled)
        watch()
        entries += log(project, EARLIER[5:], unlabelled)
        watch()
        assert len(server.received) == 2  # it is what it was
        tell(project, entries)
        watch()

    # With their truth days of such drift are to be watched; without, nothing says that performance holds.
    assert [json.loads(body)["state"] for _, body in server.received] == ["watch", "retrain", "watch"]


@pytest.mark.parametrize(("change", "state"), [(None, "watch"), (unlabelled, "retrain")])
def test_the_exit_code_of_the_command_is_that_of_the_state(
    change: Callable[[pd.DataFrame], pd.DataFrame] | None, state: State, project: Path
) -> None:
    log(project, EARLIER[2:5], change)

    done = subprocess.run(
        [sys.executable, "-m", "monitoring.monitor", "--no-evidently"],
        env=python_environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == EXIT_CODES[state], done.stderr
    assert decision()["state"] == state
    assert decision()["sentence"] in done.stdout


def test_two_monitors_of_a_project_do_not_run_at_once(
    project: Path, watch: Monitor, capsys: pytest.CaptureFixture[str]
) -> None:
    log(project, DAYS[:1])

    with files.alone(monitor.LOCK, "monitor"):
        assert watch() == 1

    assert "Another monitor of this project is running" in capsys.readouterr().err


def test_evidently_draws_what_was_measured_beside_it(
    project: Path, watch: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    log(project, DAYS[:1])

    watch(evidently=True)

    assert decision()["notes"] and not any("No Evidently report" in each for each in decision()["notes"])
    assert DAYS[0] in (paths.WINDOWS / f"{DAYS[0]}.html").read_text(encoding="utf-8")


def test_evidentlys_own_server_shows_every_window_that_was_drawn(
    project: Path, watch: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    log(project, DAYS[:2])
    watch(evidently=True)

    with evidently_server(project) as ask_server:
        [shown] = ask_server("projects")
        windows = ask_server(f"projects/{shown['id']}/reports")
        panels = ask_server(f"v2/dashboards/{shown['id']}")["panels"]
        measured = ask_server(f"v2/snapshots/{shown['id']}/metrics")["metrics"]

    assert shown["name"] == read_contract(project).name
    assert sorted(each["name"] for each in windows) == DAYS[:2]
    assert panels
    assert {value["metric"] for panel in panels for value in panel["values"]} <= set(measured)


@contextmanager
def evidently_server(project: Path) -> Iterator[Callable[[str], Any]]:
    """The server as `make evidently` starts it, on a free port; asks its API."""
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    [command] = re.findall(r"-m (evidently\.cli ui --workspace \S+) --port", makefile)
    port = unused_port()

    def ask_server(path: str) -> Any:
        with urlopen(f"http://127.0.0.1:{port}/api/{path}", timeout=PATIENCE_SECONDS) as answer:
            return json.load(answer)

    def answers() -> bool:
        assert process.poll() is None, output.read_text()
        with suppress(URLError):
            return bool(ask_server("version"))
        return False

    output = project / "server.log"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", *command.split(), f"--port={port}"],
            env=os.environ | {"DO_NOT_TRACK": "1"},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        until(answers, "Evidently's server answers")
        yield ask_server
    finally:
        process.terminate()
        process.wait()


def test_a_window_whose_drawing_failed_is_drawn_by_the_next_run(
    project: Path, watch: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(project, DAYS[:1])
    monkeypatch.setenv("PYTHONPATH", str(project / "nowhere"))
    watch(evidently=True)
    assert any(f"No Evidently report of {DAYS[0]}" in each for each in decision()["notes"])
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))

    watch(evidently=True)

    assert (paths.WINDOWS / f"{DAYS[0]}.html").exists()
