"""Retrain as of a day: `make retrain AS_OF=2013-10-01`, or `python -m monitoring.retrain --as-of 2013-10-01`.

The window moves so that it ends on that day, the pipeline runs, and the release gate holds the new model
against the champion on the most recent labelled rows. A refusal is a normal end: the champion stays and
every file is as it was. Either end stands in the history.
"""

import argparse
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from monitoring import as_of, workspace
from takeoff import files, history, paths
from takeoff.contract import Contract, read_contract
from takeoff.errors import TakeoffError
from takeoff.params import PARAMS_FILE, Window
from takeoff.registry import Registry, Version
from takeoff.split import periods
from takeoff.stage import HERE, read_config, run

BY_HAND = "asked for by hand"


def main() -> None:
    """Entry point; see the module."""
    day, reason = _arguments()
    with files.alone(workspace.ASIDE_LOCK, "retrain"), _ended_like_interrupted():
        registry = Registry(read_contract(HERE).name)
        champion = _champion(registry)
        if workspace.recover(champion.number):
            print("An earlier retrain was cut off. What it had changed is put back.")
        contract, params = read_config()
        window = as_of.moved(params.window, day, _first_day(), _today(contract))
        if window == params.window:
            print(f"The window ends on {day} already. `make run` does what else has changed.")
            return
        periods(params.model_copy(update={"window": window}), contract)  # raises where a split gets nothing
        workspace.check_can_come_back()
        print(_headline(params.window, window, champion), flush=True)
        code = _run_pipeline(registry, champion, window)
        _finish(registry, champion, code, params.window, window, reason or _decision() or BY_HAND)


def _arguments() -> tuple[date, str]:
    parser = argparse.ArgumentParser(prog="python -m monitoring.retrain", description=__doc__)
    parser.add_argument("--as-of", required=True, help="first day that is not known yet, as YYYY-MM-DD")
    parser.add_argument("--reason", default="", help="why, for the history; default: what the monitor says")
    given = parser.parse_args()
    return as_of.read_day(given.as_of), given.reason.strip()


def _champion(registry: Registry) -> Version:
    champion = registry.champion()
    if champion is None:
        raise TakeoffError("There is no champion yet, so there is nothing to retrain. Run `make run` first.")
    return champion


def _first_day() -> date:
    """First day of the data, as `ingest` last saw it."""
    return date.fromisoformat(files.read_json(paths.INGEST_REPORT)["days"]["first"])


def _today(contract: Contract) -> date:
    return datetime.now(ZoneInfo(contract.time.zone)).date()


def _decision() -> str | None:
    """Why the monitor asks for a retrain, if it does."""
    if not paths.DECISION_REPORT.exists():
        return None
    decision = files.read_json(paths.DECISION_REPORT)
    return str(decision["sentence"]) if decision["state"] == "retrain" else None


def _headline(old: Window, new: Window, champion: Version) -> str:
    lines = [
        f"Retraining as of {new.end}: the window moves from {old.start} .. {old.end} to {new.start} .. "
        f"{new.end}. Version {champion.number} ({champion.card['candidate']}) is champion."
    ]
    if new.end < old.end:
        lines.append(
            "The window moves back: the champion may have been made with rows that it is judged on now. "
            "The gate's table says so where it was."
        )
    return "\n".join(lines)


def _run_pipeline(registry: Registry, champion: Version, window: Window) -> int:
    """Set aside, move the window, run; the exit code. An interrupt puts everything back first."""
    workspace.set_aside(champion.number)
    try:
        text = Path(PARAMS_FILE).read_text(encoding="utf-8")
        files.write_text(Path(PARAMS_FILE), as_of.with_window(text, window))
        return workspace.reproduce()
    except BaseException:
        served = _champion(registry)
        workspace.recover(served.number)
        if served.number != champion.number:
            print(f"Version {served.number} is champion already. `make run` does what is left.", flush=True)
        raise


def _finish(registry: Registry, champion: Version, code: int, old: Window, new: Window, reason: str) -> None:
    """Keep the new files or put the old ones back, record the decision, and say what it was."""
    served = _champion(registry)
    report = files.read_json(paths.RELEASE_REPORT) if paths.RELEASE_REPORT.exists() else {}
    is_new, is_refused = served.number != champion.number, report.get("outcome") == "refused"
    if is_new or (report and code == 0):
        workspace.forget()
    else:
        workspace.put_back(leave=(paths.RELEASE_REPORT,) if is_refused else ())
    if not (is_new or is_refused or (report and code == 0)):
        raise TakeoffError(
            f"The retrain as of {new.end} stopped before the gate had decided, for the reason above. Version "
            f"{champion.number} stays champion, and {PARAMS_FILE}, data and models are what they were."
        )
    why = report.get("why", "the run ended before it had written down why")
    numbers = _numbers(report, old, new)
    entry = history.record("retrain", f"{reason}: {why}", served.number, champion.number, numbers)
    registry.note(entry, {"release.json": json.dumps(report, indent=2)})
    if is_new and code != 0:
        raise TakeoffError(
            f"Version {served.number} is champion as of {new.end}, but the pipeline stopped after the gate, "
            f"for the reason above. Run `make run`, which does what is left."
        )
    print(_released(champion, served, new) if is_new else _stays(served, new, why, is_refused))


def _numbers(report: dict[str, Any], old: Window, new: Window) -> dict[str, Any]:
    """What the history keeps of a retrain; the gate's whole report is beside it."""
    measured = {name: estimate["value"] for name, estimate in report.get("metrics", {}).items()}
    return {
        "as_of": str(new.end),
        "window": [str(new.start), str(new.end)],
        "window_before": [str(old.start), str(old.end)],
        "outcome": report.get("outcome"),
        "candidate": report.get("winner"),
        "metrics": measured,
        **({"caution": report["caution"]} if report.get("caution") else {}),
    }


def _stays(champion: Version, new: Window, why: str, is_refused: bool) -> str:
    name = f"Version {champion.number} ({champion.card['candidate']})"
    if not is_refused:
        return f"{name} stays champion as of {new.end}: {why}. The window in {PARAMS_FILE} has moved."
    return (
        f"{name} stays champion. As of {new.end}, {why}.\n"
        f"That is a normal end: {PARAMS_FILE}, data and models are what they were, and the history has it."
    )


def _released(before: Version, champion: Version, new: Window) -> str:
    return "\n".join(
        [
            f"Version {champion.number} ({champion.card['candidate']}) is champion as of {new.end}; "
            f"version {before.number} was.",
            "Look next:",
            "  serve it       a running service still answers with the old one: stop it, then `make serve`",
            f"  keep it        git add {PARAMS_FILE} {workspace.LOCK_FILE} && git commit",
            "  take it back   .venv/bin/takeoff rollback --reason '...'",
        ]
    )


@contextmanager
def _ended_like_interrupted() -> Iterator[None]:
    """A request to end, as a scheduler sends it, puts things in order like Ctrl-C does."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    run(main)
