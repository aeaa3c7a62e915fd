"""What the log holds of each window, against what was measured before: which windows have to be measured."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from monitoring.windows import NO_WINDOW, Kind, Window, place, windows_between
from takeoff import files
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.log_schema import INVALID_ROWS

# A longer silence is none: the rows on one side of it have a wrong clock, or are another replay's.
LONGEST_GAP = pd.Timedelta(days=366)
LEAD = pd.Timedelta(days=31)  # longest time from being asked about a row to its own time that is believed
SKEW = pd.Timedelta(days=1)  # by which answers may come into the log in another order than they were given
Stored = dict[str, dict[str, Any]]


class Held(NamedTuple):
    """What the log holds of a window, in small.

    Attributes:
        window: whose rows these are.
        rows: how many.
        versions: rows by the model version that answered.
        last_seq: of the row that came last.
        digest: changes with the rows, their labels and what was refused.
        refused: by reason, what belongs here; see `takeoff.log_schema.Refused`.
    """

    window: Window
    rows: int
    versions: Mapping[str, int]
    last_seq: int
    digest: str
    refused: Mapping[str, int]


def held(counts: pd.DataFrame, refused: pd.DataFrame, kind: Kind, contract: Contract) -> list[Held]:
    """Each window that holds rows, answered or refused, the oldest first.

    Args:
        counts: see `takeoff.log_changes.count_by_time`.
        refused: see `takeoff.log_changes.count_refusals`.
        kind: of the windows.
        contract: whose zone has the midnights.
    """
    of_rows = refused[refused["reason"] == INVALID_ROWS]
    times = pd.concat([counts["start"], of_rows["start"]])
    windows, places = place(pd.DatetimeIndex(times), kind, contract)
    places = places[: len(counts)]
    return [_held(window, counts[places == i], refused) for i, window in enumerate(windows)]


def with_gaps(
    found: Sequence[Held], refused: pd.DataFrame, kind: Kind, contract: Contract, now: pd.Timestamp | None
) -> list[Held]:
    """The same windows and those between them that are over and without a row: nobody asked, or was answered.

    Args:
        found: see `held`.
        refused: see `takeoff.log_changes.count_refusals`.
        kind: of the windows.
        contract: whose zone has the midnights.
        now: the instant that the log has reached; see `reached`.
    """
    if now is None:
        return list(found)
    filled = list(found[:1])
    for before, after in pairwise(found):
        start, end = before.window.period.end, min(after.window.period.start, now)
        if start < end <= start + LONGEST_GAP:
            between = windows_between(start, end, kind, contract)
            filled += [empty(each, refused) for each in between if each.period.end <= end]
        filled.append(after)
    return filled


def empty(window: Window, refused: pd.DataFrame) -> Held:
    """A window of which the log holds no row."""
    by_reason = _refused(window, refused)
    return Held(window, 0, {}, 0, digest([by_reason]), by_reason)


def outside(counts: pd.DataFrame, contract: Contract) -> int:
    """Rows whose time is so far off that no window is cut for it."""
    placed = place(pd.DatetimeIndex(counts["start"]), "day", contract)
    return int(counts["rows"][placed.places == NO_WINDOW].sum())


def reached(counts: pd.DataFrame, refused: pd.DataFrame, rows: int) -> pd.Timestamp | None:
    """The instant that the log has reached: fewer than `rows` rows, answered or refused, are dated later.

    The newest row itself may be dated by a clock that is wrong, and would end every window. Where rows are
    asked about at about their own time, the service's clock bears single ones out: else the windows of a
    caller that has all but gone would never be over. It is never later than the newest answer, and rows that
    are dated long after they were answered don't count, however many: their clock is wrong.

    Args:
        counts: see `takeoff.log_changes.count_by_time`.
        refused: see `takeoff.log_changes.count_refusals`.
        rows: that are enough, whatever any clock says.
    """
    timed = _timed(counts, refused)
    timed = timed[~_is_ahead(timed["start"], timed["asked"])]
    if timed.empty:
        return None
    latest = timed.sort_values("start", ascending=False)
    upto = latest["rows"].cumsum()
    enough = min(rows, int(upto.iloc[-1]))
    by_rows = latest["start"][upto >= enough].iloc[0]
    by_clock = _borne_out(timed)
    found = by_rows if by_clock is None else max(by_rows, by_clock)
    return pd.Timestamp(min(found, timed["asked"].max()))


def ahead(counts: pd.DataFrame) -> int:
    """Rows that are dated later than `LEAD` after they were answered: their clock is wrong."""
    return int(counts["rows"][_is_ahead(counts["start"], _instants(counts["last_answer"]))].sum())


def read_results(folder: Path) -> tuple[Stored, list[str]]:
    """Results of earlier runs by the window's name, and what is wrong with those that can't be read."""
    found: Stored = {}
    problems = []
    for file in sorted(folder.glob("*.json")):
        try:
            result = files.read_json(file)
            found[result["window"]["name"]] = result
            _ = [result["digest"][key] for key in ("log", "standard", "last_seq", "rows")]
            _ = [result["window"][key] for key in ("kind", "start", "end", "complete")]
            _ = result["rows"], result["model_versions"], result["reference"]["model_version"]
        except (TakeoffError, KeyError, TypeError):
            found.pop(file.stem, None)
            problems.append(f"{file.as_posix()} can't be read as a window's result, and is passed over.")
    return found, problems


def is_due(
    now: Held,
    before: Mapping[str, Any] | None,
    standard: str,
    version: str | None,
    champions_share: float,
) -> bool:
    """Whether a window has to be measured.

    Not if nothing has changed; nor if it is history: its rows are leaving the log by their age, or most of
    them were answered by a version that was champion before, whose reference is gone.

    Args:
        now: what the log holds.
        before: the window's JSON of an earlier run, if there is one.
        standard: digest of what windows are measured against.
        version: of the champion.
        champions_share: of the answers, from which on a window is the champion's.
    """
    if before is None:
        return True
    if is_unchanged(now, before, standard):
        return False
    known = before["digest"]
    if not now.rows:  # whatever there was may have left the log by its age
        refused = (before.get("quality") or {}).get("refused") or {}
        return not known["rows"] and sum(now.refused.values()) >= sum(refused.values())
    if now.last_seq < known["last_seq"]:  # another log
        return True
    if now.rows < known["rows"]:
        return False
    share = now.versions.get(version or "", 0) / max(now.rows, 1)
    was_others = before["reference"]["model_version"] != version and share < champions_share
    return not (was_others and now.rows == known["rows"])


def is_unchanged(now: Held, before: Mapping[str, Any] | None, standard: str) -> bool:
    """Whether measuring would find what it found before."""
    if before is None:
        return False
    return bool(before["digest"]["log"] == now.digest and before["digest"]["standard"] == standard)


def batches(due: Iterable[Held], most_sampled: int, most: int) -> Iterable[list[Held]]:
    """Windows that are gathered in one pass over the log, so that their samples fit into memory.

    Args:
        due: the oldest first.
        most_sampled: rows that are kept of a window, at most.
        most: rows that are kept of all windows of a batch.
    """
    batch: list[Held] = []
    kept = 0
    for each in due:
        size = min(each.rows, most_sampled)
        if batch and kept + size > most:
            yield batch
            batch, kept = [], 0
        batch.append(each)
        kept += size
    if batch:
        yield batch


def _timed(counts: pd.DataFrame, refused: pd.DataFrame) -> pd.DataFrame:
    """Rows by their `start`, with the instant `asked` at which the last of them was answered or refused."""
    of_rows = refused[refused["reason"] == INVALID_ROWS].rename(
        columns={"count": "rows", "last_hour": "last_answer"}
    )
    columns = ["start", "rows", "last_seq", "last_answer"]
    timed = pd.concat([counts[columns], of_rows.reindex(columns=columns)], ignore_index=True)
    return timed.assign(asked=_instants(timed["last_answer"])).dropna(subset="start")


def _instants(seconds: pd.Series) -> pd.Series:
    return pd.to_datetime(seconds, unit="s", utc=True)


def _is_ahead(start: pd.Series, asked: pd.Series) -> pd.Series:
    return start > asked + LEAD


def _borne_out(timed: pd.DataFrame) -> pd.Timestamp | None:
    """The latest time of a row that the service's clock bears out; None in a log of rows long past."""
    is_near = (timed["start"] - timed["asked"]).abs() <= LEAD
    if 2 * timed["rows"][is_near].sum() <= timed["rows"].sum():
        return None
    by_arrival = timed.dropna(subset="last_seq").sort_values("last_seq", ascending=False)
    # That clock may have been set back: then what came later was answered earlier.
    was_wrong = by_arrival["asked"] - by_arrival["asked"].cummin() > SKEW
    sound = by_arrival[is_near[by_arrival.index] & ~was_wrong]
    return None if sound.empty else sound[["start", "asked"]].min(axis=1).max()


