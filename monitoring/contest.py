"""Who was worth what on the same labelled rows: the model left alone, the loop, the plain rule.

Pure: rows and answers come in, estimates and a page go out. Binary tasks, as in `takeoff.evaluation`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from takeoff import bootstrap, evaluation, model, value
from takeoff.bootstrap import Estimate, Resamples
from takeoff.contract import Contract
from takeoff.evaluation import Scored
from takeoff.features import features
from takeoff.model import Model
from takeoff.params import Evaluation

ALONE, LOOP, RULE = "left_alone", "loop", "rule"
CONTESTANTS = (ALONE, LOOP, RULE)


class Told(NamedTuple):
    """Labelled rows of the prediction log.

    Attributes:
        rows: contract columns, one row an answer; shape (n, columns).
        times: instants in UTC, by which rows are put into days; shape (n,).
        labels: int64, shape (n,): place of the truth among the contract's classes.
        decisions: int64, shape (n,): the same of what the service decided.
        probabilities: float32, shape (n, classes), as the service answered.
    """

    rows: pd.DataFrame
    times: pd.Series
    labels: npt.NDArray[np.int64]
    decisions: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]


class Offline(NamedTuple):
    """A model that did not serve, with the threshold it would have decided at."""

    model: Model
    threshold: float


def score(told: Told, alone: Offline, rule: Offline, contract: Contract) -> dict[str, Scored]:
    """Each contestant's answers on the rows: the loop's from the log, the others' from their ONNX files."""
    found = {LOOP: _logged(told, contract)}
    columns = features(told.rows, contract)
    for name, each in ((ALONE, alone), (RULE, rule)):
        probabilities = model.predict(each.model.session, columns)
        found[name] = evaluation.score(told.labels, probabilities, each.threshold, contract)
    return {name: found[name] for name in CONTESTANTS}


def measure(
    scored: Mapping[str, Scored], times: pd.Series, contract: Contract, settings: Evaluation, seed: int
) -> dict[str, Any]:
    """Money and calibration of each contestant, and what the loop gained, with intervals over days.

    Returns:
        Fit for JSON. Costs are money for `value.PER_ROWS` rows, `total` is that of all rows; gains are
        paired, positive is better for the loop.
    """
    rows = pd.DataFrame({contract.time.column: times})
    resamples = bootstrap.resample(rows, contract, settings.resamples, seed)
    draws = {
        metric: {name: _draws(metric, each, resamples, settings) for name, each in scored.items()}
        for metric in ("cost", "calibration_error")
    }
    cost, confidence = draws["cost"], settings.confidence
    return {
        "rows": len(times),
        "event_share": round(float(scored[LOOP].labels.mean()), 6),
        "contestants": {
            name: {metric: _shown(draws[metric][name], confidence) for metric in draws}
            | {"total": round(float(each.cost.sum()), 2)}
            for name, each in scored.items()
        },
        "loop_gains": {
            name: _shown(cost[name] - cost[LOOP], confidence) for name in CONTESTANTS if name != LOOP
        },
    }


def together(parts: Sequence[Mapping[str, Scored]]) -> dict[str, Scored]:
    """The same contestants on the rows of all parts."""
    found = {}
    for name in CONTESTANTS:
        columns = zip(*(part[name] for part in parts), strict=True)
        found[name] = Scored(*(np.concatenate(column) for column in columns))
    return found


def table(story: Mapping[str, Any], contract: Contract) -> str:
    """The story as a table in Markdown: a line a period, then all of them."""
    currency, per = contract.costs.currency, contract.costs.per
    lines = [
        f"| month | {per}s | {contract.target.classes[-1]} | model left alone: {currency}, calibration | the "
        f"loop: {currency}, calibration | plain rule: {currency}, calibration | at the month's end |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in story["months"]:
        lines.append(_line(each["name"], each, f"{_served(each)}; {each['ending']}"))
    lines.append(_line("**all**", story["all"], _gained(story["all"], currency)))
    totals = " | ".join(f"{story['all']['contestants'][name]['total']:,.0f}" for name in CONTESTANTS)
    return "\n".join([*lines, f"| total {currency} | | | {totals} | |"]) + "\n"


def _line(name: str, measured: Mapping[str, Any], ending: str) -> str:
    cells = [
        f"{each['cost']['value']:,.0f} [{each['cost']['low']:,.0f}, {each['cost']['high']:,.0f}], "
        f"{each['calibration_error']['value']:.3f}"
        for each in (measured["contestants"][contestant] for contestant in CONTESTANTS)
    ]
    return (
        f"| {name} | {measured['rows']:,} | {measured['event_share']:.1%} | {' | '.join(cells)} | {ending} |"
    )


def _served(month: Mapping[str, Any]) -> str:
    versions = list(month["model_versions"])
    return f"version{'s' if len(versions) > 1 else ''} {' and '.join(versions)} served"


def _gained(measured: Mapping[str, Any], currency: str) -> str:
    gain = measured["loop_gains"][ALONE]
    return (
        f"the loop gained {gain['value']:,.0f} [{gain['low']:,.0f}, {gain['high']:,.0f}] {currency} for "
        f"{value.PER_ROWS:,} over the model left alone"
    )


def _logged(told: Told, contract: Contract) -> Scored:
    cost = value.costs(told.labels, told.decisions, value.cost_matrix(contract))
    return Scored(told.labels, told.probabilities, cost)


def _draws(
    metric: str, scored: Scored, resamples: Resamples, settings: Evaluation
) -> npt.NDArray[np.float64]:
    found = {"cost": evaluation.cost, "calibration_error": evaluation.calibration_error}[metric]
    return found(scored, resamples, settings.calibration_bins)


def _shown(draws: npt.NDArray[np.float64], confidence: float) -> dict[str, float]:
    found: Estimate = bootstrap.interval(draws, confidence)
    return {side: round(number, 6) for side, number in found._asdict().items()}
