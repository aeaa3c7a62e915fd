"""Metrics against scikit-learn, intervals against resampling by hand, slices and curves against the rows."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from takeoff import bootstrap, evaluation, value
from takeoff.contract import read_contract
from takeoff.errors import TakeoffError
from takeoff.evaluation import METRICS, Scored
from takeoff.features import Examples
from takeoff.params import Params, Slice
from takeoff.training import Trained
from tests.conftest import PROJECT

CONTRACT = read_contract(PROJECT)
TIME, ZONE = CONTRACT.time.column, CONTRACT.time.zone
DRAWS = 25


def calibration_error_by_hand(labels: np.ndarray, event: np.ndarray, bin_of: np.ndarray) -> float:
    gaps = [abs((event - labels)[bin_of == number].sum()) for number in set(bin_of.tolist())]
    return float(sum(gaps) / len(labels))


def by_hand(scored: Scored, rows: np.ndarray, bin_of: np.ndarray) -> dict[str, float]:
    """Every metric of some rows (positions, repeats allowed), by scikit-learn where it has it."""
    labels, event, cost = scored.labels[rows], scored.event[rows], scored.cost[rows]
    return {
        "roc_auc": metrics.roc_auc_score(labels, event),
        "average_precision": metrics.average_precision_score(labels, event),
        "log_loss": metrics.log_loss(labels, event),
        "brier": metrics.brier_score_loss(labels, event),
        "calibration_error": calibration_error_by_hand(labels, event, bin_of[rows]),
        "cost": cost.mean() * value.PER_ROWS,
    }


@st.composite
def scored(draw: st.DrawFn) -> Scored:
    """A few rows with many ties, both classes among them."""
    count = draw(st.integers(2, 30))
    event = draw(arrays("float32", count, elements=st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.75, 0.9])))
    labels = draw(arrays("int64", count, elements=st.integers(0, 1)))
    labels[:2] = [0, 1]
    return evaluation.score(labels, np.column_stack([1 - event, event]), 0.3, CONTRACT)


@pytest.fixture(scope="module")
def real(trained: Callable[[str], Trained], split_examples: Callable[[str], Examples]) -> Scored:
    labels, probabilities = split_examples("validation").labels, trained("logistic").probabilities
    threshold = value.best_threshold(labels, probabilities, value.cost_matrix(CONTRACT))
    return evaluation.score(labels, probabilities, threshold, CONTRACT)


@pytest.fixture(scope="module")
def rows(split_rows: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
    return split_rows("validation")


@pytest.fixture(scope="module")
def tied(trained: Callable[[str], Trained], real: Scored) -> Scored:
    """The rule's answers: real ones of which many are equal."""
    return evaluation.score(real.labels, trained("rule").probabilities, 0.3, CONTRACT)


@given(scored=scored(), bins=st.integers(2, 12))
def test_metrics_agree_with_scikit_learn_on_ties(scored: Scored, bins: int) -> None:
    expected = by_hand(scored, np.arange(len(scored.labels)), evaluation.equal_bins(scored.event, bins))

    assert evaluation.measure_once(scored, bins) == pytest.approx(expected, abs=1e-9)


def test_metrics_agree_with_scikit_learn_on_real_predictions(
    real: Scored, tied: Scored, params: Params
) -> None:
    bins = params.evaluation.calibration_bins
    for each in (real, tied):
        expected = by_hand(each, np.arange(len(each.labels)), evaluation.equal_bins(each.event, bins))

        assert evaluation.measure_once(each, bins) == pytest.approx(expected, abs=1e-9)


def test_a_certain_mistake_costs_a_large_but_finite_log_loss() -> None:
    sure = np.array([[0.0, 1.0], [1.0, 0.0]])

    found = evaluation.measure_once(evaluation.score(np.array([0, 1]), sure, 0.5, CONTRACT), 2)

    assert found["log_loss"] == pytest.approx(-np.log(evaluation.SMALLEST_PROBABILITY))


@pytest.mark.parametrize("metric", METRICS)
def test_every_draw_is_what_the_metric_is_on_the_days_drawn(
    real: Scored, rows: pd.DataFrame, params: Params, metric: evaluation.Metric
) -> None:
    bins = params.evaluation.calibration_bins
    resamples = bootstrap.resample(rows, CONTRACT, DRAWS, params.seed)
    bin_of = evaluation.equal_bins(real.event, bins)
    days = rows[TIME].dt.tz_convert(ZONE).dt.date
    positions = {day: np.flatnonzero(days == day) for day in sorted(set(days))}

    draws = METRICS[metric](real, resamples, bins)

    for draw, weights in zip(draws, resamples.weights, strict=True):
        drawn = [np.tile(where, int(times)) for where, times in zip(positions.values(), weights, strict=True)]
        assert draw == pytest.approx(by_hand(real, np.concatenate(drawn), bin_of)[metric], abs=1e-9)


