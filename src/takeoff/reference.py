"""What drift is measured against: a profile of the rows that the released model was fitted on.

A profile holds, per column and per class probability, what PSI, Wasserstein and Jensen-Shannon distances
are computed from. Counts of two profiles made with the same edges add up.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from takeoff.contract import Contract
from takeoff.model import MISSING_TEXT, Model, predict

PROFILE_FILE = "profile.json"
HISTOGRAMS_FILE = "histograms.parquet"
SAMPLE_FILE = "sample.parquet"

FINE_BINS = (
    512  # of a number's histogram, about: its Wasserstein distance is then good to about 0.02 deviations
)

Profile = dict[str, Any]
Values = npt.NDArray[np.floating]


def profile(rows: pd.DataFrame, probabilities: Values, contract: Contract, bins: int) -> Profile:
    """Profile of labelled rows and of what the model says of them.

    Args:
        rows: contract rows, numbers finite or missing.
        probabilities: float32, shape (n, classes), in the order of the contract's classes.
        contract: what a row is.
        bins: most bins of a number; fewer where values repeat.

    Returns:
        Values fit for JSON: `rows`, `classes` (rows by class), `columns` and `predictions` (profiles by
        column and by class; see `profile_number` and `profile_category`).
    """
    classes = contract.target.classes
    truth = rows[contract.target.column].value_counts()
    return {
        "rows": len(rows),
        "classes": {name: int(truth.get(name, 0)) for name in classes},
        "columns": {
            name: profile_number(rows[name].to_numpy("float64", na_value=np.nan), bins)
            if column.is_number
            else profile_category(rows[name])
            for name, column in contract.columns.items()
        },
        "predictions": {
            name: profile_number(probabilities[:, i].astype("float64"), bins)
            for i, name in enumerate(classes)
        },
    }


def golden(rows: pd.DataFrame, released: Model) -> dict[str, Any]:
    """Rows and what the model says of them, by which the service tells that it still is what was packed.

    Args:
        rows: features, see `takeoff.features.features`.
        released: asked one row at a time, as the service asks it.

    Returns:
        Values fit for JSON: `rows` as a caller would send them, `probabilities` of each class.
    """
    texts = [entry.name for entry in released.session.get_inputs() if entry.type == "tensor(string)"]
    plain = rows.astype(object).where(rows.notna(), None)
    plain[texts] = plain[texts].where(plain[texts] != MISSING_TEXT, None)
    said = [predict(released.session, rows[i : i + 1])[0].tolist() for i in range(len(rows))]
    return {"rows": plain.to_dict("records"), "probabilities": said}


def profile_number(values: Values, bins: int) -> Profile:
    """Profile of a number: rows, missing, mean, std (of the population), min, max, bin edges and counts.

    Args:
        values: float64, shape (n,), NaN where missing.
        bins: most bins. Edges are quantiles, and a value that fills a bin has one to itself.

    Returns:
        `edges` are values that occur, one more than `counts`, none of which is 0; see `count_in_bins`.
        Where every value is missing, both are empty and the moments are None.
    """
    present = values[~np.isnan(values)]
    counted = {"type": "number", "rows": len(values), "missing": len(values) - len(present)}
    if len(present) == 0:
        return counted | dict.fromkeys(("mean", "std", "min", "max")) | {"edges": [], "counts": []}
    edges = _edges(present, bins)
    return counted | {
        "mean": _steady(present.mean()),
        "std": _steady(present.std()),
        "min": edges[0],
        "max": edges[-1],
        "edges": edges,
        "counts": count_in_bins(present, edges).tolist(),
    }


def profile_category(values: pd.Series) -> Profile:
    """Profile of a category: rows, missing, and counts by value, in the order of the values."""
    counts = values.value_counts()
    return {
        "type": "category",
        "rows": len(values),
        "missing": int(values.isna().sum()),
        "counts": {str(name): int(counts[name]) for name in sorted(counts.index)},
    }


def count_in_bins(values: Values, edges: Sequence[float]) -> npt.NDArray[np.int64]:
    """Count values per bin of a profile.

    Args:
        values: shape (n,), none missing.
        edges: of the profile, ascending. Bin i holds edges[i] <= value < edges[i + 1]; the first and
            the last bin are open, so that a value which the reference never saw is counted as well.

    Returns:
        int64, shape (len(edges) - 1,).
    """
    bins = np.searchsorted(np.asarray(edges[1:-1]), values, side="right")
    return np.bincount(bins, minlength=len(edges) - 1).astype("int64")


def histograms(rows: pd.DataFrame, probabilities: Values, known: Profile, contract: Contract) -> pd.DataFrame:
    """Fine histograms of all numbers: what distances between distributions are computed from.

    Args:
        rows: the rows of the profile.
        probabilities: float32, shape (n, classes).
        known: their profile, whose bins are kept as sums of finer ones.
        contract: what a row is.

    Returns:
        One row per bin: `kind` ("column" or "prediction"), `name`, `start` (float32), `count` (int64) and
        `excess` (float64), the sum of how far values lie above the start of their bin. A bin ends where
        the next one starts; the last one holds the maximum alone.
    """
    numbers = [("column", name, rows[name].to_numpy("float32", na_value=np.nan)) for name in contract.numbers]
    numbers += [
        ("prediction", name, probabilities[:, i].astype("float32"))
        for i, name in enumerate(contract.target.classes)
    ]
    parts = []
    for kind, name, values in numbers:
        part = histogram(values, known[f"{kind}s"][name]["edges"])
        part.insert(0, "name", name)
        part.insert(0, "kind", kind)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def histogram(values: Values, edges: Sequence[float]) -> pd.DataFrame:
    """Fine histogram of one number; see `histograms`.

    Args:
        values: float32, shape (n,), NaN where missing.
        edges: of its profile; each becomes the start of a bin.

    Returns:
        `start`, `count` and `excess` of each bin; no rows where every value is missing.
    """
    present = np.sort(values[~np.isnan(values)])
    starts = fine_starts(present, edges, FINE_BINS)
    bins = np.searchsorted(starts, present, side="right") - 1
    excess = np.bincount(bins, present.astype("float64") - starts[bins], len(starts))
    counts = np.bincount(bins, minlength=len(starts)).astype("int64")
    return pd.DataFrame({"start": starts, "count": counts, "excess": [_steady(each) for each in excess]})


def fine_starts(present: Values, edges: Sequence[float], bins: int) -> npt.NDArray[np.float32]:
    """Where the bins of a fine histogram start: at each value, or where the rows and the range are cut.

    Args:
        present: float32, shape (n,), none missing.
        edges: of the profile; each becomes a start.
        bins: most values that get a bin each. Where there are more, half of the bins hold equally many
            rows, which is fine where rows are, and half are equally wide, which is fine in the tails.

    Returns:
        float32, ascending, from the smallest to the largest value; empty where no value is present.
    """
    distinct = np.unique(present)
    if len(distinct) <= bins:
        return distinct.astype("float32")
    half = bins // 2
    equally_filled = np.quantile(present, np.arange(half) / half, method="inverted_cdf")
    equally_wide = np.linspace(float(distinct[0]), float(distinct[-1]), half)
    return np.unique(np.concatenate([equally_filled, equally_wide, edges]).astype("float32"))


def sample(
    rows: pd.DataFrame, probabilities: Values, contract: Contract, size: int, seed: int
) -> pd.DataFrame:
    """Rows drawn without replacement, in their order, with label and the probability of each class.

    Returns:
        At most `size` rows: the contract's columns and `probability_<class>` (float32).
    """
    names = [f"probability_{name}" for name in contract.target.classes]
    predicted = pd.DataFrame(probabilities, index=rows.index, columns=names)
    # concat, unlike assign, never writes over a column of the same name.
    everything = pd.concat([rows[contract.all_columns], predicted], axis=1)
    return everything.sample(min(size, len(rows)), random_state=seed).sort_index().reset_index(drop=True)


def _edges(present: Values, bins: int) -> list[float]:
    """Starts of the bins, which are quantiles, and the maximum.

    A value that fills a bin alone repeats among the quantiles. Its bin ends where the next value begins,
    so that rows which leave that value are seen; the repetitions have saved the bins that this takes.
    """
    distinct = np.unique(present)
    quantiles = np.quantile(present, np.arange(bins) / bins, method="inverted_cdf")
    starts, repetitions = np.unique(quantiles, return_counts=True)
    following = np.searchsorted(distinct, starts[repetitions > 1]) + 1
    starts = np.union1d(starts, distinct[following[following < len(distinct)]])
    return [*starts.tolist(), float(distinct[-1])]


def _steady(value: float) -> float:
    """Nine significant digits: the last ones of a sum depend on the processor."""
    return float(f"{value:.9g}")
