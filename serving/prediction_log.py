"""The prediction log of a worker: an answer may be given once its row is safe on a disk.

One thread writes. It commits all rows that wait in one transaction, and whatever comes meanwhile makes the
next one: the busier, the larger, without a fixed window. When the database is away the same rows go to the
spool instead; another thread, with a connection of its own, waits for the database and drains the spool.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from math import inf
from queue import Empty, SimpleQueue
from typing import Any

from serving.log_state import NOBODY, LogState, LogUnavailable, Observer, Retention
from serving.log_work import FeedbackResult, Work, fail, merged, succeed
from serving.refused import RefusedCounts
from serving.spool import Group, Spool, SpoolUnavailable, drain
from takeoff.errors import TakeoffError
from takeoff.log_store import Entry, Label, ShadowEntry, Store, StoreUnavailable

MOST_ROWS_AT_ONCE = 20_000  # in one transaction; a little more where a large batch comes last
MOST_SHADOWS = 20_000  # rows of a challenger that may wait; more are dropped
SHADOWS_AT_ONCE = 256  # so many wait for each other, since nobody waits for them
PROBE_SECONDS = 1.0  # from one look at the spool to the next, while the database is away and nobody asks
IDLE_SECONDS = 0.25  # how long rows of a challenger wait at most, and retention between two looks

RETENTION_SECONDS = 60.0  # from one look at the log's bounds to the next
RETENTION_ROWS = 500  # removed at once: answers wait for so long
RETENTION_PAUSE_SECONDS = 0.02  # between two removals

REFUSED_SECONDS = 2.0  # from one writing of what was refused to the next

FIRST_RETRY_SECONDS = 0.25  # after the database was lost
LONGEST_RETRY_SECONDS = 5.0
STEADY_SECONDS = 30.0  # a database that is lost sooner after its return gets longer to recover

_LOGGER = logging.getLogger(__name__)


class PredictionLog:
    """Group commit with a spool behind it. `submit` and `feedback` are called on one event loop.

    Args:
        open_store: connects to the database; called in several threads, each using its own store.
        spool: where rows go while the database is away; closed with the log.
        retention: what stays in the log.
        observer: who wants to know.

    Raises:
        TakeoffError: the log was made by a newer version, or its address is none. A database that is
            away is no reason not to start.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        spool: Spool,
        retention: Retention,
        observer: Observer = NOBODY,
    ) -> None:
        self._open_store, self._spool = open_store, spool
        self._retention, self._observer = retention, observer
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._shadows: list[ShadowEntry] = []
        self._refused = RefusedCounts()
        self._closed = False

        self._lock = threading.Lock()  # for what the threads tell each other: these, and the shadows
        self._store: Store | None = None  # the writer's
        self._fresh: Store | None = None  # that the drainer has opened for the writer
        self._since: float | None = None
        self._failure: str | None = None
        self._full: str | None = None  # why the spool could not hold a row when that was last tried
        self._back = -inf  # unix seconds at which the database was last there again
        try:
            self._store = open_store()
        except StoreUnavailable as error:
            self._since, self._failure = time.time(), str(error)

        self._tidied = -inf  # when the writer last looked at the bounds
        self._told = -inf  # and last wrote what was refused
        self._probed = -inf  # and last tried the spool
        self._drain = threading.Event()  # there may be something in the spool
        self._drain.set()  # of processes that have ended
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, name="prediction-log", daemon=True),
            threading.Thread(target=self._recover, name="prediction-log-drain", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, entries: Sequence[Entry]) -> asyncio.Future[None]:
        """Keep predictions, all or none.

        Returns:
            A future that ends when the rows are safe, or with LogUnavailable.

        Raises:
            LogUnavailable: the log is closed.
        """
        return self._put(Group(entries=list(entries)))

    def feedback(self, labels: Sequence[Label]) -> asyncio.Future[FeedbackResult]:
        """Keep labels, all or none; see `submit`. One of an unknown prediction is kept too: it may come."""
        return self._put(Group(labels=list(labels)))

    def record_shadow(self, entries: Sequence[ShadowEntry]) -> None:
        """Keep what a challenger said, some time, unless too much waits. From any thread; never waits."""
        with self._lock:
            full = self._closed or len(self._shadows) + len(entries) > MOST_SHADOWS
            if not full:
                self._shadows.extend(entries)
        if full:
            self._observer.shadow_dropped(len(entries))

    def refused(self, reason: str, times: Sequence[float | None] = (None,)) -> None:
        """Count what was refused; written some seconds later. From any thread; never waits.

        While the database is away it is counted on, and kept by no spool: a process that ends then takes
        its counts with it.

        Args:
            reason: of one request, or of rows.
            times: of rows, for each its own time in unix seconds, None where it has none.
        """
        self._refused.count(reason, times)

    def state(self) -> LogState:
        """Where answers go now."""
        rows = self._spool.rows
        with self._lock:
            if self._since is None:
                return LogState("database", rows, None, None)
            if self._full is None:
                return LogState("spool", rows, self._since, self._failure)
            return LogState("nowhere", rows, self._since, f"{self._failure} {self._full}")

    def close(self) -> None:
        """Write what waits, then end. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._queue.put(None)
        self._threads[0].join()
        self._closing.set()
        self._drain.set()
        self._threads[1].join()
        for store in (self._store, self._fresh):
            if store is not None:
                store.close()
        self._spool.close()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise LogUnavailable("The prediction log is closed: the service is stopping.")
        return asyncio.get_running_loop()

    def _put(self, group: Group) -> asyncio.Future[Any]:
        loop = self._running_loop()
        future = loop.create_future()
        self._queue.put(Work(group, loop, future))
        return future

    # The writer

    def _write(self) -> None:
        is_open = True
        while is_open:
            works, is_open = self._waiting(self._idle_seconds())
            if shadows := self._waiting_shadows(all_of_them=not works or not is_open):
                works.append(Work(Group(shadows=shadows)))
            self._take_fresh()
            try:
                if works:
                    self._keep(works)
                self._tell_refused(at_once=not is_open)
                if is_open:
                    self._tidy()
                if not works:
                    self._look_around()
            except Exception as error:  # a mistake, but whoever waits must hear of it, and others be served
                _LOGGER.exception("The prediction log failed")
                fail(works, error)

    def _waiting(self, seconds: float, rows: int = 0) -> tuple[list[Work], bool]:
        """All that waits, if need be after a while, and whether there will be more.

        Args:
            seconds: to wait, if nothing does.
            rows: that go into the same transaction already.
        """
        works: list[Work] = []
        try:
            work = self._queue.get(seconds > 0, seconds)
            while work is not None:
                works.append(work)
                rows += work.group.rows
                if rows >= MOST_ROWS_AT_ONCE:
                    return works, True
                work = self._queue.get_nowait()
        except Empty:
            return works, True
        return works, False

    def _idle_seconds(self) -> float:
        until_tidy = self._tidied + RETENTION_SECONDS - time.monotonic()
        return min(IDLE_SECONDS, max(until_tidy, RETENTION_PAUSE_SECONDS))

    def _waiting_shadows(self, all_of_them: bool) -> list[ShadowEntry]:
        with self._lock:
            if len(self._shadows) < SHADOWS_AT_ONCE and not all_of_them:
                return []
            shadows, self._shadows = self._shadows, []
            return shadows

    def _take_fresh(self) -> None:
        with self._lock:
            if self._fresh is not None:
                self._store, self._fresh = self._fresh, None

    def _keep(self, works: list[Work], alone: bool = False) -> None:
        """Into the database, or else into the spool; then let go who waits.

        Args:
            works: gets what comes while other processes write, too.
            alone: unless it is this.
        """
        if self._store is not None:
            started = time.perf_counter()
            try:
                with self._store.turn():
                    if not alone:
                        works += self._come_meanwhile(works)
                    group = merged(works)
                    labelled = self._store.insert(*group)
            except StoreUnavailable as error:
                self._lose(error)
            except Exception as error:  # a row that the database refuses must not take others with it
                if len(works) == 1:
                    fail(works, error)
                else:
                    for each in works:
                        self._keep([each], alone=True)
                return
            else:
                self._observer.committed(group.rows, time.perf_counter() - started)
                succeed(works, labelled)
                return
        self._keep_in_spool(works)

    def _come_meanwhile(self, works: Sequence[Work]) -> list[Work]:
        more, is_open = self._waiting(0, sum(work.group.rows for work in works))
        if not is_open:
            self._queue.put(None)  # for `_write`
        return more

    def _keep_in_spool(self, works: Sequence[Work]) -> None:
        group = merged(works)
        try:
            self._spool.append(group)
        except SpoolUnavailable as error:
            self._full = str(error)
            if group.shadows:
                self._observer.shadow_dropped(len(group.shadows))
            fail(works, LogUnavailable(f"The prediction cannot be kept, so it is not given. {error}"))
            return
        self._full = None
        self._observer.spooled(group.rows)
        self._drain.set()
        succeed(works, None)

    def _lose(self, error: StoreUnavailable) -> None:
        """Go on without the database until the drainer has another connection."""
        if self._store is not None:
            self._store.close()
        self._store = None
        with self._lock:
            self._since, self._failure = time.time(), str(error)
        self._drain.set()

    def _tell_refused(self, at_once: bool) -> None:
        """Write what was refused, when it is time to and there is something new."""
        now = time.monotonic()
        if self._store is None or not (at_once or now >= self._told + REFUSED_SECONDS):
            return
        self._told = now
        if not (refusals := self._refused.unwritten()):
            return
        try:
            self._store.write_refusals(refusals)
        except StoreUnavailable as error:
            self._lose(error)
        else:
            self._refused.written(refusals)

    def _tidy(self) -> None:
        """Remove a few old rows when it is time to; often, once there are some."""
        now = time.monotonic()
        if self._store is None or now < self._tidied + RETENTION_SECONDS:
            return
        oldest = time.time() - self._retention.days * 86_400
        self._tidied = now
        try:
            if self._store.remove_old(oldest, self._retention.most_rows, RETENTION_ROWS):
                self._tidied += RETENTION_PAUSE_SECONDS - RETENTION_SECONDS
        except StoreUnavailable as error:
            # What takes the database too long leaves it good for answers, unless the connection has gone.
            _LOGGER.warning("Old rows stay in the prediction log for now: %s", error)
            self._check_store()

    def _look_around(self) -> None:
        """Know where the next row would go, even if nobody asks because nothing can be answered."""
        self._check_store()
        now = time.monotonic()
        if self._store is None and now >= self._probed + PROBE_SECONDS:
            self._probed = now
            try:
                self._spool.probe()
                self._full = None
            except SpoolUnavailable as error:
                self._full = str(error)

    def _check_store(self) -> None:
        if self._store is not None:
            try:
                self._store.check()
            except StoreUnavailable as error:
                self._lose(error)

    # The drainer

    def _recover(self) -> None:
        wait, lost, failed = FIRST_RETRY_SECONDS, 0.0, False
        while True:
            self._drain.wait()
            self._drain.clear()
            since = self._since
            if since is not None and since != lost:
                # One that is lost again as soon as it is back gets longer and longer to recover.
                wait = FIRST_RETRY_SECONDS if since - self._back > STEADY_SECONDS else wait
                lost = since
            if since is not None or failed:
                self._closing.wait(wait)
                wait = min(2 * wait, LONGEST_RETRY_SECONDS)
            if self._closing.is_set():
                return
            failed = not self._recovered()
            if failed:
                self._drain.set()

    def _recovered(self) -> bool:
        """Whether the writer has a database and nothing is left in the spool."""
        store: Store | None = None
        try:
            if not self._spool.adopt() and self._since is None:
                return True
            store = self._open_store()
            store.probe()
            drain(self._spool, store, self._go_on_draining)
            self._switch_back()
            return True
        except Exception as error:
            expected = isinstance(error, TakeoffError)
            if not expected:
                _LOGGER.exception("The spool could not be drained")
            with self._lock:
                if self._since is not None:
                    self._failure = str(error) if expected else type(error).__name__
            return False
        finally:
            if store is not None:
                store.close()

    def _go_on_draining(self, rows: int) -> bool:
        self._observer.drained(rows)
        self._switch_back()  # that the database takes rows again is certain now
        return not self._closing.is_set()

    def _switch_back(self) -> None:
        if self._since is None:
            return
        fresh = self._open_store()
        with self._lock:
            self._fresh, self._since, self._failure = fresh, None, None
            self._back = time.time()
