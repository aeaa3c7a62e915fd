"""A prediction log as the service leaves it: real rows, really predicted, with the labels that have come."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from pydantic_core import to_json

from serving.core import new_ids
from takeoff import value
from takeoff.contract import Contract
from takeoff.features import features
from takeoff.log_store import Entry, Label, open_store
from takeoff.model import Model, predict
from tests.benchmarks.rows import as_sent

ROWS_AT_ONCE = 20_000
ANSWERED_BEFORE_SECONDS = 7200.0  # before the row's own time
LATENCY_MS = 0.5


def fill(
    url: str, rows: pd.DataFrame, released: Model, version: str, contract: Contract, **changes: Any
) -> list[Entry]:
    """Put answers to contract rows into a log, in their order, and the labels of those that have one.

    Args:
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
            store.insert(answered, labels=list(_labels(part, answered, contract)))
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


def _labels(rows: pd.DataFrame, answered: list[Entry], contract: Contract) -> Iterator[Label]:
    known = rows[contract.target.known_at]
    for entry, label, at in zip(answered, rows[contract.target.column], known, strict=True):
        if pd.notna(label):
            yield Label(entry.id, str(label), at.timestamp(), at.timestamp())
