"""The challenger: it predicts what the champion has answered, for the log alone.

It runs in a thread of its own behind a bounded queue, so that neither its failure nor its slowness
reaches a caller: what it can't keep up with is dropped and counted.
"""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from serving import metrics, urgency
from serving.core import Core
from takeoff.log_store import ShadowEntry

MOST_WAITING = 20_000  # rows
MOST_AT_ONCE = 256  # rows in one prediction
CLOSE_SECONDS = 3.0  # for what waits when the service ends, and as much again for what is under way

Feed = Mapping[str, npt.NDArray[Any]]  # see `serving.requests.Asked`
Work = tuple[Feed, Sequence[str]]


class Shadow:
    """A challenger at work.

    Args:
        core: the challenger.
        record: takes what it said; must not wait.
    """

    def __init__(self, core: Core, record: Callable[[list[ShadowEntry]], None]) -> None:
        self.core, self.record = core, record
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._waiting = 0
        self._given_up = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def offer(self, feed: Feed, ids: Sequence[str]) -> None:
        """Rows that were answered, with their prediction ids; returns at once."""
        with self._lock:
            if self._waiting + len(ids) > MOST_WAITING:
                metrics.SHADOW.labels("dropped").inc(len(ids))
                return
            self._waiting += len(ids)
        self._queue.put((feed, ids))

    def close(self) -> None:
        """Finish what waits, if that is soon; the rest is dropped, so that the service can end."""
        self._queue.put(None)
        self._thread.join(CLOSE_SECONDS)
        self._given_up = True
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        urgency.lower(urgency.LEAST)  # the champion goes first
        while (work := self._queue.get()) is not None:
            feeds, ids = [work[0]], list(work[1])
            while len(ids) < MOST_AT_ONCE and not self._queue.empty():
                if (more := self._queue.get()) is None:
                    self._answer(feeds, ids)
                    return
                feeds.append(more[0])
                ids += more[1]
            self._answer(feeds, ids)

    def _answer(self, feeds: Sequence[Feed], ids: Sequence[str]) -> None:
        entries: list[ShadowEntry] = []
        if self._given_up:
            outcome = "dropped"
        else:
            try:
                feed = {name: np.concatenate([each[name] for each in feeds]) for name in feeds[0]}
                entries = self.core.shadow(feed, ids)
                outcome = "answered"
            except Exception as error:  # whatever it is, it stays here
                entries = [self.core.failed(id_, type(error).__name__) for id_ in ids]
                outcome = "failed"
        with self._lock:
            self._waiting -= len(ids)
        metrics.SHADOW.labels(outcome).inc(len(ids))
        if entries:
            self.record(entries)
