"""The story, shortened: two months of few rows, lived through in a project of its own."""

import sys
from pathlib import Path
from typing import Any

import pytest

from monitoring import story
from takeoff import files, packaging, paths
from takeoff.errors import TakeoffError
from takeoff.params import PARAMS_FILE
from tests.whole_project import champion, change, command, contents, store_of

pytestmark = pytest.mark.slow

THEIRS = tuple(Path(name) for name in (PARAMS_FILE, "dvc.lock", "data", "models"))
MONTHS = ("2013-07", "2013-08")


def easily_alarmed(params: dict[str, Any]) -> None:
    """So that a month of few rows is enough for the monitor to ask for a retrain."""
    performance = params["monitoring"]["performance"]
    performance["calibration_rows"] = 1
    performance["calibration_error"] = {"watch": 0.0001, "severe": 0.0002}
    params["monitoring"]["decision"].update(last=2, watch=1, retrain=1)


def test_the_loop_notices_retrains_asks_the_gate_and_serves_on(finished: Path) -> None:
    before, serving = contents(finished, THEIRS), champion(finished)
    with store_of(finished) as registry:
        decided = registry.history()
    original = (finished / PARAMS_FILE).read_bytes()
    change(finished / PARAMS_FILE, easily_alarmed)

    done = command(
        finished, "monitoring.story", "--months", "2", "--compete", "rule,boosted", "--sample", "0.2"
    )
    (finished / PARAMS_FILE).write_bytes(original)

    assert done.returncode == 0, done.stdout + done.stderr
    told = files.read_json(finished / story.RESULT)
    assert tuple(each["name"] for each in told["months"]) == MONTHS
    july, august = told["months"]
    # Noticed, retrained, and judged by the gate.
    assert (july["state"], july["gate"]["outcome"] in ("released", "refused")) == ("retrain", True)
    # In the first month the loop is the model left alone; then whoever the gate has chosen serves.
    assert list(july["model_versions"]) == ["1"]
    assert july["contestants"]["loop"] == july["contestants"]["left_alone"]
    assert list(august["model_versions"]) == ["2" if july["gate"]["outcome"] == "released" else "1"]
    assert august["gate"] is None  # the story ends: nobody would be served
    assert min(each["rows"] for each in told["months"]) > 3_000
    assert told["all"]["rows"] == july["rows"] + august["rows"]
    page = (finished / story.PAGE).read_text(encoding="utf-8")
    assert page in done.stdout
    assert all(f"| {month} |" in page for month in MONTHS)
    # In a project of its own: nothing of the person's was touched.
    own = finished / story.FOLDER
    assert (own / packaging.DEFAULT_LOG).is_file() and not (finished / packaging.DEFAULT_LOG).exists()
    assert not (finished / paths.MONITORING / "decision.json").exists()
    assert contents(finished, THEIRS) == before
    assert champion(finished) == serving
    with store_of(finished) as registry:
        assert registry.history() == decided


def test_a_folder_that_no_story_made_is_left_alone(tmp_path: Path, finished: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("three years of work")

    done = command(finished, "monitoring.story", "--folder", str(mine))

    assert done.returncode == 1
    assert "holds something that no story made" in done.stderr
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--months", "0"), "one month or more"),
        (("--compete", "rule,bosted"), "did you mean 'boosted'?"),
        (("--sample", "2"), "at most 1"),
    ],
)
def test_options_that_make_no_story_are_refused_before_any_work(
    arguments: tuple[str, str], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["story", *arguments])

    with pytest.raises(TakeoffError, match=said):
        story.main()

    assert list(tmp_path.iterdir()) == []
