"""Every candidate, fitted on real rows: its one ONNX file is valid, whole, the same again, and proven."""

import getpass
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from onnx import numpy_helper

from takeoff import evaluation, export, model, training
from takeoff.calibration import Calibration
from takeoff.candidates import rule
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.features import MISSING_TEXT, Examples
from takeoff.params import PARAMS_FILE, Params, known_candidates
from takeoff.training import Trained
from tests.conftest import PROJECT

Splits = Callable[[str], Examples]
every_candidate = pytest.mark.parametrize("name", known_candidates())


def with_settings(params: Params, name: str, **changes: Any) -> Params:
    candidate = params.candidates[name]
    edited = candidate.model_copy(update={"settings": {**candidate.settings, **changes}})
    return params.model_copy(update={"candidates": {**params.candidates, name: edited}})


def ask(trained: Trained, features: pd.DataFrame) -> np.ndarray:
    return model.predict(model.session_of(trained.onnx), features)


@every_candidate
def test_probabilities_are_valid(
    trained: Callable[[str], Trained], split_examples: Splits, contract: Contract, name: str
) -> None:
    rows = split_examples("test").features

    found = ask(trained(name), rows)

    assert found.shape == (len(rows), len(contract.target.classes))
    assert found.dtype == np.float32
    assert ((found > 0) & (found < 1)).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_training_has_torch_add_up_in_one_order(
    split_examples: Splits, small_params: Params, contract: Contract
) -> None:
    torch.use_deterministic_algorithms(False)

    training.train("rule", split_examples("fit"), split_examples("validation"), small_params, contract)

    assert torch.are_deterministic_algorithms_enabled()


@every_candidate
def test_it_has_learnt_something(
    trained: Callable[[str], Trained], split_examples: Splits, contract: Contract, name: str
) -> None:
    test = split_examples("test")

    scored = evaluation.score(test.labels, ask(trained(name), test.features), 0.5, contract)

    assert evaluation.measure_once(scored, 2)["roc_auc"] > 0.55


@every_candidate
def test_missing_values_and_unseen_categories_are_answered(
    trained: Callable[[str], Trained], split_examples: Splits, contract: Contract, name: str
) -> None:
    rows = split_examples("test").features.head(20).copy()
    rows[contract.numbers] = np.float32("nan")
    rows[contract.categories] = MISSING_TEXT
    rows.loc[10:, contract.categories] = "never seen"

    found = ask(trained(name), rows)

    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


@every_candidate
def test_numbers_at_the_contracts_bounds_are_answered(
    trained: Callable[[str], Trained], split_examples: Splits, contract: Contract, name: str
) -> None:
    rows = split_examples("test").features.head(2).copy()
    for column in contract.numbers:
        bounds = contract.columns[column]
        rows[column] = np.array([bounds.min, bounds.max], dtype="float32")

    assert np.isfinite(ask(trained(name), rows)).all()


@every_candidate
def test_a_row_alone_is_answered_as_in_a_batch(
    trained: Callable[[str], Trained], split_examples: Splits, name: str
) -> None:
    rows = split_examples("test").features.head(20)
    batch = ask(trained(name), rows)

    alone = [ask(trained(name), rows.iloc[[place]])[0] for place in range(len(rows))]

    np.testing.assert_allclose(alone, batch, atol=1e-6)


@pytest.mark.parametrize("name", ["rule", "boosted"])  # the others multiply matrices
def test_the_last_bit_of_an_answer_does_not_depend_on_the_other_rows(
    trained: Callable[[str], Trained], split_examples: Splits, name: str
) -> None:
    rows = split_examples("test").features.head(200)

    alone = [ask(trained(name), rows.iloc[[place]])[0] for place in range(len(rows))]

    np.testing.assert_array_equal(alone, ask(trained(name), rows))


def test_the_last_digits_of_a_calibration_do_not_reach_the_file(
    split_examples: Splits, small_params: Params, contract: Contract
) -> None:
    settings = rule.Settings.model_validate(small_params.candidates["rule"].settings)
    rows = split_examples("fit")
    scores = rule.fit(rows, rows, settings, contract, small_params.seed).to_onnx()
    found = Calibration(0.9, np.array([0.0, 0.1]))
    elsewhere = Calibration(np.nextafter(found.slope, 1), np.nextafter(found.bias, 1))

    files = [export.with_calibration(scores, each, contract) for each in (found, elsewhere)]

    assert files[0] == files[1]


