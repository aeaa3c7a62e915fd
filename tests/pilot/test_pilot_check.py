"""The check as a whole: what it finds of what was planted, what it says nothing on, and how it ends."""

import json
import shutil
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner, Result

from takeoff.cli import app
from takeoff.errors import TakeoffError
from takeoff.pilot.check import Report, check
from takeoff.pilot.facts import NOT_RUN
from takeoff.pilot.finding import RULES, SEVERITIES, Finding, explain_score, points, score
from takeoff.pilot.report import render
from takeoff.stage import WIDTH_WITHOUT_TERMINAL
from tests.conftest import PROJECT
from tests.pilot.planted import FOLDER, Planted, notebook_of, planted, write, write_data

LEAST_FOUND = 0.9  # of all planted faults
LEAST_OF_EACH = 5  # faults of each rule among the planted
LONGEST_RUN = 120  # seconds


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data that the notebooks read."""
    folder = tmp_path_factory.mktemp("pilot notebooks")
    write_data(folder)
    return folder


@pytest.fixture(scope="module")
def reports(tables: Path) -> dict[str, Report]:
    """Every planted notebook, run and checked, as many at once as there are processors."""
    paths = {each.name: write(each.notebook, tables / f"{each.name}.ipynb") for each in planted()}
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
        return dict(zip(paths, processes.map(checked, paths.values()), strict=True))


def checked(path: Path) -> Report:
    return check(path, PROJECT, LONGEST_RUN)


def faults_in(report: Report) -> set[tuple[str, int | None]]:
    return {(each.rule, each.cell) for each in report.findings}


def told(findings: tuple[Finding, ...]) -> list[str]:
    return [f"{each.rule}@{each.cell}: {each.found}" for each in findings]


def test_thirty_notebooks_hold_each_rule_often_enough_to_count() -> None:
    every = planted()
    counts = Counter(rule for each in every for rule, _ in each.faults)
    assert len(every) == 30
    assert {rule: counts[rule] for rule in RULES if counts[rule] < LEAST_OF_EACH} == {}
    assert all(len(each.faults) >= 2 for each in every)


@pytest.mark.slow
def test_nine_in_ten_planted_faults_are_found(reports: dict[str, Report]) -> None:
    faults = [(each.name, fault) for each in planted() for fault in sorted(each.faults)]
    missed = [(name, fault) for name, fault in faults if fault not in faults_in(reports[name])]
    assert len(missed) <= (1 - LEAST_FOUND) * len(faults), f"missed of {len(faults)}: {missed}"


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_no_rule_lives_on_the_others(rule: str, reports: dict[str, Report]) -> None:
    faults = [(each.name, fault) for each in planted() for fault in each.faults if fault[0] == rule]
    missed = [(name, fault) for name, fault in faults if fault not in faults_in(reports[name])]
    assert len(missed) <= (1 - LEAST_FOUND) * len(faults) + 1, f"missed of {len(faults)}: {missed}"


@pytest.mark.slow
def test_nothing_else_is_said_on_the_planted_notebooks(reports: dict[str, Report]) -> None:
    extra = [
        (each.name, f"{finding.rule}@{finding.cell}", finding.found)
        for each in planted()
        for finding in reports[each.name].findings
        if (finding.rule, finding.cell) not in each.faults
    ]
    assert extra == []


@pytest.mark.slow
@pytest.mark.parametrize("clean", planted(FOLDER.with_name("clean")), ids=lambda each: each.name)
def test_nothing_is_said_on_a_clean_notebook(clean: Planted, tables: Path, split_project: Path) -> None:
    # One of them opens the project, and looks for it upwards from where it lies.
    folder = split_project / "notebooks"
    shutil.copytree(tables, folder, dirs_exist_ok=True)
    report = check(write(clean.notebook, folder / f"{clean.name}.ipynb"), split_project, LONGEST_RUN)
    assert report.outcome.ran and report.outcome.stopped is None
    assert told(report.findings) == []
    assert report.score == 100


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["pilot-check", *arguments])


def notebook_at(path: Path, text: str) -> Path:
    return write(notebook_of(text), path)


@pytest.mark.slow
def test_a_notebook_with_faults_is_no_error_and_its_score_stands_last(tmp_path: Path) -> None:
    path = notebook_at(tmp_path / "a.ipynb", "# %%\nimport numpy as np\nnp.random.rand(3)\n")
    result = command(str(path), "--json", str(tmp_path / "out.json"))
    assert result.exit_code == 0
    expected = 100 - points("seed")
    assert result.stdout.splitlines()[-1].strip() == f"Pilot score: {expected} of 100"
    written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (written["score"], written["ran"], written["stopped_in_cell"]) == (expected, True, None)
    assert [(each["rule"], each["cell"], each["line"]) for each in written["findings"]] == [("seed", 1, 2)]


@pytest.mark.parametrize("content", [None, "no notebook", '{"cells": []}'])
def test_what_cannot_be_read_is_refused_with_a_message(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(TakeoffError, match=r"a\.ipynb"):
        check(path, PROJECT, LONGEST_RUN)


def test_a_notebook_without_code_is_refused(tmp_path: Path) -> None:
    path = notebook_at(tmp_path / "a.ipynb", "# %% md\nHello\n# %%\n\n")
    with pytest.raises(TakeoffError, match="has no code"):
        check(path, PROJECT, LONGEST_RUN)


@pytest.mark.slow
def test_a_check_leaves_the_notebook_as_it_was_and_installs_nothing(tmp_path: Path) -> None:
    text = "# %%\n!pip install no-such-package-of-anyone > done.txt; touch done.txt\nprint(1)\n"
    path = notebook_at(tmp_path / "a.ipynb", text)
    before = path.read_bytes()
    report = check(path, PROJECT, LONGEST_RUN)
    assert path.read_bytes() == before
    assert report.outcome.stopped is None
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.ipynb"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell",
    [
        "%%bash\npip install x\ntrue\n",
        "%%time\n!pip install x\n",
        "if True:\n    !pip install x\n",
        "found = !pip install x\n",
        "import subprocess\nsubprocess.check_call(\n    ['pip', 'install', 'x']\n)\n",
        "import os\nif os.system('pip install x'):\n    print(1)\n",
        "!pip install \\\n  x\nprint(1)\n",
        "import subprocess\nprint('é', subprocess.run(\n    'pip install x', shell=True).returncode + 1)\n",
    ],
)
def test_a_cell_runs_without_what_it_installs(cell: str, tmp_path: Path) -> None:
    report = check(notebook_at(tmp_path / "a.ipynb", f"# %%\n{cell}"), PROJECT, LONGEST_RUN)
    assert told(report.findings)[0].startswith("install@1") and len(report.findings) == 1


@pytest.mark.slow
def test_a_run_that_takes_too_long_is_stopped_and_told(tmp_path: Path) -> None:
    path = notebook_at(tmp_path / "a.ipynb", "# %%\na = 1\n# %%\nwhile True:\n    pass\n")
    report = check(path, PROJECT, timeout=1)
    assert report.outcome.stopped is not None
    assert (report.outcome.stopped.cell, report.outcome.stopped.name) == (2, "TimeoutError")
    assert "--timeout" in report.findings[0].action


def test_every_rule_broken_is_a_score_of_nothing_and_none_of_all() -> None:
    assert score([Finding(rule, 1, 1, "", "") for rule in RULES]) == 0
    assert score([]) == 100


@given(st.lists(st.sampled_from(sorted(RULES))))
def test_a_rule_counts_once_and_each_more_costs(rules: list[str]) -> None:
    findings = [Finding(rule, 1, 1, "", "") for rule in rules]
    assert score(findings) == score([*findings, *findings])
    assert all(
        score([*findings, Finding(each, 1, 1, "", "")]) < score(findings)
        for each in RULES
        if each not in rules
    )


def test_the_help_tells_every_weight_and_rule() -> None:
    text = explain_score()
    assert all(f"{meaning}, {weight} each" in text for meaning, weight in SEVERITIES.values())
    assert all(kind.title in text for kind in RULES.values())


@pytest.mark.parametrize("width", [80, WIDTH_WITHOUT_TERMINAL])
def test_a_report_keeps_to_its_width_and_says_why_and_what_next(width: int) -> None:
    finding = Finding("leak", 3, 7, "`late` " * 30, "Take it out. " * 20)
    console = Console(width=width, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115, PTH123
    console.print(render(Report(Path("a.ipynb"), (finding,), score([finding]), NOT_RUN)))
    lines = console.export_text().splitlines()
    assert max(len(line) for line in lines) <= width
    said = " ".join(" ".join(lines).split())
    assert "cell 3, line 7" in said and RULES["leak"].why in said and "Take it out." in said