def test_whole_local_days_are_drawn_with_replacement(rows: pd.DataFrame, params: Params) -> None:
    resamples = bootstrap.resample(rows, CONTRACT, DRAWS, params.seed)

    days = rows[TIME].dt.tz_convert(ZONE).dt.date
    count = days.nunique()
    assert pd.Series(resamples.days).groupby(days.to_numpy()).nunique().eq(1).all()
    assert resamples.weights.shape == (DRAWS + 1, count)
    assert (resamples.weights[0] == 1).all()
    assert (resamples.weights.sum(axis=1) == count).all()
    assert resamples.weights.max() > 1


def test_the_same_seed_draws_the_same_days_and_another_one_others(rows: pd.DataFrame, params: Params) -> None:
    first, again, other = (
        bootstrap.resample(rows, CONTRACT, DRAWS, seed).weights
        for seed in (params.seed, params.seed, params.seed + 1)
    )

    assert (first == again).all()
    assert (first != other).any()


def test_an_interval_holds_the_middle_share_of_the_draws(params: Params) -> None:
    confidence = params.evaluation.confidence
    draws = np.concatenate([[7.0], np.linspace(0, 1, 10_001)])

    found = bootstrap.interval(draws, confidence)

    tail = (1 - confidence) / 2
    assert found == pytest.approx((7.0, tail, 1 - tail), abs=1e-3)


def test_the_measured_value_is_no_draw_of_its_own_interval() -> None:
    found = bootstrap.interval(np.array([100.0, 0.0, 1.0]), 0.9)

    assert found.value == 100 and found.high <= 1


def test_draws_without_a_class_are_left_out_of_the_interval() -> None:
    found = bootstrap.interval(np.array([0.7, np.nan, 0.6, 0.8, np.nan]), 0.9)

    assert 0.6 <= found.low < found.high <= 0.8


def test_days_give_wider_intervals_than_rows(real: Scored, rows: pd.DataFrame, params: Params) -> None:
    by_day = bootstrap.resample(rows, CONTRACT, 200, params.seed)
    alone = rows.assign(**{TIME: pd.date_range("2000-01-01 12:00", periods=len(rows), freq="D", tz="UTC")})
    by_row = bootstrap.resample(alone, CONTRACT, 200, params.seed)

    widths = [
        found.high - found.low
        for each in (by_day, by_row)
        if (found := bootstrap.interval(evaluation.cost(real, each, 2), 0.95))
    ]

    assert widths[0] > 1.2 * widths[1]


def test_every_metric_of_a_report_lies_within_its_interval(
    real: Scored, rows: pd.DataFrame, small_params: Params
) -> None:
    resamples = bootstrap.resample(rows, CONTRACT, small_params.evaluation.resamples, small_params.seed)

    found = evaluation.measure(real, resamples, small_params.evaluation)

    assert set(found) == set(METRICS)
    for name, estimate in found.items():
        # Resampling inflates the calibration error: noise in a bin never cancels.
        assert name == "calibration_error" or estimate.low < estimate.value < estimate.high


def test_slices_are_measured_on_their_rows_alone(
    real: Scored, rows: pd.DataFrame, small_params: Params
) -> None:
    settings = small_params.evaluation
    resamples = bootstrap.resample(rows, CONTRACT, settings.resamples, small_params.seed)

    found = evaluation.measure_slices(real, rows, resamples, settings, CONTRACT)

    masks = {(name, group): mask for name, group, mask in evaluation.slice_masks(rows, settings, CONTRACT)}
    assert {(each.slice, each.group) for each in found} == set(masks)
    for each in found:
        mask = masks[each.slice, each.group]
        alone = evaluation.measure_once(real.only(mask), settings.calibration_bins)
        assert {name: estimate.value for name, estimate in each.metrics.items()} == pytest.approx(alone)
        assert (each.rows, each.event_share) == (mask.sum(), pytest.approx(real.labels[mask].mean()))


def test_every_slice_of_the_parameters_has_groups_that_share_no_row(
    rows: pd.DataFrame, small_params: Params
) -> None:
    settings = small_params.evaluation

    found = list(evaluation.slice_masks(rows, settings, CONTRACT))

    assert {name for name, _, _ in found} == {item.name for item in settings.slices}
    for item in settings.slices:
        masks = [mask for name, _, mask in found if name == item.name]
        assert np.sum(masks, axis=0).max() == 1


def test_a_category_is_cut_by_value_and_small_groups_are_left_out(
    rows: pd.DataFrame, small_params: Params
) -> None:
    column = CONTRACT.categories[0]
    settings = small_params.evaluation.model_copy(update={"slices": (Slice(column=column),)})

    found = {group: int(mask.sum()) for _, group, mask in evaluation.slice_masks(rows, settings, CONTRACT)}

    counts = rows[column].value_counts()
    assert found == counts[counts >= settings.slice_rows].to_dict()
    assert len(found) < len(counts)


