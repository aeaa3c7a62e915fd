"""Drift of each column: the measures, what noise reaches, and what is called severe."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from monitoring import drift
from monitoring.profiles import Categories, Numbers, bins_of, count
from takeoff import reference
from takeoff.contract import read_contract
from takeoff.params import read_params
from tests.small_reference import Small, small_reference
from tests.small_release import PROJECT

CONTRACT = read_contract(PROJECT)
PARAMS = read_params(PROJECT, CONTRACT)
SETTINGS = PARAMS.monitoring.drift.model_copy(update={"resamples": 100})
WEEK = 6_000  # rows, about

values = st.floats(-1e4, 1e4, width=32) | st.sampled_from([0.0, 1.0, 2.0])
samples = arrays("float32", st.integers(1, 150), elements=values)
spread_out = arrays("float32", st.integers(600, 900), elements=values)  # more values than there are bins
counts = arrays("int64", 6, elements=st.integers(0, 50)).filter(lambda each: each.sum() > 0)


@pytest.fixture(scope="module")
def small() -> Small:
    return small_reference()


def numbers(known: np.ndarray) -> Numbers:
    profile = reference.profile_number(known.astype("float64"), PARAMS.reference.bins)
    bins = bins_of(profile, reference.histogram(known, profile["edges"]))
    assert isinstance(bins, Numbers)
    return bins


def measure(small: Small, rows: pd.DataFrame, said: np.ndarray, seed: int = PARAMS.seed) -> dict[str, Any]:
    found = drift.measure(small.profiled(rows, said), small.reference, SETTINGS, seed)
    assert found is not None
    return found


def column(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in found["columns"] if each["column"] == name)


@settings(deadline=None)
@given(known=samples | spread_out, seen=samples)
def test_wasserstein_is_that_of_the_values_within_the_error_that_is_told(
    known: np.ndarray, seen: np.ndarray
) -> None:
    bins, counted = numbers(known), count(pd.Series(seen), numbers(known))

    found = drift.wasserstein(counted, bins)
    error = drift.wasserstein_error(counted, bins)

    expected = wasserstein_distance(seen, known) / bins.std
    assert error is not None
    assert abs(found - expected) <= error + 1e-6 * (1 + expected)


@settings(deadline=None)
@given(known=samples, chosen=st.data())
def test_wasserstein_is_exact_where_every_value_has_a_bin(known: np.ndarray, chosen: Any) -> None:
    seen = np.array(chosen.draw(st.lists(st.sampled_from(known.tolist()), min_size=1)), "float32")

    assert drift.wasserstein_error(count(pd.Series(seen), numbers(known)), numbers(known)) == pytest.approx(
        0, abs=1e-6
    )


@settings(deadline=None)
@given(known=samples, shift=st.floats(0.0, 100.0, width=32))
def test_wasserstein_of_a_shift_is_the_shift_however_small(known: np.ndarray, shift: float) -> None:
    bins = numbers(known)
    seen = known.astype("float64") + shift

    found = drift.wasserstein(count(pd.Series(seen), bins), bins)

    rounding = 1e-3 / bins.std  # float32
    assert found == pytest.approx(shift / bins.std, rel=1e-3, abs=rounding)


def test_wasserstein_of_real_columns_is_good_to_a_fiftieth_of_a_deviation(small: Small) -> None:
    rows, said = small.drawn(WEEK, 1)
    profile = small.profiled(rows, said)

    for name in CONTRACT.numbers:
        bins = small.reference.columns[name]
        assert isinstance(bins, Numbers)
        counted = profile.columns[name]
        found = drift.wasserstein(counted, bins)
        expected = wasserstein_distance(rows[name].dropna(), small.rows[name].dropna()) / bins.std
        assert found == pytest.approx(expected, abs=0.02)
        assert (drift.wasserstein_error(counted, bins) or 0.0) < 0.02


@given(window=counts, known=counts)
def test_jensen_shannon_is_that_of_scipy(window: np.ndarray, known: np.ndarray) -> None:
    found = drift.jensen_shannon(window, known)

    assert float(found) == pytest.approx(jensenshannon(window, known, base=2), abs=1e-6)


@given(window=counts, known=counts)
def test_psi_is_finite_never_negative_and_zero_for_equal_shares(
    window: np.ndarray, known: np.ndarray
) -> None:
    found = float(drift.population_stability(window, known))

    assert np.isfinite(found)
    assert found >= 0
    assert float(drift.population_stability(known, known)) == 0


def test_psi_of_large_counts_is_that_of_the_textbook() -> None:
    shares = np.array([[0.2, 0.3, 0.5], [0.4, 0.4, 0.2]])

    found = drift.population_stability(*(shares * 1e7))

    assert float(found) == pytest.approx(
        ((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum(), rel=1e-4
    )


@pytest.mark.parametrize("rows", [500, 50_000])
def test_noise_of_psi_is_what_theory_says_of_two_samples(small: Small, rows: int) -> None:
    bins = small.reference.columns[CONTRACT.numbers[0]]
    generator = np.random.default_rng(PARAMS.seed)

    noise = drift.drawn(bins, rows, 2_000, generator).psi

    used = int((drift.grouped(bins.counts, bins) > 0).sum())
    assert noise.mean() == pytest.approx((used - 1) * (1 / rows + 1 / small.reference.rows), rel=0.15)


def test_noise_floors_are_exceeded_by_as_few_families_of_columns_as_asked() -> None:
    generator = np.random.default_rng(PARAMS.seed)
    noise = [generator.chisquare(df, 20_000) for df in (1, 5, 20)]

    floors = drift.family_floors(noise, SETTINGS.noise_quantile)

    fresh = np.stack([generator.chisquare(df, 20_000) for df in (1, 5, 20)])
    exceeded = (fresh > floors[:, None]).any(axis=0).mean()
    assert exceeded == pytest.approx(1 - SETTINGS.noise_quantile, abs=0.003)


def test_windows_of_the_reference_itself_stay_below_the_noise(small: Small) -> None:
    tests = 10
    above = 0
    for seed in range(tests):
        found = measure(small, *small.drawn(500, seed))
        entries = [*found["columns"], *found["predictions"]]
        above += any(each["psi"] > each["psi_floor"] for each in entries)
        assert {each["severity"] for each in entries} == {"none"}

    assert above <= 1


def test_noise_falls_with_the_rows_of_the_window_but_not_below_that_of_the_reference(small: Small) -> None:
    name = CONTRACT.numbers[0]
    few, week = (column(measure(small, *small.drawn(size, 0)), name) for size in (500, WEEK))
    profile = small.profiled(*small.drawn(WEEK, 0))
    for _ in range(11):  # doubled until it holds ten million
        profile = profile.merge(profile)
    huge = drift.measure(profile, small.reference, SETTINGS, PARAMS.seed)

    assert huge is not None
    floors = [each["psi_floor"] for each in (few, week, column(huge, name))]
    assert floors[0] > floors[1] > floors[2] > 1 / small.reference.rows


@pytest.mark.parametrize("name", CONTRACT.numbers)
def test_half_a_deviation_is_noticed_in_every_number(small: Small, name: str) -> None:
    rows, said = small.drawn(WEEK, 2)
    bins = small.reference.columns[name]
    assert isinstance(bins, Numbers)

    found = measure(small, rows.assign(**{name: rows[name] + np.float32(bins.std / 2)}), said)

    assert column(found, name)["severity"] != "none"
    assert {each["severity"] for each in found["columns"] if each["column"] != name} == {"none"}


def test_a_column_that_goes_missing_is_severe_and_has_no_distance(small: Small) -> None:
    rows, said = small.drawn(WEEK, 3)
    for name in (CONTRACT.numbers[0], CONTRACT.categories[0]):
        found = column(measure(small, rows.assign(**{name: rows[name].where([False] * WEEK)}), said), name)

        assert (found["missing"], found["distance"], found["severity"]) == (1, None, "severe")


def test_a_value_that_the_reference_never_saw_is_noticed_from_the_level_on(small: Small) -> None:
    rows, said = small.drawn(WEEK, 4)
    name = CONTRACT.categories[0]
    share = 2 * SETTINGS.unseen.watch
    new = rows[name].where(np.arange(WEEK) >= share * WEEK, "new")

    found = column(measure(small, rows.assign(**{name: new}), said), name)

    assert found["unseen"] == pytest.approx(share)
    assert found["severity"] == "watch"


def test_a_rare_value_that_the_reference_happened_to_miss_is_noise() -> None:
    bins = Categories(("a", "b", "c"), np.array([900, 1, 1, 0, 0]))

    noise = drift.drawn(bins, 1_000, 2_000, np.random.default_rng(0)).unseen

    assert noise.mean() == pytest.approx(3 / 903, rel=0.1)


def test_predictions_that_move_are_noticed_for_each_class(small: Small) -> None:
    rows, said = small.drawn(WEEK, 5)

    found = measure(small, rows, said[:, ::-1])

    assert [each["class"] for each in found["predictions"]] == list(CONTRACT.target.classes)
    assert {each["severity"] for each in found["predictions"]} == {"severe"}


def test_the_effect_is_what_noise_does_not_explain(small: Small) -> None:
    for entry in measure(small, *small.drawn(700, 6))["columns"]:
        assert entry["effect"] == pytest.approx(max(entry["psi"] - entry["psi_floor"], 0))


def test_the_result_is_fit_for_json_and_the_same_for_the_same_seed(small: Small) -> None:
    window = small.drawn(700, 7)

    first, again, other = (
        json.dumps(measure(small, *window, seed=seed), allow_nan=False) for seed in (1, 1, 2)
    )

    assert first == again != other


def test_a_window_without_rows_has_no_drift(small: Small) -> None:
    assert drift.measure(small.profiled(*small.drawn(0, 0)), small.reference, SETTINGS, 0) is None
