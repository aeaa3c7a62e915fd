"""A folder as the monitor leaves it: weeks in a row, the newest without labels, and the decision on them."""

import json
import math
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from monitoring import decision, page
from monitoring.windows import window_of
from takeoff import paths
from takeoff.contract import Contract
from takeoff.params import Params
from tests.monitoring.results import column, estimate, result, without_labels

NOW = "2013-12-31T05:00:00+00:00"
FIRST = date(2013, 8, 5)
GROUPS = 10  # of rows, of a calibration curve


def weeks(count: int, contract: Contract, **top: Any) -> list[dict[str, Any]]:
    """Results of weeks in a row whose values differ; the last has no labels, a third has a new version."""
    return [_week(i, i == count - 1, count, contract) | top for i in range(count)]


def leave(folder: Path, results: Sequence[dict[str, Any]], params: Params, title: str) -> dict[str, Any]:
    """Write what the monitor would, with the page, and return the decision."""
    decided = decision.decide(results, params.monitoring, None, NOW)
    (folder / paths.WINDOWS.name).mkdir(parents=True, exist_ok=True)
    for each in results:
        file = folder / paths.WINDOWS.name / f"{each['window']['name']}.json"
        file.write_text(json.dumps(each), encoding="utf-8")
    (folder / paths.DECISION_REPORT.name).write_text(json.dumps(decided), encoding="utf-8")
    page.write(title, folder)
    return decided


def _week(i: int, is_last: bool, count: int, contract: Contract) -> dict[str, Any]:
    name = "{}-W{:02}".format(*(FIRST + timedelta(weeks=i)).isocalendar()[:2])
    period = window_of(name, contract).period
    wave = math.sin(i)
    moved = column("pressure", psi=0.3 + 0.1 * wave, effect=0.25, severity="severe" if is_last else "watch")
    drift = {
        "columns": [column(each) for each in contract.columns if each != "pressure"] + [moved],
        "predictions": [{"class": each, **moved} for each in contract.target.classes],
        "resamples": 500,
    }
    money = {
        "model": estimate(9_000 + 901.5 * wave, 450.25),
        "rule": estimate(12_000 + 800 * wave, 500),
        "total_model": 63_000.0,
        "total_rule": 84_000.0,
    }
    live = {
        "metrics": {"cost": money["model"], "roc_auc": estimate(0.75 + 0.03125 * wave, 0.0159)},
        "money": money,
        "event_share": estimate(0.2 + 0.05 * wave, 0.02),
        "predicted_share": 0.24 + 0.01 * wave,
        "calibration": [
            {"predicted": 0.0625 * i, "observed": round(0.05 * i + 0.01 * wave, 6), "rows": 690 + i}
            for i in range(1, GROUPS + 1)
        ],
    }
    change = without_labels(metrics={"cost": estimate(9_444, 333)}) if is_last else {"performance": live}
    return result(
        change,
        {
            "window": {
                "name": name,
                "kind": "week",
                "start": period.start.isoformat(),
                "end": period.end.isoformat(),
                "complete": True,
            }
        },
        drift=drift,
        model_versions={"1" if 3 * i < 2 * count else "2": 7000},
        notes=["No label has come yet."] if is_last else [],
    )
