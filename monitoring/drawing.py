"""Evidently's reports, drawn in a process of their own beside the measuring: it takes seconds to start.

`python -m monitoring.drawing` reads one job a line from its standard input, and answers each with a line.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd

from takeoff import files, paths
from takeoff.errors import TakeoffError

UNEXPECTED = "Evidently failed with {}; `python -m monitoring.monitor --window {}` tries it again"


class Drawer:
    """Draws what it is given while its owner goes on. To be used as a context."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._process: subprocess.Popen[str] | None = None
        self._asked: list[str] = []

    def __enter__(self) -> "Drawer":
        self._folder = tempfile.TemporaryDirectory(prefix="takeoff-monitor-")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if self._process:
            if kind:
                self._process.kill()
            self._process.communicate()
        self._folder.cleanup()

    def start(self) -> None:
        """Let the process load Evidently while its first window is still being measured."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "monitoring.drawing"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # warnings of a library that nobody can act on
                text=True,
            )

    def draw(self, window: Mapping[str, Any], rows: pd.DataFrame) -> None:
        """Ask for the report of a window.

        Args:
            window: the part `window` of its JSON.
            rows: a sample; see `monitoring.evidently_report.draw`.

        Raises:
            TakeoffError: the disk is full.
        """
        file = Path(self._folder.name) / f"{window['name']}.parquet"
        files.write_rows(file, rows)
        job = {"name": window["name"], "end": window["end"], "rows": str(file), "threshold": self._threshold}
        self._asked.append(window["name"])
        self.start()
        assert self._process is not None
        stream = self._process.stdin
        assert stream is not None
        with suppress(BrokenPipeError):  # it has ended; `finish` says which windows have no report
            stream.write(json.dumps(job) + "\n")
            stream.flush()

    def finish(self) -> list[str]:
        """Wait for all reports.

        Returns:
            What went wrong, a line for each window that has no new report.
        """
        if self._process is None:
            return []
        said, _ = self._process.communicate()
        problems = dict.fromkeys(self._asked, "the process that draws has ended before")
        for line in said.splitlines():
            answer = json.loads(line)
            problems[answer["name"]] = answer["problem"]
        return [f"No Evidently report of {name}: {why}" for name, why in problems.items() if why]


def main() -> None:
    """Draw until there are no more jobs."""
    from monitoring.evidently_report import draw
    from takeoff.contract import read_contract
    from takeoff.reference import SAMPLE_FILE
    from takeoff.stage import HERE

    contract = read_contract(HERE)
    reference = files.read_rows(paths.REFERENCE / SAMPLE_FILE)
    for line in sys.stdin:
        job = json.loads(line)
        name, page = job["name"], paths.WINDOWS / f"{job['name']}.html"
        end = datetime.fromisoformat(job["end"])
        problem = None
        try:
            with redirect_stdout(sys.stderr):  # the answers alone go to the output
                rows = files.read_rows(Path(job["rows"]))
                draw(reference, rows, contract, job["threshold"], page, paths.WORKSPACE, name, end)
        except TakeoffError as error:
            problem = str(error)
        except Exception as error:  # of a library that is given whatever production holds
            problem = UNEXPECTED.format(type(error).__name__, name)
        print(json.dumps({"name": name, "problem": problem}), flush=True)


if __name__ == "__main__":
    main()
