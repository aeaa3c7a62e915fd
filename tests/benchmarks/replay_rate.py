"""How fast production is played, against what the service answers, in one run."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from monitoring.replay import TICK_SECONDS
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
ROWS = 2_000  # of the test split, sent again and again


class Rates(NamedTuple):
    """Rows a second of a replay, and of the service by itself.

    Attributes:
        rows: that were played.
        replay: with their labels.
        single: of the service, one row a request, over several connections.
        batch: of the service, requests as a replay sends them: one after another, each an hour's rows.
        batch_rows: rows of such a request, on average.
    """

    rows: int
    replay: float
    single: float
    batch: float
    batch_rows: float


def measure(work: Path, contract: Contract) -> Rates:
    """Play all of production through the service of the champion's Bento.

    Args:
        work: folder for the service's log.
        contract: what a row is.

    Raises:
        TakeoffError: wrk is missing, or something did not start.
    """
    check_installed()
    played = files.read_rows(PROJECT / paths.PRODUCTION_ROWS)
    size = rows_of_a_request(played, contract)
    test = files.read_rows(PROJECT / paths.split_rows("test"))
    sent = rows.as_sent(rows.spread(test, ROWS), contract)
    single = rows.write(contestants.bodies(OURS, sent, contract), work / "bodies")
    requests = rows.batches(sent, size)
    batches = rows.write(requests, work / "batches")
    with contestants.started(OURS, contestants.ours(work), work) as server:
        say("the service's own rates")
        load(f"{server.address}/predict", single, CONNECTIONS, SECONDS)
        before = load(f"{server.address}/predict", single, CONNECTIONS, SECONDS)
        batch = load(f"{server.address}/predict_batch", batches, 1, SECONDS)
        say("playing production")
        started = time.monotonic()
        _play(server.address, work)
        rate = len(played) / (time.monotonic() - started)
        after = load(f"{server.address}/predict", single, CONNECTIONS, SECONDS)
    of_a_request = len(sent) / len(requests)
    return Rates(
        rows=len(played),
        replay=rate,
        single=(before.rate + after.rate) / 2,  # the host drifts
        batch=batch.rate * of_a_request,
        batch_rows=of_a_request,
    )


def rows_of_a_request(played: pd.DataFrame, contract: Contract) -> int:
    """Rows that a replay at full speed sends at once, on average: those of a tick that has any."""
    ticks = played[contract.time.column].dt.floor(f"{TICK_SECONDS:.0f}s")
    return max(round(len(played) / ticks.nunique()), 1)


def line(found: Rates) -> Line:
    """The target: against the rate of the service's benchmark, which is of single rows."""
    return at_least(
        f"replay of production ({found.rows:,} rows and their labels), rows/s against one row at a time",
        found.replay / found.single,
        LEAST_SHARE,
        "x",
        f" ({found.replay:,.0f} / {found.single:,.0f})",
    )


def note(found: Rates) -> str:
    """What the target does not say: how near a replay comes to requests of its own kind."""
    return (
        f"A replay sends the rows of an hour in one request, one request after another. Of such requests, of "
        f"{found.batch_rows:.0f} rows and without labels between them, the service alone answers "
        f"{found.batch:,.0f} rows/s; the replay reaches {found.replay / found.batch:.2f} x that. Beside it "
        f"the service is told the labels, and the replay writes down what it has done."
    )


def _play(address: str, work: Path) -> None:
    command = [sys.executable, "-m", "monitoring.replay", "--url", address]
    command += ["--journal", str(work / "replay.jsonl"), "--log", f"sqlite:///{work}/one/log.db"]
    done = subprocess.run(command, cwd=PROJECT, env=os.environ, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TakeoffError(f"The replay failed: {done.stderr.strip().splitlines()[-1]}")
