"""What a model sees that it won't have: the target, later columns, and rows that were to be held out."""

import re
from collections.abc import Iterator, Sequence

from takeoff.pilot.calls import learns
from takeoff.pilot.code import Place
from takeoff.pilot.facts import Facts, Outcome
from takeoff.pilot.finding import Finding
from takeoff.pilot.values import Divided, Learnt, Pair, Trace

# Words of names that say that a value is known only once it is over.
LATER = re.compile(
    r"(^|_)(actual|outcome|resolution|resolved|closed|closing|closure|cancell?ation|cancell?ed|refund(s|ed)?|returned|"
    r"settled|settlement|delivered|discharged?|recover(y|ies|ed)|chargebacks?|terminat(ed|ion)|churn(ed)?|collections?|"
    r"write_?off|charge_?off|post|exit|repaid|completed|finished|ended|arrived|landed)(_|$)"
)
FIX_LEAK = (
    "Take it out of the features. Where an earlier value is meant, take it from earlier rows: `shift(1)`, or "
    "as src/takeoff/dataset.py does."
)
FIX_EARLY = (
    "Split first; then put the step into a `Pipeline` with the model, which `fit` learns from fit rows only."
)


def leak(trace: Trace, outcome: Outcome, known_later: frozenset[str], safe: frozenset[str]) -> list[Finding]:
    """Features that hold the target, are made from it, look ahead, or are known only later.

    Args:
        known_later: columns of the project's raw tables that are known only after the prediction.
        safe: columns of the contract, which are known in time whatever they are called.
    """
    found: dict[tuple[int, str], Finding] = {}
    for pair in trace.pairs:
        for name, place, text in _of_pair(pair, outcome.facts, known_later, safe, trace.selects):
            found.setdefault((place.cell, name), Finding("leak", place.cell, place.line, text, FIX_LEAK))
    named = {name for _, name in found}
    if trace.selects:  # the target may lie in a table whose columns a step selects
        named |= {name for pair in trace.pairs for name in pair.target.names}
    for each in outcome.facts.telling if outcome.facts else ():
        if not any(each.column == name or each.column.startswith(f"{name}_") for name in named):
            place = next((pair.place for pair in trace.pairs), Place(1, 1))
            text = f"`{each.column}` of `{each.features}` alone {each.how}."
            found.setdefault(
                (place.cell, each.column), Finding("leak", place.cell, place.line, text, FIX_LEAK)
            )
    return sorted(found.values(), key=lambda each: (each.cell or 0, each.line or 0, each.found))


def _of_pair(
    pair: Pair, facts: Facts | None, known_later: frozenset[str], safe: frozenset[str], selects: bool
) -> Iterator[tuple[str, Place, str]]:
    features, target = pair.features, pair.target
    if features.origin != target.origin:
        return
    answer = {name for name, how in target.sources if how == "now"}
    for name in () if selects and features.known is None else sorted(answer):
        if not pair.features.has(name):
            continue
        if name in target.names:
            yield name, features.selected, f"The target `{name}` is among the features."
        elif not features.made:
            at = f"The target was made from `{name}`, which is among the features."
            yield name, features.selected, at
    for name, column in sorted(features.derived.items()):
        if name in answer or not features.has(name):
            continue
        used = {source for source, how in column.sources if how == "now"} & answer
        if any(how == "ahead" for _, how in column.sources):
            yield name, column.place, f"`{name}` is made from later rows."
        elif used and not (features.made and not used & target.names):
            yield name, column.place, f"`{name}` is made from the target: from `{sorted(used)[0]}`."
    for name in sorted(_columns(pair, facts) - answer - safe):
        if name in known_later:
            yield name, features.selected, f"`{name}` is known only after the prediction has to be made."
        elif LATER.search(name.lower()):
            yield name, features.selected, f"`{name}`, by its name, is known only when it is over."


def _columns(pair: Pair, facts: Facts | None) -> frozenset[str]:
    """Columns of the features, as the code says, or as the frame that they are from had when it ran."""
    if pair.features.known is not None:
        return pair.features.known
    seen = facts.columns.get(pair.features.origin, ()) if facts else ()
    return frozenset(seen) - pair.features.dropped


def _is_split_later(learnt: Learnt, divided: Sequence[Divided]) -> bool:
    """Whether the rows that something learnt from are split after it, and not before."""
    of_these = [each.order for each in divided if not each.rows or learnt.rows & each.rows]
    return bool(of_these) and learnt.order <= min(of_these)


def early_fit(trace: Trace) -> list[Finding]:
    """What was learnt from all rows before they were first split."""
    if not trace.divided:
        return []
    found: dict[Place, str] = {}
    for each in trace.learnt:
        if not each.part and _is_split_later(each, trace.divided):
            what = (
                f"`{each.by}` learns from"
                if learns(each.by) or each.by[:1].isupper()
                else f"{each.by.capitalize()}:"
            )
            found[each.place] = f"{what} all rows, which are split only later."
    for pair in trace.pairs:
        answer = {name for name, how in pair.target.sources if how == "now"}
        for name, column in pair.features.derived.items():
            grouped = {source for source, how in column.sources if how == "grouped"} & answer
            first = min(each.order for each in trace.divided)
            if grouped and pair.features.has(name) and column.order <= first and not column.part:
                found[column.place] = (
                    f"`{name}` holds figures of the target `{sorted(grouped)[0]}` over all rows."
                )
    return [
        Finding("early-fit", place.cell, place.line, text, FIX_EARLY) for place, text in sorted(found.items())
    ]
