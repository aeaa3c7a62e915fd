"""Evidently's report of a window, for people to look at; the only module that knows Evidently.

Nothing is decided here. The page and the decision are made of what is measured on all rows; this draws the
distributions behind those numbers, on a sample. Evidently takes seconds to import and holds memory: see
`monitoring.drawing`, which runs this in a process of its own.
"""

import html
import json
import os
import uuid
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

# Read when Evidently is imported: it would report on its use.
os.environ["DO_NOT_TRACK"] = "1"

import numpy as np
import pandas as pd
from evidently import (
    BinaryClassification,
    DataDefinition,
    Dataset,
    MulticlassClassification,
    Report,
)
from evidently.core.report import Snapshot
from evidently.core.serialization import SnapshotModel
from evidently.legacy.utils import NumpyEncoder
from evidently.metrics import ValueDrift
from evidently.presets import ClassificationQuality, DataDriftPreset, DatasetStats
from evidently.sdk.models import (
    DashboardModel,
    DashboardPanelPlot,
    DashboardTabModel,
    PanelMetric,
    ProjectModel,
)
from evidently.sdk.panels import line_plot_panel
from evidently.ui.storage.local.base import (
    DASHBOARD_FILE_NAME,
    DOT_JSON,
    PROJECT_FILE_NAME,
    SNAPSHOTS_DIR_NAME,
)

from monitoring.forked import forked
from takeoff import files, value
from takeoff.contract import Contract
from takeoff.errors import TakeoffError

# Distances at every size. For fewer than 1,000 rows Evidently would test for significance instead, and a
# drift then means something else in a quiet window than in a busy one.
NUMBER_DISTANCE, CATEGORY_DISTANCE = "wasserstein", "jensenshannon"
QUALITY = {"Accuracy": "Accuracy", "F1Score": "F1", "RocAuc": "ROC AUC", "LogLoss": "Log loss"}
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "takeoff/monitoring")


class _DriftTable(DataDriftPreset):  # type: ignore[misc]
    """The preset's summary and table, without drawing each column a second time for nobody to see."""

    def generate_metrics(self, context: Any) -> Sequence[Any]:
        return [each for each in super().generate_metrics(context) if not isinstance(each, ValueDrift)]


def draw(
    reference: pd.DataFrame,
    window: pd.DataFrame,
    contract: Contract,
    threshold: float,
    page: Path,
    workspace: Path,
    name: str,
    end: datetime,
) -> None:
    """Write the report of a window as one HTML file, and put it into a workspace in place of an older one.

    Args:
        reference: contract rows and `probability_<class>`, as in the reference's sample.
        window: the same columns of production rows, without id and times if need be; the target is missing
            where no label has come. At most some ten thousand rows: the caller draws the sample.
        contract: what a row is.
        threshold: of the model, from its card.
        page: the HTML file. It needs no other file and no network.
        workspace: folder that `evidently ui` shows; one project, named by the contract.
        name: of the window.
        end: of the window; its place on the dashboard's time axis.

    Raises:
        TakeoffError: the window has no rows, or something could not be written.
    """
    if window.empty:
        raise TakeoffError(f"Window {name} has no rows, so there is nothing to draw.")
    current, before = (_as_drawn(rows, contract, threshold) for rows in (window, reference))
    left_out = [str(each) for each in current if current[each].isna().all() or before[each].isna().all()]
    snapshot = _measured(current, before, contract, threshold, left_out, name=name, timestamp=end)
    report = Snapshot.load_model(snapshot).get_html_str(as_iframe=False)
    files.write_text(page, _titled(report, contract, name, left_out))
    _keep(snapshot, contract, workspace, name)


