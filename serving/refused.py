"""What was refused, on its way into the prediction log: counted by hour and reason, written now and then."""

import threading
import time
from collections.abc import Iterable, Sequence
from uuid import uuid4

from takeoff.log_store import HOUR_SECONDS, Refused

MOST_KEPT = 10_000  # hours and reasons, which is weeks without a database; what comes then is not kept
Key = tuple[int, int, str]  # the hour, that of the row, the reason


class RefusedCounts:
    """Counts of this process; safe to use from several threads.

    An hour is counted on as long as it lasts, and all of it is written each time. So what was written twice,
    after a connection was lost in the middle, counts once.
    """

    def __init__(self) -> None:
        self._process = uuid4().hex
        self._lock = threading.Lock()
        self._counts: dict[Key, int] = {}
        self._unwritten: set[Key] = set()

    def count(self, reason: str, times: Sequence[float | None] = (None,)) -> None:
        """A request was refused, now; or rows were, each by its own time in unix seconds if it has one."""
        now = _hour()
        with self._lock:
            for time_ in times:
                key = (now, now if time_ is None else _hour_of(time_), reason)
                if key in self._counts or len(self._counts) < MOST_KEPT:
                    self._counts[key] = self._counts.get(key, 0) + 1
                    self._unwritten.add(key)

    def unwritten(self) -> list[Refused]:
        """What has changed since it was `written`."""
        with self._lock:
            return [
                Refused(hour, row_hour, reason, self._process, self._counts[hour, row_hour, reason])
                for hour, row_hour, reason in sorted(self._unwritten)
            ]

    def written(self, refusals: Iterable[Refused]) -> None:
        """These are in the database; hours that are over are forgotten."""
        now = _hour()
        with self._lock:
            for each in refusals:
                key = (each.hour, each.row_hour, each.reason)
                if self._counts[key] == each.count:
                    self._unwritten.discard(key)
            for key in [key for key in self._counts if key[0] < now and key not in self._unwritten]:
                del self._counts[key]


def _hour() -> int:
    return _hour_of(time.time())


def _hour_of(seconds: float) -> int:
    return int(seconds // HOUR_SECONDS) * HOUR_SECONDS
