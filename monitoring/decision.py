"""Healthy, watch or retrain: a pure function of what was measured in each window.

A window is judged by itself, then the last windows together: what is seen once may be chance. What the truth
says of the model outranks what its inputs look like: where labels show that performance holds, drift alone is
no reason to retrain.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from monitoring import findings
from monitoring.findings import Reason, Result, number
from takeoff.params import Monitoring
from takeoff.value import PER_ROWS

State = Literal["healthy", "watch", "retrain"]

NOT_JUDGED = "not judged"
EXIT_CODES: dict[State, int] = {"healthy": 0, "watch": 0, "retrain": 3}


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


class _Judged(NamedTuple):
    """A window that has a say, and whether it has enough rows for more than the first look."""

    result: Result
    judgement: Judgement
    is_full: bool


def judge_window(result: Result, settings: Monitoring, before: Sequence[int] = ()) -> Judgement:
    """What one window says, by itself.

    Args:
        result: JSON of the window.
        settings: levels.
        before: rows that came in the usual windows before it, to tell unusual traffic.
    """
    reasons = findings.of_performance(result, settings)
    holds = findings.is_labelled(result, settings.labels) and not reasons
    drift = findings.of_drift(result, settings)
    reasons += [each._replace(severity="watch") for each in drift] if holds else drift
    reasons += findings.of_quality(result, settings.quality) + findings.of_gaps(result)
    reasons += _of_asking(result, settings, before)
    reasons.sort(key=_gravity)
    state: State = reasons[0].severity if reasons else "healthy"
    return Judgement(result["window"]["name"], state, reasons)


def judge_thin_window(result: Result, settings: Monitoring, before: Sequence[int]) -> Judgement | None:
    """What a window says that is over and has no rows, or too few: whether rows stay away, or are refused.

    Returns:
        None where neither is: then nothing is known of it, and that is no health.
    """
    reasons = _of_asking(result, settings, before)
    return Judgement(result["window"]["name"], "watch", reasons) if reasons else None


def _of_asking(result: Result, settings: Monitoring, before: Sequence[int]) -> list[Reason]:
    """Reasons that need no answered row."""
    reasons = findings.of_traffic(result, before, settings.quality)
    if findings.asked_rows(result) >= settings.rows:
        reasons = findings.of_refusals(result, settings.quality) + reasons
    return reasons


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
    judged = _judged(windows, barred, settings)
    states = {each.judgement.name: each.judgement.state for each in judged}
    last = _last(judged, windows, settings)
    state = _state([each.judgement.state for each in last], settings)
    reasons = sorted((r for each in reversed(last) for r in each.judgement.reasons), key=_gravity)
    before = previous["state"] if previous else None
    return {
        "state": state,
        "exit_code": EXIT_CODES[state],
        "sentence": _sentence(state, last, reasons, settings, champion),
        "window": last[-1].judgement.name if last else None,
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
    """Why the rows of a window have no say in the decision, or None where they have."""
    if not result["window"]["complete"]:
        return "not over yet"
    if _is_thin(result, settings):
        return f"{result['rows']:,} rows, fewer than {settings.rows:,}"
    if champion is not None:
        share = result["model_versions"].get(champion, 0) / result["rows"]
        if share < settings.decision.champions_share:
            return f"version {champion} gave {share:.0%} of the answers"
    return None


def _is_thin(result: Result, settings: Monitoring) -> bool:
    return bool(result["rows"] < settings.rows)


def _judged(windows: Sequence[Result], barred: Sequence[str | None], settings: Monitoring) -> list[_Judged]:
    """What the windows say that have a say."""
    judged = []
    usual: list[int] = []  # a window without enough rows is none, however long it lasts
    for each, bar in zip(windows, barred, strict=True):
        is_over, is_thin = each["window"]["complete"], _is_thin(each, settings)
        before = usual[-settings.quality.usual_windows :]
        if bar is None:
            judged.append(_Judged(each, judge_window(each, settings, before), True))
        elif is_over and is_thin and (found := judge_thin_window(each, settings, before)):
            judged.append(_Judged(each, found, False))
        if is_over and not is_thin:
            usual.append(findings.asked_rows(each))
    return judged


def _last(judged: Sequence[_Judged], windows: Sequence[Result], settings: Monitoring) -> list[_Judged]:
    """The last windows that have enough rows, and those of the last few that have not.

    A window without enough rows is no news of the model, so it takes no other's place.
    """
    most = settings.decision.last
    full = [each.judgement.name for each in judged if each.is_full][-most:]
    over = [each["window"]["name"] for each in windows if each["window"]["complete"]][-most:]
    return [each for each in judged if each.judgement.name in (full if each.is_full else over)]


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
    last: Sequence[_Judged],
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
        found = sum(each.judgement.state in ("retrain", state) for each in last)
        also = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        within = f"{found} of {count} say so" if len(last) > 1 else f"{count} says so"
        what = f"{state.capitalize()}: {first.text} ({first.window}){also}; {within}"
    return f"{what}. {_money([each.result for each in last if each.is_full], settings)}"


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
                f"Decisions are estimated to cost {number(cost['value'])} per {PER_ROWS:,} rows in {name}; "
                "too few labels have come to know."
            )
    return "What the decisions cost is not known: no labels have come."