@every_candidate
def test_fitting_again_gives_the_same_file_and_the_same_card(
    trained: Callable[[str], Trained],
    split_examples: Splits,
    small_params: Params,
    contract: Contract,
    name: str,
) -> None:
    again = training.train(name, split_examples("fit"), split_examples("validation"), small_params, contract)

    assert again.onnx == trained(name).onnx
    assert again.card == trained(name).card


@every_candidate
def test_the_file_takes_the_contracts_columns_and_gives_probabilities(
    trained: Callable[[str], Trained], contract: Contract, name: str
) -> None:
    session = model.session_of(trained(name).onnx)

    types = {True: "tensor(float)", False: "tensor(string)"}
    assert {entry.name: entry.type for entry in session.get_inputs()} == {
        column: types[about.is_number] for column, about in contract.columns.items()
    }
    assert [entry.name for entry in session.get_outputs()] == [model.OUTPUT]


@every_candidate
def test_the_file_says_nothing_of_the_machine_it_was_made_on(
    trained: Callable[[str], Trained], name: str
) -> None:
    content = trained(name).onnx

    traces = [str(PROJECT), str(Path.home()), str(Path(onnx.__file__).parents[1]), "site-packages", ".py"]
    # Short ones come up by chance among the bytes of weights.
    traces += [name for name in (socket.gethostname(), getpass.getuser()) if len(name) > 5]
    assert [trace for trace in traces if trace.encode() in content] == []
    assert not onnx.load_from_string(content).metadata_props


@every_candidate
def test_the_card_proves_parity_on_the_whole_of_validation(
    trained: Callable[[str], Trained], split_examples: Splits, params: Params, name: str
) -> None:
    proof = trained(name).card["parity"]

    assert proof["rows"] == len(split_examples("validation").labels)
    assert proof["flipped"] == 0
    assert proof["largest_difference"] < params.parity.largest_difference == proof["largest_allowed"]


@every_candidate
def test_the_card_says_what_was_seen_and_under_which_contract(
    trained: Callable[[str], Trained], split_examples: Splits, contract: Contract, name: str
) -> None:
    card, rows = trained(name).card, split_examples("fit").features

    assert (card["candidate"], card["contract_hash"]) == (name, contract.hash)
    for column in contract.categories:
        assert set(rows[column]) == set(card["seen"][column])
    for column in contract.numbers:
        assert card["seen"][column] == [rows[column].min(), rows[column].max()]
        assert (column in card["gaps"]) == rows[column].isna().any()


