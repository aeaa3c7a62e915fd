"""The contract's rules on the rows of a window, decided by Great Expectations, chunk by chunk.

Rules on numbers that hold for both bounds of a column hold for all between, and rules on text need each
different text once. So Great Expectations is asked about these, once, and gets a whole column of a chunk only
where a number lies outside: sound rows take no longer than to look for their extremes. Rules on shares are
held against the totals of the window.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from monitoring.scores import codes
from takeoff.check_rules import DTYPE_NAMES, Rule, derive, derive_split
from takeoff.checks import check, show
from takeoff.contract import Contract
from takeoff.log_read import Chunk
from takeoff.split import Period

MOST_TEXTS = 10_000  # different texts of a column that are remembered
EXAMPLES = 3
# Rules of the contract that say nothing about a window of production.
LEFT_OUT = {
    "columns": "the service takes no other columns",
    "unique": "the same row may be asked about twice",
    "rows": "a window has as many rows as there were",
    "period": "the window is cut by it",
    "freshness": "a window may end while it is quiet",
    "order": "a window is compared with no other split",
}

Mask = npt.NDArray[np.bool_]
Range = tuple[float, float]
NOTHING: Range = (np.inf, -np.inf)


class Known:
    """What Great Expectations has said about single values; outlives a window, so that it is asked once.

    Attributes:
        sound: by column of numbers, the range in which all rules hold.
        breaks: by column of text, the names of the rules that each text breaks.
    """

    def __init__(self) -> None:
        self.sound: dict[str, Range] = {}
        self.breaks: dict[str, dict[str, tuple[str, ...]]] = {}


class Quality:
    """Which rules of the contract the rows of a window break, and how many rows do.

    Args:
        contract: what a row is.
        period: of the window.
        share_rows: fewest rows of a share that is judged.
        known: what earlier windows of the same contract have found out; is added to.
    """

    def __init__(
        self, contract: Contract, period: Period, share_rows: int, known: Known | None = None
    ) -> None:
        self._contract, self._share_rows = contract, share_rows
        known = known or Known()
        rules = derive(contract, period)
        self._left_out = {rule.name: LEFT_OUT[rule.kind] for rule in rules if rule.kind in LEFT_OUT}
        self._columns: dict[str, _Numbers | _Texts] = {}
        for name, column in contract.columns.items():
            about = [rule for rule in rules if rule.column == name]
            self._columns[name] = (
                _Numbers(name, about, known) if column.is_number else _Texts(name, about, known)
            )
        self._unlabelled = next(rule for rule in rules if rule.kind == "unlabelled_share")
        in_split = derive_split(contract, "window", period)
        self._class_shares = [rule for rule in in_split if rule.kind == "class_share"]
        self._by_class = np.zeros(len(contract.target.classes), dtype="int64")
        self._rows = self._broken = 0

    def add(self, chunk: Chunk) -> None:
        """Hold the rules against some rows."""
        rows = chunk.rows.reset_index(drop=True)
        broken = np.zeros(len(rows), dtype="bool")
        if len(rows):
            for name, column in self._columns.items():
                column.add(rows[name], broken)
        self._rows += len(rows)
        self._broken += int(broken.sum())
        truth = codes(chunk.answers["label"], self._contract.target.classes)
        self._by_class += np.bincount(truth[truth >= 0], minlength=len(self._by_class))

    def result(
        self, refused: Mapping[str, int] | None = None, labels: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """The part `quality` of a window's JSON; None where there is neither a row nor a refusal.

        Args:
            refused: what the service refused, by reason; None where nobody counted.
            labels: the part `labels`, whose rows that never had a label are judged.
        """
        if not self._rows and not refused:
            return None
        found = [each for column in self._columns.values() for each in column.result(self._share_rows)]
        found += [self._unlabelled_result(labels), *self._class_share_results()]
        return {
            "rules": found,
            "broken_rows": self._broken,
            "checked_rows": self._rows,
            "left_out": self._left_out,
            "refused": None if refused is None else dict(refused),
        }

    @property
    def notes(self) -> list[str]:
        """What is missing, and why."""
        if self._rows < self._share_rows:
            return [f"The window has {self._rows:,} rows: shares are judged from {self._share_rows} rows on."]
        return []

    def _unlabelled_result(self, labels: Mapping[str, Any] | None) -> dict[str, Any]:
        rule = self._unlabelled
        if labels is None or labels["never"] is None:
            return _result(rule, "not checked: nothing says which labels are still to come", 0, None)
        rows = labels["rows"] + labels["never"]
        return _share_result(rule, labels["never"], rows, "without a label", self._share_rows)

    def _class_share_results(self) -> list[dict[str, Any]]:
        labelled = int(self._by_class.sum())
        results = []
        for rule in self._class_shares:
            (name,) = rule.arguments["value_set"]
            count = int(self._by_class[self._contract.target.classes.index(name)])
            measured = f"{count:,} of {labelled:,} rows ({count / max(labelled, 1):.2%})"
            is_enough = labelled >= self._share_rows
            passed = count >= rule.arguments["mostly"] * labelled if is_enough else None
            results.append(_result(rule, measured, 0, passed) | {"rule": rule.name.removeprefix("window.")})
        return results


class _Numbers:
    """The rules on one column of numbers."""

    def __init__(self, name: str, rules: Sequence[Rule], known: Known) -> None:
        self._name, self._rules, self._known = name, rules, known
        self._of_rows = [rule for rule in rules if rule.finds_rows]
        self._never_missing = any(rule.kind == "missing" for rule in self._of_rows)
        self._whole = any(rule.dtype == "integer" for rule in rules)
        self._seen = NOTHING
        self._rows = self._missing = 0
        self._failing: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, values: pd.Series, broken: Mask) -> None:
        """Hold the rules against one chunk of the column; sets `broken` where a row breaks one."""
        numbers = values.to_numpy("float32")
        absent = np.isnan(numbers)
        missing = int(absent.sum())
        self._rows += len(numbers)
        self._missing += missing
        if missing < len(numbers):
            low, high = float(np.nanmin(numbers)), float(np.nanmax(numbers))
            self._seen = (min(self._seen[0], low), max(self._seen[1], high))
            is_fraction = self._whole and bool((np.rint(numbers) != numbers)[~absent].any())
            first, last = self._sound()
            if is_fraction or low < first or high > last:
                self._check(values, broken)
                return
        if missing and self._never_missing:
            self._check(values, broken)

    def result(self, share_rows: int) -> list[dict[str, Any]]:
        """What came of each rule; shares of fewer than `share_rows` rows are not judged."""
        spread = "no values" if self._missing == self._rows else " to ".join(map(show, self._seen))
        results = []
        for rule in self._rules:
            if rule.kind == "missing":
                results.append(_missing_result(rule, self._missing, self._rows, share_rows))
            else:
                measured = spread if rule.kind == "bounds" else DTYPE_NAMES[rule.dtype or "number"]
                results.append(_row_result(rule, measured, self._failing, self._examples, self._rows))
        return results

    def _sound(self) -> Range:
        """The column's bounds, once Great Expectations has agreed that all rules hold there."""
        if self._name not in self._known.sound:
            bounds = next(rule.arguments for rule in self._of_rows if rule.kind == "bounds")
            low, high = float(bounds["min_value"]), float(bounds["max_value"])
            frame = pd.DataFrame({self._name: np.array([low, high], dtype="float32")})
            agreed = all(outcome.passed for outcome in check(frame, self._of_rows))
            self._known.sound[self._name] = (low, high) if agreed else NOTHING
        return self._known.sound[self._name]

    def _check(self, values: pd.Series, broken: Mask) -> None:
        for outcome in check(values.to_frame(self._name), self._of_rows):
            _count(outcome.rule.name, outcome.failing, outcome.examples, self._failing, self._examples)
            broken[outcome.positions] = True


