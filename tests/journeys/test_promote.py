"""A notebook goes to production: promoted by one command, trained with the others, tested, proven."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import pytest
import yaml

from takeoff import files, paths
from takeoff.model import CARD_FILE
from takeoff.params import PARAMS_FILE
from takeoff.promotion.cells import digest, read
from takeoff.promotion.module import header_of
from takeoff.promotion.registration import places_of
from tests.conftest import PROJECT
from tests.promotable import NOTEBOOK, PLAIN, make_promotable, only_added, promote, tree, write_notebook
from tests.promotion.awkward import AWKWARD
from tests.whole_project import command, environment, repro

pytestmark = pytest.mark.slow

NAMES = [each.__name__ for each in AWKWARD]
each_awkward = pytest.mark.parametrize("name", NAMES)


class Promoted(NamedTuple):
    """A project with every awkward notebook promoted, and what the command said of each."""

    folder: Path
    done: dict[str, Any]


@pytest.fixture(scope="module")
def awkward(split_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Promoted:
    folder = tmp_path_factory.mktemp("promoted") / "a project"
    make_promotable(folder, split_project)
    for make in AWKWARD:
        nbformat.write(make(), folder / f"notebooks/{make.__name__}.ipynb")
    return Promoted(
        folder, {name: promote(folder, f"notebooks/{name}.ipynb", "--as", name) for name in NAMES}
    )


@pytest.fixture(scope="module")
def plain(split_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one notebook promoted; tests put back what they change."""
    folder = tmp_path_factory.mktemp("plain") / "a project"
    make_promotable(folder, split_project)
    done = promote(folder, NOTEBOOK, "--as", "plain", "--upkeep", "300")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def again(plain: Path, tmp_path: Path) -> Path:
    """A copy of `plain` to work in."""
    folder = tmp_path / "a project"
    subprocess.run(["cp", "-a", str(plain), str(folder)], check=True)
    return folder


@each_awkward
def test_an_awkward_notebook_is_promoted_with_parity(awkward: Promoted, name: str) -> None:
    done = awkward.done[name]

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{name} is promoted. The module predicts what the notebook's object predicted" in done.stdout


@each_awkward
def test_its_module_names_the_notebook_and_its_hash(awkward: Promoted, name: str) -> None:
    notebook = Path(f"notebooks/{name}.ipynb")

    header = header_of((awkward.folder / places_of(name).module).read_text(encoding="utf-8"))

    assert header is not None
    assert header.notebook == notebook.as_posix()
    assert header.digest == digest(read(awkward.folder / notebook))


@each_awkward
def test_the_pipeline_trains_it_with_nothing_else_to_edit(awkward: Promoted, name: str) -> None:
    done = command(awkward.folder, "pipelines.train", name)

    assert done.returncode == 0, done.stderr
    card = files.read_json(awkward.folder / paths.CANDIDATES / name / CARD_FILE)
    assert card["candidate"] == name
    assert card["parity"]["flipped"] == 0


def test_their_test_files_hold(awkward: Promoted) -> None:
    found = [places_of(name).tests.as_posix() for name in NAMES]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *found],
        cwd=awkward.folder,
        env=environment(awkward.folder),
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout
    assert f"{5 * len(NAMES)} passed" in done.stdout


@pytest.mark.parametrize(
    "linter",
    [
        ("ruff", "check", "--no-cache"),
        ("ruff", "format", "--check", "--no-cache"),
        # What they import is not looked at, which would take half a minute.
        ("mypy", "--follow-imports=skip", "--cache-dir=/dev/null"),
    ],
    ids=["style", "format", "types"],
)
def test_what_was_promoted_passes_the_project_s_own_linters(
    awkward: Promoted, linter: tuple[str, ...]
) -> None:
    modules = [places_of(name).module.as_posix() for name in NAMES]

    done = command(awkward.folder, *linter, *modules)

    assert done.returncode == 0, done.stdout + done.stderr


def test_parameters_are_added_and_not_a_line_of_the_others_changes(awkward: Promoted) -> None:
    before, after = ((each / PARAMS_FILE).read_text(encoding="utf-8") for each in (PROJECT, awkward.folder))

    assert only_added(before, after)
    found = yaml.safe_load(after)
    assert found["compete"][-len(NAMES) :] == NAMES
    assert list(found["candidates"])[-len(NAMES) :] == NAMES


def test_everything_still_agrees_with_its_notebook(awkward: Promoted) -> None:
    done = promote(awkward.folder, "--check")

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok: ") == len(NAMES)


@pytest.mark.parametrize("upkeep", [(), ("--upkeep", "300")], ids=["unsaid", "as it is"])
def test_promoting_twice_changes_nothing_and_runs_nothing(again: Path, upkeep: tuple[str, ...]) -> None:
    before = tree(again)

    done = promote(again, NOTEBOOK, "--as", "plain", *upkeep)

    assert done.returncode == 0
    assert "plain is up to date" in done.stdout
    assert "Running" not in done.stdout
    assert tree(again) == before


def test_the_settings_of_the_last_call_are_what_the_pipeline_uses(again: Path) -> None:
    entry = yaml.safe_load((again / PARAMS_FILE).read_text(encoding="utf-8"))["candidates"]["plain"]

    assert entry == {"upkeep": 300, "settings": {"penalty": 2.0}}
    assert "      penalty: 2.0  # larger is calmer\n" in (again / PARAMS_FILE).read_text(encoding="utf-8")


