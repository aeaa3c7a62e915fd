"""Servers as processes: started, waited for, watched and stopped."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from serving.settings import PREFIX
from takeoff.errors import TakeoffError
from tests.benchmarks.report import PROJECT

HOST = "127.0.0.1"
POLL_SECONDS = 0.01
LONGEST_START_SECONDS = 300  # one of them fits a model first
LONGEST_STOP_SECONDS = 30
QUIET_SECONDS = 0.25
QUIET_SHARE = 0.05  # of one core
LONGEST_UNREST_SECONDS = 90


class Server(NamedTuple):
    """A running server.

    Attributes:
        address: without a path.
        process: the one that was started.
        seconds: from the start of the process to the first sign that it answers.
    """

    address: str
    process: psutil.Process
    seconds: float


@contextmanager
def running(
    command: Sequence[str],
    port: int,
    health: str,
    environment: Mapping[str, str],
    output: Path,
    becomes: str = "",
) -> Iterator[Server]:
    """A server until the block ends.

    Args:
        command: run with this Python, in the project folder.
        port: it listens on.
        health: path that answers 200 once it is ready.
        environment: variables beside those of this process.
        output: file that takes what it prints.
        becomes: a word of the command line of the program that replaces the started one; the clock
            then starts with that program.

    Raises:
        TakeoffError: it ended or did not get ready; the message has the end of its output.
    """
    with output.open("wb") as file:
        process = psutil.Popen(
            [sys.executable, *command],
            cwd=PROJECT,
            env={**_inherited(), **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # an interrupt reaches this process alone, which then stops the others
        )
    try:
        started = _wait(lambda: becomes in " ".join(process.cmdline()), process, output)
        ready = _wait(lambda: _answers(f"http://{HOST}:{port}{health}"), process, output)
        yield Server(f"http://{HOST}:{port}", process, ready - started)
    finally:
        _stop(process)


def settle(server: Server) -> None:
    """Wait until a server has nothing left to do: requests that were cut off may still be worked on.

    Raises:
        TakeoffError: it never rests.
    """
    end = time.monotonic() + LONGEST_UNREST_SECONDS
    while time.monotonic() < end:
        if busy_share([server], QUIET_SECONDS) < QUIET_SHARE:
            return
    raise TakeoffError(f"{server.address} is still busy {LONGEST_UNREST_SECONDS} s after its last request.")


def busy_share(servers: Sequence[Server], seconds: float) -> float:
    """CPU that servers use over some time, as a share of one core."""
    before, started = sum(map(_cpu_seconds, servers)), time.monotonic()
    time.sleep(seconds)
    return (sum(map(_cpu_seconds, servers)) - before) / (time.monotonic() - started)


def quiet_shares(servers: Sequence[Server], seconds: float) -> tuple[float, float]:
    """CPU that servers, and that all other processes, use over some time; as shares of one core."""
    before, started = _machine_seconds(), time.monotonic()
    own = busy_share(servers, seconds)
    everything = (_machine_seconds() - before) / (time.monotonic() - started)
    return own, max(0.0, everything - own)


def watch_stolen() -> Callable[[], float]:
    """What tells the share of all cores that a virtual machine's host has taken since this call."""
    before = psutil.cpu_times()

    def stolen() -> float:
        now = psutil.cpu_times()
        # Guests' time is counted in user's already; only Linux knows of stolen time.
        spent = sum(now) - sum(before) - (getattr(now, "guest", 0.0) - getattr(before, "guest", 0.0))
        return float((getattr(now, "steal", 0.0) - getattr(before, "steal", 0.0)) / spent)

    return stolen


def worker_mib(server: Server) -> float:
    """Resident memory in MiB of the largest process below the one that was started: the worker."""
    return max(float(each.memory_info().rss) for each in server.process.children(recursive=True)) / 2**20


def _inherited() -> dict[str, str]:
    """This process's variables without settings of the service, and with this Python's folder on PATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return kept | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


def _wait(condition: Callable[[], bool], process: psutil.Popen, output: Path) -> float:
    end = time.monotonic() + LONGEST_START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        if condition():
            return time.perf_counter()
        time.sleep(POLL_SECONDS)
    lines = output.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
    raise TakeoffError("\n".join([f"This server did not start: {' '.join(process.args)}", *lines]))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _cpu_seconds(server: Server) -> float:
    total = 0.0
    for each in _family(server.process):
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system
    return total


def _machine_seconds() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "irq", 0.0) + getattr(times, "softirq", 0.0))


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _stop(process: psutil.Popen) -> None:
    family = _family(process)
    with suppress(psutil.NoSuchProcess):
        process.terminate()
    _, alive = psutil.wait_procs(family, LONGEST_STOP_SECONDS)
    for each in alive:  # some leave their workers behind
        with suppress(psutil.NoSuchProcess):
            each.kill()