class _Texts:
    """The rules on one column of text."""

    def __init__(self, name: str, rules: Sequence[Rule], known: Known) -> None:
        self._name, self._rules = name, rules
        self._of_rows = [rule for rule in rules if rule.finds_rows]
        self._never_missing = [rule for rule in self._of_rows if rule.kind == "missing"]
        self._of_values = [rule for rule in self._of_rows if rule.kind != "missing"]
        self._breaks = known.breaks.setdefault(name, {})
        self._seen: set[str] = set()
        self._rows = self._missing = 0
        self._failing: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, values: pd.Series, broken: Mask) -> None:
        """Hold the rules against one chunk of the column; sets `broken` where a row breaks one."""
        values = values.astype("category")
        place = values.cat.codes.to_numpy()
        texts = [str(text) for text in values.cat.categories]
        counts = np.bincount(place[place >= 0], minlength=len(texts))
        occurring = [text for text, count in zip(texts, counts, strict=True) if count]
        self._rows += len(values)
        self._missing += int((place < 0).sum())
        if len(self._seen) < MOST_TEXTS:
            self._seen.update(occurring)
        self._look_at(occurring)
        broken_by = [self._breaks[text] if count else () for text, count in zip(texts, counts, strict=True)]
        for text, rules, count in zip(texts, broken_by, counts.tolist(), strict=True):
            for rule in rules:
                _count(rule, count, [show(text)], self._failing, self._examples)
        breaks = np.array([*map(bool, broken_by), False])  # the last for what is missing
        broken |= breaks[place]
        if self._never_missing and (place < 0).any():
            for outcome in check(_as_text(values, self._name), self._never_missing):
                _count(outcome.rule.name, outcome.failing, outcome.examples, self._failing, self._examples)
                broken[outcome.positions] = True

    def result(self, share_rows: int) -> list[dict[str, Any]]:
        """What came of each rule; shares of fewer than `share_rows` rows are not judged."""
        more = "at least " if len(self._seen) >= MOST_TEXTS else ""
        different = f"{more}{len(self._seen):,} different values" if self._seen else "no values"
        results = []
        for rule in self._rules:
            if rule.kind == "missing":
                results.append(_missing_result(rule, self._missing, self._rows, share_rows))
            else:
                measured = DTYPE_NAMES["category"] if rule.kind == "type" else different
                results.append(_row_result(rule, measured, self._failing, self._examples, self._rows))
        return results

    def _look_at(self, occurring: Sequence[str]) -> None:
        """Find out which rules the texts break that are not known yet."""
        if len(self._breaks) > MOST_TEXTS:  # what is looked at again costs time, what is kept costs memory
            self._breaks.clear()
        texts = [text for text in occurring if text not in self._breaks]
        if not texts:
            return
        found: dict[str, list[str]] = {text: [] for text in texts}
        for outcome in check(pd.DataFrame({self._name: pd.Series(texts, dtype="str")}), self._of_values):
            for position in outcome.positions.tolist():
                found[texts[position]].append(outcome.rule.name)
        self._breaks.update({text: tuple(rules) for text, rules in found.items()})


