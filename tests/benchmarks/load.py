"""The load generator: wrk, a number of connections, and real bodies in turn."""

import json
import math
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from takeoff.errors import TakeoffError

SCRIPT = Path(__file__).with_name("load.lua")
LONGEST_WAIT_SECONDS = 60  # for one answer, after which it counts as failed
ERRORS = {
    "status": "answers with an error status",
    "connect": "failed connections",
    "read": "connections that broke",
    "write": "requests that could not be sent",
    "timeout": f"answers that took over {LONGEST_WAIT_SECONDS} s",
}


class Sample(NamedTuple):
    """What one load gave.

    Attributes:
        rate: answers in a second.
        p50, p99: latency in ms.
        answers: how many there were.
        problem: why the figures mean nothing; empty where they do.
    """

    rate: float
    p50: float
    p99: float
    answers: int
    problem: str


class Figures(NamedTuple):
    """Medians of several samples of the same load, and the rate of each; see `Sample`."""

    rate: float
    p50: float
    p99: float
    rates: tuple[float, ...]
    problem: str


def check_installed() -> None:
    """Find wrk.

    Raises:
        TakeoffError: it is not installed.
    """
    if shutil.which("wrk") is None:
        raise TakeoffError("The load generator wrk is not installed. On Debian: apt-get install wrk.")


def load(url: str, bodies: Path, connections: int, seconds: float, answers: int = 0) -> Sample:
    """POST to a server for some time.

    Args:
        url: of the endpoint.
        bodies: file with a body a line, sent in turn.
        connections: open at once, each with one request under way.
        seconds: how long; wrk knows whole ones, so it is rounded up.
        answers: after how many to send no more; 0: no limit.
    """
    command = ["wrk", "--threads", "1", "--connections", str(connections)]
    command += ["--duration", f"{math.ceil(seconds)}s", "--timeout", f"{LONGEST_WAIT_SECONDS}s"]
    command += ["--script", str(SCRIPT), url, "--", str(bodies), str(answers)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise TakeoffError(f"wrk failed: {(result.stderr or result.stdout).strip().splitlines()[-1]}")
    return _sample(json.loads(result.stdout.strip().splitlines()[-1]))


def figures(samples: Sequence[Sample]) -> Figures:
    """Medians of samples; one that means nothing makes all of them mean nothing."""
    rates = tuple(each.rate for each in samples)
    p50, p99 = (statistics.median(each) for each in zip(*((s.p50, s.p99) for s in samples), strict=True))
    problems = [each.problem for each in samples if each.problem]
    return Figures(statistics.median(rates), p50, p99, rates, problems[0] if problems else "")


def _sample(said: dict[str, float]) -> Sample:
    problems = [f"{int(said[name]):,} {what}" for name, what in ERRORS.items() if said[name]]
    if not said["requests"]:
        problems.append("no answer at all")
    return Sample(
        rate=said["requests"] / said["seconds"],
        p50=said["p50_ms"],
        p99=said["p99_ms"],
        answers=int(said["requests"]),
        problem=", ".join(problems),
    )
