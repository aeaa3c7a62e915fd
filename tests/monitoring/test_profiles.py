"""Profiles: rows as counts that add up, in the bins of the reference."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from monitoring.drift import grouped
from monitoring.profiles import Bins, Reference, WindowProfile, bins_of, count
from pipelines import reference as stage
from takeoff import paths, reference
from takeoff.contract import read_contract
from takeoff.errors import TakeoffError
from takeoff.importance import IMPORTANCE_FILE
from takeoff.params import read_params
from tests.small_reference import Small, small_reference
from tests.small_release import PROJECT, make_released

CONTRACT = read_contract(PROJECT)
PARAMS = read_params(PROJECT, CONTRACT)
ROWS = 300

numbers = arrays(
    "float32",
    st.integers(1, 120),
    elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, 1.0, np.nan]),
)


@pytest.fixture(scope="module")
def small() -> Small:
    return small_reference()


def bins_for(values: np.ndarray) -> Bins:
    known = reference.profile_number(values.astype("float64"), PARAMS.reference.bins)
    return bins_of(known, reference.histogram(values, known["edges"]))


def same(one: WindowProfile, other: WindowProfile) -> bool:
    """Equal counts, and sums equal up to the rounding of another order."""
    pairs = [
        (mine[name], theirs[name])
        for mine, theirs in ((one.columns, other.columns), (one.predictions, other.predictions))
        for name in mine
    ]
    return one.rows == other.rows and all(
        (a.counts == b.counts).all()
        and np.allclose([a.below, a.above, a.excess], [b.below, b.above, b.excess], rtol=1e-9, atol=1e-3)
        for a, b in pairs
    )


@given(known=numbers, values=numbers)
def test_every_value_is_counted_once(known: np.ndarray, values: np.ndarray) -> None:
    counted = count(pd.Series(values), bins_for(known))

    assert counted.counts.sum() == len(values)
    assert counted.counts[-1] == np.isnan(values).sum()
    assert counted.counts.min() >= 0


@given(known=numbers, values=numbers)
def test_values_outside_the_reference_are_counted_apart(known: np.ndarray, values: np.ndarray) -> None:
    seen = known[~np.isnan(known)]

    counts = count(pd.Series(values), bins_for(known)).counts

    if len(seen):
        assert counts[0] == (values < seen.min()).sum()
        assert counts[-2] == (values > seen.max()).sum()
    else:
        assert counts[:-1].sum() == (~np.isnan(values)).sum()


@given(values=numbers)
def test_the_reference_counts_itself_as_it_is(values: np.ndarray) -> None:
    bins = bins_for(values)

    assert (count(pd.Series(values), bins).counts == bins.counts).all()


@given(values=numbers)
def test_fine_bins_add_up_to_those_of_the_profile(values: np.ndarray) -> None:
    known = reference.profile_number(values.astype("float64"), PARAMS.reference.bins)

    groups = grouped(bins_for(values).counts, bins_for(values))

    expected = known["counts"] or [0]
    assert groups.tolist() == [*expected, known["missing"]]


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, ROWS), min_size=2, max_size=2).map(sorted), seed=st.integers(0, 99))
def test_profiles_of_parts_merge_to_that_of_the_whole_in_any_order(
    small: Small, cuts: list[int], seed: int
) -> None:
    rows, said = small.drawn(ROWS, seed)
    a, b, c = (
        small.profiled(rows[i:j], said[i:j]) for i, j in ((0, cuts[0]), (cuts[0], cuts[1]), (cuts[1], ROWS))
    )

    whole = small.profiled(rows, said)

    assert same(a.merge(b).merge(c), whole)
    assert same(a.merge(b.merge(c)), whole)
    assert same(c.merge(a).merge(b), whole)


def test_merging_changes_neither_side(small: Small) -> None:
    one, other = (small.profiled(*small.drawn(50, seed)) for seed in (1, 2))
    before = one.columns[CONTRACT.numbers[0]].counts.copy()

    one.merge(other)

    assert (one.rows, other.rows) == (50, 50)
    assert (one.columns[CONTRACT.numbers[0]].counts == before).all()


def test_a_category_is_counted_the_same_as_text_and_as_category(small: Small) -> None:
    rows, said = small.drawn(ROWS, 0)
    name = CONTRACT.categories[0]
    rows.loc[:9, name] = None
    rows.loc[10:19, name] = "never seen"
    typed = rows.assign(**{name: rows[name].astype("category").cat.add_categories(["that no row has"])})

    one, other = small.profiled(rows, said), small.profiled(typed, said)

    assert same(one, other)
    assert one.columns[name].counts[-2:].tolist() == [10, 10]


def test_a_profile_takes_no_more_room_for_more_rows(small: Small) -> None:
    few, many = (small.profiled(*small.drawn(size, 0)) for size in (10, 5_000))

    assert all(few.columns[name].counts.nbytes == many.columns[name].counts.nbytes for name in few.columns)


def test_rows_without_a_column_of_the_reference_are_refused(small: Small) -> None:
    rows, said = small.drawn(10, 0)

    with pytest.raises(TakeoffError, match=f"no column '{CONTRACT.numbers[0]}'.*dvc repro"):
        small.profiled(rows.drop(columns=CONTRACT.numbers[0]), said)


def test_probabilities_of_other_classes_are_refused(small: Small) -> None:
    rows, said = small.drawn(10, 0)

    with pytest.raises(TakeoffError, match="classes of the reference"):
        small.profiled(rows, said[:, :1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """models/reference of a small project; not to be changed."""
    project = tmp_path_factory.mktemp("profiles")
    make_released(project, "rule")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        stage.main()
    return project / paths.REFERENCE


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_a_loaded_reference_covers_every_column_and_every_class(copy: Path) -> None:
    found = Reference.load(copy)

    assert list(found.columns) == list(found.importance) == list(CONTRACT.columns)
    assert list(found.predictions) == list(CONTRACT.target.classes)
    assert {int(bins.counts.sum()) for bins in (*found.columns.values(), *found.predictions.values())} == {
        found.rows
    }


@pytest.mark.parametrize(
    "name",
    [reference.PROFILE_FILE, reference.HISTOGRAMS_FILE, reference.SAMPLE_FILE, IMPORTANCE_FILE],
)
def test_a_reference_without_one_of_its_files_says_what_makes_it(copy: Path, name: str) -> None:
    (copy / name).unlink()

    with pytest.raises(TakeoffError, match=rf"{name} is missing\. Run `dvc repro`"):
        Reference.load(copy)


def test_a_reference_of_another_version_of_the_project_says_what_makes_it_anew(copy: Path) -> None:
    (copy / IMPORTANCE_FILE).write_text(json.dumps({"another column": 1.0}))

    with pytest.raises(TakeoffError, match=r"another version of this project\. Run `dvc repro`"):
        Reference.load(copy)
