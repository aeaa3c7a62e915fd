"""Looks at what a notebook's names hold. Runs inside the notebook's kernel, and changes nothing there.

What was not imported by the notebook is not imported here: without pandas there are no frames.
"""

import json
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from takeoff.pilot.data import NO_ROW_TIME, is_row_time

MOST_ROWS = 20_000  # looked at of a large table
FEWEST_ROWS = 30  # below, a column tells the target by chance
LOOKS_LIKE_TIME = re.compile(
    r"\d{4}-\d{1,2}(-\d{1,2})?([T ].*)?$|\d{1,2}[/.]\d{1,2}[/.]\d{2,4}( .*)?$|\d{4}/\d{1,2}/\d{1,2}"
)
TELLING = 0.99  # AUC of one column, or share of rows it decides rightly
BINS = 20


def watch(shell: Any, facts: Path, pairs: Sequence[tuple[str, str]], seconds: int) -> None:
    """Write what names hold to `facts` when a cell fails, as one does once `seconds` are over.

    Where all goes well, `tell` writes it at the end.
    """

    def too_long(*_: object) -> None:
        raise TimeoutError(f"the notebook takes longer than {seconds} s")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)

    def after(result: Any) -> None:
        if not result.success:
            tell(shell.user_ns, facts, pairs)

    shell.events.register("post_run_cell", after)


def tell(names: dict[str, Any], facts: Path, pairs: Sequence[tuple[str, str]]) -> None:
    """Write what `names` hold as JSON.

    Args:
        pairs: expressions of features and of the target that they were fitted to.
    """
    signal.alarm(0)
    held = {name: value for name, value in list(names.items()) if not name.startswith("_")}
    frames = dict(_frames(held))
    content = {
        "columns": {name: [str(each) for each in frame.columns] for name, frame in frames.items()},
        "times": [[name, column] for name, frame in frames.items() for column in _times(frame)],
        "telling": [each for pair in pairs for each in _telling(names, *pair)],
        "estimators": [each for name, value in held.items() for each in _estimators(name, value)],
    }
    facts.write_text(json.dumps(content), encoding="utf-8")


def _frames(held: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return
    for name, value in held.items():
        if isinstance(value, pandas.DataFrame) and len(value):
            yield name, value


def _times(frame: Any) -> Iterator[str]:
    import pandas as pd

    if isinstance(frame.index, pd.DatetimeIndex | pd.PeriodIndex):
        yield "the index"
    for place, column in enumerate(frame.columns):
        name, values = str(column), frame.iloc[:, place]
        if NO_ROW_TIME.search(name.lower()):
            continue
        if pd.api.types.is_datetime64_any_dtype(values) or isinstance(values.dtype, pd.PeriodDtype):
            yield name
        elif pd.api.types.is_numeric_dtype(values):
            if is_row_time(name) and values.nunique() > 1:
                yield name
        elif pd.api.types.is_object_dtype(values) or pd.api.types.is_string_dtype(values):
            some = [str(each) for each in values.dropna().head(20)]
            if some and all(LOOKS_LIKE_TIME.match(each) for each in some):
                yield name


def _telling(names: dict[str, Any], features: str, target: str) -> Iterator[list[str]]:
    """Columns of features that alone tell the target."""
    try:
        table, truth = eval(features, names), eval(target, names)  # noqa: S307  # the notebook's own code
        yield from _judged(features, table, truth)
    except Exception:
        return  # whatever these were, they are no table and no target


def _judged(name: str, table: Any, truth: Any) -> Iterator[list[str]]:
    import numpy as np
    import pandas as pd

    if not isinstance(table, pd.DataFrame) or len(table) != len(truth) or len(table) < FEWEST_ROWS:
        return
    rows = slice(None, None, max(1, len(table) // MOST_ROWS))
    answer = pd.Series(np.asarray(truth).ravel()).iloc[rows].reset_index(drop=True)
    classes = answer.nunique()
    numeric = pd.api.types.is_numeric_dtype(answer) and classes > max(20, 0.05 * len(answer))
    if classes < 2:
        return
    for column in table.columns:
        values = table[column].iloc[rows].reset_index(drop=True)
        if numeric:
            if pd.api.types.is_numeric_dtype(values) and abs(values.corr(answer, method="spearman")) > 0.9999:
                yield [name, str(column), "puts the rows in the order of the target"]
        elif (share := _decided(values, answer)) > TELLING and share > answer.value_counts(
            normalize=True
        ).max():
            yield [name, str(column), f"decides {share:.1%} of the rows rightly"]


def _decided(values: Any, answer: Any) -> float:
    """Share of rows that the commonest class among rows of a like value decides rightly."""
    import pandas as pd

    groups = values
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > BINS:
        groups = pd.qcut(values.rank(method="first"), BINS, labels=False)
    if groups.nunique(dropna=False) > max(BINS, len(groups) // 10):
        return 0.0  # an id tells every row apart
    counts = pd.crosstab(groups.astype("object").fillna("missing"), answer)
    return float(counts.max(axis=1).sum() / len(answer))


def _estimators(name: str, value: Any, depth: int = 0) -> Iterator[list[str]]:
    kind = type(value)
    if depth > 4 or not (hasattr(value, "get_params") and hasattr(value, "fit")) or isinstance(value, type):
        return
    yield [name, kind.__module__, kind.__name__]
    for attribute in ("steps", "transformers_", "transformer_list", "estimators"):
        for part in getattr(value, attribute, None) or ():
            for each in part if isinstance(part, tuple) else (part,):
                yield from _estimators(name, each, depth + 1)