def _as_text(values: pd.Series, name: str) -> pd.DataFrame:
    return values.astype("str").to_frame(name)


def _count(
    rule: str, failing: int, examples: Sequence[str], counts: Counter[str], kept: dict[str, list[str]]
) -> None:
    counts[rule] += failing
    before = kept.setdefault(rule, [])
    before += [each for each in examples if each not in before][: EXAMPLES - len(before)]


def _row_result(
    rule: Rule, measured: str, failing: Mapping[str, int], examples: Mapping[str, Sequence[str]], rows: int
) -> dict[str, Any]:
    """Of a rule that single rows break."""
    count = failing.get(rule.name, 0)
    if count:
        shown = ", ".join(examples.get(rule.name, ()))
        found = "" if rule.kind == "type" else f"{measured}; "  # what a type should be is no measurement
        measured = f"{found}{count:,} of {rows:,} rows break it" + (f", as {shown}" if shown else "")
    return _result(rule, measured, count, None if rows == 0 else count == 0)


def _missing_result(rule: Rule, missing: int, rows: int, share_rows: int) -> dict[str, Any]:
    if rule.finds_rows:  # never missing: one row is enough
        measured = f"{missing:,} of {rows:,} missing ({missing / max(rows, 1):.2%})"
        return _result(rule, measured, missing, None if rows == 0 else missing == 0)
    return _share_result(rule, missing, rows, "missing", share_rows)


def _share_result(rule: Rule, missing: int, rows: int, how: str, share_rows: int) -> dict[str, Any]:
    """Of a rule on the share of rows that have a value, over the whole window."""
    measured = f"{missing:,} of {rows:,} {how} ({missing / max(rows, 1):.2%})"
    if rows < share_rows:
        return _result(rule, measured, 0, None)
    passed = (rows - missing) / rows >= rule.arguments["min_value"]
    return _result(rule, measured, 0 if passed else missing, passed)


def _result(rule: Rule, measured: str, failing: int, passed: bool | None) -> dict[str, Any]:
    return {
        "rule": rule.name,
        "column": rule.column,
        "required": rule.required,
        "measured": measured,
        "failing": failing,
        "passed": passed,
        "severity": rule.severity,
    }
