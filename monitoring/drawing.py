"""Evidently's reports, drawn in a process of their own beside the measuring: it takes seconds to start.

`python -m monitoring.drawing` reads one job a line from its standard input, and answers each with a line.
"""

import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType

import pandas as pd

from takeoff import files, paths
from takeoff.errors import TakeoffError
from takeoff.loading import loading

COMMAND = (sys.executable, "-m", "monitoring.drawing")
PATIENCE_SECONDS = 600.0  # without an answer: a report takes seconds, on a busy machine a minute
POLL_SECONDS = 1.0
ENDED = "the process that draws has ended before"
HUNG = "the process that draws did not answer for {:,.0f} s and was ended; the next run tries it again"
UNEXPECTED = "Evidently failed with {}; `python -m monitoring.monitor --window {}` tries it again"


class Drawer:
    """Draws what it is given while its owner goes on. To be used as a context.

    Neither waits for the other, however much there is to draw: jobs are written by a thread, and answers go
    to a file.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._asked: dict[str, Path] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="drawing")

    def __enter__(self) -> "Drawer":
        self._folder = tempfile.TemporaryDirectory(prefix="takeoff-monitor-")
        self._answers = Path(self._folder.name) / "answers"
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if self._process:
            if kind or not self._asked:  # nobody waits for what it loads
                self._process.kill()
            self._writer.submit(self._end_jobs)
            self._process.wait()
        self._writer.shutdown()
        for page in self._asked.values():
            with suppress(OSError):
                files.neighbour(page).unlink()
        self._folder.cleanup()

    def start(self) -> None:
        """Let the process load Evidently while its first window is still being measured."""
        if self._process is None:
            with self._answers.open("wb") as answers:
                self._process = subprocess.Popen(
                    COMMAND,
                    stdin=subprocess.PIPE,
                    stdout=answers,
                    stderr=subprocess.DEVNULL,  # warnings of a library that nobody can act on
                    text=True,
                )

    def draw(self, name: str, end: datetime, rows: pd.DataFrame, threshold: float, page: Path) -> None:
        """Ask for the report of a window.

        Args:
            name: of the window.
            end: of it.
            rows: a sample; see `monitoring.evidently_report.draw`.
            threshold: of the model that is judged.
            page: where it will stand. It is written beside that, for the caller to put it there; see `pages`.

        Raises:
            TakeoffError: the disk is full.
        """
        file = Path(self._folder.name) / f"{name}.parquet"
        files.write_rows(file, rows)
        job = {
            "name": name,
            "end": end.isoformat(),
            "rows": str(file),
            "threshold": threshold,
            "page": str(files.neighbour(page)),
        }
        self._asked[name] = page
        self.start()
        self._writer.submit(self._write, json.dumps(job) + "\n")

    def finish(self) -> list[str]:
        """Wait for all reports, but not for one that never comes.

        Returns:
            What went wrong, a line for each window that has no new report.
        """
        if self._process is None or not self._asked:
            return []
        self._writer.submit(self._end_jobs)
        why_not = ENDED if self._has_ended(self._process) else HUNG.format(PATIENCE_SECONDS)
        problems = dict.fromkeys(self._asked, why_not)
        for line in self._answers.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):  # else it was cut off
                answer = json.loads(line)
                problems[answer["name"]] = answer["problem"]
        return [f"No Evidently report of {name}: {why}" for name, why in problems.items() if why]

    def pages(self) -> list[Path]:
        """Reports that have been drawn, each of which waits beside its place until the context ends."""
        return [page for page in self._asked.values() if files.neighbour(page).is_file()]

    def _has_ended(self, process: "subprocess.Popen[str]") -> bool:
        """Whether it came to an end by itself; one that answers no more is killed."""
        size, since = 0, time.monotonic()
        while True:
            with suppress(subprocess.TimeoutExpired):
                process.wait(min(POLL_SECONDS, PATIENCE_SECONDS))
                return True
            if (grown := self._answers.stat().st_size) > size:
                size, since = grown, time.monotonic()
            elif time.monotonic() - since > PATIENCE_SECONDS:
                process.kill()
                process.wait()
                return False

    def _write(self, line: str) -> None:
        assert self._process is not None and self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended; `finish` says which windows have no report
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def _end_jobs(self) -> None:
        assert self._process is not None and self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()


def main() -> None:
    """Draw until there are no more jobs."""
    with loading():
        from monitoring.evidently_report import draw
    from takeoff.contract import read_contract
    from takeoff.reference import SAMPLE_FILE
    from takeoff.stage import HERE

    contract = read_contract(HERE)
    reference = files.read_rows(paths.REFERENCE / SAMPLE_FILE)
    for line in sys.stdin:
        job = json.loads(line)
        name, page = job["name"], Path(job["page"])
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
