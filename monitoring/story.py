"""The story: `make story`, or `python -m monitoring.story`. A model is released and meets the world.

In a project of its own: release, serve, play a month of production, watch, and where the monitor says so
retrain as of the month's end, let the gate decide, and serve on. At the end, month by month, what the
model left alone, this loop and the plain rule were worth on the same rows.
"""

import argparse
import shutil
import time
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from monitoring import contest, story_project
from monitoring.contest import Offline, Told
from takeoff import files, model, packaging, paths
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.log_read import read_chunks
from takeoff.params import PARAMS_FILE, Params, check_candidate
from takeoff.split import Period
from takeoff.stage import HERE, read_config, run
from takeoff.value import PER_ROWS

FOLDER = Path(".story")
FIRST = Path("first")  # of the story's folder: what the first release left
PAGE, RESULT = paths.REPORTS / "story.md", paths.REPORTS / "story.json"
RETRAIN = 3  # exit code of the monitor that asks for one


class Month(NamedTuple):
    """A month of production: from its first day up to, but not including, `end`."""

    start: date
    end: date

    @property
    def name(self) -> str:
        return f"{self.start:%Y-%m}"


def main() -> None:
    """Entry point; see the module."""
    folder, most, compete, sample = _arguments()
    say = _clock()
    say(f"A project of its own in {folder.as_posix()}, released as of today's params.yaml")
    story_project.make(HERE, folder, compete)
    story_project.run(folder, "dvc", "repro")
    _keep_first_release(folder)
    contract, params = read_config(folder)
    months = _months(folder, params, most)
    told = [_live_through(month, folder, sample, month != months[-1], say) for month in months]
    say("What each was worth on the same rows")
    story = _measure(told, folder, contract, params)
    page = _page(story, contract, params)
    files.write_json(RESULT, story)
    files.write_text(PAGE, page)
    print(f"\n{page}\nAlso in {PAGE.as_posix()} and {RESULT.as_posix()}.")


def _arguments() -> tuple[Path, int | None, list[str] | None, float]:
    parser = argparse.ArgumentParser(prog="python -m monitoring.story", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the story's own project is made")
    parser.add_argument("--months", type=int, help="of production to live through; default: all there are")
    parser.add_argument("--compete", help="candidates that compete, as rule,boosted; default: params.yaml")
    parser.add_argument("--sample", type=float, default=1.0, help="share of production rows that is played")
    given = parser.parse_args()
    if given.months is not None and given.months < 1:
        raise TakeoffError(f"--months is {given.months}, but a story takes one month or more.")
    compete = given.compete.split(",") if given.compete else None
    for name in compete or ():
        check_candidate(name, "--compete")
    if not 0 < given.sample <= 1:
        raise TakeoffError(f"--sample is {given.sample:g}, but a share lies above 0 and is at most 1.")
    return given.folder, given.months, compete, given.sample


def _clock() -> Any:
    """A function that prints a line with the minutes since now."""
    begun = time.monotonic()

    def say(text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - begun), 60)
        print(f"\n== {minutes:3}:{seconds:02}  {text}", flush=True)

    return say


def _keep_first_release(folder: Path) -> None:
    """A copy of the first champion and of the candidates beside it: later releases take their places."""
    for place in (paths.RELEASED, paths.CANDIDATES):
        shutil.copytree(folder / place, folder / FIRST / place)
    evaluated = (folder / paths.EVALUATION_REPORT).read_bytes()
    files.write_bytes(folder / FIRST / paths.EVALUATION_REPORT, evaluated)


def _months(folder: Path, params: Params, most: int | None) -> list[Month]:
    """The whole months after the window, up to the end of the data."""
    last = date.fromisoformat(files.read_json(folder / paths.INGEST_REPORT)["days"]["last"])
    end = last + pd.Timedelta(days=1)
    edges = pd.date_range(params.window.end, end, freq=pd.DateOffset(months=1))
    months = [Month(*pair) for pair in pairwise(each.date() for each in edges)]
    if not months:
        raise TakeoffError(
            f"The window ends on {params.window.end} and the data on {last}: no whole month is left to live "
            f"through. Move the window in {PARAMS_FILE} back."
        )
    return months[:most]


