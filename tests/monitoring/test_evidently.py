"""Evidently's report of a window, and the workspace that its dashboard shows."""

import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from takeoff import model, value
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.features import features
from takeoff.training import Trained

pytestmark = pytest.mark.slow  # Evidently takes seconds to import, and to draw

THRESHOLD = 0.25
NAME, END = "2013-06", datetime(2013, 7, 1, 4, tzinfo=UTC)


class Rows(NamedTuple):
    """What a window is compared with, and the window: contract rows with what a model says of them."""

    reference: pd.DataFrame
    window: pd.DataFrame


@pytest.fixture(scope="module")
def rows(
    split_rows: Callable[[str], pd.DataFrame], trained: Callable[[str], Trained], contract: Contract
) -> Rows:
    session = model.session_of(trained("boosted").onnx)

    def said(split: str) -> pd.DataFrame:
        frame = split_rows(split).reset_index(drop=True)
        answers = model.predict(session, features(frame, contract))
        names = [f"probability_{name}" for name in contract.target.classes]
        return pd.concat([frame, pd.DataFrame(answers, columns=names)], axis=1)

    return Rows(said("fit"), said("test"))


def _draw(reference: pd.DataFrame, window: pd.DataFrame, contract: Contract, folder: Path) -> str:
    from monitoring.evidently_report import draw

    page = folder / f"{NAME}.html"
    draw(reference, window, contract, THRESHOLD, page, folder / "workspace", NAME, END)
    return page.read_text(encoding="utf-8")


def _snapshots(folder: Path) -> list[dict[str, object]]:
    return [json.loads(file.read_text()) for file in (folder / "workspace").glob("*/snapshots/*.json")]


def _metric(snapshot: dict[str, object], kind: str) -> dict[str, object]:
    results = snapshot["metric_results"]
    assert isinstance(results, dict)
    described = {each["metric_value_location"]["metric"]["params"]["type"]: each for each in results.values()}
    return next(each for name, each in described.items() if name.endswith(kind))


@pytest.fixture(scope="module")
def drawn(rows: Rows, contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The page of a window with labels, and the folder that it is in."""
    folder = tmp_path_factory.mktemp("drawn")
    return _draw(rows.reference, rows.window, contract, folder), folder


def test_the_page_needs_nothing_from_elsewhere(drawn: tuple[str, Path]) -> None:
    head_and_ends = re.sub(r"<script>.*?</script>|<style>.*?</style>", "", drawn[0], flags=re.DOTALL)

    assert re.findall(r"""(?:src|href)=["'](.*?)["']""", head_and_ends) == ["../index.html"]


def test_the_page_says_which_window_it_is_of(drawn: tuple[str, Path], contract: Contract) -> None:
    assert f"<title>{contract.name}, window {NAME}</title>" in drawn[0]


def test_the_quality_is_that_of_the_labelled_rows_at_the_models_threshold(
    drawn: tuple[str, Path], rows: Rows, contract: Contract
) -> None:
    labelled = rows.window[rows.window[contract.target.column].notna()]
    answers = labelled[[f"probability_{name}" for name in contract.target.classes]].to_numpy()
    decided = np.array(contract.target.classes)[value.decide(answers, THRESHOLD)]

    (snapshot,) = _snapshots(drawn[1])

    accuracy = (decided == labelled[contract.target.column].to_numpy()).mean()
    assert _metric(snapshot, ":Accuracy")["value"] == pytest.approx(accuracy)


def test_a_window_stands_on_the_dashboard_at_its_end_under_its_name(drawn: tuple[str, Path]) -> None:
    (snapshot,) = _snapshots(drawn[1])

    assert snapshot["name"] == NAME
    assert datetime.fromisoformat(str(snapshot["timestamp"])) == END


def test_the_workspace_is_one_that_evidently_reads(drawn: tuple[str, Path], contract: Contract) -> None:
    from evidently.ui.workspace import Workspace

    (project,) = Workspace(str(drawn[1] / "workspace")).list_projects()

    assert project.name == contract.name
    panels = {panel.title for panel in project.dashboard.model().panels}
    assert {"Columns that drifted", "Drift of what the model says", "ROC AUC"} <= panels


def test_a_window_that_is_drawn_again_replaces_itself(rows: Rows, contract: Contract, tmp_path: Path) -> None:
    for part in (rows.window[:200], rows.window[:300]):
        _draw(rows.reference, part, contract, tmp_path)

    (snapshot,) = _snapshots(tmp_path)
    assert _metric(snapshot, ":RowCount")["value"] == 300


@pytest.mark.parametrize("labels", ["none", "one class"])
def test_without_labels_of_every_class_drift_alone_is_drawn(
    labels: str, rows: Rows, contract: Contract, tmp_path: Path
) -> None:
    label = None if labels == "none" else contract.target.classes[0]
    window = rows.window[:300].assign(**{contract.target.column: label})

    _draw(rows.reference, window, contract, tmp_path)

    (snapshot,) = _snapshots(tmp_path)
    results = str(snapshot["metric_results"])
    assert ":Accuracy" not in results and ":DriftedColumnsCount" in results


def test_a_column_without_a_value_is_named_instead_of_drawn(
    rows: Rows, contract: Contract, tmp_path: Path
) -> None:
    gone = [contract.numbers[-1], contract.categories[-1]]
    window = rows.window[:300].assign(**{gone[0]: np.nan, gone[1]: None})

    page = _draw(rows.reference, window, contract, tmp_path)

    assert all(name in page.partition("Without a single value, so not drawn: ")[2][:200] for name in gone)


def test_a_window_without_rows_is_refused_in_plain_words(
    rows: Rows, contract: Contract, tmp_path: Path
) -> None:
    with pytest.raises(TakeoffError, match=f"Window {NAME} has no rows"):
        _draw(rows.reference, rows.window[:0], contract, tmp_path)


def test_evidently_reports_nothing_on_its_use() -> None:
    from evidently.telemetry import DO_NOT_TRACK_ENV, event_logger

    import monitoring.evidently_report  # noqa: F401

    assert os.environ.get(DO_NOT_TRACK_ENV)
    assert not event_logger.is_enabled()
