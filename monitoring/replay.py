"""Play production through the running service: `make replay`, or `python -m monitoring.replay --help`.

Rows are sent in the order in which they happened, and the truth of each by /feedback once it is known,
never before; some never is. The simulated clock goes in ticks of at most an hour: labels that are known
when a tick starts go first, then the rows of the tick, in one batch, in their order. A replay that is
stopped goes on where it was, and one of the next days sends what labels the last one still waits for.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table
from tqdm import tqdm

from monitoring.caller import MOST_LOST, ROWS_A_REQUEST, Answers, Caller, Lost
from monitoring.faults import FAULTS, plant, read_fault
from monitoring.journal import Journal, Waiting
from monitoring.stream import Stream, Tick, prepare, ticks
from takeoff import files, paths
from takeoff.address import without_password
from takeoff.contract import Contract, read_contract
from takeoff.errors import TakeoffError
from takeoff.log_read import read_chunks
from takeoff.packaging import DEFAULT_LOG, LOG_VARIABLE
from takeoff.split import Period, within
from takeoff.stage import HERE, run, show

DEFAULT_URL = "http://127.0.0.1:3000"
KEY_VARIABLE = "TAKEOFF_API_KEY"
JOURNAL = paths.MONITORING / "replay.jsonl"
TICK_SECONDS = 3600.0  # simulated; the longest that a label is late
SAY_SECONDS = 15.0  # between two lines of progress where there is no terminal


def main() -> None:
    """Entry point; see the module."""
    given = _arguments()
    contract = read_contract(HERE)
    rows = _rows(given, contract)
    settings = {
        name: str(getattr(given, name)) for name in ("start", "end", "sample", "seed", "fault", "since")
    }
    settings["rows"] = files.sha256(paths.PRODUCTION_ROWS)
    with closing(Caller(given.url, os.environ.get(KEY_VARIABLE))) as caller:
        version = caller.check(contract.hash)
        with Journal(given.journal, settings, given.restart) as journal:
            if journal.done:
                show("This replay was played to its end already. To play it again: RESTART=1 (--restart).")
                return
            stream = prepare(rows, contract)
            _announce(stream, journal, given, version)
            started, before = time.monotonic(), Counter(journal.counts)
            play(
                stream, caller, journal, given.speed, _until(given.end, stream, contract), contract, given.log
            )
            journal.finish()
            seconds = time.monotonic() - started
            show(_summary(stream, journal, journal.counts - before, seconds, contract.time.zone))


def play(
    stream: Stream,
    caller: Caller,
    journal: Journal,
    speed: float | None,
    until: float,
    contract: Contract,
    log: str,
) -> None:
    """Send all that the journal has not, and write down what is done.

    Args:
        stream: what to send.
        caller: of the service.
        journal: where the replay is.
        speed: simulated seconds a second; None: as fast as the service answers.
        until: when the simulated clock stops, unix seconds.
        contract: what a row is.
        log: address of the prediction log, where a broken connection leaves a doubt.

    Raises:
        TakeoffError: the service is gone or refuses; the journal keeps what was done.
    """
    size = TICK_SECONDS if speed is None else min(TICK_SECONDS, max(1.0, speed))
    started = time.monotonic()
    first = float(stream.times[0] // size * size) if journal.position is None else journal.position
    with _Progress(len(stream.times)) as progress, ThreadPoolExecutor(1) as beside:
        for tick in ticks(stream.times, size, first, until):
            due = _due(journal.waiting, tick.start)
            if tick.rows or due:
                told = beside.submit(caller.feedback, due)  # of earlier ticks: neither waits for the other
                begun, answers = time.time(), dict[int, str]()
                if journal.doubt is not None and tick.start < journal.doubt.until:
                    answers = _answered(stream, tick, journal.doubt.begun, contract, log)
                journal.begin(tick.start, tick.end)
                refused = _ask(stream, tick, caller, answers, begun, contract, log)
                told.result()
                journal.end(
                    tick.start, tick.end, _waiting(stream, answers), len(due), _counts(answers, due, refused)
                )
                progress.show(tick, journal.counts)
            if speed is not None:
                time.sleep(max(0.0, started + (tick.end - first) / speed - time.monotonic()))


def _arguments() -> argparse.Namespace:
    about, *rules = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m monitoring.replay", description=about, epilog="\n\n".join(rules)
    )
    add = parser.add_argument
    add("--url", default=DEFAULT_URL, help=f"of the service, {DEFAULT_URL}; its API key is in {KEY_VARIABLE}")
    add("--from", dest="start", type=_day, help="first day, as 2013-08-01; default: the first of production")
    add("--to", dest="end", type=_day, help="day before which it ends; default: when all is known")
    add("--speed", type=_speed, help="simulated seconds a second, as 3600; default: as fast as it goes")
    add("--sample", type=_share, default=1.0, help="share of the rows that are played, as 0.1")
    add("--seed", type=int, default=0, help="of the sample")
    add("--fault", help=f"what goes wrong, one of {', '.join(FAULTS)}; all but double as NAME:COLUMN")
    add("--fault-from", dest="since", type=_day, help="first day of the fault; default: all days")
    add("--journal", type=Path, default=JOURNAL, help="file that knows what was sent already")
    add("--log", default=_default_log(), help="address of the prediction log; settles what was in doubt")
    add("--restart", action="store_true", help="begin anew instead of going on")
    return parser.parse_args()


def _default_log() -> str:
    return os.environ.get(LOG_VARIABLE) or f"sqlite:///{DEFAULT_LOG}"


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no day; write it as 2013-08-01") from None


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    return _number(text, 1e9)


def _share(text: str) -> float:
    return _number(text, 1.0)


def _number(text: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value <= most:
        raise argparse.ArgumentTypeError(f"'{text}' is no number above 0 and at most {most:g}")
    return value


def _rows(given: argparse.Namespace, contract: Contract) -> pd.DataFrame:
    """The rows that are played, with their fault."""
    rows = files.read_rows(paths.PRODUCTION_ROWS).sort_values(contract.time.column, kind="stable")
    zone, time_of = contract.time.zone, rows[contract.time.column]
    if rows.empty:
        raise TakeoffError(f"{paths.PRODUCTION_ROWS.as_posix()} has no rows: the window ends with the data.")
    first, last = time_of.iloc[0].tz_convert(zone), time_of.iloc[-1].tz_convert(zone)
    start = pd.Timestamp(given.start or first.date()).tz_localize(zone).tz_convert("UTC")
    end = pd.Timestamp(given.end or last.date() + pd.Timedelta(days=1)).tz_localize(zone).tz_convert("UTC")
    played = within(rows, Period(start, end), contract)
    if given.sample < 1:
        played = played.sample(frac=given.sample, random_state=given.seed).sort_index().reset_index(drop=True)
    if played.empty:
        raise TakeoffError(
            f"There is nothing to play from {given.start or first.date()} to {given.end or last.date()}: "
            f"production goes from {first.date()} to {last.date()}."
        )
    if not given.fault:
        if given.since:
            raise TakeoffError(
                "There is a first day of a fault and no fault. Name it with FAULT=... (--fault)."
            )
        return played
    since = pd.Timestamp(given.since).tz_localize(zone).tz_convert("UTC") if given.since else start
    if since > played[contract.time.column].iloc[-1]:
        raise TakeoffError(
            f"The fault would begin on {given.since}, after the last row that is played: "
            f"choose an earlier day with FAULT_FROM=... (--fault-from)."
        )
    return plant(played, read_fault(given.fault, since, contract), contract)


def _until(end: date | None, stream: Stream, contract: Contract) -> float:
    """When the clock stops: at the day that was given, or when all that will be known is."""
    if end is not None:
        return float(pd.Timestamp(end).tz_localize(contract.time.zone).timestamp())
    known = [truth[0] for truth in stream.truths if truth is not None]
    return float(max([stream.times[-1], *known])) + 2 * TICK_SECONDS


def _waiting(stream: Stream, answers: Mapping[int, str]) -> list[Waiting]:
    """Those of the answered rows whose truth will be known."""
    return [
        Waiting(truth[0], id_, truth[1])
        for place, id_ in answers.items()
        if (truth := stream.truths[place]) is not None
    ]


def _counts(answers: Mapping[int, str], due: Sequence[Waiting], refused: Mapping[str, int]) -> Counter[str]:
    return Counter(
        {
            "answered": len(answers),
            "labelled": len(due),
            **{f"refused: {field}": rows for field, rows in refused.items()},
        }
    )


def _due(waiting: Sequence[Waiting], now: float) -> list[Waiting]:
    """Predictions whose truth is known, the earliest first; `waiting` is a heap."""
    if not waiting or waiting[0].known_at > now:
        return []
    return list(takewhile(lambda each: each.known_at <= now, sorted(waiting)))


def _ask(
    stream: Stream,
    tick: Tick,
    caller: Caller,
    answers: dict[int, str],
    begun: float,
    contract: Contract,
    log: str,
) -> Counter[str]:
    """Ask for the rows of a tick that have no answer yet, and add their ids; what was refused."""
    refused: Counter[str] = Counter()
    lost, todo = 0, [place for place in tick.rows if place not in answers]
    while todo:
        part, todo = todo[:ROWS_A_REQUEST], todo[ROWS_A_REQUEST:]
        try:
            found: Answers = caller.predict([stream.bodies[place] for place in part])
        except Lost:
            if (lost := lost + 1) > MOST_LOST:
                raise caller.breaks_off() from None
            answers.update(_answered(stream, tick, begun, contract, log))
            todo = [place for place in [*part, *todo] if place not in answers]
            continue
        answers.update({place: id_ for place, id_ in zip(part, found.ids, strict=True) if id_ is not None})
        refused += found.refused
    return refused


def _answered(stream: Stream, tick: Tick, begun: float, contract: Contract, log: str) -> dict[int, str]:
    """Rows of a tick that the prediction log has since the tick was begun: ids by place.

    Compares this machine's clock with the service's. Rows that the service keeps in its spool, while its
    database is away, are not in the log yet.
    """
    places = {stream.ids[place]: place for place in tick.rows}
    period = Period(_instant(tick.start), _instant(tick.end))
    found: dict[int, str] = {}
    try:
        for chunk in read_chunks(log, contract, period):
            recent = chunk.answers[chunk.answers["time"] >= _instant(begun)]
            for row_id, id_ in zip(recent["row_id"], recent["prediction_id"], strict=True):
                if row_id in places:
                    found[places[row_id]] = str(id_)
    except TakeoffError as error:
        print(
            f"A connection broke, and the log can't say which rows were answered ({error}) "
            f"Those of one tick ({len(places):,}) are sent again and may be in the log twice.",
            file=sys.stderr,
        )
    return found


def _announce(stream: Stream, journal: Journal, given: argparse.Namespace, version: str) -> None:
    done = int(np.searchsorted(stream.times, journal.position)) if journal.position is not None else 0
    what = f"going on after {done:,}" if done else "from the start"
    fault = f", with the fault {given.fault}" if given.fault else ""
    address = without_password(given.url)
    print(
        f"Playing {len(stream.times):,} rows through version {version} at {address}, {what}{fault}.",
        flush=True,
    )


def _summary(stream: Stream, journal: Journal, counts: Counter[str], seconds: float, zone: str) -> Table:
    first, last = (_instant(each).tz_convert(zone).date() for each in (stream.times[0], stream.times[-1]))
    table = Table(title=f"Played {first} to {last}")
    for heading in ("what", "all of it", "in this run"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    total = journal.counts
    names = {"answered": "rows answered", "labelled": "labels sent"}
    for key in [*names, *sorted(each for each in total if each.startswith("refused"))]:
        table.add_row(names.get(key, f"rows {key}"), f"{total[key]:,}", f"{counts[key]:,}")
    table.add_row("labels that wait for their time", f"{len(journal.waiting):,}", "")
    table.add_row("rows a second", "", f"{counts['answered'] / max(seconds, 1e-9):,.0f}")
    return table


class _Progress:
    """A bar in a terminal; elsewhere a line now and then."""

    def __init__(self, rows: int) -> None:
        self._bar = tqdm(total=rows, unit=" rows", disable=None, smoothing=0.1)
        self._said = time.monotonic()

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.close()

    def show(self, tick: Tick, counts: Counter[str]) -> None:
        """Where the replay is."""
        day = f"{_instant(tick.start):%Y-%m-%d}"
        if not self._bar.disable:
            self._bar.set_description(day, refresh=False)
            self._bar.n = tick.rows.stop
            self._bar.update(0)
        elif time.monotonic() - self._said > SAY_SECONDS:
            self._said = time.monotonic()
            print(f"{day}: {tick.rows.stop:,} rows, {counts['labelled']:,} labels", flush=True)


def _instant(seconds: float) -> pd.Timestamp:
    return pd.Timestamp(datetime.fromtimestamp(seconds, UTC))


if __name__ == "__main__":
    run(main)
