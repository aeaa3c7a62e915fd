"""One check of all columns at once: can a classifier tell the window's rows from the reference's?

A change that no column shows alone (two that belong together come apart) shows here. The classifier
two-sample test is Lopez-Paz and Oquab's (2017); its measure is the ROC AUC on rows that it was not fitted on:
0.5 is no difference, 1 is no row in common.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm, rankdata
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold

from monitoring.profiles import Categories, Reference
from takeoff.params import Multivariate

CONFIDENCE = 0.95  # of the interval, and of chance staying below the floor
TREES, LEAVES, LEARNING_RATE = 40, 15, 0.15  # small: it has to see a difference, not to be the best at it

Floats = npt.NDArray[np.float64]


class Area(NamedTuple):
    """A ROC AUC and its variance."""

    value: float
    variance: float


def measure(
    rows: pd.DataFrame, reference: Reference, settings: Multivariate, seed: int
) -> dict[str, Any] | None:
    """How well a classifier tells rows of a window from those of the reference's sample.

    Args:
        rows: of the window: all, or a sample drawn at random; at most `settings.rows` are used, as many of
            the reference's sample.
        reference: its `sample` is the other side.
        settings: rows of either side, folds.
        seed: of what is drawn, and of the folds.

    Returns:
        Values fit for JSON: `roc_auc` (value, low, high: by DeLong's variance), `floor` (what chance alone
        stays below), `rows` of both sides, and `columns`, each with the loss of ROC AUC when it is shuffled
        on rows that were not fitted on, largest first. None where a side has fewer rows than folds need.
    """
    window, known = (_at_most(side, settings.rows, seed) for side in (rows, reference.sample))
    if min(len(window), len(known)) < 2 * settings.folds:
        return None
    values = np.concatenate([_numbers(known, reference), _numbers(window, reference)])
    is_window = np.concatenate([np.zeros(len(known), bool), np.ones(len(window), bool)])
    areas, losses = [], []
    folds = StratifiedKFold(settings.folds, shuffle=True, random_state=seed)
    for fitted, held in folds.split(values, is_window):
        classifier = HistGradientBoostingClassifier(
            max_iter=TREES,
            max_leaf_nodes=LEAVES,
            learning_rate=LEARNING_RATE,
            early_stopping=False,
            random_state=seed,
        ).fit(values[fitted], is_window[fitted])
        areas.append(area(classifier.decision_function(values[held]), is_window[held]))
        losses.append(_losses(classifier, values[held], is_window[held], areas[-1].value, seed))
    return {
        "roc_auc": _estimate(areas),
        "floor": chance_floor(int(is_window.sum()), int((~is_window).sum())),
        "rows": len(values),
        "columns": _ranked(list(reference.columns), np.mean(losses, axis=0)),
    }


def area(scores: Floats, is_positive: npt.NDArray[np.bool_]) -> Area:
    """ROC AUC with DeLong's variance (DeLong, DeLong and Clarke-Pearson 1988), by ranks (Sun and Xu 2014).

    Args:
        scores: float64, shape (n,), higher for what looks positive.
        is_positive: bool, shape (n,), two or more of each.
    """
    positive, negative = scores[is_positive], scores[~is_positive]
    ranks = rankdata(np.concatenate([positive, negative]))
    m, n = len(positive), len(negative)
    # For each row, the share of the other side that lies on the right side of it; ties count half.
    of_positive = (ranks[:m] - rankdata(positive)) / n
    of_negative = 1 - (ranks[m:] - rankdata(negative)) / m
    variance = of_positive.var(ddof=1) / m + of_negative.var(ddof=1) / n
    return Area(float(of_positive.mean()), float(variance))


def chance_floor(positive: int, negative: int) -> float:
    """What the ROC AUC of scores that mean nothing stays below (Mann and Whitney 1947, one-sided)."""
    spread = np.sqrt((positive + negative + 1) / (12 * positive * negative))
    return float(0.5 + norm.ppf(CONFIDENCE) * spread)


def _at_most(rows: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    return rows if len(rows) <= most else rows.sample(most, random_state=seed)


def _numbers(rows: pd.DataFrame, reference: Reference) -> Floats:
    """Rows as a matrix. A category becomes the rank of how common it is in the reference; -1 is a new one."""
    columns = []
    for name, bins in reference.columns.items():
        if isinstance(bins, Categories):
            order = np.argsort(np.argsort(-bins.counts[:-2], kind="stable"), kind="stable")
            ranks = dict(zip(bins.values, order.tolist(), strict=True))
            text = rows[name].astype("object")
            column = text.map(ranks).astype("float64").where(text.isna() | text.isin(list(ranks)), -1.0)
            columns.append(column.to_numpy())
        else:
            columns.append(rows[name].to_numpy("float64", na_value=np.nan))
    return np.column_stack(columns)


def _losses(
    classifier: HistGradientBoostingClassifier,
    values: Floats,
    is_window: npt.NDArray[np.bool_],
    whole: float,
    seed: int,
) -> Floats:
    """ROC AUC that is lost when each column is shuffled, shape (columns,)."""
    order = np.random.default_rng(seed).permutation(len(values))
    losses, shuffled = np.zeros(values.shape[1]), values.copy()
    for i in range(values.shape[1]):
        shuffled[:, i] = values[order, i]
        losses[i] = whole - area(classifier.decision_function(shuffled), is_window).value
        shuffled[:, i] = values[:, i]
    return losses


def _estimate(areas: list[Area]) -> dict[str, float]:
    """Mean over folds: each has other rows, so the variances add up."""
    value = float(np.mean([each.value for each in areas]))
    spread = float(np.sqrt(sum(each.variance for each in areas))) / len(areas)
    reach = float(norm.ppf((1 + CONFIDENCE) / 2)) * spread
    return {"value": value, "low": max(value - reach, 0.0), "high": min(value + reach, 1.0)}


def _ranked(names: list[str], losses: Floats) -> list[dict[str, Any]]:
    found = zip(names, np.maximum(losses, 0.0).tolist(), strict=True)
    return [{"column": name, "importance": loss} for name, loss in sorted(found, key=lambda pair: -pair[1])]
