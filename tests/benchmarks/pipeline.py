"""`make bench`: the pipeline against its limits, in one run on one machine.

Works in a fresh clone of the last commit in a temporary folder, so that nothing made earlier helps, and
writes reports/benchmarks/pipeline.md. A missed target is written beside its figure and does not stop it.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from takeoff import paths
from tests.benchmarks.report import PROJECT, Line, at_most, made_by, say, targets_table, write
from tests.benchmarks.watched import Run, watched

REPRO = [sys.executable, "-m", "dvc", "repro"]
BARE = [sys.executable, "-m", "tests.benchmarks.bare"]

MOST_SECONDS = 300
MOST_GIB = 4.0
MOST_TIMES_BARE = 1.5
MOST_NOTHING_SECONDS = 3.0
LEAST_ROC_AUC = 0.74
MOST_CALIBRATION_ERROR = 0.03
MOST_ONE_ROW_US = 100


def main() -> None:
    """Run everything, write the report, print it."""
    with tempfile.TemporaryDirectory(prefix="takeoff bench ") as temporary:
        clone = Path(temporary) / "project"
        subprocess.run(["git", "clone", "-q", str(PROJECT), str(clone)], check=True)
        lines, stages = _measure(clone)
    write("pipeline.md", _report(lines, stages))


def _measure(clone: Path) -> tuple[list[Line], dict[str, float]]:
    say("1 of 5: the bare script")
    bare = [_run(BARE, clone)]
    say("2 of 5: the whole pipeline, from nothing")
    first = _run(REPRO, clone)
    lock = (clone / "dvc.lock").read_text(encoding="utf-8")
    say("3 of 5: the bare script again")
    bare.append(_run(BARE, clone))
    say("4 of 5: the whole pipeline again, forced")
    forced = _run([*REPRO, "--force"], clone)
    same = (clone / "dvc.lock").read_text(encoding="utf-8") == lock
    say("5 of 5: the pipeline with nothing to do, three times")
    nothing = sorted(_run(REPRO, clone).seconds for _ in range(3))[1]

    release = json.loads((clone / paths.RELEASE_REPORT).read_text(encoding="utf-8"))
    winner = release["winner"]
    timing = json.loads((clone / paths.TIMING_REPORT).read_text(encoding="utf-8"))[winner]
    auc, error = (release["metrics"][name] for name in ("roc_auc", "calibration_error"))
    ratio = min(first.seconds, forced.seconds) / min(each.seconds for each in bare)
    peak = max(first.peak_gib, forced.peak_gib)
    lines = [
        at_most("the whole pipeline, from nothing", first.seconds, MOST_SECONDS, "s"),
        at_most("its peak memory, all processes together", peak, MOST_GIB, "GiB"),
        at_most("its time against the bare script's (best of two each)", ratio, MOST_TIMES_BARE, "x"),
        at_most("`dvc repro` with nothing changed (median of three)", nothing, MOST_NOTHING_SECONDS, "s"),
        Line("`dvc.lock` after `dvc repro --force`", "unchanged", "unchanged" if same else "changed", same),
        Line(
            f"winner ({winner}), test split: ROC AUC",
            f"at least {LEAST_ROC_AUC}",
            f"{auc['value']:.4f} [{auc['low']:.4f}, {auc['high']:.4f}]",
            auc["value"] >= LEAST_ROC_AUC,
        ),
        Line(
            f"winner ({winner}), test split: expected calibration error",
            f"at most {MOST_CALIBRATION_ERROR}",
            f"{error['value']:.4f} [{error['low']:.4f}, {error['high']:.4f}]",
            error["value"] <= MOST_CALIBRATION_ERROR,
        ),
        at_most("one row through the winner's ONNX (median)", timing["one_row_us"], MOST_ONE_ROW_US, "us"),
    ]
    seconds = {"bare script": min(each.seconds for each in bare), "pipeline, forced": forced.seconds}
    return lines, seconds


def _run(command: list[str], folder: Path) -> Run:
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "PATH": _path_with_python()}
    environment.pop("MLFLOW_TRACKING_URI", None)
    return watched(command, folder, environment)


def _path_with_python() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def _report(lines: list[Line], seconds: dict[str, float]) -> str:
    return "\n".join(
        [
            "# The pipeline against its limits",
            "",
            made_by("make bench", lines),
            "",
            *targets_table(lines),
            "",
            "Seconds in the same run: "
            + ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
            + ".",
            "",
        ]
    )


if __name__ == "__main__":
    main()
