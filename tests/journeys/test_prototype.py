"""What the prototype promises beyond running through: tracked trials, and a candidate for any contract."""

import ast
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
from mlflow.entities import Run

from takeoff import files, notebook_run, paths
from takeoff.contract import Contract
from takeoff.model import CARD_FILE, MODEL_FILE
from takeoff.promotion import cells, module
from takeoff.registry import Registry
from takeoff.training import Trained
from tests.conftest import PROJECT

NOTEBOOK = Path("notebooks") / "2_prototype.ipynb"

pytestmark = pytest.mark.slow


class Ran(NamedTuple):
    """The project, the executed notebook, and the runs in MLflow that it left."""

    folder: Path
    notebook: nbformat.NotebookNode
    trials: list[Run]


@pytest.fixture(scope="module")
def ran(
    split_project: Path,
    trained: Callable[[str], Trained],
    contract: Contract,
    tmp_path_factory: pytest.TempPathFactory,
) -> Ran:
    """The notebook on few rows of another window, where the rule serves."""
    folder = tmp_path_factory.mktemp("prototype") / "a project"
    shutil.copytree(split_project, folder)
    champion = trained("rule")
    files.write_bytes(folder / paths.RELEASED / MODEL_FILE, champion.onnx)
    files.write_json(folder / paths.RELEASED / CARD_FILE, champion.card)
    saved = nbformat.read(PROJECT / NOTEBOOK, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder.as_posix()}/mlflow.db")
        notebook = notebook_run.run(saved, folder, NOTEBOOK.name)
        client = Registry(contract.name).client
        experiment = client.get_experiment_by_name(f"{contract.name}-trials")
        return Ran(folder, notebook, client.search_runs([experiment.experiment_id]))


def test_every_trial_is_tracked_with_its_settings_interval_and_origin(ran: Ran, contract: Contract) -> None:
    said = "".join(str(cell.get("outputs", "")) for cell in ran.notebook.cells)
    assert f"{len(ran.trials)} trials are in MLflow" in said

    tried = [(run.info.run_name, tuple(sorted(run.data.params.items()))) for run in ran.trials]
    assert len(set(tried)) == len(tried) > 1
    for run in ran.trials:
        metrics, tags = run.data.metrics, run.data.tags
        assert metrics["cost_low"] <= metrics["cost"] <= metrics["cost_high"]
        assert tags["notebook"] == NOTEBOOK.as_posix()
        assert tags["contract_hash"] == contract.hash
        assert tags["rows_sha256"] == files.sha256(ran.folder / paths.split_rows("fit"))


def test_nothing_is_printed_that_a_reader_has_to_ignore(ran: Ran) -> None:
    outputs = [output for cell in ran.notebook.cells for output in cell.get("outputs", [])]

    assert [output.text for output in outputs if output.get("name") == "stderr"] == []


def test_what_is_promoted_names_no_column_of_the_contract(contract: Contract) -> None:
    text = module.generate(cells.read(PROJECT / NOTEBOOK), "scorecard").text

    strings = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
    assert strings.isdisjoint(contract.all_columns)
