"""How often the monitor calls for nothing, and how often it misses what was planted.

`python -m tests.benchmarks.drift_rates [--windows N]` in a project whose pipeline has run. Windows are drawn
with replacement from the rows that the reference was made of, placed in one week, measured like any other
window and judged like any other window; every second one has no labels yet, so that drift stands alone.

Faults are those that a replay plants. What the service would refuse of them never comes into the log as an
answer: such rows are left out of the window, and counted as refused.
"""

import argparse
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import pairwise, repeat
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from monitoring import faults, standard
from monitoring.decision import NOT_JUDGED, Judgement, judge_thin_window, judge_window
from monitoring.faults import DOUBLE, UNITS
from monitoring.measure import Gathering
from monitoring.profiles import Numbers, Reference
from monitoring.quality import Known
from monitoring.standard import Standard
from monitoring.windows import window_of
from serving.requests import example_row, row_type
from takeoff import files, model, paths
from takeoff.contract import Contract
from takeoff.features import features
from takeoff.log_schema import INVALID_ROWS
from takeoff.stage import read_config, run
from tests.benchmarks.report import Line, say, targets_table
from tests.monitoring.chunks import chunk

WINDOWS = 200
MISS_WINDOWS = 20  # at most, of each fault: one that is missed is a twentieth
SIZES = (500, 5_000, 50_000)
MOST_WATCH, MOST_RETRAIN, LEAST_NOTICED = 0.05, 0.01, 0.95
WEEK = "2013-W32"
WEEK_ROWS = 6_500  # of the example
MOST_IMPORTANT = 5

Change = Callable[[pd.DataFrame], pd.DataFrame]


class Planted(NamedTuple):
    """What is done to rows, and the column that it changes; None where it changes none."""

    column: str | None
    change: Change


class Noticed(NamedTuple):
    """States of windows in which something was planted, and the share of their rows that was refused."""

    states: Counter[str]
    refused: float


class Subject(NamedTuple):
    """A project whose windows are judged.

    Attributes:
        standard: what they are measured against.
        reference: of it.
        session: the released model.
        threshold: from which it decides for the event.
        rows: that the reference was made of.
        known: what the data checks have said of values, asked once as in a run over many windows.
    """

    standard: Standard
    reference: Reference
    session: ort.InferenceSession
    threshold: float
    rows: pd.DataFrame
    known: Known


def main() -> None:
    """Measure both rates and print them."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.drift_rates", description=__doc__)
    parser.add_argument("--windows", type=int, default=WINDOWS, help="to draw for each figure")
    print("\n".join(targets_table(measure(parser.parse_args().windows))))


@cache
def load() -> Subject:
    """The project in the current folder."""
    contract, params = read_config()
    released = model.load(paths.RELEASED)
    return Subject(
        standard=standard.load(contract, params),
        reference=Reference.load(),
        session=released.session,
        threshold=released.card["decision"]["threshold"],
        rows=files.read_rows(paths.split_rows("fit")),
        known=Known(),
    )


def measure(windows: int) -> list[Line]:
    """Lines of the report, both rates of the project in the current folder, worked out by all processors.

    Args:
        windows: to draw for each figure; for misses at most `MISS_WINDOWS`.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of several processes hold each other up
    count = os.cpu_count() or 1
    with ProcessPoolExecutor(count, get_context("spawn")) as pool:
        alarms = {
            size: sum(pool.map(_false_alarms, _parts(windows, count), repeat(size)), Counter[str]())
            for size in SIZES
        }
        noticed = joined(pool.map(_misses, _parts(min(windows, MISS_WINDOWS), count)))
    return lines(alarms, noticed)


def lines(alarms: Mapping[int, Counter[str]], noticed: Mapping[str, Noticed]) -> list[Line]:
    """Lines of the report.

    Args:
        alarms: states of windows in which nothing has changed, by their rows.
        noticed: of windows in which something was planted, by its name.
    """
    found = []
    for size, states in alarms.items():
        windows = states.total()
        for state, most in (("watch", MOST_WATCH), ("retrain", MOST_RETRAIN)):
            share = (states["retrain"] + (states["watch"] if state == "watch" else 0)) / windows
            what = f"false alarms at {size:,} rows: {state}" + (" or retrain" if state == "watch" else "")
            found.append(Line(what, f"at most {most:.0%}", f"{share:.1%} of {windows}", share <= most))
    for name, each in noticed.items():
        windows = each.states.total()
        missed = each.states["healthy"] + each.states[NOT_JUDGED]
        share = 1 - missed / windows
        measured = f"{share:.1%} of {windows} ({each.states['retrain']} retrain)"
        if each.refused:
            measured += f"; the service refuses {each.refused:.1%} of the rows"
        found.append(
            Line(f"noticed: {name}", f"at least {LEAST_NOTICED:.0%}", measured, share >= LEAST_NOTICED)
        )
    return found


