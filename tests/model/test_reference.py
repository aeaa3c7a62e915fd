"""The reference profile: sufficient for drift measures, mergeable, and the same for the same model."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipelines import reference as stage
from takeoff import files, model, paths, reference
from takeoff.contract import read_contract
from takeoff.errors import TakeoffError
from takeoff.features import features
from takeoff.params import read_params
from tests.small_release import FIT_ROWS, PROJECT, make_released, small_rows

CONTRACT = read_contract(PROJECT)
PARAMS = read_params(PROJECT, CONTRACT)
BINS = PARAMS.reference.bins

finite = st.floats(-1e6, 1e6, width=32)
numbers = arrays("float64", st.integers(1, 200), elements=finite | st.sampled_from([0.0, 1.0]))


@given(values=numbers)
def test_every_value_is_in_exactly_one_bin_and_no_bin_is_empty(values: np.ndarray) -> None:
    found = reference.profile_number(values, BINS)

    assert sum(found["counts"]) == len(values)
    assert min(found["counts"]) > 0
    assert 1 <= len(found["counts"]) == len(found["edges"]) - 1 <= BINS


@given(values=numbers, cut=st.integers(0, 200))
def test_counts_of_two_parts_add_up_to_those_of_the_whole(values: np.ndarray, cut: int) -> None:
    edges = reference.profile_number(values, BINS)["edges"]

    parts = [reference.count_in_bins(part, edges) for part in (values[:cut], values[cut:])]

    assert (parts[0] + parts[1]).tolist() == reference.count_in_bins(values, edges).tolist()


def test_a_spread_out_number_fills_its_bins_evenly() -> None:
    values = np.random.default_rng(PARAMS.seed).normal(size=BINS * 500)

    counts = reference.profile_number(values, BINS)["counts"]

    assert len(counts) == BINS
    assert max(counts) - min(counts) <= 2


def test_a_value_that_most_rows_have_gets_a_bin_of_its_own_wherever_it_stands() -> None:
    others = np.random.default_rng(PARAMS.seed).normal(size=100)

    for common in (others.min() - 1, np.median(others) + 1e-6, others.max() + 1):
        found = reference.profile_number(np.concatenate([others, np.full(900, common)]), BINS)

        assert found["counts"][found["edges"].index(common)] == 900


def test_a_value_that_the_reference_never_saw_is_counted_at_the_nearer_end() -> None:
    edges = reference.profile_number(np.arange(1000.0), BINS)["edges"]

    counts = reference.count_in_bins(np.array([-5.0, 5000.0, 6000.0]), edges)

    assert (counts[0], counts[-1], counts.sum()) == (1, 2, 3)


def test_missing_numbers_are_counted_apart_and_leave_the_moments_alone() -> None:
    found = reference.profile_number(np.array([1.0, np.nan, 3.0, np.nan]), BINS)

    assert (found["rows"], found["missing"], sum(found["counts"])) == (4, 2, 2)
    assert (found["mean"], found["std"], found["min"], found["max"]) == (2.0, 1.0, 1.0, 3.0)


def test_a_number_that_is_always_missing_has_a_profile_without_bins() -> None:
    found = reference.profile_number(np.full(3, np.nan), BINS)

    assert (found["missing"], found["edges"], found["counts"], found["mean"]) == (3, [], [], None)


def test_categories_are_counted_by_value_and_missing_apart() -> None:
    found = reference.profile_category(pd.Series(["b", "a", None, "b"], dtype="str"))

    assert found["counts"] == {"a": 1, "b": 2}
    assert (found["rows"], found["missing"]) == (4, 1)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project whose `reference` stage has run."""
    folder = tmp_path_factory.mktemp("reference")
    make_released(folder, "rule")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        stage.main()
    return folder


def test_the_profile_covers_every_column_every_class_and_all_fit_rows(project: Path) -> None:
    profile = files.read_json(project / paths.REFERENCE / reference.PROFILE_FILE)

    assert list(profile["columns"]) == list(CONTRACT.columns)
    assert list(profile["predictions"]) == list(profile["classes"]) == list(CONTRACT.target.classes)
    assert sum(profile["classes"].values()) == profile["rows"] == FIT_ROWS
    for column in (*profile["columns"].values(), *profile["predictions"].values()):
        counts = column["counts"]
        assert sum(counts.values() if isinstance(counts, dict) else counts) + column["missing"] == FIT_ROWS


def test_the_profile_names_the_model_and_the_contract_it_belongs_to(project: Path) -> None:
    profile = files.read_json(project / paths.REFERENCE / reference.PROFILE_FILE)

    assert profile["onnx_sha256"] == files.sha256(project / paths.RELEASED / model.MODEL_FILE)
    assert profile["contract_hash"] == CONTRACT.hash


def test_the_sample_holds_what_the_released_model_says_of_each_row(project: Path) -> None:
    sample = files.read_rows(project / paths.REFERENCE / reference.SAMPLE_FILE)
    released = model.load(project / paths.RELEASED)

    again = model.predict(released.session, features(sample, CONTRACT))

    said = sample[[f"probability_{name}" for name in CONTRACT.target.classes]].to_numpy()
    np.testing.assert_array_equal(said, again)
    assert sample[CONTRACT.target.column].notna().all()


def test_the_sample_has_at_most_the_rows_asked_for_in_their_order_and_depends_on_the_seed() -> None:
    rows = small_rows()
    flat = np.full((len(rows), len(CONTRACT.target.classes)), 0.5, "float32")

    first, again, other = (
        reference.sample(rows, flat, CONTRACT, 100, seed)
        for seed in (PARAMS.seed, PARAMS.seed, PARAMS.seed + 1)
    )

    assert len(first) == 100
    assert first[CONTRACT.time.column].is_monotonic_increasing
    assert first[CONTRACT.id].tolist() == again[CONTRACT.id].tolist() != other[CONTRACT.id].tolist()


def test_running_the_stage_again_gives_the_same_bytes(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    before = {path.name: path.read_bytes() for path in paths.REFERENCE.iterdir()}

    stage.main()

    assert {path.name: path.read_bytes() for path in paths.REFERENCE.iterdir()} == before


def test_without_a_released_model_the_stage_says_so_and_keeps_the_earlier_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_released(tmp_path, "rule")
    monkeypatch.chdir(tmp_path)
    (paths.RELEASED / model.MODEL_FILE).unlink()
    earlier = paths.REFERENCE / reference.PROFILE_FILE
    files.write_json(earlier, {"earlier": True})

    with pytest.raises(TakeoffError, match=r"model\.onnx is missing"):
        stage.main()

    assert json.loads(earlier.read_text()) == {"earlier": True}
