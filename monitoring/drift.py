"""How far each column, and the prediction, has moved from the reference, and how far noise alone would go.

Everything is computed from counts (`monitoring.profiles`), so from all rows, and the cost does not depend on
how many there are. Sources: PSI, Siddiqi, Credit Risk Scorecards (2006); Wasserstein-1 as the area between
two distribution functions, Vallender (1974); Jensen-Shannon distance, Endres and Schindelin (2003).
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitoring.profiles import Bins, Counted, Floats, Numbers, Reference, WindowProfile
from takeoff.params import Drift, Levels

HALF = 0.5  # rows added to every bin before a logarithm: Krichevsky and Trofimov (1981), Jeffreys' prior
SEVERITIES = ("none", "watch", "severe")
MEASURES = ("psi", "distance", "missing", "unseen")

AnyCounts = npt.NDArray[Any]


class Measured(NamedTuple):
    """Four measures of one column, each float64 of the same shape: one value, or one per resample.

    Attributes:
        psi: see `population_stability`.
        distance: see `wasserstein` and `jensen_shannon`; NaN where a side has no value at all.
        missing: absolute change of the share of missing values.
        unseen: share of values that the reference never saw.
    """

    psi: Floats
    distance: Floats
    missing: Floats
    unseen: Floats


def measure(
    profile: WindowProfile, reference: Reference, settings: Drift, seed: int
) -> dict[str, Any] | None:
    """Drift of every column and every class probability.

    Args:
        profile: of all rows of the window.
        reference: whose bins the profile has.
        settings: levels, and how the noise is drawn.
        seed: of the noise.

    Returns:
        Values fit for JSON: `columns`, `predictions`, `resamples`. Per column the measures, what noise alone
        reaches at this number of rows (`*_floor`), `distance_error` (how far the distance may be off because
        it is computed from bins), `effect` (PSI beyond its floor) and `severity`. None without rows.
    """
    if profile.rows == 0:
        return None
    generator = np.random.default_rng(seed)
    both = [
        *((bins, profile.columns[name]) for name, bins in reference.columns.items()),
        *((bins, profile.predictions[name]) for name, bins in reference.predictions.items()),
    ]
    found = [_found(bins, counted) for bins, counted in both]
    noise = [drawn(bins, profile.rows, settings.resamples, generator) for bins, _ in both]
    floors = [
        family_floors([getattr(each, name) for each in noise], settings.noise_quantile) for name in MEASURES
    ]
    entries = [
        _entry(bins, counted, values, Measured(*floor), settings)
        for (bins, counted), values, floor in zip(both, found, np.transpose(floors), strict=True)
    ]
    columns, predictions = entries[: len(reference.columns)], entries[len(reference.columns) :]
    return {
        "columns": [
            {"column": name, "importance": reference.importance[name]} | entry
            for name, entry in zip(reference.columns, columns, strict=True)
        ],
        "predictions": [
            {"class": name} | entry for name, entry in zip(reference.predictions, predictions, strict=True)
        ],
        "resamples": settings.resamples,
    }


def measured(counts: AnyCounts, bins: Bins) -> Measured:
    """The measures of counts; of a number's distance, what counts alone can tell.

    Args:
        counts: shape (..., bins), in the bins of the reference.
        bins: of the reference.
    """
    rows = counts.sum(axis=-1)
    missing, reference_rows = counts[..., -1] / rows, bins.counts.sum()
    if isinstance(bins, Numbers):
        distance = area_between(counts, bins) / bins.std
        unseen = (counts[..., 0] + counts[..., -2]) / rows
    else:
        distance = jensen_shannon(counts[..., :-1], bins.counts[:-1])
        unseen = counts[..., -2] / rows
    return Measured(
        psi=population_stability(grouped(counts, bins), grouped(bins.counts, bins)),
        distance=distance,
        missing=np.abs(missing - bins.counts[-1] / reference_rows),
        unseen=unseen,
    )


def grouped(counts: AnyCounts, bins: Bins) -> AnyCounts:
    """Counts in the bins of PSI: those of the profile, open at both ends, or each value; then missing.

    Twenty bins, and not hundreds, because every bin adds noise: the PSI of two samples of one distribution is
    about (bins - 1) (1 / n + 1 / m) (Yurdakul and Naranjo 2020).
    """
    if not isinstance(bins, Numbers):
        return counts
    if len(bins.groups) == 0:
        return counts[..., 1:]
    first = np.concatenate([[0], bins.groups[1:] + 1])  # what lies below all bins belongs to the first
    inside = np.add.reduceat(counts[..., :-1], first, axis=-1)
    return np.concatenate([inside, counts[..., -1:]], axis=-1)


def population_stability(window: AnyCounts, reference: AnyCounts) -> Floats:
    """PSI: the sum of (p - q) ln(p / q) over bins; 0.1 is a small change by custom, 0.25 a large one.

    Half a row is added to each bin of both sides, so that an empty one gives a finite value.

    Args:
        window: counts, shape (..., bins).
        reference: counts, shape (bins,).
    """
    shares = [(counts + HALF) / (counts + HALF).sum(axis=-1, keepdims=True) for counts in (window, reference)]
    return np.asarray(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum(axis=-1))


def jensen_shannon(window: AnyCounts, reference: AnyCounts) -> Floats:
    """Jensen-Shannon distance in base 2: 0 where shares are equal, 1 where nothing is common.

    Args:
        window: counts, shape (..., values).
        reference: counts, shape (values,).

    Returns:
        Shape (...); NaN where a side has no rows.
    """
    p, q = _shares(window), _shares(reference)
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [np.where(side == 0, 0.0, side * np.log2(side / middle)) for side in (p, q)]
    return np.asarray(np.sqrt(np.maximum((terms[0] + terms[1]).sum(axis=-1) / 2, 0)))


def wasserstein(counted: Counted, bins: Numbers) -> float:
    """Wasserstein-1 distance in standard deviations of the reference, of values that are not missing.

    The area between the distribution functions, where all rows of a bin count as lying where it starts; what
    lies outside the reference's range is exact. It is never less than the difference of the means, which is
    exact too, so that a small shift within the bins is seen. See `wasserstein_error` for what is left.

    Returns:
        NaN where a side has no value.
    """
    present, known = int(counted.counts[:-1].sum()), int(bins.counts[:-1].sum())
    if present == 0 or known == 0:
        return float("nan")
    starts = bins.starts.astype("float64")
    outside = (counted.above - counted.below, counted.above + counted.below)
    placed = np.concatenate([starts[:1], starts, starts[-1:]])
    mean = (counted.counts[:-1] @ placed + counted.excess + outside[0]) / present
    reference_mean = (bins.counts[:-1] @ placed + bins.excess) / known
    area = float(area_between(counted.counts, bins)) + outside[1] / present
    return float(max(area, abs(mean - reference_mean)) / bins.std)


def area_between(counts: AnyCounts, bins: Numbers) -> Floats:
    """Area between the distribution functions within the reference's range, of rows where their bins start.

    Args:
        counts: shape (..., k + 3); see `monitoring.profiles.Numbers`.
        bins: of the reference.

    Returns:
        Shape (...), in the unit of the column; NaN where a side has no value.
    """
    if len(bins.starts) == 0:
        return np.full(counts.shape[:-1], np.nan)
    window = np.cumsum(_shares(counts[..., :-1]), axis=-1)[..., 1:-2]
    reference = np.cumsum(_shares(bins.counts[:-1]))[1:-2]
    return np.asarray(np.abs(window - reference) @ np.diff(bins.starts.astype("float64")))


def wasserstein_error(counted: Counted, bins: Numbers) -> float | None:
    """How far `wasserstein` may be off, in standard deviations, for being computed from bins.

    Moving a side's rows to the starts of their bins raises its distribution function by an area of its mean
    `excess`. Both sides are moved the same way, which mostly cancels; the sum of the two is a bound. It is
    zero where every value has a bin of its own.
    """
    present, known = counted.counts[:-1].sum(), bins.counts[:-1].sum()
    if present == 0 or known == 0:
        return None
    return float((counted.excess / present + bins.excess / known) / bins.std)


def drawn(bins: Bins, rows: int, resamples: int, generator: np.random.Generator) -> Measured:
    """The measures of windows in which nothing has changed.

    The reference is a sample too: each window is drawn from another version of it, as likely as its own
    counts make it (the Bayesian bootstrap, Rubin 1981), and measured against the counts as they are. What
    lies outside of what the reference holds is in no such version, so its share is drawn apart: beyond the
    smallest and the largest of n values lies Beta(2, n - 1) (Wilks 1941); in categories never seen, about
    as much as in those seen once (Good 1953).

    Args:
        bins: of the reference.
        rows: of a window.
        resamples: windows to draw.
        generator: of random numbers.

    Returns:
        Arrays of shape (resamples,).
    """
    weights = generator.standard_gamma(bins.counts, size=(resamples, len(bins.counts)))
    windows = generator.multinomial(rows, weights / weights.sum(axis=-1, keepdims=True))
    present = int(bins.counts[:-1].sum())
    extremes = 2 if isinstance(bins, Numbers) else int((bins.counts[:-2] == 1).sum()) + 1
    outside = generator.beta(extremes, max(present + 1 - extremes, 1), size=resamples)
    return measured(windows, bins)._replace(unseen=generator.binomial(rows, outside) / rows)


def family_floors(noise: list[Floats], quantile: float) -> Floats:
    """The values below which noise stays in all columns at once, with the probability `quantile`.

    Each column is put on a common scale and the largest of a resample is looked at (the single-step maxT of
    Westfall and Young 1993), so that thirty columns give no more false alarms than one.

    Args:
        noise: per column, shape (resamples,).
        quantile: of the largest.

    Returns:
        float64, shape (columns,); NaN for a column that could not be measured.
    """
    values = np.stack(noise)
    means, spreads = values.mean(axis=1), values.std(axis=1)
    scale = np.where(spreads > 0, spreads, 1.0)
    largest = np.nan_to_num((values - means[:, None]) / scale[:, None]).max(axis=0)
    return np.asarray(means + np.quantile(largest, quantile) * spreads)


def severity(effects: dict[str, float], settings: Drift) -> str:
    """The worst of the measures: how far each lies beyond its noise floor, against its levels.

    Args:
        effects: by name of the measure.
        settings: levels by the same names.
    """
    return SEVERITIES[max(_level(effect, getattr(settings, name)) for name, effect in effects.items())]


def _level(effect: float, levels: Levels) -> int:
    return int(effect > levels.watch) + int(effect > levels.severe)


def _found(bins: Bins, counted: Counted) -> Measured:
    values = measured(counted.counts, bins)
    if isinstance(bins, Numbers):
        return values._replace(distance=np.asarray(wasserstein(counted, bins)))
    return values


def _entry(
    bins: Bins, counted: Counted, found: Measured, floors: Measured, settings: Drift
) -> dict[str, Any]:
    beyond = {
        name: max(float(np.nan_to_num(getattr(found, name) - getattr(floors, name))), 0.0)
        for name in MEASURES
    }
    is_number = isinstance(bins, Numbers)
    rows = int(counted.counts.sum())
    return {
        "type": "number" if is_number else "category",
        "rows": rows,
        "psi": float(found.psi),
        "psi_floor": float(floors.psi),
        "distance": _finite(found.distance),
        "distance_kind": "wasserstein" if is_number else "jensen_shannon",
        "distance_floor": _finite(floors.distance),
        "distance_error": wasserstein_error(counted, bins) if isinstance(bins, Numbers) else 0.0,
        "missing": float(counted.counts[-1] / rows),
        "missing_reference": float(bins.counts[-1] / bins.counts.sum()),
        "missing_floor": float(floors.missing),
        "unseen": float(found.unseen),
        "unseen_floor": float(floors.unseen),
        "effect": beyond["psi"],
        "severity": severity(beyond, settings),
    }


def _finite(value: Floats) -> float | None:
    return float(value) if np.isfinite(value) else None


def _shares(counts: AnyCounts) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(counts / counts.sum(axis=-1, keepdims=True))
