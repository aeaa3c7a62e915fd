"""Counts in the bins of the reference: exact, of bounded size, and those of the reference stage."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from serving.histograms import ANSWER, HALF, MISSING, OTHER, Histograms, _bins, count
from takeoff import paths
from takeoff.contract import read_contract
from takeoff.features import features
from takeoff.reference import PROFILE_FILE, profile
from tests.small_release import FIT_ROWS, PROJECT, small_rows

CONTRACT = read_contract(PROJECT)
BINS = 20


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the profile of real rows and of answers spread over 0 to 1."""
    folder = tmp_path_factory.mktemp("home")
    rows = small_rows()[:FIT_ROWS].reset_index(drop=True)
    event = np.random.default_rng(1).random(len(rows)).astype("float32")
    made = profile(rows, np.column_stack([1 - event, event]), CONTRACT, BINS)
    (folder / paths.REFERENCE).mkdir(parents=True)
    (folder / paths.REFERENCE / PROFILE_FILE).write_text(json.dumps(made))
    return folder


def feed() -> dict[str, np.ndarray]:
    """As the model is fed."""
    frame = features(small_rows()[:FIT_ROWS], CONTRACT)
    return {name: frame[name].to_numpy().reshape(-1, 1) for name in CONTRACT.columns}


def counted(column: str, name: str) -> float:
    return REGISTRY.get_sample_value("takeoff_values_total", {"column": column, "bin": name}) or 0.0


def test_rows_of_the_reference_fall_into_the_bins_as_the_reference_counted_them(home: Path) -> None:
    histograms = Histograms(home, CONTRACT)

    for name in CONTRACT.columns:
        bins = histograms._bins[name]
        assert count(feed()[name].ravel(), bins).tolist() == bins.counts.tolist()


@given(
    edges=st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=8, unique=True).map(sorted),
    others=st.lists(st.floats(width=32, allow_infinity=False), max_size=8),
)
def test_a_number_falls_into_the_bin_that_the_exact_edges_give_it(
    edges: list[float], others: list[float]
) -> None:
    bins = _bins({"type": "number", "edges": [0, *edges, 0], "counts": [0] * (len(edges) + 1), "missing": 0})
    values = np.array([*others, *edges, float("nan")], dtype="float32")  # on the edges, or beside by rounding

    found = count(values, bins)

    expected = [0] * len(bins.names)
    for value in values.tolist():
        expected[-1 if math.isnan(value) else sum(edge <= value for edge in edges)] += 1
    assert found.tolist() == expected


def test_what_was_put_aside_is_counted_once(home: Path) -> None:
    histograms = Histograms(home, CONTRACT)
    bins = histograms._bins[ANSWER]
    before = [counted(ANSWER, name) for name in bins.names]

    first = {name: values[:100] for name, values in feed().items()}
    histograms.offer(first, np.linspace(0, 1, 100, dtype="float32"))
    histograms.show()
    histograms.show()

    after = [counted(ANSWER, name) for name in bins.names]
    assert sum(after) - sum(before) == 100
    assert after[-1] == before[-1]


def test_what_was_put_aside_is_behind_until_it_is_shown(home: Path) -> None:
    histograms = Histograms(home, CONTRACT)
    behind = [histograms.is_behind]

    histograms.offer(feed(), np.full(FIT_ROWS, 0.5, dtype="float32"))
    for step in (lambda: None, histograms.count, histograms.show):
        step()
        behind.append(histograms.is_behind)

    assert behind == [False, True, True, False]


def test_the_reference_is_exposed_as_shares_that_add_up_to_one(home: Path) -> None:
    histograms = Histograms(home, CONTRACT)

    for column, bins in histograms._bins.items():
        shares = [
            REGISTRY.get_sample_value("takeoff_reference_share", {"column": column, "bin": name})
            for name in bins.names
        ]
        assert sum(filter(None, shares)) == pytest.approx(1)
        assert min(filter(None, shares)) >= HALF / (bins.counts.sum() + HALF * len(bins.names)) - 1e-12


def test_a_value_that_the_reference_never_held_is_other_and_none_is_missing(home: Path) -> None:
    name = CONTRACT.categories[0]
    bins = Histograms(home, CONTRACT)._bins[name]

    found = count(np.array(["no such value", "", ""], dtype=object), bins)

    assert (found[bins.names.index(OTHER)], found[bins.names.index(MISSING)]) == (1, 2)


def test_a_service_without_a_reference_counts_nothing_and_works(tmp_path: Path) -> None:
    histograms = Histograms(tmp_path, CONTRACT)

    histograms.offer(feed(), np.full(FIT_ROWS, 0.5, dtype="float32"))
    histograms.show()

    assert histograms._bins == {}