def _held(window: Window, counts: pd.DataFrame, refused: pd.DataFrame) -> Held:
    if counts.empty:
        return empty(window, refused)
    versions = counts.groupby("model_version")["rows"].sum()
    labelled = counts.groupby("model_version")["labels"].sum()
    newest = counts["last_label"].max()
    by_version = {str(name): int(versions[name]) for name in sorted(versions.index)}
    last_seq = int(counts["last_seq"].max())
    by_reason = _refused(window, refused)
    content = {
        "rows": by_version,
        "labels": {str(name): int(labelled[name]) for name in sorted(labelled.index)},
        "last_seq": last_seq,
        "last_label": None if pd.isna(newest) else float(newest),
        "refused": by_reason,
    }
    return Held(
        window=window,
        rows=int(versions.sum()),
        versions=by_version,
        last_seq=last_seq,
        digest=digest(content),
        refused=by_reason,
    )


def _refused(window: Window, refused: pd.DataFrame) -> dict[str, int]:
    """By reason; an hour belongs where it starts."""
    here = refused[(refused["start"] >= window.period.start) & (refused["start"] < window.period.end)]
    return {str(reason): int(count) for reason, count in here.groupby("reason")["count"].sum().items()}


def digest(content: Any) -> str:
    """Sixteen hex digits that change with the content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
