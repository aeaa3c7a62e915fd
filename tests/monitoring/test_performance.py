"""Live performance from counts, against the exact evaluation of the same rows."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitoring import plain_rule
from monitoring.performance import NO_RULE, Labels, Performance
from monitoring.plain_rule import PlainRule
from monitoring.scores import BINS, MeanOfBin, ScoreTable, bins_of
from takeoff import bootstrap, evaluation, files, model, paths, value
from takeoff.bootstrap import Resamples
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.evaluation import METRICS, Scored
from takeoff.features import examples, features
from takeoff.log_read import Chunk
from takeoff.params import Params
from takeoff.training import Trained
from tests.monitoring.chunks import THRESHOLD, TOLERANCE, Live, flat, labelled_as, live, pieces, take


@pytest.fixture(scope="module")
def here(split_project: Path, trained: Callable[[str], Trained], contract: Contract) -> Live:
    return live(split_project, trained, contract)


@pytest.fixture(scope="module")
def rule_project(
    tmp_path_factory: pytest.TempPathFactory, trained: Callable[[str], Trained], contract: Contract
) -> Path:
    """Only the plain rule and its threshold, where the pipeline leaves them."""
    folder = tmp_path_factory.mktemp("rule project")
    made = trained("rule")
    files.write_bytes(folder / paths.CANDIDATES / "rule" / model.MODEL_FILE, made.onnx)
    files.write_json(folder / paths.CANDIDATES / "rule" / model.CARD_FILE, made.card)
    files.write_json(folder / paths.EVALUATION_REPORT, {"rule": {"threshold": 0.2}})
    return folder


@pytest.fixture(scope="module")
def rule(rule_project: Path, contract: Contract) -> PlainRule:
    return plain_rule.load(rule_project, "rule", contract)


def measured(chunks: list[Chunk], contract: Contract, params: Params, **more: Any) -> dict[str, Any] | None:
    performance = Performance(contract, params.evaluation, params.seed, **more)
    for each in chunks:
        performance.add(each)
    return performance.result()


def exact(here: Live, contract: Contract) -> tuple[Scored, pd.DataFrame]:
    """The labelled rows as the release would have judged them."""
    known = here.rows[contract.target.column].notna().to_numpy()
    rows = here.rows[known].reset_index(drop=True)
    labels = examples(rows, contract).labels
    return evaluation.score(labels, here.probabilities[known], THRESHOLD, contract), rows


def test_metrics_and_intervals_are_those_of_the_exact_evaluation(
    here: Live, contract: Contract, small_params: Params
) -> None:
    scored, rows = exact(here, contract)
    settings = small_params.evaluation
    resamples = bootstrap.resample(rows, contract, settings.resamples, small_params.seed)
    expected = evaluation.measure(scored, resamples, settings)

    found = measured([here.chunk], contract, small_params)

    assert found is not None
    assert 0 < found["rows"] == len(rows) < len(here.rows)
    for name in METRICS:
        assert found["metrics"][name] == pytest.approx(expected[name]._asdict(), abs=TOLERANCE[name]), name


grid = st.integers(1, 99).map(lambda percent: percent / 100)
scored_rows = st.lists(st.tuples(grid, st.integers(0, 1), st.integers(0, 3)), min_size=1, max_size=60)


# The third fifth of five begins at a row exactly, which a last digit must not change.
FIFTHS = [(0.01, 0, 0), (0.01, 0, 0), (0.01, 0, 0), (0.02, 1, 0), (0.03, 0, 0), (0.03, 0, 0)]


@given(scored_rows, st.integers(2, 12), st.integers(0, 2**32 - 1))
@example(FIFTHS, 5, 0)
@settings(max_examples=60, deadline=None)
def test_probabilities_in_bins_of_their_own_lose_nothing(
    rows: list[tuple[float, int, int]], groups: int, seed: int
) -> None:
    event, labels, days = (np.array(column) for column in zip(*rows, strict=True))
    weights = np.concatenate(
        [np.ones((1, 4)), np.random.default_rng(seed).multinomial(4, [0.25] * 4, size=5)]
    )
    scored = Scored(labels, np.column_stack([1 - event, event]), np.zeros(len(rows)))
    mean = MeanOfBin()
    mean.add(event, bins_of(event))
    counts = np.zeros((4, BINS, 2))
    np.add.at(counts, (days, bins_of(event), labels), 1)

    found = ScoreTable.of(counts[..., 1], counts[..., 0], mean.values()).draws(weights, groups)

    for name, draws in METRICS.items():
        if name != "cost":
            expected = draws(scored, Resamples(days, weights), groups)
            np.testing.assert_allclose(found[name], expected, atol=1e-9, err_msg=name)


@given(event=st.lists(st.floats(0, 1, width=32), min_size=2, max_size=50))
@settings(deadline=None)
def test_bins_keep_the_order_of_probabilities(event: list[float]) -> None:
    ascending = np.sort(np.array(event, dtype="float32"))
    bins = bins_of(ascending)
    assert (np.diff(bins) >= 0).all()
    assert bins.min() >= 0
    assert bins.max() < BINS


def test_rare_events_are_told_apart() -> None:
    tenths_of_a_thousandth = np.arange(1, 20, dtype="float32") / 1e4
    assert len(np.unique(bins_of(tenths_of_a_thousandth))) == len(tenths_of_a_thousandth)


@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_neither_order_nor_chunks_of_rows_change_the_result(
    data: st.DataObject, here: Live, contract: Contract, small_params: Params
) -> None:
    some = take(here.chunk, np.arange(600))
    whole = measured([some], contract, small_params)
    order = data.draw(st.permutations(range(600)))
    cuts = data.draw(st.lists(st.integers(0, 600), max_size=4))

    found = measured(pieces(take(some, np.array(order)), cuts), contract, small_params)

    assert flat(found) == pytest.approx(flat(whole), abs=2e-6)


def test_counts_do_not_grow_with_the_rows(here: Live, contract: Contract, small_params: Params) -> None:
    performance = Performance(contract, small_params.evaluation, small_params.seed)
    performance.add(here.chunk)
    tracemalloc.start()
    try:
        for _ in range(5):
            performance.add(here.chunk)
        after_five, _ = tracemalloc.get_traced_memory()
        for _ in range(20):
            performance.add(here.chunk)
        after_all, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    a_row = 8  # bytes, the least that anything kept of a row takes
    assert after_all - after_five < 20 * len(here.rows) * a_row / 10


def test_money_is_of_the_decisions_that_were_logged(
    here: Live, contract: Contract, small_params: Params
) -> None:
    scored, _ = exact(here, contract)
    event = contract.target.classes[-1]
    all_event = pd.Categorical([event] * len(here.rows), categories=list(contract.target.classes))
    logged = here.chunk._replace(answers=here.chunk.answers.assign(decision=all_event))
    costs = value.cost_matrix(contract)[scored.labels, -1]

    found = measured([logged], contract, small_params)

    assert found is not None
    assert found["money"]["total_model"] == pytest.approx(costs.sum())
    assert found["money"]["model"]["value"] == pytest.approx(costs.mean() * value.PER_ROWS)
    assert found["metrics"]["cost"] == found["money"]["model"]


def test_rows_for_review_cost_the_review(here: Live, contract: Contract, small_params: Params) -> None:
    assert contract.costs.review is not None
    scored, _ = exact(here, contract)
    known = here.chunk.answers["label"].notna()
    review = here.chunk.answers["review"][known].to_numpy()
    assert review.any()

    found = measured([here.chunk], contract, small_params)

    assert found is not None
    expected = np.where(review, contract.costs.review, scored.cost)
    assert found["money"]["total_model_with_review"] == pytest.approx(expected.sum())


def test_gain_over_the_rule_is_paired_on_the_same_rows(
    here: Live, rule: PlainRule, contract: Contract, small_params: Params
) -> None:
    scored, rows = exact(here, contract)
    settings = small_params.evaluation
    resamples = bootstrap.resample(rows, contract, settings.resamples, small_params.seed)
    of_rule = value.costs(scored.labels, rule.decide(rows, contract), value.cost_matrix(contract))
    draws = evaluation.cost(scored._replace(cost=of_rule - scored.cost), resamples, 1)

    found = measured([here.chunk], contract, small_params, rule=rule)

    assert found is not None
    expected = bootstrap.interval(draws, settings.confidence)._asdict()
    assert found["money"]["gain_over_rule"] == pytest.approx(expected, abs=1e-5)
    assert found["money"]["total_rule"] == pytest.approx(of_rule.sum())
    assert found["rule"]["cost"] == found["money"]["rule"]


def test_the_rule_decides_as_its_model_does_on_every_row(
    here: Live, rule: PlainRule, contract: Contract
) -> None:
    probabilities = model.predict(rule.session, features(here.rows, contract))
    expected = value.decide(probabilities, rule.threshold)
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(rule.decide(here.chunk.rows, contract), expected)


def test_a_rule_of_another_contract_is_refused(rule_project: Path, contract: Contract) -> None:
    other = contract.model_copy(update={"question": "Another one?"})
    with pytest.raises(TakeoffError, match="made for another contract"):
        plain_rule.load(rule_project, "rule", other)


def test_a_rule_without_threshold_is_refused(rule_project: Path, contract: Contract, tmp_path: Path) -> None:
    content = (rule_project / paths.CANDIDATES / "rule" / model.MODEL_FILE).read_bytes()
    card = (rule_project / paths.CANDIDATES / "rule" / model.CARD_FILE).read_bytes()
    files.write_bytes(tmp_path / paths.CANDIDATES / "rule" / model.MODEL_FILE, content)
    files.write_bytes(tmp_path / paths.CANDIDATES / "rule" / model.CARD_FILE, card)
    with pytest.raises(TakeoffError, match="holds no threshold of 'rule'"):
        plain_rule.load(tmp_path, "rule", contract)


def test_without_a_rule_a_note_says_so(here: Live, contract: Contract, small_params: Params) -> None:
    performance = Performance(contract, small_params.evaluation, small_params.seed)
    performance.add(here.chunk)
    result = performance.result()
    assert result is not None
    assert result["rule"] is None
    assert result["money"]["gain_over_rule"] is None
    assert NO_RULE in performance.notes


def test_what_the_release_promised_stands_beside(
    here: Live, contract: Contract, small_params: Params
) -> None:
    promised = {name: {"value": 1.0, "low": 0.5, "high": 2.0} for name in METRICS}
    found = measured([here.chunk], contract, small_params, promised=promised)
    assert found is not None
    assert found["promised"] == promised
    assert found["money"]["promised"] == promised["cost"]


def test_calibration_is_that_of_the_exact_curve(here: Live, contract: Contract, small_params: Params) -> None:
    scored, _ = exact(here, contract)
    expected = evaluation.calibration_curve(scored, small_params.evaluation.calibration_bins)

    found = measured([here.chunk], contract, small_params)

    assert found is not None
    assert sum(each["rows"] for each in found["calibration"]) == found["rows"]
    for mine, theirs in zip(found["calibration"], expected, strict=True):
        # One row more or less in a group of hundreds.
        assert mine["predicted"] == pytest.approx(theirs["predicted"], abs=0.003)
        assert mine["observed"] == pytest.approx(theirs["observed"], abs=0.01)
    assert found["event_share"]["value"] == pytest.approx(scored.labels.mean(), abs=1e-6)
    assert found["predicted_share"] == pytest.approx(scored.event.mean(), abs=1e-6)


def test_a_single_day_resamples_rows_and_says_so(
    here: Live, contract: Contract, small_params: Params
) -> None:
    times = pd.Series(here.rows[contract.time.column].iloc[0], index=here.rows.index)
    one_day = here.chunk._replace(answers=here.chunk.answers.assign(window_time=times))
    performance = Performance(contract, small_params.evaluation, small_params.seed)
    performance.add(one_day)
    result = performance.result()

    scored, _ = exact(here, contract)
    error = ((scored.event - scored.labels) ** 2).std() / np.sqrt(len(scored.labels))
    assert result is not None
    brier = result["metrics"]["brier"]
    # The spread of 64 group means is known to 9%, that of 100 resamples to 7%: twice both together.
    assert (brier["high"] - brier["low"]) / (2 * 1.96 * error) == pytest.approx(1, abs=0.25)
    assert any("of one day" in note for note in performance.notes)


@pytest.mark.parametrize("place", [0, -1])
def test_one_class_leaves_out_what_needs_both(
    place: int, here: Live, contract: Contract, small_params: Params
) -> None:
    only = contract.target.classes[place]
    performance = Performance(contract, small_params.evaluation, small_params.seed)
    performance.add(labelled_as(here.chunk, [only] * len(here.rows), contract))
    result = performance.result()
    assert result is not None
    assert result["metrics"]["roc_auc"] is None
    assert result["metrics"]["average_precision"] is None
    assert result["metrics"]["brier"]["value"] > 0
    assert any(f"'{only}'" in note for note in performance.notes)


def test_no_labels_are_no_performance(here: Live, contract: Contract, small_params: Params) -> None:
    unlabelled = labelled_as(here.chunk, [None] * len(here.rows), contract)
    assert measured([unlabelled], contract, small_params) is None
    labels = Labels(contract)
    labels.add(unlabelled)
    result = labels.result()
    assert result is not None
    assert (result["rows"], result["share"], result["never"], result["lag_hours"]) == (0, 0.0, None, None)
    assert any("No label has come yet" in note for note in labels.notes)


def test_no_rows_are_neither_performance_nor_labels(contract: Contract, small_params: Params) -> None:
    assert measured([], contract, small_params) is None
    assert Labels(contract).result() is None


def test_labels_that_were_known_before_their_row_are_told(here: Live, contract: Contract) -> None:
    answers = here.chunk.answers
    asked, came = answers["window_time"], answers["known_at"].copy()
    early = np.flatnonzero(came.notna())[:3]
    came.iloc[early] = asked.iloc[early] - pd.Timedelta(seconds=1)
    came.iloc[early[0]] = asked.iloc[early[0]]  # at once is not before
    labels, sound = Labels(contract), Labels(contract)

    sound.add(here.chunk)
    labels.add(here.chunk._replace(answers=answers.assign(known_at=came)))

    assert sound.notes == []
    assert [note.split(" were known before")[0] for note in labels.notes] == ["2 labels"]


def test_coverage_and_lag_are_those_of_the_rows(here: Live, contract: Contract) -> None:
    known = here.rows[contract.target.column].notna()
    asked, came = here.rows[contract.time.column], here.rows[contract.target.known_at]
    hours = ((came - asked)[known].dt.total_seconds() / 3600).to_numpy("float64")
    labels = Labels(contract)
    for each in pieces(here.chunk, [1000, 1001]):
        labels.add(each)
    result = labels.result()
    assert result is not None
    assert result["rows"] == known.sum()
    assert result["share"] == pytest.approx(known.mean(), abs=1e-6)
    assert result["lag_hours"]["median"] == pytest.approx(np.quantile(hours, 0.5), abs=0.1)
    assert result["lag_hours"]["p90"] == pytest.approx(np.quantile(hours, 0.9), abs=0.1)


def test_a_label_is_given_up_once_it_waited_longer_than_any_other(here: Live, contract: Contract) -> None:
    unlabelled = here.rows[here.rows[contract.target.column].isna()]
    assert len(unlabelled) > 0
    asked, came = here.rows[contract.time.column], here.rows[contract.target.known_at]
    longest = (came - asked).max()
    a_little = pd.Timedelta(minutes=15)

    def never(as_of: pd.Timestamp) -> int:
        labels = Labels(contract, as_of)
        labels.add(here.chunk)
        result = labels.result()
        assert result is not None
        return int(result["never"])

    assert never(asked.max() + longest + a_little) == len(unlabelled)
    first = unlabelled[contract.time.column].min()
    assert never(first + longest - a_little) == 0
    assert never(first + longest + a_little) >= 1
