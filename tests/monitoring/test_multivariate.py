"""The check of all columns at once."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from monitoring import multivariate
from takeoff.contract import read_contract
from takeoff.params import read_params
from tests.small_reference import Small, small_reference
from tests.small_release import PROJECT

CONTRACT = read_contract(PROJECT)
PARAMS = read_params(PROJECT, CONTRACT)
SETTINGS = PARAMS.monitoring.multivariate.model_copy(update={"rows": 2_000})

scores = st.lists(st.integers(0, 8), min_size=2, max_size=30)


@pytest.fixture(scope="module")
def small() -> Small:
    return small_reference()


def measure(small: Small, rows: pd.DataFrame, seed: int = PARAMS.seed) -> dict[str, Any]:
    found = multivariate.measure(rows, small.reference, SETTINGS, seed)
    assert found is not None
    return found


@given(positive=scores, negative=scores)
def test_the_area_is_that_of_scikit_learn_with_the_variance_of_delongs_definition(
    positive: list[int], negative: list[int]
) -> None:
    values = np.array([*positive, *negative], "float64")
    is_positive = np.arange(len(values)) < len(positive)

    found = multivariate.area(values, is_positive)

    difference = np.subtract.outer(np.array(positive), np.array(negative))
    wins = (difference > 0) + (difference == 0) / 2
    variance = wins.mean(axis=1).var(ddof=1) / len(positive) + wins.mean(axis=0).var(ddof=1) / len(negative)
    assert found.value == pytest.approx(roc_auc_score(is_positive, values))
    assert found.variance == pytest.approx(variance, abs=1e-12)


def test_chance_stays_below_its_floor_as_often_as_said() -> None:
    generator = np.random.default_rng(PARAMS.seed)
    is_positive = np.arange(500) < 100
    areas = [multivariate.area(generator.normal(size=500), is_positive).value for _ in range(2_000)]

    below = (np.array(areas) < multivariate.chance_floor(100, 400)).mean()

    assert below == pytest.approx(multivariate.CONFIDENCE, abs=0.015)


def test_rows_of_the_reference_can_not_be_told_from_it(small: Small) -> None:
    found = measure(small, small.drawn(2_000, 1)[0])

    assert found["roc_auc"]["low"] < 0.5 < found["floor"]
    assert found["roc_auc"]["value"] < found["floor"]


def test_a_shift_of_one_column_is_told_by_that_column(small: Small) -> None:
    rows, _ = small.drawn(2_000, 2)
    name = CONTRACT.numbers[-5]

    found = measure(small, rows.assign(**{name: rows[name] + rows[name].std()}))

    assert found["roc_auc"]["low"] > found["floor"]
    assert found["columns"][0]["column"] == name


def test_columns_that_come_apart_are_told_though_each_looks_the_same(small: Small) -> None:
    rows, _ = small.drawn(2_000, 3)
    related = rows[CONTRACT.numbers].corr().abs().rename_axis(None).stack()
    one, other = related[
        (related < 0.999) & (related.index.get_level_values(0) < related.index.get_level_values(1))
    ].idxmax()
    shuffled = rows[one].sample(frac=1, random_state=0).to_numpy()

    found = measure(small, rows.assign(**{one: shuffled}))

    assert found["roc_auc"]["low"] > found["floor"]
    assert {each["column"] for each in found["columns"][:3]} & {one, other}


def test_a_category_that_is_new_or_missing_is_told(small: Small) -> None:
    rows, _ = small.drawn(2_000, 4)
    name = CONTRACT.categories[0]
    for changed in ("new", None):
        values = rows[name].astype("object").where(np.arange(len(rows)) % 2 == 0, changed)

        found = measure(small, rows.assign(**{name: values.astype("category")}))

        assert found["columns"][0]["column"] == name
        assert found["roc_auc"]["low"] > 0.6


def test_at_most_the_rows_asked_for_are_used_of_either_side(small: Small) -> None:
    assert measure(small, small.drawn(3 * SETTINGS.rows, 5)[0])["rows"] == 2 * SETTINGS.rows


def test_the_same_seed_gives_the_same_result_fit_for_json(small: Small) -> None:
    rows, _ = small.drawn(500, 6)

    first, again, other = (json.dumps(measure(small, rows, seed), allow_nan=False) for seed in (1, 1, 2))

    assert first == again != other


def test_a_window_with_too_few_rows_for_the_folds_has_no_result(small: Small) -> None:
    assert multivariate.measure(small.drawn(2, 7)[0], small.reference, SETTINGS, 0) is None