@pytest.fixture
def tampered(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Shift the log odds of every exported file by a little, behind the back of `train`."""
    honest = export.with_calibration

    def shifted(amount: float) -> Callable[..., bytes]:
        def with_calibration(*arguments: Any) -> bytes:
            changed = onnx.load_from_string(honest(*arguments))
            (bias,) = (each for each in changed.graph.initializer if each.name == "calibration/bias")
            bias.CopyFrom(
                numpy_helper.from_array(
                    numpy_helper.to_array(bias) + np.array([0, amount], "float32"), bias.name
                )
            )
            return bytes(changed.SerializeToString())

        return with_calibration

    return lambda amount: monkeypatch.setattr(export, "with_calibration", shifted(amount))


@every_candidate
def test_a_file_that_says_something_else_than_the_fitted_model_is_refused(
    tampered: Callable[[float], None],
    split_examples: Splits,
    small_params: Params,
    contract: Contract,
    name: str,
) -> None:
    tampered(10 * small_params.parity.largest_difference)

    with pytest.raises(TakeoffError, match=rf"{name}: the ONNX file does not say what .* Nothing is kept"):
        training.train(name, split_examples("fit"), split_examples("validation"), small_params, contract)


def test_one_flipped_decision_is_refused_however_small_the_difference(
    tampered: Callable[[float], None], split_examples: Splits, small_params: Params, contract: Contract
) -> None:
    tampered(0.05)
    lenient = small_params.model_copy(
        update={"parity": small_params.parity.model_copy(update={"largest_difference": 1.0})}
    )

    with pytest.raises(TakeoffError, match=r"[1-9][\d,]* decisions flip \(must be 0\)"):
        training.train("logistic", split_examples("fit"), split_examples("validation"), lenient, contract)


def test_parity_finds_the_largest_difference_and_counts_flips() -> None:
    fitted = np.array([[0.6, 0.4], [0.5, 0.5], [0.2, 0.8]])
    exported = np.array([[0.6, 0.4], [0.52, 0.48], [0.19, 0.81]])

    found = export.parity(fitted, exported, lambda each: (each[:, 1] >= 0.5).astype("int64"))

    assert found == (3, pytest.approx(0.02), 1)


@every_candidate
@pytest.mark.parametrize("split", ["fit", "validation"])
def test_a_split_of_one_class_is_refused_before_anything_is_fitted(
    split_examples: Splits, small_params: Params, contract: Contract, name: str, split: str
) -> None:
    parts = {each: split_examples(each) for each in ("fit", "validation")}
    parts[split] = parts[split]._replace(labels=np.ones_like(parts[split].labels))

    with pytest.raises(TakeoffError, match=f"The {split} split .* no row of class") as refused:
        training.train(name, parts["fit"], parts["validation"], small_params, contract)

    assert contract.target.classes[0] in str(refused.value)


def test_a_network_that_diverges_names_the_learning_rate(
    split_examples: Splits, small_params: Params, contract: Contract
) -> None:
    wild = with_settings(small_params, "network", learning_rate=1e30)

    with pytest.raises(
        TakeoffError, match=r"training diverged.*candidates\.network\.settings\.learning_rate"
    ):
        training.train("network", split_examples("fit"), split_examples("validation"), wild, contract)


def test_a_network_keeps_the_epoch_that_was_best_on_validation(
    trained: Callable[[str], Trained], split_examples: Splits, small_params: Params, contract: Contract
) -> None:
    restless = with_settings(small_params, "network", members=1, learning_rate=0.1, epochs=4, patience=4)

    found = training.train("network", split_examples("fit"), split_examples("validation"), restless, contract)

    losses = [each["validation_log_loss_1"] for each in found.steps]
    assert min(losses) < losses[-1]
    # Calibration lowers the log loss a little more, never the other way.
    assert found.metrics["validation_log_loss"] <= min(losses) + 1e-4


def test_a_network_stops_when_its_patience_ends(
    split_examples: Splits, small_params: Params, contract: Contract
) -> None:
    hasty = with_settings(small_params, "network", members=1, learning_rate=0.2, epochs=30, patience=1)

    found = training.train("network", split_examples("fit"), split_examples("validation"), hasty, contract)

    losses = [each["validation_log_loss_1"] for each in found.steps]
    assert len(losses) < 30
    assert losses[-1] >= min(losses[:-1])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_asking_for_a_gpu_that_is_not_there_says_what_to_choose(
    split_examples: Splits, small_params: Params, contract: Contract
) -> None:
    insisting = with_settings(small_params, "network", device="cuda")

    with pytest.raises(TakeoffError, match=r"settings\.device is cuda.* Choose auto or cpu"):
        training.train("network", split_examples("fit"), split_examples("validation"), insisting, contract)


def test_trees_stop_when_validation_no_longer_improves(
    split_examples: Splits, small_params: Params, contract: Contract
) -> None:
    hasty = with_settings(small_params, "boosted", learning_rate=1.0, trees=60, patience=2)

    found = training.train("boosted", split_examples("fit"), split_examples("validation"), hasty, contract)

    assert 2 < len(found.steps) < 60


def test_a_rule_over_an_unknown_column_names_the_nearest(
    split_examples: Splits, small_params: Params, contract: Contract
) -> None:
    misspelt = with_settings(small_params, "rule", by=["carier"])

    with pytest.raises(TakeoffError, match=rf"{PARAMS_FILE}: .*no column 'carier'; did you mean 'carrier'"):
        training.train("rule", split_examples("fit"), split_examples("validation"), misspelt, contract)


def test_a_rules_cell_is_its_historic_share_drawn_to_the_overall_one(
    split_examples: Splits, small_params: Params, contract: Contract
) -> None:
    fit, settings = split_examples("fit"), rule.Settings(by=("carrier",), prior_rows=50)

    found = rule.fit(fit, split_examples("validation"), settings, contract, seed=0).predict(fit.features)

    late, here = fit.labels, (fit.features["carrier"] == "UA").to_numpy()
    share = (late[here].sum() + 50 * late.mean()) / (here.sum() + 50)
    np.testing.assert_allclose(found[here, 1], share)