def _as_drawn(rows: pd.DataFrame, contract: Contract, threshold: float) -> pd.DataFrame:
    """Features, truth, probability of each class and the decision, in types that Evidently takes."""
    probabilities = rows[_probabilities(contract)]
    decided = value.decide(probabilities.to_numpy(), threshold)
    columns: dict[str, pd.Series] = {
        name: rows[name].astype("float64") if name in contract.numbers else _texts(rows[name])
        for name in contract.columns
    }
    return pd.DataFrame(
        {
            **columns,
            contract.target.column: _texts(rows[contract.target.column]),
            **{str(name): probabilities[name].astype("float64") for name in probabilities},
            _decision(contract): np.array(contract.target.classes, dtype=object)[decided],
        }
    ).reset_index(drop=True)


def _texts(values: pd.Series) -> pd.Series:
    return values.astype(object).where(values.notna(), None)


def _probabilities(contract: Contract) -> list[str]:
    return [f"probability_{name}" for name in contract.target.classes]


def _drawn_probabilities(contract: Contract) -> list[str]:
    names = _probabilities(contract)
    return names[1:] if len(names) == 2 else names  # of two, the other says nothing new


def _decision(contract: Contract) -> str:
    return f"decided {contract.target.column}"  # the blank keeps it apart from any column of the contract


def _measured(
    current: pd.DataFrame,
    reference: pd.DataFrame,
    contract: Contract,
    threshold: float,
    left_out: Sequence[str],
    **about: Any,
) -> SnapshotModel:
    """Drift and summary of all rows; quality of those with a label, as Evidently takes no others for it."""
    target = contract.target.column
    labelled = current[current[target].notna()].reset_index(drop=True)
    known = reference[reference[target].notna()].reset_index(drop=True)

    def drift() -> SnapshotModel:
        return _run(_drift(contract), current, reference, _definition(contract, left_out), about)

    def quality() -> bytes:
        definition = _definition(contract, left_out, classification=[_task(contract)])
        return _as_json(_run([_quality(contract, threshold)], labelled, known, definition, about)).encode()

    if set(contract.target.classes) != set(labelled[target]):
        return drift()
    with forked(quality) as made:
        snapshot = drift()
        return _joined(SnapshotModel.parse_raw(made()), snapshot)


def _quality(contract: Contract, threshold: float) -> ClassificationQuality:
    # Without it, Evidently would decide at 0.5 whatever the decisions are.
    at = threshold if len(contract.target.classes) == 2 else None
    return ClassificationQuality(conf_matrix=True, pr_table=True, include_tests=False, probas_threshold=at)


def _joined(quality: SnapshotModel, snapshot: SnapshotModel) -> SnapshotModel:
    return snapshot.copy(
        update={
            "metric_results": {**snapshot.metric_results, **quality.metric_results},
            "top_level_metrics": [*snapshot.top_level_metrics, *quality.top_level_metrics],
            "widgets": [*quality.widgets, *snapshot.widgets],
        }
    )


def _run(
    metrics: Sequence[Any],
    current: pd.DataFrame,
    reference: pd.DataFrame,
    definition: DataDefinition,
    about: Mapping[str, Any],
) -> SnapshotModel:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of constant columns and the like, which the report shows
        snapshot = Report(metrics).run(
            Dataset.from_pandas(current, data_definition=definition),
            Dataset.from_pandas(reference, data_definition=definition),
            **about,
        )
        return snapshot.to_snapshot_model()


def _definition(contract: Contract, left_out: Sequence[str], **task: Any) -> DataDefinition:
    # The truth is here for the quality alone: part of it is missing, and that is no drift.
    truth = [contract.target.column] if task else []
    categories = [*contract.categories, _decision(contract), *truth]
    return DataDefinition(
        numerical_columns=_without(left_out, [*contract.numbers, *_drawn_probabilities(contract)]),
        categorical_columns=_without(left_out, categories),
        **task,
    )


def _drift(contract: Contract) -> list[Any]:
    probabilities, decision = _drawn_probabilities(contract), _decision(contract)
    return [
        *[ValueDrift(column=name, method=NUMBER_DISTANCE) for name in probabilities],
        ValueDrift(column=decision, method=CATEGORY_DISTANCE),
        _DriftTable(
            num_method=NUMBER_DISTANCE,
            cat_method=CATEGORY_DISTANCE,
            include_tests=False,
        ),
        DatasetStats(include_tests=False),
    ]


