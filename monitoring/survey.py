"""One run over the log: which windows are due, and measuring them, many in one pass."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
from tqdm import tqdm

from monitoring import ledger
from monitoring.drawing import Drawer
from monitoring.ledger import Held, Stored
from monitoring.standard import Standard, unknown_versions
from monitoring.windows import Kind, Window, place
from takeoff import paths
from takeoff.contract import Contract
from takeoff.loading import loading
from takeoff.log_changes import count_by_time, count_labels, count_refusals
from takeoff.log_read import Chunk, last_row, read_chunks
from takeoff.params import Labels
from takeoff.split import Period

if TYPE_CHECKING:
    from monitoring.measure import Gathering

MOST_SAMPLED = 500_000  # rows that are kept of all windows at once, some 100 MB
OUTSIDE = (
    "{:,} rows are dated before 1900, after 2199, or not at all, and are in no window: a clock is wrong."
)
AHEAD = (
    "{:,} rows are dated more than {:,} days after they were answered: a clock is wrong. They are in the "
    "windows of their own time, but end none."
)
ORPHANS = (
    "{:,} labels are of predictions that are not in the log, so they count nowhere: the predictions are "
    "still to come, have left the log by their age, or whoever sends labels has wrong ids."
)
LATE = (
    "Only these few rows of the log are dated as late as this, so the window may not be over. Unless there "
    "is little traffic, a clock is wrong."
)
# What is measured of an answer, besides its row and what the models said.
MEASURED = ("window_time", "model_version", "contract", "decision", "review", "label", "known_at")
Result = dict[str, Any]


class Log(NamedTuple):
    """What the log holds, in small.

    Attributes:
        url: where it is.
        held: windows with rows and those between them, the oldest first.
        refused: what the service refused; see `takeoff.log_changes.count_refusals`.
        now: the instant that it has reached; see `monitoring.ledger.reached`.
        notes: what is odd about it.
    """

    url: str
    held: list[Held]
    refused: pd.DataFrame
    now: pd.Timestamp | None
    notes: list[str]


class Counted(NamedTuple):
    """How much the log at `url` holds; see `takeoff.log_changes`."""

    url: str
    labels: int
    by_time: pd.DataFrame
    refused: pd.DataFrame


def count(url: str) -> Counted:
    """How much the log holds; looks at every prediction.

    Raises:
        TakeoffError: there is no log that can be read.
    """
    labels = count_labels(url)  # before the others, since a label that comes meanwhile would seem to be lost
    return Counted(url, labels, count_by_time(url), count_refusals(url))


def look(counted: Counted, kind: Kind, against: Standard) -> Log:
    """What the log holds, for who judges by `against`."""
    url, labels, counts, refused = counted
    contract = against.contract
    lost = ledger.outside(counts, contract)
    unknown = unknown_versions(against, sorted(counts["model_version"].unique()))
    early = ledger.ahead(counts)
    notes = [OUTSIDE.format(lost)] if lost else []
    orphans = labels - int(counts["labels"].sum())
    notes += [ORPHANS.format(orphans)] if orphans > 0 else []
    notes += [AHEAD.format(early, ledger.LEAD.days)] if early else []
    notes += [
        f"Version {each} gave answers, but the registry does not know it: was the service made from another "
        "project, or is MLFLOW_TRACKING_URI another one?"
        for each in unknown
    ]
    now = ledger.reached(counts, refused, against.params.monitoring.rows)
    held = ledger.with_gaps(ledger.held(counts, refused, kind, contract), refused, kind, contract, now)
    return Log(url, held, refused, now, notes)


def has_grown(url: str, stored: Stored) -> bool:
    """Whether the log has rows that came after all that was measured, so that a window is sure to be due.

    Raises:
        TakeoffError: the log can't be read.
    """
    return last_row(url) > max((int(each["digest"]["last_seq"]) for each in stored.values()), default=0)


def due(log: Log, wanted: Window | None, stored: Stored, against: Standard, draws: bool) -> list[Held]:
    """Windows that have to be measured, the oldest first.

    Args:
        log: what there is.
        wanted: the only one to look at, or None for all.
        stored: results of earlier runs.
        against: what windows are measured against.
        draws: whether a window whose Evidently report is missing has to be measured again to draw it.
    """
    held = log.held
    if wanted:
        held = [each for each in held if each.window == wanted] or [ledger.empty(wanted, log.refused)]
    champions_share = against.params.monitoring.decision.champions_share
    found = []
    for now in held:
        before = stored.get(now.window.name)
        unchanged = ledger.is_unchanged(now, before, against.digest)
        undrawn = draws and unchanged and now.rows > 0 and not page_of(now.window.name).exists()
        if undrawn or ledger.is_due(now, before, against.digest, against.version, champions_share):
            found.append(now)
    return found


def measure(
    wanted: Sequence[Held], log: Log, stored: Stored, against: Standard, drawer: Drawer | None
) -> None:
    """Measure windows, put the JSON of each into `stored`, and ask for its drawing.

    Raises:
        TakeoffError: the log can't be read any more, or what is to be drawn can't be written.
    """
    if not wanted:
        return
    from monitoring.estimate import reported

    total = sum(each.rows for each in wanted)
    most, labels = against.params.monitoring.evidently_rows, against.params.monitoring.labels
    threshold = float(against.card["decision"]["threshold"])
    if drawer and total:
        drawer.start()  # if it has not been
    with tqdm(total=total, unit=" rows", unit_scale=True, desc="Measuring", disable=None) as bar:
        for batch in ledger.batches(wanted, most, MOST_SAMPLED):
            gathering = _gather(batch, log, against, bar)
            for gathered in gathering:  # drawn beside what is still to be worked out here
                if drawer and gathered.rows:
                    window = gathered.window
                    rows, page = gathered.sample.rows(), page_of(window.name)
                    drawer.draw(window.name, window.period.end, rows, threshold, page)
            for held, gathered in zip(batch, gathering, strict=True):
                name = held.window.name
                earlier = _before(held.window.period, stored.values())
                result = gathered.result(held.refused, earlier, _notes(held, gathered.rows, log))
                result["window"]["complete"] = _is_complete(held.window.period.end, log)
                result["digest"] = {
                    "log": held.digest,
                    "standard": against.digest,
                    "last_seq": held.last_seq,
                    "rows": held.rows,
                }
                if result["estimated"]:
                    result["estimated"]["reported"] = reported(stored.get(name), labels)
                stored[name] = result


def complete(stored: Stored, log: Log, labels: Labels) -> list[Result]:
    """All results, the oldest first, with what later windows have changed about them.

    A window is over once later rows are in the log, and the error of the last estimate is known once its
    labels are: neither needs the window's own rows.

    Args:
        stored: results of this run and of earlier ones.
        log: what there is.
        labels: how many have to be there for an error to be known.
    """
    from monitoring.estimate import last_known_error

    held = {each.window.name for each in log.held}
    results: list[Result] = []
    for result in sorted(stored.values(), key=lambda each: str(each["window"]["start"])):
        window, estimated = result["window"], result.get("estimated")
        is_gone = window["name"] not in held and window["complete"]
        now = {**window, "complete": is_gone or _is_complete(pd.Timestamp(window["end"]), log)}
        if estimated:
            period = Period(pd.Timestamp(window["start"]), pd.Timestamp(window["end"]))
            alike = [each for each in results if _is_like(each, result)]
            error = last_known_error(_before(period, alike), labels)
            estimated = {**estimated, "last_known_error": error}
        results.append({**result, "window": now, "estimated": estimated})
    return results


def json_of(name: str) -> Path:
    """The result of a window."""
    return paths.WINDOWS / f"{name}.json"


def page_of(name: str) -> Path:
    """Evidently's report of a window."""
    return paths.WINDOWS / f"{name}.html"


