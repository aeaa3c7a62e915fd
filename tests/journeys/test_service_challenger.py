"""A challenger in the Bento predicts too, for the log alone; whatever it does, no caller notices."""

import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serving.requests import MOST_ROWS
from serving.runtime import UNLOADED
from serving.shadow import MOST_WAITING
from takeoff import model, paths
from takeoff.contract import read_contract
from takeoff.features import features
from tests import challengers
from tests.evidence import counted, logged, logged_ids, until
from tests.small_package import Packed
from tests.small_release import PROJECT, make_released, small_rows
from tests.small_service import Service, as_sent, serving
from tests.traffic import answered_ids, predict, predict_batch, send_all

pytestmark = pytest.mark.slow

CONTRACT = read_contract(PROJECT)
ROWS = 1_000
BATCHED = 400  # of these
TIMED = 100  # rows one by one
MOST_SLOWER = 3  # beside a slow challenger, as the median of one row; one that is waited for takes seconds


@cache
def rows() -> pd.DataFrame:
    return small_rows().sample(ROWS, random_state=3)


@cache
def sent() -> list[dict[str, Any]]:
    return [as_sent(row, CONTRACT) for row in rows().to_dict("records")]


def asked(port: int) -> list[dict[str, Any]]:
    """The answers to all rows, in their order: some come in a batch, the others one by one."""
    requests = [predict_batch(sent()[:BATCHED]), *map(predict, sent()[BATCHED:])]
    replies = send_all(port, requests)
    assert {reply.status for reply in replies} == {200}
    return [*replies[0].content["predictions"], *(reply.content for reply in replies[1:])]


def offline(folder: Path) -> np.ndarray:
    """Probability of the event, by the model in a folder."""
    return model.predict(model.load(folder).session, features(rows(), CONTRACT))[:, -1]


def test_a_challenger_answers_the_log_and_never_the_caller(boosted: Packed, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    make_released(tmp_path / "other", "logistic")
    other = tmp_path / "other" / paths.RELEASED
    challenged = challengers.with_challenger(boosted, tmp_path, other)

    with serving(challenged, tmp_path / "service") as service:
        answers = asked(service.port)
        until(lambda: shadows(service, "answered") == ROWS, "the challenger has answered too")
        until(lambda: logged(service, "SELECT count(*) FROM shadow_predictions") == [(ROWS,)], "in the log")
        described = service.get("/model")[1]
        kept = dict(
            logged(service, "SELECT prediction_id, probability FROM shadow_predictions WHERE error IS NULL")
        )

    champion = np.array([each["probability"] for each in answers], dtype="float32")
    np.testing.assert_array_equal(champion, offline(boosted.folder / paths.RELEASED))
    assert {each["model_version"] for each in answers} == {described["model_version"]}
    assert described["challenger"].startswith("logistic-")
    theirs = np.array([kept[each["prediction_id"]] for each in answers], dtype="float32")
    allowed = model.load(other).card["parity"][
        "largest_allowed"
    ]  # a linear model's sums depend on the others
    np.testing.assert_allclose(theirs, offline(other), rtol=0, atol=allowed)
    assert np.abs(champion - theirs).max() > 100 * allowed  # so they are not the champion's


def test_a_challenger_that_fails_is_logged_as_failed_and_nobody_notices(
    boosted: Packed, tmp_path: Path
) -> None:
    broken = challengers.failing(boosted, CONTRACT, tmp_path / "broken")
    challenged = challengers.with_challenger(boosted, tmp_path, broken)

    with serving(challenged, tmp_path / "service") as service:
        answers = asked(service.port)
        until(lambda: logged(service, "SELECT count(*) FROM shadow_predictions") == [(ROWS,)], "in the log")
        kept = logged(service, "SELECT prediction_id, probability, decision, error FROM shadow_predictions")
        failed = shadows(service, "failed")

    champion = np.array([each["probability"] for each in answers], dtype="float32")
    np.testing.assert_array_equal(champion, offline(boosted.folder / paths.RELEASED))
    assert {id_ for id_, *_ in kept} == {each["prediction_id"] for each in answers}
    assert all(error and (probability, decision) == (None, None) for _, probability, decision, error in kept)
    assert failed == ROWS


def test_a_challenger_that_cannot_be_loaded_is_told_and_the_champion_serves(
    boosted: Packed, tmp_path: Path
) -> None:
    unreadable = challengers.unreadable(boosted, tmp_path / "unreadable")
    challenged = challengers.with_challenger(boosted, tmp_path, unreadable)

    with serving(challenged, tmp_path / "service") as service:
        answers = asked(service.port)
        described = service.get("/model")[1]
        unloaded = shadows(service, "not loaded")

    assert {each["model_version"] for each in answers} == {described["model_version"]}
    assert described["challenger"] is None and described["challenger_failure"] == UNLOADED
    assert unloaded == ROWS
    output = service.output.read_text()
    assert "The challenger cannot be loaded" in output and "Traceback" not in output


def test_a_challenger_that_is_slow_is_left_behind_and_holds_nobody_up(
    boosted: Packed, tmp_path: Path
) -> None:
    sluggish = challengers.slow(boosted, CONTRACT, tmp_path / "slow")
    challenged = challengers.with_challenger(boosted, tmp_path, sluggish)
    many = [predict_batch((sent() * 10)[:MOST_ROWS])] * (MOST_WAITING // MOST_ROWS + 1)

    with (
        serving(challenged, tmp_path / "service") as service,
        serving(boosted, tmp_path / "alone") as alone,
    ):
        answers = asked(service.port)
        # In turns, so that both share the machine with all that the challenger works out.
        beside, without = np.median([[seconds(service), seconds(alone)] for _ in range(TIMED)], axis=0)
        behind = shadows(service, "answered")
        replies = send_all(service.port, many, connections=1)
        until(lambda: shadows(service, "dropped") >= MOST_ROWS, "what it cannot keep up with is counted")
        code = service.stop()

    assert {reply.status for reply in replies} == {200}
    assert behind < ROWS  # nobody has waited for it
    assert beside < MOST_SLOWER * without
    assert code == 0
    ids = [each["prediction_id"] for each in answers] + [
        id_ for each in replies for id_ in answered_ids(each)
    ]
    logged_now = Counter(logged_ids(service))
    assert not Counter(ids) - logged_now
    assert logged_now.total() == len(ids) + TIMED


def seconds(service: Service) -> float:
    """How long one row takes, with a connection of its own."""
    start = time.perf_counter()
    assert service.post("/predict", sent()[0])[0] == 200
    return time.perf_counter() - start


def shadows(service: Service, outcome: str) -> float:
    """Rows of the challenger with this outcome so far."""
    return counted(service).get(f'takeoff_shadow_total{{outcome="{outcome}"}}', 0)
