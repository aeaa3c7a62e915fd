"""How fast production is played, against what the service answers one row at a time, in one run."""

import os
import subprocess
import sys
import time
from pathlib import Path

from takeoff import files, paths
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from tests.benchmarks import contestants, rows
from tests.benchmarks.contestants import OURS
from tests.benchmarks.load import check_installed, load
from tests.benchmarks.report import PROJECT, Line, at_least, say

LEAST_SHARE = 0.9
CONNECTIONS = 16
SECONDS = 5.0
SINGLE_ROWS = 2_000


def line(work: Path, contract: Contract) -> Line:
    """Play all of production through the service of the champion's Bento.

    Args:
        work: folder for the service's log.
        contract: what a row is.

    Raises:
        TakeoffError: wrk is missing, or something did not start.
    """
    check_installed()
    test = files.read_rows(PROJECT / paths.split_rows("test"))
    sent = rows.as_sent(rows.spread(test, SINGLE_ROWS), contract)
    bodies = rows.write(contestants.bodies(OURS, sent, contract), work / "bodies")
    with contestants.started(OURS, contestants.ours(work), work) as server:
        say("the service's own rate")
        load(f"{server.address}/predict", bodies, CONNECTIONS, SECONDS)
        before = load(f"{server.address}/predict", bodies, CONNECTIONS, SECONDS)
        say("playing production")
        played = files.read_rows(PROJECT / paths.PRODUCTION_ROWS)
        started = time.monotonic()
        _play(server.address, work)
        rate = len(played) / (time.monotonic() - started)
        after = load(f"{server.address}/predict", bodies, CONNECTIONS, SECONDS)
    single = (before.rate + after.rate) / 2  # the host drifts
    return at_least(
        f"replay of production ({len(played):,} rows and their labels), rows/s against one row at a time",
        rate / single,
        LEAST_SHARE,
        "x",
        f" ({rate:,.0f} / {single:,.0f})",
    )


def _play(address: str, work: Path) -> None:
    command = [sys.executable, "-m", "monitoring.replay", "--url", address]
    command += ["--journal", str(work / "replay.jsonl"), "--log", f"sqlite:///{work}/one/log.db"]
    done = subprocess.run(command, cwd=PROJECT, env=os.environ, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TakeoffError(f"The replay failed: {done.stderr.strip().splitlines()[-1]}")
