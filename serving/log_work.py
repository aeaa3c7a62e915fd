"""Rows on their way into the prediction log, and who waits for them."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, NamedTuple

from serving.spool import Group
from takeoff.log_store import Label, Labelled


class Work(NamedTuple):
    """Rows that came together, and the future of who waits for them, with its event loop; or of nobody."""

    group: Group
    loop: asyncio.AbstractEventLoop | None = None
    future: asyncio.Future[Any] | None = None


class FeedbackResult(NamedTuple):
    """What became of labels: how many of each, and the predictions that are not, or not yet, in the log."""

    stored: int
    repeated: int
    changed: int
    spooled: int
    unknown: list[str]


def merged(works: Sequence[Work]) -> Group:
    """The rows of all, for one transaction."""
    if len(works) == 1:
        return works[0].group
    kinds = zip(*(work.group for work in works), strict=True)
    return Group(*(list(chain.from_iterable(rows)) for rows in kinds))


def succeed(works: Iterable[Work], labelled: Sequence[Labelled] | None) -> None:
    """Let go who waits.

    Args:
        works: what is safe now.
        labelled: what became of all their labels; None if they are in the spool.
    """
    done: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    place = 0
    for work in works:
        result = None
        if labels := work.group.labels:
            outcomes = None if labelled is None else labelled[place : place + len(labels)]
            result = _result(labels, outcomes)
            place += len(labels)
        if work.loop is not None and work.future is not None:
            done.setdefault(work.loop, []).append((work.future, result))
    for loop, results in done.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_set_results, results)


def fail(works: Iterable[Work], error: Exception) -> None:
    """Tell who waits that it came to nothing."""
    for work in works:
        if work.loop is not None and work.future is not None:
            with suppress(RuntimeError):
                work.loop.call_soon_threadsafe(_set_error, work.future, error)


def _set_results(results: Iterable[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in results:
        if not future.done():  # a client may be gone, and its future cancelled
            future.set_result(result)


def _set_error(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _result(labels: Sequence[Label], labelled: Sequence[Labelled] | None) -> FeedbackResult:
    if labelled is None:
        return FeedbackResult(0, 0, 0, len(labels), [])
    outcomes = [each.outcome for each in labelled]
    unknown = [label.prediction_id for label, each in zip(labels, labelled, strict=True) if not each.known]
    return FeedbackResult(
        stored=outcomes.count("stored"),
        repeated=outcomes.count("repeated"),
        changed=outcomes.count("changed"),
        spooled=0,
        unknown=list(dict.fromkeys(unknown)),
    )
