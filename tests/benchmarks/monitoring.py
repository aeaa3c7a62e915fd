"""`make bench-monitoring`: the monitor against its limits, in one run on one machine.

Writes logs of a million and of ten million predictions, real rows that the released model really answered,
into a temporary folder, measures a window that holds all of them with everything on, and writes
reports/benchmarks/monitoring.md. A missed target is written beside its figure and does not stop it.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from monitoring.windows import window_of
from takeoff import files, model, paths
from takeoff.contract import CONTRACT_FILE, Contract
from takeoff.params import PARAMS_FILE, Params
from takeoff.registry import Registry, tracking_uri
from takeoff.stage import read_config, run
from tests.benchmarks import drift_rates, drift_table, large_log, replay_rate
from tests.benchmarks.drift_table import Tables
from tests.benchmarks.report import PROJECT, Line, at_least, at_most, made_by, say, targets_table, write
from tests.benchmarks.watched import Run, watched

WINDOW = "2013-W36"
CHALLENGER = "logistic"  # a candidate that answers in the champion's shadow
RETRAIN = 3  # exit code of a monitor that has done its work
GIB_A_MILLION = 0.8  # of disk, for the log

MOST_GIB = 1.5
LEAST_TIMES_EVIDENTLY = 5.0


class Size(NamedTuple):
    """A window of so many rows, and the most seconds that it may take."""

    rows: int
    seconds: float


SIZES = (Size(1_000_000, 20), Size(10_000_000, 150))


def main() -> None:
    """Run everything, write the report, print it."""
    given = _arguments()
    contract, params = read_config()
    with tempfile.TemporaryDirectory(prefix="takeoff bench ") as temporary:
        project = _project(Path(temporary) / "project")
        runs: list[tuple[Size, Run | None]] = []
        tables = None
        for size in SIZES[: 1 if given.small else None]:
            log = _log(Path(temporary) / "log.db", size, contract, params)
            if log is None:
                runs.append((size, None))
                continue
            say(f"measuring a window of {size.rows:,} rows")
            runs.append((size, _monitored(project, log)))
            if tables is None:
                say("the drift table, ours and Evidently's")
                tables = drift_table.compare(
                    f"sqlite:///{log}", contract, params.monitoring.drift, params.seed
                )
            log.unlink()
        replayed = replay_rate.line(Path(temporary), contract)
    lines = [line for size, found in runs for line in _window_lines(size, found)]
    lines += [_table_line(tables)] if tables else []
    lines += drift_rates.lines(drift_rates.load(), given.windows)
    lines += [replayed]
    write("monitoring.md", _report(lines, tables))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.monitoring", description=__doc__)
    parser.add_argument("--small", action="store_true", help="leave out the larger of the two logs")
    parser.add_argument(
        "--windows", type=int, default=drift_rates.WINDOWS, help="to draw for each false alarm and each miss"
    )
    return parser.parse_args()


def _project(folder: Path) -> Path:
    """What the monitor reads of this project, in a folder where its reports trouble nobody's."""
    for name in (CONTRACT_FILE, PARAMS_FILE):
        folder.mkdir(exist_ok=True)
        shutil.copy(name, folder)
    for part in (paths.MODELS, paths.REPORTS):
        shutil.copytree(part, folder / part)
    return folder


def _log(file: Path, size: Size, contract: Contract, params: Params) -> Path | None:
    """A log with so many predictions in the window; None where the disk has no room for it."""
    if shutil.disk_usage(file.parent).free < size.rows / 1e6 * GIB_A_MILLION * 2**30:
        say(f"no room for a log of {size.rows:,} rows")
        return None
    say(f"writing a log of {size.rows:,} rows")
    champion = Registry(contract.name).champion()
    number = int(champion.number) if champion else 1
    large_log.make(
        file,
        size.rows,
        window_of(WINDOW, contract).period,
        files.read_rows(paths.split_rows("fit")),
        (str(number), model.load(paths.RELEASED)),
        (str(number + 1), model.load(paths.CANDIDATES / CHALLENGER)),
        contract,
        params.seed,
    )
    return file


def _monitored(project: Path, log: Path) -> Run:
    shutil.rmtree(project / paths.MONITORING, ignore_errors=True)
    environment = os.environ | {
        "PYTHONPATH": str(PROJECT),
        "MLFLOW_TRACKING_URI": tracking_uri().replace("sqlite:///mlruns", f"sqlite:///{PROJECT}/mlruns"),
    }
    command = ["-m", "monitoring.monitor", "--log", f"sqlite:///{log}", "--window", WINDOW]
    return watched([sys.executable, *command], project, environment, accepted=(0, RETRAIN))


def _window_lines(size: Size, found: Run | None) -> list[Line]:
    what = f"a window of {size.rows:,} rows, everything"
    if found is None:
        return [Line(what, f"at most {size.seconds:g} s", "no room on the disk for such a log", None)]
    return [
        at_most(what, found.seconds, size.seconds, "s"),
        at_most("its peak memory, all processes together", found.peak_gib, MOST_GIB, "GiB"),
    ]


def _table_line(tables: Tables) -> Line:
    ours = min(tables.ours)
    return at_least(
        f"full drift table of {tables.rows:,} rows, against Evidently's default drift preset",
        tables.evidently / ours,
        LEAST_TIMES_EVIDENTLY,
        "x faster",
        f" ({ours:.2f} against {tables.evidently:.2f} s)",
    )


def _report(lines: list[Line], tables: Tables | None) -> str:
    notes = [
        "Everything is: quality by the contract's rules, drift of every column on all rows, the classifier, "
        "live and estimated performance, the challenger on the same rows, Evidently's report of a sample in "
        "a process beside it, decision, page. The time is that of the whole command, from its start to its "
        "end; the log was written just before, so it is in the machine's file cache.",
        "Memory is what all processes of the command hold together, sampled; what they share counts for "
        "each.",
    ]
    if tables:
        notes.append(
            "Both drift tables start from rows in memory. Evidently compares with the reference's sample of "
            f"{tables.reference_rows:,} rows, which is quicker for it than all that were fitted on; ours "
            "with all of them, and it finds what noise alone reaches as well. Ours is the best of "
            f"{len(tables.ours)}."
        )
    return "\n".join(
        [
            "# The monitor against its limits",
            "",
            made_by("make bench-monitoring", lines),
            "",
            *targets_table(lines),
            "",
            *(f"- {each}" for each in notes),
            "",
        ]
    )


if __name__ == "__main__":
    run(main)