def test_a_number_at_an_edge_belongs_to_the_band_that_starts_there(
    rows: pd.DataFrame, small_params: Params
) -> None:
    item = Slice(column="departure_hour", edges=(0, 10, 24))
    settings = small_params.evaluation.model_copy(update={"slices": (item,)})

    found = {group: mask for _, group, mask in evaluation.slice_masks(rows, settings, CONTRACT)}

    hours = rows["departure_hour"].to_numpy()
    assert list(found) == ["00 to 10", "10 to 24"]
    assert (found["10 to 24"] == (hours >= 10)).all()
    assert (hours == 10).any()


def test_months_are_those_of_the_contracts_zone(rows: pd.DataFrame, small_params: Params) -> None:
    settings = small_params.evaluation.model_copy(update={"slices": (Slice(time="month"),)})

    found = {group: mask for _, group, mask in evaluation.slice_masks(rows, settings, CONTRACT)}

    assert (rows[TIME].dt.month != 5).any()  # in UTC the last evening is in the next month
    assert {group: mask.all() for group, mask in found.items()} == {"2013-05": True}


def test_a_group_of_one_class_is_left_out_of_the_report(
    real: Scored, rows: pd.DataFrame, small_params: Params
) -> None:
    settings = small_params.evaluation.model_copy(update={"slices": (Slice(column="origin"),)})
    resamples = bootstrap.resample(rows, CONTRACT, settings.resamples, small_params.seed)
    calm = real._replace(labels=np.where(rows["origin"] == "JFK", 0, real.labels))

    found = evaluation.measure_slices(calm, rows, resamples, settings, CONTRACT)

    assert {each.group for each in found} == {"EWR", "LGA"}


def test_the_roc_curve_runs_from_corner_to_corner_and_has_the_metrics_area(real: Scored) -> None:
    points = pd.DataFrame(evaluation.roc_curve(real))

    x, y = points["false_positive_rate"], points["true_positive_rate"]
    assert (x.iloc[0], y.iloc[0], x.iloc[-1], y.iloc[-1]) == (0, 0, 1, 1)
    assert x.is_monotonic_increasing and y.is_monotonic_increasing
    assert metrics.auc(x, y) == pytest.approx(evaluation.measure_once(real, 2)["roc_auc"], abs=0.005)


def test_the_precision_recall_curve_is_scikit_learns(tied: Scored) -> None:
    precision, recall, _ = metrics.precision_recall_curve(tied.labels, tied.event, drop_intermediate=False)
    known = {(round(r, 6), round(p, 6)) for r, p in zip(recall, precision, strict=True)}

    points = evaluation.precision_recall_curve(tied)

    assert {(each["recall"], each["precision"]) for each in points} <= known
    assert points[-1]["recall"] == 1


def test_the_calibration_curve_gives_the_calibration_error_back(real: Scored, params: Params) -> None:
    bins = params.evaluation.calibration_bins

    points = pd.DataFrame(evaluation.calibration_curve(real, bins))

    assert len(points) == bins
    gap = (points["predicted"] - points["observed"]).abs().mean()  # equally filled bins weigh the same
    assert gap == pytest.approx(evaluation.measure_once(real, bins)["calibration_error"], abs=1e-3)


def test_the_cost_curve_is_lowest_at_the_chosen_threshold(real: Scored) -> None:
    points = evaluation.cost_points(real, CONTRACT)

    lowest = min(points, key=lambda each: each["cost"])
    chosen = value.best_threshold(real.labels, real.probabilities, value.cost_matrix(CONTRACT))
    assert lowest["threshold"] == pytest.approx(chosen, abs=0.02)
    assert lowest["cost"] == pytest.approx(evaluation.measure_once(real, 2)["cost"], rel=0.01)


def test_curves_are_thinned_to_what_a_plot_can_show(real: Scored) -> None:
    for points in (
        evaluation.roc_curve(real),
        evaluation.precision_recall_curve(real),
        evaluation.cost_points(real, CONTRACT),
    ):
        assert len(points) == evaluation.CURVE_POINTS < len(real.labels)


@given(
    values=arrays("float64", st.integers(1, 200), elements=st.floats(0, 1) | st.sampled_from([0.2, 0.4])),
    bins=st.integers(2, 15),
)
def test_bins_keep_equal_values_together_in_order_and_are_never_more_than_asked_for(
    values: np.ndarray, bins: int
) -> None:
    found = evaluation.equal_bins(values, bins)

    order = np.argsort(values, kind="stable")
    assert (np.diff(found[order]) >= 0).all()
    assert pd.Series(found).groupby(values).nunique().eq(1).all()
    assert found.min() >= 0 and found.max() < bins


def test_bins_of_different_values_are_equally_filled(real: Scored, params: Params) -> None:
    bins = params.evaluation.calibration_bins
    different = np.unique(real.event)

    counts = np.bincount(evaluation.equal_bins(different, bins))

    assert len(counts) == bins
    assert counts.max() - counts.min() <= 1


def test_a_split_of_one_class_is_refused_with_its_name_and_the_class_that_lacks(real: Scored) -> None:
    with pytest.raises(TakeoffError, match=rf"test split .* no row of class '{CONTRACT.target.classes[1]}'"):
        evaluation.check_classes("test", np.zeros_like(real.labels), CONTRACT)
