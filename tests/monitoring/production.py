"""A project that is watched, and a prediction log as the service leaves it: real rows, really predicted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic_core import to_json

from pipelines import reference
from serving.core import new_ids
from takeoff import bootstrap, evaluation, files, paths, training, value
from takeoff.contract import Contract
from takeoff.features import examples, features
from takeoff.log_store import Entry, Label, ShadowEntry, open_store
from takeoff.model import CARD_FILE, MODEL_FILE, Model, load, predict
from takeoff.params import PARAMS_FILE, read_params
from tests.benchmarks.rows import as_sent
from tests.small_release import make_released

ROWS_AT_ONCE = 20_000
ANSWERED_BEFORE_SECONDS = 7200.0  # before the row's own time
LATENCY_MS = 0.5


def make_watched(folder: Path) -> Contract:
    """Fill `folder` with a small project with a model and its reference, watched by the day."""
    contract = make_released(folder, "logistic")
    text = (folder / PARAMS_FILE).read_text(encoding="utf-8")
    for before, after in (
        ("  window: week", "  window: day"),
        ("\n  rows: 500 ", "\n  rows: 100 "),
        ("    rows: 10000 ", "    rows: 200 "),
        ("    rows: 300 ", "    rows: 50 "),
        ("    resamples: 500 ", "    resamples: 100 "),
        ("  resamples: 1000 ", "  resamples: 100 "),
    ):
        assert before in text
        text = text.replace(before, after, 1)
    (folder / PARAMS_FILE).write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        reference.main()
    return contract


def add_promise_and_challenger(folder: Path, contract: Contract) -> None:
    """What a whole pipeline leaves as well: what the release promised, the plain rule, and a challenger.

    The challenger is the rule: a model that answers worse, at no cost.
    """
    params = read_params(folder, contract)
    rows = files.read_rows(folder / paths.split_rows("validation"))
    judged = examples(rows, contract)
    fitted = examples(files.read_rows(folder / paths.split_rows("fit")), contract)
    trained = training.train("rule", fitted, judged, params, contract)
    threshold = value.best_threshold(judged.labels, trained.probabilities, value.cost_matrix(contract))
    for place in (paths.CANDIDATES / "rule", paths.CHALLENGER):
        files.write_bytes(folder / place / MODEL_FILE, trained.onnx)
        files.write_json(folder / place / CARD_FILE, {**trained.card, "decision": {"threshold": threshold}})
    files.write_json(folder / paths.EVALUATION_REPORT, {"rule": {"threshold": threshold}})

    released = load(folder / paths.RELEASED)
    decides_from = released.card["decision"]["threshold"]
    said = predict(released.session, features(rows, contract))
    resamples = bootstrap.resample(rows, contract, params.evaluation.resamples, params.seed)
    scored = evaluation.score(judged.labels, said, decides_from, contract)
    metrics = evaluation.measure(scored, resamples, params.evaluation)
    card = released.card | {"metrics": {name: each._asdict() for name, each in metrics.items()}}
    files.write_json(folder / paths.RELEASED / CARD_FILE, card)


def fill(
    url: str,
    rows: pd.DataFrame,
    released: Model,
    version: str,
    contract: Contract,
    challenger: Model | None = None,
    **changes: Any,
) -> list[Entry]:
    """Put answers to contract rows into a log, in their order, and the labels of those that have one.

    Args:
        challenger: that answers the same rows unseen.
        changes: to every answer, such as another `row_time`.

    Returns:
        What was put in.
    """
    store = open_store(url, list(contract.columns), contract.hash, contract.numbers)
    entries: list[Entry] = []
    try:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE].reset_index(drop=True)
            answered = [each._replace(**changes) for each in _answers(part, released, version, contract)]
            shadows = list(_shadows(part, answered, challenger, contract)) if challenger else []
            store.insert(answered, shadows, list(_labels(part, answered, contract)))
            entries += answered
    finally:
        store.close()
    return entries


def _answers(rows: pd.DataFrame, released: Model, version: str, contract: Contract) -> Iterator[Entry]:
    probabilities = predict(released.session, features(rows, contract))
    decisions = value.decide(probabilities, float(released.card["decision"]["threshold"]))
    reviews = value.needs_review(probabilities, decisions, value.cost_matrix(contract), contract.costs.review)
    times = [each.timestamp() for each in rows[contract.time.column]]
    ids = new_ids(len(rows), times[0] - ANSWERED_BEFORE_SECONDS) if times else []
    for i, sent in enumerate(as_sent(rows, contract)):
        yield Entry(
            id=ids[i],
            time=times[i] - ANSWERED_BEFORE_SECONDS,
            model_version=version,
            contract=contract.hash,
            row=to_json(list(sent.values())).decode(),
            probability=float(probabilities[i, -1]),
            probabilities=to_json(probabilities[i].tolist()).decode(),
            decision=contract.target.classes[decisions[i]],
            review=bool(reviews[i]),
            latency_ms=LATENCY_MS,
            row_id=str(rows[contract.id][i]),
            row_time=times[i],
        )


def _shadows(
    rows: pd.DataFrame, answered: list[Entry], challenger: Model, contract: Contract
) -> Iterator[ShadowEntry]:
    version = f"{challenger.card['candidate']}-{challenger.card['onnx_sha256'][:12]}"
    probabilities = predict(challenger.session, features(rows, contract))
    decisions = value.decide(probabilities, float(challenger.card["decision"]["threshold"]))
    for entry, said, decision in zip(answered, probabilities.tolist(), decisions.tolist(), strict=True):
        classes = contract.target.classes
        yield ShadowEntry(entry.id, version, said[-1], to_json(said).decode(), classes[decision], LATENCY_MS)


def _labels(rows: pd.DataFrame, answered: list[Entry], contract: Contract) -> Iterator[Label]:
    known = rows[contract.target.known_at]
    for entry, label, at in zip(answered, rows[contract.target.column], known, strict=True):
        if pd.notna(label):
            yield Label(entry.id, str(label), at.timestamp(), at.timestamp())
