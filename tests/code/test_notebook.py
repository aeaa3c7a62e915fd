"""What a notebook opens the project with, from wherever it stands."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from takeoff.errors import TakeoffError
from takeoff.notebook import open_project
from takeoff.split import SPLITS


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])


def test_the_project_is_found_from_a_folder_below_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "notebooks" / "drafts").mkdir(parents=True)
    monkeypatch.chdir(project / "notebooks" / "drafts")

    found = open_project()

    assert found.folder == project.resolve() == Path.cwd()
    assert str(found.folder) in sys.path


def test_its_examples_are_the_rows_of_the_split(project: Path) -> None:
    found = open_project(project)

    for split in SPLITS:
        rows, examples = found.rows(split), found.examples(split)
        assert len(rows) == len(examples.labels) > 0
        assert list(examples.features) == list(found.contract.columns)
        expected = rows[found.contract.target.column].map(list(found.contract.target.classes).index)
        pd.testing.assert_series_equal(pd.Series(examples.labels), expected, check_names=False)


def test_a_misspelt_split_is_named_with_the_nearest(project: Path) -> None:
    with pytest.raises(TakeoffError, match="no split 'validaton'; did you mean 'validation'"):
        open_project(project).rows("validaton")


def test_where_there_is_no_project_it_says_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(TakeoffError, match=r"There is no project here.*`make lab`"):
        open_project()


def test_a_model_that_was_never_released_says_what_to_run(project: Path) -> None:
    with pytest.raises(TakeoffError, match="dvc repro"):
        open_project(project).champion()
