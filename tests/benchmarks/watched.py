"""A command run to its end, with its time and the memory of all its processes."""

import subprocess
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.benchmarks.report import say

SAMPLE_SECONDS = 0.2  # each look takes some milliseconds


class Run(NamedTuple):
    """Wall time of a command, and the most memory that it and its children held at once."""

    seconds: float
    peak_gib: float


def watched(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], accepted: Collection[int] = (0,)
) -> Run:
    """Run a command to its end, watching the memory of its whole tree.

    Args:
        command: and its arguments.
        folder: in which it runs.
        environment: all of it.
        accepted: exit codes that are no failure.

    Raises:
        SystemExit: it failed; its output stands above.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    watch = _Watch(process.pid)
    code = process.wait()
    seconds = time.perf_counter() - started
    peak = watch.stop()
    if code not in accepted:
        raise SystemExit(f"{' '.join(command[1:])} failed with exit code {code}; nothing was written.")
    say(f"   {seconds:.1f} s, {peak:.2f} GiB")
    return Run(seconds, peak)


class _Watch(threading.Thread):
    """Samples the memory of a process and its descendants; what several of them share counts once."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak, self.ended = pid, 0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self.ended.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, _resident(self.pid))

    def stop(self) -> float:
        """End watching; the peak in GiB."""
        self.ended.set()
        self.join()
        return self.peak / 2**30


def _resident(pid: int) -> int:
    total = 0
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    for process in family:
        try:
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.rss)  # Linux alone tells what is shared
        except psutil.Error:  # it ended between the two calls
            continue
    return total
