"""What several journeys start from."""

from pathlib import Path

import pytest

from takeoff.params import PARAMS_FILE
from tests.small_package import Packed, packing
from tests.whole_project import change, copy_project, git, repro, shrink_to_a_quarter


@pytest.fixture(scope="session")
def boosted(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """A packed project whose champion is the boosted candidate; not to be changed."""
    with packing(tmp_path_factory.mktemp("boosted"), "boosted") as packed:
        return packed


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in a path with a space, whose pipeline has run once; tests leave it as it was."""
    folder = tmp_path_factory.mktemp("a new clone")
    copy_project(folder)
    change(folder / PARAMS_FILE, shrink_to_a_quarter)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "A clone")
    done = repro(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