def _live_through(month: Month, folder: Path, sample: float, goes_on: bool, say: Any) -> dict[str, Any]:
    """Serve the champion for a month, watch, and retrain where that is asked for; what happened."""
    say(f"{month.name}: the champion serves, and production is played")
    with story_project.serving(folder) as address:
        days = ["--from", str(month.start), "--to", str(month.end)]
        story_project.run(folder, "monitoring.replay", "--url", address, *days, "--sample", str(sample))
    say(f"{month.name}: the monitor looks at it")
    # Evidently's pages are for people: whoever wants them runs the monitor in the story's folder.
    code = story_project.run(folder, "monitoring.monitor", "--no-evidently", allowed=(0, RETRAIN))
    decision = files.read_json(folder / paths.DECISION_REPORT)
    found = {"name": month.name, "state": decision["state"], "sentence": decision["sentence"], "gate": None}
    if code != RETRAIN:
        return found | {"ending": decision["state"]}
    if not goes_on:
        return found | {"ending": "retrain, but the story ends"}
    say(f"{month.name}: retrain as of {month.end}")
    story_project.run(folder, "monitoring.retrain", "--as-of", str(month.end))
    gate = files.read_json(folder / paths.RELEASE_REPORT)
    ending = f"version {gate['version']} released" if gate["outcome"] == "released" else gate["outcome"]
    return found | {"ending": f"retrain: {ending}", "gate": {"outcome": gate["outcome"], "why": gate["why"]}}


def _measure(
    months: list[dict[str, Any]], folder: Path, contract: Contract, params: Params
) -> dict[str, Any]:
    """What each contestant was worth in each month and in all; see `contest.measure`."""
    alone, rule = _first_champion(folder), _first_rule(folder, params)
    settings, seed = params.evaluation, params.seed
    scores, times, measured = [], [], []
    for month in months:
        told, versions = _told(folder, month["name"], contract)
        scores.append(contest.score(told, alone, rule, contract))
        times.append(told.times)
        found = contest.measure(scores[-1], told.times, contract, settings, seed)
        measured.append(month | found | {"model_versions": versions})
    everything = contest.measure(
        contest.together(scores), pd.concat(times, ignore_index=True), contract, settings, seed
    )
    return {"months": measured, "all": everything, "competed": list(params.compete)}


def _first_champion(folder: Path) -> Offline:
    found = model.load(folder / FIRST / paths.RELEASED)
    return Offline(found, float(found.card["decision"]["threshold"]))


def _first_rule(folder: Path, params: Params) -> Offline:
    """The plainest candidate of the first release: the first that a winner has to beat."""
    name = params.release.beats[0]
    report = files.read_json(folder / FIRST / paths.EVALUATION_REPORT)
    return Offline(model.load(folder / FIRST / paths.CANDIDATES / name), float(report[name]["threshold"]))


def _told(folder: Path, month: str, contract: Contract) -> tuple[Told, dict[str, int]]:
    """The labelled rows of a month in the story's log, and how many rows each model version answered."""
    start = pd.Timestamp(f"{month}-01", tz=contract.time.zone)
    period = Period(start.tz_convert("UTC"), (start + pd.DateOffset(months=1)).tz_convert("UTC"))
    parts, versions = [], pd.Series(dtype="int64")
    for chunk in read_chunks(f"sqlite:///{(folder / packaging.DEFAULT_LOG).resolve()}", contract, period):
        versions = versions.add(chunk.answers["model_version"].astype(str).value_counts(), fill_value=0)
        known = chunk.answers["label"].notna().to_numpy()
        answers = chunk.answers[known]
        parts.append(
            Told(
                chunk.rows[known],
                answers["window_time"],
                _places(answers["label"], contract),
                _places(answers["decision"], contract),
                chunk.probabilities[known],
            )
        )
    if not sum(len(part.labels) for part in parts):
        raise TakeoffError(f"The story's log holds no labelled row of {month}.")
    joined = Told(
        pd.concat([part.rows for part in parts], ignore_index=True),
        pd.concat([part.times for part in parts], ignore_index=True),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.decisions for part in parts]),
        np.concatenate([part.probabilities for part in parts]),
    )
    return joined, {str(number): int(count) for number, count in versions.sort_index().items()}


def _places(names: pd.Series, contract: Contract) -> Any:
    """Place of each class among those of the contract."""
    order = {name: place for place, name in enumerate(contract.target.classes)}
    return names.astype(object).map(order).to_numpy().astype("int64")


def _page(story: dict[str, Any], contract: Contract, params: Params) -> str:
    """The story in Markdown: the table, then what was decided and why."""
    lines = [
        f"# What the loop was worth: {contract.name}",
        "",
        f"{contract.costs.currency} that errors cost for {PER_ROWS:,} {contract.costs.per}s, with the "
        f"{params.evaluation.confidence:.0%} interval over resampled days, and the calibration error, on the "
        f"rows of each month whose truth came. Competed: {', '.join(params.compete)}.",
        "",
        contest.table(story, contract),
        "What was decided at the end of each month, and why:",
        "",
    ]
    for each in story["months"]:
        lines.append(f"- {each['name']}: {each['sentence']}")
        if each["gate"]:
            lines.append(f"  Retrained: {each['gate']['outcome']}, because {each['gate']['why']}.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run(main)
