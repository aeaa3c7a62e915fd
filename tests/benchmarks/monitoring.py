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
from collections.abc import Sequence
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
from tests.benchmarks.report import (
    PROJECT,
    Line,
    at_least,
    at_most,
    made_by,
    misses,
    say,
    targets_table,
    write,
)
from tests.benchmarks.watched import Run, watched

WINDOW = "2013-W36"
CHALLENGER = "logistic"  # a candidate that answers in the champion's shadow
RETRAIN = 3  # exit code of a monitor that has done its work
GIB_A_MILLION = 0.8  # of disk, for the log

MOST_GIB = 1.5
LEAST_TIMES_EVIDENTLY = 5.0
MEMORY = "its peak memory, all processes together"
HELD_BACK = (
    "reading the log and loading libraries take most of it; drawing half as many rows for Evidently "
    "takes no less."
)
BUSY = 0.5  # load for each processor before anything starts, from which on the times are not ours alone


class Size(NamedTuple):
    """A window of so many rows, and the most seconds that it may take."""

    rows: int
    seconds: float


class Asked(NamedTuple):
    """How the benchmark was started.

    Attributes:
        small: without the larger of the two logs.
        windows: drawn for each false alarm and each miss.
        load: of the machine before, by processor.
    """

    small: bool
    windows: int
    load: float


SIZES = (Size(1_000_000, 20), Size(10_000_000, 150))


def main() -> None:
    """Run everything, write the report, print it."""
    asked = _arguments()
    contract, params = read_config()
    with tempfile.TemporaryDirectory(prefix="takeoff bench ") as temporary:
        project = _project(Path(temporary) / "project")
        runs: list[tuple[Size, Run | None]] = []
        tables = None
        for size in SIZES[: 1 if asked.small else None]:
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
        rates = replay_rate.measure(Path(temporary), contract)
    lines = [line for size, found in runs for line in _window_lines(size, found)]
    lines += left_out(SIZES[len(runs) :])
    lines += [_table_line(tables)] if tables else []
    lines += drift_rates.measure(asked.windows)
    lines += [replay_rate.line(rates)]
    write("monitoring.md", report(lines, asked, [*_about_tables(tables), replay_rate.note(rates)]))


def _arguments() -> Asked:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.monitoring", description=__doc__)
    parser.add_argument("--small", action="store_true", help="leave out the larger of the two logs")
    parser.add_argument(
        "--windows", type=int, default=drift_rates.WINDOWS, help="to draw for each false alarm and each miss"
    )
    given = parser.parse_args()
    return Asked(given.small, given.windows, os.getloadavg()[0] / (os.cpu_count() or 1))


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
    if found is None:
        return _unmeasured(size, "no room on the disk for such a log")
    return [
        at_most(_what(size), found.seconds, size.seconds, "s")._replace(held_back=HELD_BACK),
        at_most(MEMORY, found.peak_gib, MOST_GIB, "GiB"),
    ]


def left_out(sizes: Sequence[Size]) -> list[Line]:
    """Lines of windows that nobody wanted to be measured."""
    return [line for size in sizes for line in _unmeasured(size, "left out by --small")]


def _unmeasured(size: Size, why: str) -> list[Line]:
    return [
        Line(_what(size), f"at most {size.seconds:g} s", why, None),
        Line(MEMORY, f"at most {MOST_GIB:g} GiB", why, None),
    ]


def _what(size: Size) -> str:
    return f"a window of {size.rows:,} rows, everything"


def _table_line(tables: Tables) -> Line:
    ours = min(tables.ours)
    return at_least(
        f"full drift table of {tables.rows:,} rows, against Evidently's default drift preset",
        tables.evidently / ours,
        LEAST_TIMES_EVIDENTLY,
        "x faster",
        f" ({ours:.2f} against {tables.evidently:.2f} s)",
    )


def _about_tables(tables: Tables | None) -> list[str]:
    if tables is None:
        return []
    return [
        "Both drift tables start from rows in memory. Evidently compares with the reference's sample of "
        f"{tables.reference_rows:,} rows, which is quicker for it than all that were fitted on; ours "
        "with all of them, and it finds what noise alone reaches as well. Ours is the best of "
        f"{len(tables.ours)}."
    ]


def report(lines: Sequence[Line], asked: Asked, about: Sequence[str]) -> str:
    """The whole report as Markdown: nothing has to be added to it by hand.

    Args:
        lines: of the table.
        asked: how the benchmark was started; the notes say what it leaves open.
        about: more notes.
    """
    notes = [
        "Everything is: quality by the contract's rules, drift of every column on all rows, the classifier, "
        "live and estimated performance, the challenger on the same rows, Evidently's report of a sample in "
        "a process beside it, decision, page. The time is that of the whole command, from its start to its "
        "end; the log was written just before, so it is in the machine's file cache.",
        "Memory is what all processes of the command hold together, sampled; what they share counts for "
        "each.",
        *about,
        *_shortened(asked),
    ]
    return "\n".join(
        [
            "# The monitor against its limits",
            "",
            made_by("make bench-monitoring", lines),
            "",
            *targets_table(lines),
            "",
            *misses(lines),
            *(f"- {each}" for each in notes),
            "",
        ]
    )


def _shortened(asked: Asked) -> list[str]:
    """What a run that was made short, or beside other work, can't tell."""
    notes = []
    if asked.small:
        sizes = " and ".join(f"{size.rows:,}" for size in SIZES[1:])
        notes.append(f"Made with `--small`: the window of {sizes} rows was not measured.")
    if asked.windows < drift_rates.WINDOWS:
        notes.append(
            f"False alarms and misses are of {asked.windows} windows each (`--windows`), instead of "
            f"{drift_rates.WINDOWS}: too few to tell {drift_rates.MOST_RETRAIN:.0%} from "
            f"{drift_rates.MOST_WATCH:.0%}."
        )
    if asked.load > BUSY:
        notes.append(
            f"Other work was going on when it started (load {asked.load:.1f} for each processor), so times "
            "are too long rather than too short."
        )
    return notes


if __name__ == "__main__":
    run(main)