def _gather(batch: Sequence[Held], log: Log, against: Standard, bar: "tqdm[Any]") -> "list[Gathering]":
    """Read the log once for these windows."""
    kind, contract = batch[0].window.kind, against.contract
    period = Period(batch[0].window.period.start, batch[-1].window.period.end)
    there = any(each.rows for each in batch)
    chunks = read_chunks(log.url, contract, period, answers=MEASURED) if there else iter(())
    with loading():  # after reading has begun: Great Expectations and scikit-learn take seconds
        from monitoring.measure import Gathering
        from monitoring.quality import Known

    known = Known()
    gathered = {each.window.name: Gathering(each.window, against, log.now, known) for each in batch}
    for chunk in chunks:
        for name, part in _parts(chunk, kind, contract):
            if name in gathered:
                gathered[name].add(part)
                bar.update(len(part.rows))
    return list(gathered.values())


def _parts(chunk: Chunk, kind: Kind, contract: Contract) -> Iterator[tuple[str, Chunk]]:
    """The rows of a chunk by the name of their window."""
    windows, places = place(pd.DatetimeIndex(chunk.answers["window_time"]), kind, contract)
    for i, window in enumerate(windows):
        mine = places == i
        if mine.all():
            yield window.name, chunk
            return
        yield (
            window.name,
            Chunk(
                rows=chunk.rows[mine].reset_index(drop=True),
                answers=chunk.answers[mine].reset_index(drop=True),
                probabilities=chunk.probabilities[mine],
                shadow=chunk.shadow[mine],
                shadow_versions=chunk.shadow_versions[mine].reset_index(drop=True),
            ),
        )


def _before(period: Period, results: Iterable[Result]) -> list[Result]:
    """Results of windows that were over when this one began, the oldest first."""
    over = [each for each in results if pd.Timestamp(each["window"]["end"]) <= period.start]
    return sorted(over, key=lambda each: str(each["window"]["start"]))


def _is_like(earlier: Result, result: Result) -> bool:
    return bool(earlier["window"]["kind"] == result["window"]["kind"])


def _is_complete(end: pd.Timestamp, log: Log) -> bool:
    return log.now is not None and end <= log.now


def _notes(held: Held, rows: int, log: Log) -> list[str]:
    notes = []
    if rows < held.rows:
        notes.append(
            f"{held.rows - rows:,} of {held.rows:,} rows were left out: they were answered under a contract "
            "with other classes, or one that the log does not know."
        )
    if log.now is not None and held.rows and held.window.period.start > log.now:
        notes.append(LATE)
    return notes
