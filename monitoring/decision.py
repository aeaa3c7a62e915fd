"""Healthy, watch or retrain: a pure function of what was measured in each window.

A window is judged by itself, then the last windows together: what is seen once may be chance. What the truth
says of the model outranks what its inputs look like: where labels show that performance holds, drift alone is
no reason to retrain.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from monitoring import findings
from monitoring.findings import USUAL_WINDOWS, Reason, Result, number
from takeoff.params import Monitoring

State = Literal["healthy", "watch", "retrain"]

NOT_JUDGED = "not judged"
EXIT_CODES: dict[State, int] = {"healthy": 0, "watch": 0, "retrain": 3}
# A window in which another version gave more than the rest of the answers says little about the champion.
CHAMPIONS_SHARE = 0.9


class Judgement(NamedTuple):
    """One window by itself.

    Attributes:
        name: of the window.
        state: the gravest of its reasons.
        reasons: the gravest first.
    """

    name: str
    state: State
    reasons: list[Reason]


def judge_window(result: Result, settings: Monitoring, before: Sequence[int] = ()) -> Judgement:
    """What one window says, by itself.

    Args:
        result: JSON of the window.
        settings: levels.
        before: rows of the windows just before it, to tell unusual traffic.
    """
    reasons = findings.of_performance(result, settings)
    holds = findings.is_labelled(result, settings.labels) and not reasons
    drift = findings.of_drift(result, settings)
    reasons += [each._replace(severity="watch") for each in drift] if holds else drift
    reasons += findings.of_quality(result, settings.quality) + findings.of_gaps(result)
    reasons += findings.of_traffic(result, before, settings.quality)
    reasons.sort(key=_gravity)
    state: State = reasons[0].severity if reasons else "healthy"
    return Judgement(result["window"]["name"], state, reasons)


def decide(
    results: Sequence[Result],
    settings: Monitoring,
    champion: str | None,
    made_at: str,
    previous: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The decision, fit for JSON.

    Args:
        results: JSON of windows, in any order; of other kinds than `settings.window` as well.
        settings: levels, and in how many windows something must be found.
        champion: version that serves. Windows that mostly others answered are not judged. None: all are.
        made_at: now, ISO 8601.
        previous: the decision before this one.

    Returns:
        See the keys below; `windows` has all windows of the kind, the oldest first.
    """
    windows = sorted(
        (each for each in results if each["window"]["kind"] == settings.window),
        key=lambda each: str(each["window"]["start"]),
    )
    barred = [why_not_judged(each, settings, champion) for each in windows]
    rows = [each["rows"] for each in windows]
    judged = [
        (each, judge_window(each, settings, rows[max(place - USUAL_WINDOWS, 0) : place]))
        for place, (each, bar) in enumerate(zip(windows, barred, strict=True))
        if bar is None
    ]
    states = {judgement.name: judgement.state for _, judgement in judged}
    last = judged[-settings.decision.last :]
    state = _state([judgement.state for _, judgement in last], settings)
    reasons = sorted((r for _, j in reversed(last) for r in j.reasons), key=_gravity)
    before = previous["state"] if previous else None
    return {
        "state": state,
        "exit_code": EXIT_CODES[state],
        "sentence": _sentence(state, last, reasons, settings, champion),
        "window": last[-1][1].name if last else None,
        "made_at": made_at,
        "model_version": champion,
        "reasons": [each._asdict() for each in reasons],
        "windows": [
            {
                "name": each["window"]["name"],
                "state": states.get(each["window"]["name"], NOT_JUDGED),
                "why": bar,
            }
            for each, bar in zip(windows, barred, strict=True)
        ],
        "changed": before != state,
        "previous_state": before,
    }


def why_not_judged(result: Result, settings: Monitoring, champion: str | None) -> str | None:
    """Why a window has no say in the decision, or None where it has."""
    if result["rows"] < settings.rows:
        return f"{result['rows']:,} rows, fewer than {settings.rows:,}"
    if not result["window"]["complete"]:
        return "not over yet"
    if champion is not None:
        share = result["model_versions"].get(champion, 0) / result["rows"]
        if share < CHAMPIONS_SHARE:
            return f"version {champion} gave {share:.0%} of the answers"
    return None


def _state(states: Sequence[State], settings: Monitoring) -> State:
    needed = settings.decision
    if states.count("retrain") >= needed.retrain:
        return "retrain"
    # Nothing judged is no news, and no news is no health.
    if not states or len(states) - states.count("healthy") >= needed.watch:
        return "watch"
    return "healthy"


def _gravity(reason: Reason) -> tuple[bool, int]:
    return reason.severity != "retrain", findings.ORDER.index(reason.about)


def _sentence(
    state: State,
    last: Sequence[tuple[Result, Judgement]],
    reasons: Sequence[Reason],
    settings: Monitoring,
    champion: str | None,
) -> str:
    """State, why, and what it costs."""
    kind = settings.window
    version = f"version {champion}" if champion else "a model"
    if not last:
        return (
            f"Watch: nothing to judge yet. No {kind} is over in which {version} has answered at least "
            f"{settings.rows:,} rows."
        )
    count = f"the last {len(last)} {kind}s" if len(last) > 1 else f"the last {kind}"
    if state == "healthy":
        what = f"Healthy: nothing in {count} asks for action"
    else:
        first = reasons[0]
        found = sum(judgement.state in ("retrain", state) for _, judgement in last)
        also = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        within = f"{found} of {count} say so" if len(last) > 1 else f"{count} says so"
        what = f"{state.capitalize()}: {first.text} ({first.window}){also}; {within}"
    return f"{what}. {_money([result for result, _ in last], settings)}"


def _money(results: Sequence[Result], settings: Monitoring) -> str:
    """What the answers cost, in the latest window that knows."""
    for result in reversed(results):
        name = result["window"]["name"]
        performance = result.get("performance") or {}
        money = performance.get("money")
        if money and findings.is_labelled(result, settings.labels):
            compared = [
                f"{number(money[key]['value'])} {said}"
                for key, said in (("promised", "promised"), ("rule", "by the plain rule"))
                if money.get(key)
            ]
            against = f" ({', '.join(compared)})" if compared else ""
            return (
                f"Decisions cost {number(money['model']['value'])} {money['currency']} per "
                f"{money['per_rows']:,} rows in {name}{against}."
            )
        cost = findings.metric((result.get("estimated") or {}).get("metrics"), "cost")
        if cost:
            return (
                f"Decisions are estimated to cost {number(cost['value'])} per 1,000 rows in {name}; "
                "too few labels have come to know."
            )
    return "What the decisions cost is not known: no labels have come."
