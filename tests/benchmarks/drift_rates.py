"""How often the monitor calls for nothing, and how often it misses what was planted.

`python -m tests.benchmarks.drift_rates [--windows N]` in a project whose pipeline has run. Windows are drawn
with replacement from the rows that the reference was made of, placed in one week, measured like any other
window and judged like any other window; every second one has no labels yet, so that drift stands alone.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pandas as pd

from monitoring import standard
from monitoring.decision import Judgement, judge_window
from monitoring.measure import Gathering
from monitoring.profiles import Numbers, Reference
from monitoring.quality import Known
from monitoring.standard import Standard
from monitoring.windows import window_of
from takeoff import files, model, paths
from takeoff.contract import Contract
from takeoff.features import features
from takeoff.stage import read_config, run
from tests.benchmarks.report import Line, say, targets_table
from tests.monitoring.chunks import chunk

WINDOWS = 200
SIZES = (500, 5_000, 50_000)
MOST_WATCH, MOST_RETRAIN, LEAST_NOTICED = 0.05, 0.01, 0.95
WEEK = "2013-W32"
WEEK_ROWS = 6_500  # of the example
MOST_IMPORTANT = 5

Probabilities = npt.NDArray[np.float32]
Change = Callable[[pd.DataFrame], pd.DataFrame]

# What a sensor says when somebody changes its unit.
UNITS: dict[str, Callable[["pd.Series[float]"], "pd.Series[float]"]] = {
    "degF": lambda values: (values - 32) / 1.8,
    "mph": lambda values: values * 1.609344,
    "mile": lambda values: values * 1.609344,
    "inch": lambda values: values * 25.4,
}


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
    windows = parser.parse_args().windows
    subject = load()
    print("\n".join(targets_table(lines(subject, windows))))


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


def lines(subject: Subject, windows: int) -> list[Line]:
    """Lines of the report, both rates."""
    found = []
    for size in SIZES:
        states = false_alarms(subject, windows, size)
        for state, most in (("watch", MOST_WATCH), ("retrain", MOST_RETRAIN)):
            share = (states["retrain"] + (states["watch"] if state == "watch" else 0)) / windows
            what = f"false alarms at {size:,} rows: {state}" + (" or retrain" if state == "watch" else "")
            found.append(Line(what, f"at most {most:.0%}", f"{share:.1%} of {windows}", share <= most))
    for name, states in misses(subject, windows).items():
        share = 1 - states["healthy"] / windows
        measured = f"{share:.1%} of {windows} ({states['retrain']} retrain)"
        found.append(
            Line(f"noticed: {name}", f"at least {LEAST_NOTICED:.0%}", measured, share >= LEAST_NOTICED)
        )
    return found


def false_alarms(subject: Subject, windows: int, size: int) -> Counter[str]:
    """States of windows in which nothing has changed.

    Args:
        subject: the project.
        windows: to draw.
        size: rows of each.
    """
    states: Counter[str] = Counter()
    for seed in range(windows):
        judged = judge(subject, draw(subject, size, seed), seed % 2 == 0, size)
        states[judged.state] += 1
        for reason in judged.reasons:
            say(f"called for nothing: {reason.text}")
    say(f"nothing changed, {size:,} rows: {dict(states)}")
    return states


def misses(
    subject: Subject, windows: int, planted: Mapping[str, Change] | None = None, rows: int = WEEK_ROWS
) -> dict[str, Counter[str]]:
    """States of windows in which something was planted, by its name.

    Args:
        subject: the project.
        windows: to draw for each.
        planted: changes to plant; all by default.
        rows: of each window, before the change.
    """
    found = {}
    for name, change in (planted or changes(subject)).items():
        found[name] = Counter(
            judge(subject, change(draw(subject, rows, seed)), seed % 2 == 0, rows).state
            for seed in range(windows)
        )
        say(f"{name}: {dict(found[name])}")
    return found


def changes(subject: Subject) -> dict[str, Change]:
    """Every change to plant, by its name."""
    contract, reference = subject.standard.contract, subject.reference
    by_importance = sorted(reference.columns, key=lambda name: -reference.importance[name])
    numbers = [name for name in by_importance if contract.columns[name].is_number]
    nullable = [name for name in by_importance if contract.columns[name].missing > 0]
    new = next(name for name in by_importance if contract.columns[name].pattern is not None)
    planted: dict[str, Change] = {}
    for name in numbers[:MOST_IMPORTANT]:
        bins = reference.columns[name]
        assert isinstance(bins, Numbers)
        # A count stays one: half a deviation, rounded up, or the data checks would see it at once.
        shift = float(np.ceil(bins.std / 2)) if contract.columns[name].type == "integer" else bins.std / 2
        planted[f"{name} higher by 0.5 sigma"] = _changing(name, _plus(shift))
        planted[f"{name} stuck"] = _changing(name, _stuck)
    for unit, converted in UNITS.items():
        if name := next((each for each in numbers if contract.columns[each].unit == unit), None):
            planted[f"{name} no longer in {unit}"] = _changing(name, converted)
    for name in nullable[:MOST_IMPORTANT]:
        planted[f"{name} gone missing"] = _changing(name, lambda values: values.where([False] * len(values)))
    planted[f"a new {new} in a twentieth of the rows"] = _changing(new, _new)
    planted["traffic doubled"] = lambda rows: pd.concat([rows, rows], ignore_index=True)
    return planted


def draw(subject: Subject, size: int, seed: int) -> pd.DataFrame:
    """Rows drawn with replacement, in time order over the week in which they are judged."""
    contract = subject.standard.contract
    time, known_at = contract.time.column, contract.target.known_at
    rows = subject.rows.iloc[np.random.default_rng(seed).integers(0, len(subject.rows), size)]
    period = window_of(WEEK, contract).period
    times = pd.Series(pd.date_range(period.start, period.end, size + 1, unit="us")[:-1])
    lag = (rows[known_at] - rows[time]).reset_index(drop=True)
    return rows.reset_index(drop=True).assign(**{time: times, known_at: times + lag})


def judge(subject: Subject, rows: pd.DataFrame, is_labelled: bool, usual: int) -> Judgement:
    """What the monitor says of the window with these rows, after windows of `usual` rows."""
    against = subject.standard
    contract: Contract = against.contract
    if not is_labelled:
        unknown = (contract.target.column, contract.target.known_at)
        rows = rows.assign(**{name: rows[name].where([False] * len(rows)) for name in unknown})
    window = window_of(WEEK, contract)
    said = model.predict(subject.session, features(rows, contract))
    # Read long after the window has ended: what has no label by then never gets one.
    now = window.period.end + (pd.Timedelta(days=60) if is_labelled else pd.Timedelta(0))
    gathering = Gathering(window, against, now, subject.known)
    gathering.add(chunk(rows, said, subject.threshold, contract))
    result = gathering.result({}, [])
    settings = against.params.monitoring
    return judge_window(result, settings, [usual] * settings.quality.usual_windows)


def _changing(name: str, change: "Callable[[pd.Series], pd.Series]") -> Change:
    return lambda rows: rows.assign(**{name: change(rows[name]).astype(rows[name].dtype)})


def _plus(shift: float) -> "Callable[[pd.Series], pd.Series]":
    return lambda values: values + np.float32(shift)


def _stuck(values: pd.Series) -> pd.Series:
    return pd.Series(values.dropna().median(), values.index)


def _new(values: pd.Series) -> pd.Series:
    common = str(values.mode()[0])
    return values.where(np.arange(len(values)) % 20 != 0, "Z" * len(common))


if __name__ == "__main__":
    run(main)