def joined(parts: Iterable[Mapping[str, Noticed]]) -> dict[str, Noticed]:
    """What became of the windows of all parts."""
    found: dict[str, Noticed] = {}
    for part in parts:
        for name, new in part.items():
            old = found.get(name, Noticed(Counter(), 0.0))
            was, now = old.states.total(), new.states.total()
            refused = (old.refused * was + new.refused * now) / (was + now)
            found[name] = Noticed(old.states + new.states, refused)
    return found


def false_alarms(subject: Subject, seeds: Iterable[int], size: int) -> Counter[str]:
    """States of windows in which nothing has changed.

    Args:
        subject: the project.
        seeds: of the windows; those with an even one are labelled.
        size: rows of each.
    """
    states: Counter[str] = Counter()
    for seed in seeds:
        judged = judge(subject, draw(subject, size, seed), seed % 2 == 0, size)
        if judged is None:
            states[NOT_JUDGED] += 1
            continue
        states[judged.state] += 1
        for reason in judged.reasons:
            say(f"called for nothing: {reason.text}")
    say(f"nothing changed, {size:,} rows: {dict(states)}")
    return states


def misses(
    subject: Subject,
    seeds: Sequence[int],
    planted: Mapping[str, Planted] | None = None,
    rows: int = WEEK_ROWS,
) -> dict[str, Noticed]:
    """What became of windows in which something was planted, by its name.

    Args:
        subject: the project.
        seeds: of the windows of each; those with an even one are labelled.
        planted: changes to plant; all by default.
        rows: of each window, before the change.
    """
    found = {}
    is_accepted = accepting(subject.standard.contract)
    for name, each in (planted or changes(subject)).items():
        states: Counter[str] = Counter()
        lost = total = 0
        for seed in seeds:
            changed = each.change(draw(subject, rows, seed))
            taken = _taken(changed, each.column, is_accepted)
            lost, total = lost + int((~taken).sum()), total + len(taken)
            states[_state(subject, changed, taken, seed % 2 == 0, rows)] += 1
        found[name] = Noticed(states, lost / total)
        say(f"{name}: {dict(states)}, {found[name].refused:.1%} refused")
    return found


def changes(subject: Subject) -> dict[str, Planted]:
    """Every change to plant, by its name."""
    contract, reference = subject.standard.contract, subject.reference
    start = window_of(WEEK, contract).period.start

    def fault(text: str) -> Planted:
        read = faults.read_fault(text, start, contract)
        return Planted(read.column, lambda rows: faults.plant(rows, read, contract))

    by_importance = sorted(reference.columns, key=lambda name: -reference.importance[name])
    numbers = [name for name in by_importance if contract.columns[name].is_number]
    nullable = [name for name in by_importance if contract.columns[name].missing > 0]
    new = next(name for name in by_importance if contract.columns[name].pattern is not None)
    planted: dict[str, Planted] = {}
    for name in numbers[:MOST_IMPORTANT]:
        bins = reference.columns[name]
        assert isinstance(bins, Numbers)
        # A count stays one: half a deviation, rounded up.
        shift = float(np.ceil(bins.std / 2)) if contract.columns[name].type == "integer" else bins.std / 2
        planted[f"{name} higher by 0.5 sigma"] = Planted(name, _shifting(name, shift))
        planted[f"{name} lower by 0.5 sigma"] = Planted(name, _shifting(name, -shift))
        planted[f"{name} stuck"] = fault(f"stuck:{name}")
    for unit, (other, *_) in UNITS.items():
        if name := next((each for each in numbers if contract.columns[each].unit == unit), None):
            planted[f"{name} in {other} instead of {unit}"] = fault(f"units:{name}")
    for name in nullable[:MOST_IMPORTANT]:
        planted[f"{name} gone missing"] = fault(f"missing:{name}")
    planted[f"the most frequent {new} under a new name"] = fault(f"new-category:{new}")
    planted["traffic doubled"] = fault(DOUBLE)
    return planted


