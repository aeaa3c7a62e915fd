"""The files of a candidate are written all or none, and its tests as the project's own are."""

from pathlib import Path

import pytest

from takeoff.errors import TakeoffError
from takeoff.params import PARAMS_FILE
from takeoff.promotion.acceptance import test_file as text_of_tests
from takeoff.promotion.registration import places_of, write
from takeoff.promotion.ruff import formatted, hints
from takeoff.promotion.saved import check_name
from tests.conftest import PROJECT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one file of three, and a file where a folder would have to be."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "module.py").write_bytes(b"old\r\n")
    (tmp_path / "taken").write_bytes(b"a file")
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_are_written(folder: Path) -> None:
    write({Path("module.py"): "new\n", Path("tests/test.py"): "test\n", Path(PARAMS_FILE): "a: 1\n"})

    assert content(folder) == {
        "module.py": b"new\n",
        "test.py": b"test\n",
        PARAMS_FILE: b"a: 1\n",
        "taken": b"a file",
    }


@pytest.mark.parametrize("name", ["mine", "a" * 40], ids=["short", "longest"])
def test_the_tests_of_a_candidate_pass_the_linter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    check_name(name)
    text, path = text_of_tests(name), places_of(name).tests

    assert hints(text, path) == ()
    assert formatted(text, path) == text


@pytest.mark.parametrize("names", [("module.py", "fresh.py", "taken/in/it"), ("taken/in/it", "module.py")])
def test_where_one_cannot_be_written_none_is(folder: Path, names: tuple[str, ...]) -> None:
    before = content(folder)

    with pytest.raises(TakeoffError, match="could not be written"):
        write({Path(name): "new\n" for name in names})

    assert content(folder) == before