def test_a_changed_notebook_brings_its_own_candidate_up_to_date(again: Path) -> None:
    before = (again / PARAMS_FILE).read_text(encoding="utf-8")
    own_tests = again / places_of("plain").tests
    own_tests.write_text(own_tests.read_text(encoding="utf-8") + "# mine\n", encoding="utf-8")
    write_notebook(again, PLAIN.replace("STRENGTH = 0.5", "STRENGTH = 0.75").replace("=2.0", "=3.0"))

    done = promote(again, NOTEBOOK, "--as", "plain")

    assert done.returncode == 0, done.stderr
    assert "candidates.plain.settings.penalty: 2.0 is now 3.0" in done.stdout
    assert "STRENGTH = 0.75" in (again / places_of("plain").module).read_text(encoding="utf-8")
    after = (again / PARAMS_FILE).read_text(encoding="utf-8")
    assert after == before.replace("penalty: 2.0", "penalty: 3.0")
    assert own_tests.read_text(encoding="utf-8").endswith("# mine\n")


def test_a_cell_that_the_module_does_not_use_may_change(again: Path) -> None:
    write_notebook(again, PLAIN + "\n# %% code\nprint('a look at it')\n")

    done = promote(again, "--check")

    assert done.returncode == 0
    assert "although cells that it does not use changed since" in done.stdout


def change_notebook(folder: Path) -> None:
    write_notebook(folder, PLAIN.replace("STRENGTH = 0.5", "STRENGTH = 0.75"))


def changed_files(folder: Path) -> set[str]:
    """What git would say is new or not as it was committed."""
    done = subprocess.run(["git", "status", "-sz", "-uall"], cwd=folder, capture_output=True, check=True)
    return {each[3:] for each in done.stdout.decode().split("\0") if each}


def test_the_next_run_trains_and_judges_a_new_candidate_with_the_others(
    finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "a clone"
    shutil.copytree(finished, folder, symlinks=True)
    write_notebook(folder, PLAIN)
    known = changed_files(folder)
    promoted = promote(folder, NOTEBOOK, "--as", "plain")
    assert promoted.returncode == 0, promoted.stdout + promoted.stderr

    done = repro(folder)

    assert done.returncode == 0, done.stdout + done.stderr
    assert changed_files(folder) - known == {each.as_posix() for each in places_of("plain")}
    before, after = (files.read_json(each / paths.RELEASE_REPORT) for each in (finished, folder))
    others, judged = ({each["name"] for each in report["comparisons"]} for report in (before, after))
    assert judged == others | {"plain"}
    assert "train@plain" in yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def change_module(folder: Path) -> None:
    replace(folder / places_of("plain").module, "STRENGTH /", "2 * STRENGTH /")


def change_header(folder: Path) -> None:
    replace(folder / places_of("plain").module, "Promoted from", "Once promoted from")


def write_above_the_header(folder: Path) -> None:
    replace(folder / places_of("plain").module, '"""Candidate', '# Ours.\nABOUT = """Candidate')


def change_both(folder: Path) -> None:
    change_notebook(folder)
    change_module(folder)


def remove_notebook(folder: Path) -> None:
    (folder / NOTEBOOK).unlink()


def break_notebook(folder: Path) -> None:
    write_notebook(folder, PLAIN.replace("STRENGTH = 0.5", ""))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_notebook, "notebooks/trial.ipynb changed since (`STRENGTH`, cell 2). Run `takeoff promote"),
        (change_module, "was changed by hand since (`fit`, cell 4)"),
        (change_both, "both were changed since"),
        (change_header, "DIFFERS: src/takeoff/candidates/plain.py: its header was changed"),
        (write_above_the_header, "its header was changed"),
        (remove_notebook, "its notebook notebooks/trial.ipynb is gone"),
        (break_notebook, "its notebook can't be promoted any more"),
    ],
)
def test_the_check_says_which_of_the_two_changed(
    again: Path, change: Callable[[Path], None], words: str
) -> None:
    change(again)

    done = promote(again, "--check")

    assert done.returncode == 1
    assert words in " ".join(done.stdout.split())
    assert "1 of 1 promoted candidates differ from their notebook: plain" in done.stderr


def test_settings_may_be_tuned_where_they_are(again: Path) -> None:
    replace(again / PARAMS_FILE, "penalty: 2.0", "penalty: 7.5")
    before = tree(again)

    assert promote(again, "--check").returncode == 0
    assert promote(again, NOTEBOOK, "--as", "plain").returncode == 0
    assert tree(again) == before


def test_what_was_changed_by_hand_is_not_written_over_unasked(again: Path) -> None:
    change_both(again)
    before = tree(again)

    refused = promote(again, NOTEBOOK, "--as", "plain")

    assert refused.returncode == 1
    assert "was changed by hand since it was promoted" in refused.stderr
    assert tree(again) == before


def test_what_was_changed_by_hand_is_written_over_when_asked(again: Path) -> None:
    change_module(again)

    done = promote(again, NOTEBOOK, "--as", "plain", "--overwrite")

    assert done.returncode == 0, done.stderr
    assert promote(again, "--check").returncode == 0
