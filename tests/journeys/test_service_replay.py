"""A month of real rows goes through the service: every answer is the model's, and every count agrees."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from serving.requests import MOST_ROWS
from takeoff import dataset, model, paths
from takeoff.contract import read_contract
from takeoff.features import features
from tests.evidence import counted, logged
from tests.small_package import Packed
from tests.small_release import PROJECT
from tests.small_service import Service, as_sent, serving
from tests.traffic import Request, predict, predict_batch, send_all

pytestmark = pytest.mark.slow

CONTRACT = read_contract(PROJECT)
MONTH = 7
TO_THE_BIT = 5_000  # rows
CONNECTIONS = 32
OUTCOMES = ("stored", "repeated", "changed", "spooled")


class Replayed(NamedTuple):
    """A service that a month has gone through, and what its client was told, in the order of the rows."""

    service: Service
    answers: list[dict[str, Any]]


@cache
def month() -> pd.DataFrame:
    """All rows of a month, in their order; not to be changed."""
    tables = dataset.read_tables(dataset.raw_files())
    flights = tables["flights"]
    of_month = flights[flights["month"] == MONTH].reset_index(drop=True)
    return dataset.build_rows({**tables, "flights": of_month})


def sent(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as a caller sends them, with the id and the time that the log keeps."""
    return [
        as_sent(row, CONTRACT)
        | {CONTRACT.id: row[CONTRACT.id], CONTRACT.time.column: row[CONTRACT.time.column].isoformat()}
        for row in rows.to_dict("records")
    ]


@pytest.fixture(scope="module")
def replayed(boosted: Packed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replayed]:
    """Two workers, whose counts and rows have to add up."""
    with serving(boosted, tmp_path_factory.mktemp("replay"), workers="2") as service:
        replies = send_all(service.port, [predict(row) for row in sent(month())], CONNECTIONS)
        assert Counter(reply.status for reply in replies) == {200: len(month())}
        yield Replayed(service, [reply.content for reply in replies])


def offline(boosted: Packed, rows: pd.DataFrame) -> npt.NDArray[np.float32]:
    """What the shipped model says of rows, all in one go."""
    return model.predict(model.load(boosted.folder / paths.RELEASED).session, features(rows, CONTRACT))


def probabilities(answers: list[dict[str, Any]]) -> npt.NDArray[np.float32]:
    """Of all classes, shape (n, classes)."""
    classes = CONTRACT.target.classes
    return np.array([[each["probabilities"][name] for name in classes] for each in answers], dtype="float32")


# to the bit


def test_rows_that_are_asked_for_one_by_one_get_what_the_model_says_of_all_together(
    boosted: Packed, replayed: Replayed
) -> None:
    expected = offline(boosted, month())

    np.testing.assert_array_equal(probabilities(replayed.answers), expected)
    assert len(expected) >= TO_THE_BIT
    assert len(np.unique(expected)) > TO_THE_BIT / 10  # or equal answers would prove little


def test_rows_that_are_asked_for_in_batches_of_any_size_get_the_same(boosted: Packed, tmp_path: Path) -> None:
    rows = month().sample(TO_THE_BIT, random_state=1)
    asked = sent(rows)
    ends = [0, 1, 3, 10, 100, 1_000, TO_THE_BIT]
    batches = [predict_batch(asked[start:end]) for start, end in pairwise(ends)]

    with serving(boosted, tmp_path) as service:
        replies = send_all(service.port, batches, connections=len(batches))

    answers = [answer for reply in replies for answer in reply.content["predictions"]]
    np.testing.assert_array_equal(probabilities(answers), offline(boosted, rows))


# the month


def test_the_log_holds_each_row_of_the_month_once_with_what_its_caller_was_told(replayed: Replayed) -> None:
    told = {
        answer["prediction_id"]: (
            row[CONTRACT.id],
            datetime.fromisoformat(row[CONTRACT.time.column]).timestamp(),
            [row[name] for name in CONTRACT.columns],
            *(answer[name] for name in ("probability", "decision", "review", "model_version")),
        )
        for row, answer in zip(sent(month()), replayed.answers, strict=True)
    }

    kept = logged(
        replayed.service,
        "SELECT id, row_id, row_time, row, probability, decision, review, model_version FROM predictions",
    )

    assert len(told) == len(kept) == month()[CONTRACT.id].nunique()
    assert {
        id_: (row_id, row_time, json.loads(row), probability, decision, bool(review), version)
        for id_, row_id, row_time, row, probability, decision, review, version in kept
    } == told


def test_the_metrics_of_all_workers_add_up_to_what_the_caller_was_told(replayed: Replayed) -> None:
    answers = replayed.answers
    unseen = Counter(warning["field"] for answer in answers for warning in answer["warnings"])
    decided = Counter(answer["decision"] for answer in answers)

    metrics = counted(replayed.service)

    assert len(replayed.service.workers()) == 2
    assert metrics['takeoff_requests_total{endpoint="/predict",status="200"}'] == len(answers)
    assert metrics['takeoff_request_seconds_count{endpoint="/predict"}'] == len(answers)
    assert metrics["takeoff_reviews_total"] == sum(answer["review"] for answer in answers) > 0
    assert by_label(metrics, "takeoff_log_rows_total") == {"database": len(answers)}
    assert by_label(metrics, "takeoff_predictions_total") == decided
    assert by_label(metrics, "takeoff_unseen_values_total") == unseen
    assert len(decided) == len(CONTRACT.target.classes) and unseen


def test_the_truth_of_the_month_counts_once_though_it_is_told_twice(replayed: Replayed) -> None:
    truth = {
        answer["prediction_id"]: row[CONTRACT.target.column]
        for row, answer in zip(month().to_dict("records"), replayed.answers, strict=True)
        if not pd.isna(row[CONTRACT.target.column])
    }
    labels = [{"prediction_id": id_, "label": label} for id_, label in truth.items()]
    bodies = [
        Request("/feedback", json.dumps({"labels": labels[start : start + MOST_ROWS]}).encode())
        for start in range(0, len(labels), MOST_ROWS)
    ]

    first, second = (
        [reply.content for reply in send_all(replayed.service.port, bodies, len(bodies))] for _ in range(2)
    )

    for answers, outcome in ((first, "stored"), (second, "repeated")):
        totals = {name: sum(answer[name] for answer in answers) for name in OUTCOMES}
        assert totals == dict.fromkeys(OUTCOMES, 0) | {outcome: len(truth)}
        assert not any(answer["unknown"] for answer in answers)
    assert dict(logged(replayed.service, "SELECT prediction_id, label FROM labels")) == truth
    stored = {"stored": len(truth), "repeated": len(truth), "changed": 0, "spooled": 0}
    assert by_label(counted(replayed.service), "takeoff_labels_total") == stored


def by_label(metrics: Mapping[str, float], name: str) -> dict[str, float]:
    """A metric's values by its only label."""
    return {
        sample.split('"')[1]: value for sample, value in metrics.items() if sample.startswith(f"{name}{{")
    }
