"""An engineer's day with `dvc repro`: from nothing to a package, again, refused, interrupted, shared."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from takeoff import files, packaging, paths
from takeoff.contract import CONTRACT_FILE
from takeoff.params import PARAMS_FILE
from tests.whole_project import champion, change, command, contents, environment, repro

pytestmark = pytest.mark.slow

DOWNSTREAM_OF_GATE = (paths.RELEASED, paths.REFERENCE, paths.PACKAGE_REPORT)


@pytest.fixture
def clone(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`finished`, with its configuration put back and brought up to date when the test is over."""
    before = {name: (finished / name).read_bytes() for name in (PARAMS_FILE, CONTRACT_FILE)}
    yield finished
    changed = False
    for name, content in before.items():
        changed |= (finished / name).read_bytes() != content
        (finished / name).write_bytes(content)
    if changed:
        assert repro(finished).returncode == 0


def test_a_first_run_ends_with_a_champion_and_its_bento_that_name_each_other(clone: Path) -> None:
    number, bento = champion(clone)

    assert bento == files.read_json(clone / paths.PACKAGE_REPORT)["bento"]
    stored = packaging.bento_folder(clone / packaging.DEFAULT_STORE, bento)
    labels = yaml.safe_load((stored / "bento.yaml").read_text(encoding="utf-8"))["labels"]
    assert labels["model_version"] == number


def test_the_summary_names_the_winner_the_rule_and_where_to_look(clone: Path) -> None:
    said = command(clone, "takeoff.cli", "summary").stdout

    winner = files.read_json(clone / paths.RELEASE_REPORT)["winner"]
    assert f"Champion: {winner}, version 1" in said
    for hint in ("reports/checks/raw.html", "make mlflow", "make serve", "takeoff history"):
        assert hint in said


def test_every_curve_is_drawn_for_every_candidate(clone: Path, tmp_path: Path) -> None:
    done = command(clone, "dvc", "plots", "show", "--out", str(tmp_path / "plots"))

    page = (tmp_path / "plots" / "index.html").read_text(encoding="utf-8")
    compete = yaml.safe_load((clone / PARAMS_FILE).read_text(encoding="utf-8"))["compete"]
    assert "failed" not in done.stdout + done.stderr
    for title in ("ROC curve", "Precision and recall", "Calibration", "Cost against threshold"):
        assert f'"{title}"' in page
    for name in compete:
        assert f'"candidate": "{name}"' in page


def test_with_nothing_changed_nothing_runs(clone: Path) -> None:
    done = repro(clone)

    assert done.returncode == 0
    assert "Running stage" not in done.stdout


def test_a_forced_run_gives_the_same_bytes_and_no_second_release(clone: Path) -> None:
    lock = (clone / "dvc.lock").read_bytes()

    done = repro(clone, "--force")

    assert done.returncode == 0, done.stdout + done.stderr
    assert (clone / "dvc.lock").read_bytes() == lock
    assert "Unchanged: version 1" in done.stdout


def test_of_all_stages_only_ingest_touches_production(clone: Path) -> None:
    stages = yaml.safe_load((clone / "dvc.yaml").read_text(encoding="utf-8"))["stages"]

    readers = [name for name, stage in stages.items() if any("production" in each for each in stage["deps"])]
    users = [
        path.name
        for path in [*(clone / "pipelines").glob("*.py"), *(clone / "src").rglob("*.py")]
        if "PRODUCTION_ROWS" in path.read_text(encoding="utf-8")
    ]
    assert readers == []
    assert sorted(users) == ["ingest.py", "notebook.py", "paths.py"]
    # A person may look at it in a notebook; whatever a stage runs may not.
    modules = [*(clone / "pipelines").glob("*.py"), *(clone / "src" / "takeoff" / "candidates").glob("*.py")]
    assert not any("notebook import" in path.read_text(encoding="utf-8") for path in modules)


def test_a_refusal_exits_1_says_why_and_changes_nothing_downstream(clone: Path) -> None:
    before, serving = contents(clone, DOWNSTREAM_OF_GATE), champion(clone)
    change(clone / PARAMS_FILE, lambda params: params["release"]["floors"].update(roc_auc={"min": 0.99}))

    done = repro(clone)

    assert done.returncode != 0
    assert "FAIL" in done.stdout
    assert "floor: ROC AUC" in done.stderr
    assert "at least 0.99" in done.stderr
    assert "Version 1 stays champion" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert contents(clone, DOWNSTREAM_OF_GATE) == before
    assert champion(clone) == serving
    said = command(clone, "takeoff.cli", "history").stdout
    assert "refusal" in said


def test_a_broken_rule_stops_the_run_before_anything_is_trained(clone: Path) -> None:
    trained = contents(clone, (paths.CANDIDATES, paths.CHECKED_ROWS))
    change(clone / CONTRACT_FILE, lambda contract: contract["columns"]["temperature"].update(max=60))

    done = repro(clone)

    assert done.returncode != 0
    assert "temperature" in done.stderr
    assert "Running stage 'split'" not in done.stdout
    assert contents(clone, (paths.CANDIDATES, paths.CHECKED_ROWS)) == trained


def test_a_misspelt_key_is_refused_before_any_work(clone: Path) -> None:
    change(clone / PARAMS_FILE, lambda params: params.update(sead=params["seed"]))

    done = command(clone, "pipelines.ingest")

    assert done.returncode == 1
    assert done.stderr.strip() == "params.yaml: unknown key 'sead'; did you mean 'seed'?"


def test_an_interrupt_in_training_leaves_no_half_model_and_the_next_run_finishes(clone: Path) -> None:
    before = contents(clone, (paths.CANDIDATES,))
    started = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "--force", "--single-item", "train@boosted"],
        cwd=clone,
        env=environment(clone),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert started.stdout
    for line in started.stdout:
        if "pipelines.train" in line:
            break

    os.killpg(started.pid, signal.SIGINT)
    started.stdout.read()
    started.wait()

    assert contents(clone, (paths.CANDIDATES,)) == before
    assert repro(clone).returncode == 0


def test_data_and_models_can_be_pushed_and_pulled_at_once(clone: Path) -> None:
    kept = contents(clone, (paths.SPLIT, paths.RELEASED))
    assert command(clone, "dvc", "push").returncode == 0
    for place in (paths.SPLIT, paths.RELEASED, Path(".dvc") / "cache"):
        shutil.rmtree(clone / place)

    done = command(clone, "dvc", "pull")

    assert done.returncode == 0, done.stderr
    assert contents(clone, (paths.SPLIT, paths.RELEASED)) == kept