def _without(left_out: Sequence[str], names: Sequence[str]) -> list[str]:
    return [name for name in names if name not in left_out]


def _task(contract: Contract) -> BinaryClassification | MulticlassClassification:
    target, classes = contract.target.column, contract.target.classes
    if len(classes) == 2:
        return BinaryClassification(
            target=target,
            prediction_labels=_decision(contract),
            prediction_probas=_probabilities(contract)[-1],
            pos_label=classes[-1],
        )
    return MulticlassClassification(target=target, prediction_labels=_decision(contract))


def _titled(report: str, contract: Contract, name: str, left_out: Sequence[str]) -> str:
    """Evidently's page with a title, a way back, and what could not be drawn: it has none of them."""
    title = html.escape(f"{contract.name}, window {name}")
    missing = f" Without a single value, so not drawn: {', '.join(left_out)}." if left_out else ""
    bar = (
        '<header style="font: 16px/1.5 system-ui, sans-serif; padding: 1rem 1.5rem">'
        f'<h1 style="font-size: 1.25rem; margin: 0">{title}</h1>'
        f'<p style="margin: 0">A sample of the window against the reference, drawn by Evidently.'
        f'{html.escape(missing)} <a href="../index.html">Back to the decision</a></p></header>'
    )
    report = report.lstrip().replace("<head>", f"<head><title>{title}</title>", 1)
    return report.replace("<body>", f"<body>{bar}", 1)


def _keep(snapshot: SnapshotModel, contract: Contract, workspace: Path, name: str) -> None:
    """Write the workspace's files: Evidently's own way would first read every snapshot that is there.

    Ids follow from names, so that a window takes the place of its older self.
    """
    project = uuid.uuid5(NAMESPACE, contract.name)
    folder = workspace / str(project)
    model = ProjectModel(id=project, name=contract.name, description=contract.question)
    _write(folder / PROJECT_FILE_NAME, model)
    _write(folder / DASHBOARD_FILE_NAME, _dashboard(contract))
    snapshot_file = f"{uuid.uuid5(project, name)}{DOT_JSON}"
    _write(folder / SNAPSHOTS_DIR_NAME / snapshot_file, snapshot)


def _write(path: Path, model: Any) -> None:
    files.write_text(path, _as_json(model))


def _as_json(model: Any) -> str:
    return json.dumps(model.dict(), cls=NumpyEncoder)


def _dashboard(contract: Contract) -> DashboardModel:
    """What `evidently ui` shows over time: drift of columns and predictions, and quality where labels are."""
    probabilities = _drawn_probabilities(contract)
    panels = [
        _panel(
            "Columns that drifted",
            "share of columns",
            [_line("share", "DriftedColumnsCount", value_type="share")],
        ),
        _panel(
            "Drift of what the model says",
            "distance from the reference",
            [_line(name, "ValueDrift", column=name) for name in [*probabilities, _decision(contract)]],
        ),
        *[_panel(label, "where labels have come", [_line(label, name)]) for name, label in QUALITY.items()],
        _panel(
            "Missing values",
            "share of all values",
            [_line("share", "DatasetMissingValueCount", value_type="share")],
        ),
        _panel("Rows drawn", "at most the size of the sample", [_line("rows", "RowCount")]),
    ]
    tab = DashboardTabModel(id=_id("tab"), title=contract.name, panels=[panel.id for panel in panels])
    return DashboardModel(tabs=[tab], panels=panels)


def _panel(title: str, about: str, values: list[PanelMetric]) -> DashboardPanelPlot:
    panel = line_plot_panel(title=title, values=values, description=about, size="half")
    return panel.copy(update={"id": _id(title)})


def _line(legend: str, metric: str, **labels: str) -> PanelMetric:
    return PanelMetric(legend=legend, metric=metric, metric_labels=labels)


def _id(name: str) -> uuid.UUID:
    return uuid.uuid5(NAMESPACE, name)
