"""What a notebook tries is tracked in MLflow, apart from what the pipeline trains."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from takeoff.bootstrap import Estimate
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.registry import Registry

SETTINGS = {"bins": 16, "crossed": ["carrier", "departure_hour"]}
METRICS = {"cost": Estimate(11_900.5, 11_000.0, 13_000.0), "log_loss": Estimate(0.51, 0.49, 0.53)}
TAGS = {"notebook": "notebooks/2_prototype.ipynb", "contract_hash": "235ca065bf50c955"}


@pytest.mark.slow
def test_a_trial_keeps_its_settings_where_it_came_from_and_every_metric_with_its_interval(
    project: Path, contract: Contract
) -> None:
    registry = Registry(contract.name)

    run_id = registry.log_trial("scorecard", SETTINGS, METRICS, TAGS)

    found = registry.client.get_run(run_id)
    assert (found.info.run_name, found.info.status) == ("scorecard", "FINISHED")
    assert found.data.params == {name: str(value) for name, value in SETTINGS.items()}
    assert found.data.metrics == {
        "cost": 11_900.5,
        "cost_low": 11_000.0,
        "cost_high": 13_000.0,
        "log_loss": 0.51,
        "log_loss_low": 0.49,
        "log_loss_high": 0.53,
    }
    assert TAGS.items() <= found.data.tags.items()


@pytest.mark.slow
def test_trials_share_one_experiment_that_holds_neither_training_runs_nor_decisions(
    project: Path, contract: Contract
) -> None:
    registry = Registry(contract.name)

    runs = [registry.log_trial(name, SETTINGS, METRICS, TAGS) for name in ("first", "second")]

    experiments = {registry.client.get_run(run_id).info.experiment_id for run_id in runs}
    assert len(experiments) == 1
    assert experiments.isdisjoint({registry.experiment, registry.decisions})
    assert registry.history() == []


@pytest.mark.slow
def test_a_store_that_breaks_while_the_notebook_is_open_is_said_in_one_line(
    project: Path, contract: Contract
) -> None:
    registry = Registry(contract.name)
    with closing(sqlite3.connect(project / "mlflow.db")) as store:
        store.execute("DROP TABLE metrics")

    with pytest.raises(TakeoffError, match=r"^MLflow at sqlite:.* failed: [^\n]+$"):
        registry.log_trial("scorecard", SETTINGS, METRICS, TAGS)
