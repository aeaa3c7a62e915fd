"""What Prometheus is told. Counts of all workers of a service add up, also of those that have died."""

import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

import psutil

SHARED = "PROMETHEUS_MULTIPROC_DIR"  # where prometheus_client keeps what processes share
PREFIX = "takeoff-metrics-"


def _own_folder() -> None:
    """Give this service a folder of its own, before prometheus_client is imported.

    BentoML has one folder for all services of a store, and empties it whenever one of them starts. The
    parent of all workers names ours: its id and start, so that an id that comes again counts from 0.
    """
    if SHARED not in os.environ or "prometheus_client" in sys.modules:
        return  # no worker of a server, or too late
    parent = psutil.Process(os.getppid())
    folder = Path(tempfile.gettempdir()) / f"{PREFIX}{parent.pid}-{int(parent.create_time())}"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ[SHARED] = str(folder)
    for other in folder.parent.glob(f"{PREFIX}*-*"):
        if not psutil.pid_exists(int(other.name.removeprefix(PREFIX).split("-")[0])):
            shutil.rmtree(other, ignore_errors=True)


_own_folder()

from prometheus_client import Counter, Gauge, Histogram  # noqa: E402  # reads the folder when imported

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

REQUESTS = Counter("takeoff_requests_total", "Requests by endpoint and HTTP status.", ["endpoint", "status"])
LATENCY = Histogram(
    "takeoff_request_seconds",
    "From the first byte of the body to the answer, by endpoint.",
    ["endpoint"],
    buckets=SECONDS,
)
REFUSALS = Counter("takeoff_refusals_total", "Requests that were refused, by reason.", ["reason"])
IN_FLIGHT = Gauge("takeoff_in_flight", "Requests that are worked on.", multiprocess_mode="livesum")

PREDICTIONS = Counter("takeoff_predictions_total", "Rows that were answered, by decision.", ["decision"])
REVIEWS = Counter("takeoff_reviews_total", "Rows for which a human was asked for.")
UNSEEN = Counter("takeoff_unseen_values_total", "Values that training never saw, by column.", ["column"])
VALUES = Counter(
    "takeoff_values_total",
    "Rows that were answered, by column (the answer is one, too) and by bin of the reference.",
    ["column", "bin"],
)
REFERENCE_SHARE = Gauge(
    "takeoff_reference_share",
    "Share of each bin in the rows that the model was fitted on, half a row added to each.",
    ["column", "bin"],
    multiprocess_mode="livemax",
)
LABELS = Counter("takeoff_labels_total", "Labels that came in, by what became of them.", ["outcome"])
SHADOW = Counter("takeoff_shadow_total", "Rows for the challenger, by what became of them.", ["outcome"])

LOG_ROWS = Counter("takeoff_log_rows_total", "Rows written for good, by where they went first.", ["where"])
LOG_COMMIT = Histogram("takeoff_log_commit_seconds", "One commit of the log.", buckets=SECONDS)
LOG_DRAINED = Counter("takeoff_log_drained_rows_total", "Rows moved from the spool into the database.")
LOG_SPOOLING = Gauge(
    "takeoff_log_spooling",
    "1 while answers go to the spool instead of the database, or nowhere.",
    multiprocess_mode="livemax",
)
LOG_SPOOLED = Gauge(
    "takeoff_log_spooled_rows", "Rows that wait in the spool for the database.", multiprocess_mode="livesum"
)
MODEL = Gauge(
    "takeoff_model_info",
    "1 for the model that serves.",
    ["model_version", "candidate"],
    multiprocess_mode="livemax",
)


# Looking a label up costs more than counting.
decided = cache(PREDICTIONS.labels)
requested = cache(REQUESTS.labels)
timed = cache(LATENCY.labels)
binned = cache(VALUES.labels)


def forget_the_dead() -> None:
    """Drop the gauges of workers that were killed; what they counted stays."""
    folder = os.environ.get(SHARED)
    if folder is None:
        return
    for file in Path(folder).glob("gauge_live*_*.db"):
        if not psutil.pid_exists(int(file.stem.rpartition("_")[2])):
            file.unlink(missing_ok=True)
