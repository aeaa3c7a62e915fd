"""`make bench-notebooks`: notebooks, their promotion and their check against their limits, on one machine.

Works in a copy of a project whose pipeline has run, so that nobody's candidates change, and writes
reports/benchmarks/notebooks.md. A missed target is written beside its figure and does not stop it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import nbformat

from takeoff import notebook_run, paths
from takeoff.errors import TakeoffError
from takeoff.stage import run
from tests.benchmarks.report import PROJECT, Line, at_most, made_by, say, targets_table, write
from tests.benchmarks.watched import watched
from tests.promotion.awkward_networks import late_network

OWN = ("1_explore", "2_prototype", "3_read_drift")
PROTOTYPE, NETWORK = "2_prototype", "awkward_network"  # one of scikit-learn, one of PyTorch
MADE = (paths.SPLIT, paths.PRODUCTION_ROWS.parent, paths.MODELS, paths.REPORTS, Path("mlruns"))
RUN = "import sys; from tests.benchmarks.notebooks import run_once; run_once(sys.argv[1])"

MOST_RUN_SECONDS = 120
MOST_PROMOTION_SECONDS = 90
MOST_CHECK_SECONDS = 5


class Timed(NamedTuple):
    """Seconds of a notebook's run alone, the quicker of two, and of the commands that run it once more.

    Attributes:
        check: by `takeoff pilot-check`, the quicker of two.
        promotion: by `takeoff promote`; None where it was not promoted.
    """

    alone: float
    check: float
    promotion: float | None


def main() -> None:
    """Run everything, write the report, print it."""
    source = _arguments().project.resolve()
    with tempfile.TemporaryDirectory(prefix="takeoff bench ") as temporary:
        project = Path(temporary) / "project"
        _copy(source, project)
        timed = {name: _timed(name, project) for name in (*OWN, NETWORK)}
    write("notebooks.md", _report(timed))


def run_once(notebook: str) -> None:
    """Run a notebook as promotion and check do, and nothing else."""
    path = Path(notebook)
    notebook_run.run(nbformat.read(path, as_version=4), path.parent, path.name)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.notebooks", description=__doc__)
    parser.add_argument(
        "--project", type=Path, default=PROJECT, help="whose pipeline has run; default: this one"
    )
    return parser.parse_args()


def _copy(source: Path, folder: Path) -> None:
    """The files that git knows, what the pipeline made of them, and a notebook with a network."""
    if missing := [each.as_posix() for each in MADE if not (source / each).exists()]:
        raise TakeoffError(f"{missing[0]} is missing in {source}: run `make run` there first.")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=source, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (source / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, folder / name)
    for each in MADE:
        shutil.copytree(source / each, folder / each, dirs_exist_ok=True)
    nbformat.write(late_network(), folder / "notebooks" / f"{NETWORK}.ipynb")


def _timed(name: str, project: Path) -> Timed:
    path = f"notebooks/{name}.ipynb"
    environment = _environment(project)
    takeoff = [sys.executable, "-m", "takeoff.cli"]

    def seconds(what: str, command: list[str]) -> float:
        say(f"{path}: {what}")
        return watched(command, project, environment).seconds

    alone = min(seconds("its run alone", [sys.executable, "-c", RUN, path]) for _ in range(2))
    check = min(seconds("pilot-check", [*takeoff, "pilot-check", path]) for _ in range(2))
    promotion = None
    if name in (PROTOTYPE, NETWORK):
        promotion = seconds(
            "promotion", [*takeoff, "promote", path, "--as", f"bench_{name.lstrip('0123456789_')}"]
        )
    return Timed(alone, check, promotion)


def _environment(project: Path) -> Mapping[str, str]:
    python = str(Path(sys.executable).parent)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(project / "src"), str(PROJECT)]),
        "PATH": os.pathsep.join([python, os.environ["PATH"]]),
    }
    environment.pop("MLFLOW_TRACKING_URI", None)  # trials belong into the copy
    return environment


def _report(timed: Mapping[str, Timed]) -> str:
    lines = [at_most(f"{name}: its run", timed[name].alone, MOST_RUN_SECONDS, "s") for name in OWN]
    lines += [
        _beyond(
            f"{name}: `takeoff promote` beyond its run", each.promotion, each.alone, MOST_PROMOTION_SECONDS
        )
        for name, each in timed.items()
        if each.promotion is not None
    ]
    lines += [
        _beyond(f"{name}: `takeoff pilot-check` beyond its run", each.check, each.alone, MOST_CHECK_SECONDS)
        for name, each in timed.items()
    ]
    notes = [
        "Each is a whole process, from its start to its end, on the real data. What a command takes beyond "
        "the notebook's own run is its time less that of a process that runs the notebook and does nothing "
        "else; runs and checks are the quicker of two.",
        "`awkward_network` is one of the notebooks in tests/promotion/ that were written to be awkward; its "
        "network is fitted on every twentieth row.",
    ]
    return "\n".join(
        [
            "# The notebooks against their limits",
            "",
            made_by("make bench-notebooks", lines),
            "",
            *targets_table(lines),
            "",
            *(f"- {each}" for each in notes),
            "",
        ]
    )


def _beyond(what: str, whole: float, alone: float, most: float) -> Line:
    return at_most(what, whole - alone, most, "s", f" ({whole:.1f} less {alone:.1f})")


if __name__ == "__main__":
    run(main)
