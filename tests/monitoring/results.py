"""The JSON of a window in which all is well, and changes to it."""

import copy
from collections.abc import Mapping
from typing import Any

Change = Mapping[str, Any]


def estimate(value: float, half: float = 0.0) -> dict[str, float]:
    """A value with an interval of this half width."""
    return {"value": value, "low": value - half, "high": value + half}


def column(name: str = "pressure", **changes: Any) -> dict[str, Any]:
    """A column that has not moved, or has."""
    return {
        "column": name,
        "type": "number",
        "rows": 7000,
        "importance": 0.1,
        "psi": 0.02,
        "psi_floor": 0.02,
        "distance": 0.03,
        "distance_kind": "wasserstein",
        "distance_floor": 0.03,
        "missing": 0.01,
        "missing_reference": 0.01,
        "missing_floor": 0.005,
        "unseen": 0.0,
        "unseen_floor": 0.001,
        "effect": 0.0,
        "severity": "none",
        **changes,
    }


HEALTHY: dict[str, Any] = {
    "window": {
        "name": "2013-W32",
        "kind": "week",
        "start": "2013-08-05T04:00:00+00:00",
        "end": "2013-08-12T04:00:00+00:00",
        "complete": True,
    },
    "rows": 7000,
    "model_versions": {"1": 7000},
    "contracts": {"235ca065bf50c955": 7000},
    "reference": {
        "model_version": "1",
        "promised": {
            "cost": estimate(10_000, 300),
            "roc_auc": estimate(0.77, 0.02),
            "calibration_error": estimate(0.02, 0.01),
        },
    },
    "notes": [],
    "drift": {
        "columns": [column()],
        "predictions": [{"class": "late", **column(), "importance": None}],
        "resamples": 500,
    },
    "multivariate": {"roc_auc": estimate(0.52, 0.02), "floor": 0.51, "rows": 14_000, "columns": []},
    "labels": {"rows": 6900, "share": 0.985, "never": 100, "lag_hours": {"median": 5.0, "p90": 8.0}},
    "performance": {
        "rows": 6900,
        "metrics": {
            "cost": estimate(9_900, 500),
            "roc_auc": estimate(0.765, 0.02),
            "calibration_error": estimate(0.025, 0.01),
        },
        "money": {
            "currency": "USD",
            "per_rows": 1000,
            "model": estimate(9_900, 500),
            "rule": estimate(12_000, 500),
            "promised": estimate(10_000, 300),
            "gain_over_rule": estimate(2_100, 200),
        },
    },
    "estimated": {
        "rows": 7000,
        "metrics": {"cost": estimate(9_950, 400), "roc_auc": estimate(0.77, 0.02)},
        "last_known_error": {"cost": 300.0, "roc_auc": 0.01, "window": "2013-W31"},
    },
    "quality": {"rules": [], "broken_rows": 0, "checked_rows": 7000, "refused": {}},
    "shadow": None,
}


def result(*changes: Change, **top: Any) -> dict[str, Any]:
    """`HEALTHY` with changes, each merged into it, and keys at the top replaced."""
    made = copy.deepcopy(HEALTHY)
    for change in changes:
        _merge(made, change)
    return {**made, **top}


def week(number: int, *changes: Change, **top: Any) -> dict[str, Any]:
    """The result of a week of 2013."""
    window = {"name": f"2013-W{number:02}", "start": f"2013-{number:02}", "end": f"2013-{number + 1:02}"}
    return result({"window": window}, *changes, **top)


def without_labels(**estimated: Any) -> dict[str, Any]:
    """A change: no truth has come, and performance is estimated."""
    return {"labels": {"rows": 0, "share": 0.0}, "performance": None, "estimated": estimated}


def _merge(made: dict[str, Any], change: Change) -> None:
    for key, value in change.items():
        if isinstance(value, Mapping) and isinstance(made.get(key), dict):
            _merge(made[key], value)
        else:
            made[key] = copy.deepcopy(value)