def accepting(contract: Contract) -> Callable[[str, Any], bool]:
    """Whether the service answers a row with this value of a column, all else being well; None is missing."""
    adapter, example = TypeAdapter(row_type(contract)), example_row(contract)

    @cache
    def is_accepted(column: str, value: Any) -> bool:
        try:
            adapter.validate_python(example | {column: value})
        except ValidationError:
            return False
        return True

    return is_accepted


def draw(subject: Subject, size: int, seed: int) -> pd.DataFrame:
    """Rows drawn with replacement, in time order over the week in which they are judged."""
    contract = subject.standard.contract
    time, known_at = contract.time.column, contract.target.known_at
    rows = subject.rows.iloc[np.random.default_rng(seed).integers(0, len(subject.rows), size)]
    period = window_of(WEEK, contract).period
    times = pd.Series(pd.date_range(period.start, period.end, size + 1, unit="us")[:-1])
    lag = (rows[known_at] - rows[time]).reset_index(drop=True)
    return rows.reset_index(drop=True).assign(**{time: times, known_at: times + lag})


def judge(
    subject: Subject, rows: pd.DataFrame, is_labelled: bool, usual: int, refused: int = 0
) -> Judgement | None:
    """What the monitor says of the window with these rows, after windows of `usual` rows.

    Args:
        subject: the project.
        rows: that were answered.
        is_labelled: whether their truth has come.
        usual: rows of the windows before.
        refused: rows that were refused.

    Returns:
        None where there are too few rows to say anything.
    """
    against = subject.standard
    contract: Contract = against.contract
    if not is_labelled:
        unknown = (contract.target.column, contract.target.known_at)
        rows = rows.assign(**{name: rows[name].where([False] * len(rows)) for name in unknown})
    window = window_of(WEEK, contract)
    # Read long after the window has ended: what has no label by then never gets one.
    now = window.period.end + (pd.Timedelta(days=60) if is_labelled else pd.Timedelta(0))
    gathering = Gathering(window, against, now, subject.known)
    if len(rows):
        said = model.predict(subject.session, features(rows, contract))
        gathering.add(chunk(rows, said, subject.threshold, contract))
    result = gathering.result({INVALID_ROWS: refused} if refused else {}, [])
    settings = against.params.monitoring
    before = [usual] * settings.quality.usual_windows
    is_thin = len(rows) < settings.rows
    return (judge_thin_window if is_thin else judge_window)(result, settings, before)


def _false_alarms(seeds: range, size: int) -> Counter[str]:
    return false_alarms(load(), seeds, size)


def _misses(seeds: range) -> dict[str, Noticed]:
    return misses(load(), seeds)


def _parts(windows: int, count: int) -> list[range]:
    """Seeds of as many parts, without empty ones."""
    edges = [windows * part // count for part in range(count + 1)]
    return [range(start, end) for start, end in pairwise(edges) if end > start]


def _state(
    subject: Subject, rows: pd.DataFrame, taken: npt.NDArray[np.bool_], is_labelled: bool, usual: int
) -> str:
    """What the monitor says of these rows, of which the service answers some."""
    answered = rows[taken].reset_index(drop=True)
    judged = judge(subject, answered, is_labelled, usual, int((~taken).sum()))
    return judged.state if judged else NOT_JUDGED


def _taken(
    rows: pd.DataFrame, column: str | None, is_accepted: Callable[[str, Any], bool]
) -> npt.NDArray[np.bool_]:
    """Which rows the service answers, shape (n,): only the column that was changed can be wrong."""
    if column is None:
        return np.ones(len(rows), dtype=bool)
    codes, values = pd.factorize(rows[column], use_na_sentinel=False)
    plain = [None if pd.isna(each) else each if isinstance(each, str) else float(each) for each in values]
    return np.array([is_accepted(column, each) for each in plain])[codes]


def _shifting(name: str, by: float) -> Change:
    return lambda rows: rows.assign(**{name: (rows[name] + np.float32(by)).astype(rows[name].dtype)})


if __name__ == "__main__":
    run(main)
