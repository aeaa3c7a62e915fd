"""What a prediction log is told, and what it says of itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from takeoff.errors import TakeoffError


class LogUnavailable(TakeoffError):  # noqa: N818  # a state that passes, rather than a mistake
    """Neither the database nor the spool can hold a prediction now, so it must not be answered."""


class Retention(NamedTuple):
    """What stays in the log: predictions of so many days, and at most so many."""

    days: float
    most_rows: int


class LogState(NamedTuple):
    """Where answers go now.

    Attributes:
        mode: the database, or while it is away the spool, or while that is full nowhere.
        spooled_rows: rows that wait in the spool, of this process.
        since: unix seconds at which the database was lost; None while it is there.
        failure: what was last wrong with it, and with the spool; None while it is there. Names no address and
            no password.
    """

    mode: Literal["database", "spool", "nowhere"]
    spooled_rows: int
    since: float | None
    failure: str | None


def _ignore(*_: Any) -> None:
    pass


@dataclass(frozen=True)
class Observer:
    """Who wants to know. Called in the log's own threads.

    Attributes:
        committed: rows of a transaction, and the seconds it took.
        spooled: rows that were written to the spool.
        drained: rows that went from the spool to the database.
        shadow_dropped: rows of the challenger that were not kept.
    """

    committed: Callable[[int, float], None] = _ignore
    spooled: Callable[[int], None] = _ignore
    drained: Callable[[int], None] = _ignore
    shadow_dropped: Callable[[int], None] = _ignore


NOBODY = Observer()
