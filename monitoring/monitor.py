"""The monitor: `make monitor [WINDOW=2013-W36]`, or `python -m monitoring.monitor`.

Measures what the prediction log holds, window by window, decides whether the model is healthy, to be watched
or to be retrained, and writes the reports. Exit code: 0 healthy or watch, 3 retrain, 1 it could not be done.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

from rich.markup import escape
from rich.table import Table

# The drawing works beside the measuring, and threads that wait for each other on a busy machine lose much.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from monitoring import ledger, page, standard, survey, webhook
from monitoring.decision import decide
from monitoring.drawing import Drawer
from monitoring.findings import number
from monitoring.page_input import read_reports
from monitoring.survey import Result
from monitoring.windows import USAGE, Kind, window_of
from takeoff import files, paths
from takeoff.errors import TakeoffError
from takeoff.packaging import DEFAULT_LOG, LOG_VARIABLE
from takeoff.params import Params
from takeoff.stage import read_config, run, show
from takeoff.value import PER_ROWS

LOCK = paths.MONITORING / ".lock"
COLOURS = {"healthy": "green", "watch": "yellow", "retrain": "bold red"}
MOST_SHOWN = 20  # lines of the table


class Options(NamedTuple):
    """What was asked for on the command line."""

    window: str | None
    kind: Kind | None
    log: str
    evidently: bool


def main() -> None:
    """Entry point; see the module."""
    options = _arguments()
    contract, params = read_config()
    hook = webhook.address()
    wanted = window_of(options.window, contract) if options.window else None
    with files.alone(LOCK, "monitor"):
        kind = wanted.kind if wanted else options.kind or params.monitoring.window
        stored, problems = ledger.read_results(paths.WINDOWS)
        published = dict(stored)
        with Drawer() as drawer, ThreadPoolExecutor(1, thread_name_prefix="count") as beside:
            if options.evidently and survey.has_grown(options.log, stored):
                drawer.start()  # it takes seconds to load
            counted = beside.submit(survey.count, options.log)
            against = standard.load(contract, params)
            log = survey.look(counted.result(), kind, against)
            due = survey.due(log, wanted, stored, against, options.evidently)
            survey.measure(due, log, stored, against, drawer if options.evidently else None)
            results = survey.complete(stored, log, params.monitoring.labels)
            problems += drawer.finish()
            before = _previous()
            decision = decide(results, params.monitoring, against.version, _now(), before)
            decision["notes"] = [*against.notes, *log.notes, *problems]
            decision["announced"] = before.get("announced") if before else None
            changed = [each for each in results if each != published.get(each["window"]["name"])]
            _publish(changed, decision, drawer.pages(), contract.name)
        show(_table(decision, results))
        print(f"Measured {len(due)} of {len(log.held)} {kind}s; the others have not changed.")
        if hook:
            _announce(hook, decision, params)
    for note in decision["notes"]:
        print(f"Note: {note}", file=sys.stderr)
    print(f"\n{decision['sentence']}\nThe page: {paths.MONITORING_PAGE.as_posix()}")
    sys.exit(decision["exit_code"])


def _arguments() -> Options:
    parser = argparse.ArgumentParser(prog="python -m monitoring.monitor", description=__doc__)
    parser.add_argument("--window", help=f"measure only this one. {USAGE}")
    parser.add_argument("--kind", choices=get_args(Kind), help="of windows; default: what params.yaml says")
    parser.add_argument(
        "--log", metavar="URL", help=f"the prediction log; default: {LOG_VARIABLE}, or that of `make serve`"
    )
    parser.add_argument("--no-evidently", action="store_true", help="draw no Evidently reports")
    given = parser.parse_args()
    if given.window and given.kind:
        parser.error("--window names a kind already; leave out --kind")
    url = given.log or os.environ.get(LOG_VARIABLE) or f"sqlite:///{DEFAULT_LOG.as_posix()}"
    return Options(given.window, given.kind, url, not given.no_evidently)


def _previous() -> dict[str, Any] | None:
    """The last decision; None where there is none that can be read."""
    try:
        previous = files.read_json(paths.DECISION_REPORT)
        return cast("dict[str, Any]", previous) if previous["state"] in COLOURS else None
    except (TakeoffError, KeyError, TypeError):
        return None


def _publish(
    results: Sequence[Result], decision: Mapping[str, Any], drawn: Sequence[Path], title: str
) -> None:
    """Write what has changed, the decision and the page, or nothing: they are read side by side."""
    contents: dict[Path, Mapping[str, Any]] = {
        survey.json_of(each["window"]["name"]): each for each in results
    }
    contents[paths.DECISION_REPORT] = decision
    texts = {path: files.as_json(content) for path, content in contents.items()}
    reports = read_reports(paths.MONITORING, texts, drawn)
    texts[paths.MONITORING_PAGE] = page.render(title, reports)
    files.replace_together(texts, drawn)


def _announce(hook: str, decision: dict[str, Any], params: Params) -> None:
    """Tell the webhook, once per change of state; what it did not take is tried again by the next run."""
    if decision["announced"] == decision["state"]:
        return
    problem = webhook.post(hook, decision, params.monitoring.webhook_seconds)
    if problem:
        print(f"Warning: the webhook was not told: {problem}. The next run tries again.", file=sys.stderr)
        return
    decision["announced"] = decision["state"]
    files.write_json(paths.DECISION_REPORT, decision)


def _table(decision: Mapping[str, Any], results: Sequence[Result]) -> Table:
    by_name = {each["window"]["name"]: each for each in results}
    table = Table(title=f"What was measured; money is for {PER_ROWS:,} rows")
    for heading in (
        "window",
        "state",
        "rows",
        "labelled",
        "cost",
        "promised",
        "plain rule",
        "drifted columns",
    ):
        table.add_column(heading)
    for each in decision["windows"][-MOST_SHOWN:]:
        state, result = each["state"], by_name[each["name"]]
        colour = COLOURS.get(state, "dim")
        said = f"[{colour}]{state}[/]" + (f" ({escape(each['why'])})" if each["why"] else "")
        table.add_row(each["name"], said, f"{result['rows']:,}", *_money(result), _drifted(result))
    if len(decision["windows"]) > MOST_SHOWN:
        table.caption = f"The last {MOST_SHOWN} of {len(decision['windows'])}; the page has all."
    return table


def _money(result: Result) -> tuple[str, str, str, str]:
    """Share labelled, cost, promised, the plain rule's."""
    labels, money = result.get("labels") or {}, (result.get("performance") or {}).get("money") or {}
    values = [number(money[key]["value"]) if money.get(key) else "-" for key in ("model", "promised", "rule")]
    return f"{labels.get('share', 0):.0%}", values[0], values[1], values[2]


def _drifted(result: Result) -> str:
    columns = (result.get("drift") or {}).get("columns")
    if columns is None:
        return "-"
    counts = [sum(each["severity"] == name for each in columns) for name in ("severe", "watch")]
    return f"{counts[0]} severe, {counts[1]} to watch"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    run(main)
