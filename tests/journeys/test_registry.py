"""What a run, a release and a rollback leave in MLflow."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import pytest
import yaml

from pipelines import evaluate, release, train
from takeoff import cli, files, history, paths
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.model import CARD_FILE, MODEL_FILE
from takeoff.params import PARAMS_FILE
from takeoff.provenance import git_commit
from takeoff.registry import Registry, Version
from tests.conftest import run_stage

CANDIDATES = ("rule", "logistic", "boosted")


def takeoff(*arguments: str) -> int:
    """The `takeoff` command in this process; its exit code."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["takeoff", *arguments])
        cli.main()
    return int(ended.value.code or 0)


def change_params(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    params = yaml.safe_load((folder / PARAMS_FILE).read_text(encoding="utf-8"))
    change(params)
    (folder / PARAMS_FILE).write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def compete_without_floors(params: dict[str, Any]) -> None:
    """Few rows clear no floor that is meant for many."""
    params["compete"] = list(CANDIDATES)
    params["release"]["floors"] = {"roc_auc": {"min": 0.5}}
    params["release"]["slice_margin"] = 1.0  # nor are their slices alike


class Live(NamedTuple):
    """A project with three released versions; the last one serves."""

    folder: Path
    registry: Registry
    versions: list[Version]


@pytest.fixture(scope="module")
def template(split_project: Path, tmp_path_factory: pytest.TempPathFactory, contract: Contract) -> Path:
    """A project whose candidates have trained and been released one after the other; not to be changed."""
    folder = tmp_path_factory.mktemp("released") / "a project"
    shutil.copytree(split_project, folder)
    change_params(folder, compete_without_floors)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder.as_posix()}/mlflow.db")
        registry = Registry(contract.name)
        before: str | None = None
        for name in CANDIDATES:
            run_stage(train, name)
            card = files.read_json(paths.CANDIDATES / name / CARD_FILE)
            version = registry.register({**card, "decision": {"threshold": 0.3}})
            entry = history.record("release", f"{name} is better", version.number, before, {})
            registry.promote(version, before, entry, {})
            before = version.number
    return folder


@pytest.fixture
def live(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contract: Contract) -> Live:
    """A copy of `template`, its store included, to work in."""
    folder = tmp_path / "a project"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder.as_posix()}/mlflow.db")
    registry = Registry(contract.name)
    versions = [registry.version(str(number)) for number in range(1, len(CANDIDATES) + 1)]
    return Live(folder, registry, [each for each in versions if each])


def state(registry: Registry) -> tuple[Any, ...]:
    """All that a command could have changed."""
    return registry.champion(), registry.previous(), registry.history()


def the_run(live: Live, name: str) -> Any:
    (found,) = live.registry.client.search_runs(
        [live.registry.experiment], f"tags.candidate = '{name}' and attributes.status = 'FINISHED'"
    )
    return found


# What a training run leaves


def test_a_training_run_holds_parameters_metrics_by_step_and_where_it_came_from(
    live: Live, contract: Contract
) -> None:
    found = the_run(live, "boosted")

    card = files.read_json(paths.CANDIDATES / "boosted" / CARD_FILE)
    assert found.data.params == {
        **{name: str(value) for name, value in card["settings"].items()},
        "seed": str(card["seed"]),
        "upkeep": str(card["upkeep"]),
    }
    steps = live.registry.client.get_metric_history(found.info.run_id, "validation_log_loss")
    assert [each.step for each in steps if each.step] == list(range(1, len(steps)))
    assert len(steps) > 2
    assert found.data.metrics["validation_roc_auc"] > 0.5
    assert 0 < found.data.metrics["duration_seconds"] < 600
    assert found.data.metrics["peak_memory_mib"] > 50
    assert found.data.tags["contract_hash"] == contract.hash
    assert found.data.tags["git_commit"] == git_commit()
    assert found.data.tags["onnx_sha256"] == files.sha256(paths.CANDIDATES / "boosted" / MODEL_FILE)


def test_a_training_run_names_its_data_by_hash(live: Live) -> None:
    found = the_run(live, "rule")

    (data,) = found.inputs.dataset_inputs
    sha256 = files.sha256(paths.split_rows("fit"))
    assert found.data.tags["rows_sha256"] == sha256
    assert sha256.startswith(data.dataset.digest) and len(data.dataset.digest) >= 32
    assert paths.split_rows("fit").as_posix() in data.dataset.source


def test_a_logged_model_has_a_signature_and_an_example_that_it_answers(
    live: Live, contract: Contract
) -> None:
    logged = mlflow.models.get_model_info(f"models:/{contract.name}/1")

    assert [each.name for each in logged.signature.inputs] == list(contract.columns)
    example = mlflow.onnx.load_model(f"models:/{contract.name}/1")
    assert example.graph.output[0].name == "probabilities"
    assert logged.saved_input_example_info is not None


def test_the_registered_file_is_byte_for_byte_the_trained_one(live: Live) -> None:
    for name, version in zip(CANDIDATES, live.versions, strict=True):
        trained = (live.folder / paths.CANDIDATES / name / MODEL_FILE).read_bytes()
        assert live.registry.onnx_of(version) == trained


def test_a_file_that_changed_in_the_store_is_not_handed_out(live: Live) -> None:
    version = live.versions[0]

    with pytest.raises(TakeoffError, match="is not the one that was released"):
        live.registry.onnx_of(version._replace(onnx_sha256="0" * 64))


def test_registering_the_same_file_again_makes_no_second_version(live: Live) -> None:
    version = live.versions[0]

    assert live.registry.register(version.card) == version


def test_a_file_that_no_finished_run_has_logged_is_not_registered(live: Live) -> None:
    with pytest.raises(TakeoffError, match=r"no training run of rule .*python -m pipelines\.train rule"):
        live.registry.register({"candidate": "rule", "onnx_sha256": "0" * 64})


# Rollback and history


def test_a_rollback_goes_to_the_version_before_and_is_recorded(
    live: Live, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAKEOFF_USER", "on call")

    code = takeoff("rollback", "--reason", "alarms since noon")

    assert code == 0
    assert "from version 3 to version 2" in capsys.readouterr().out
    assert live.registry.champion() == live.versions[1]
    assert live.registry.previous() == live.versions[0]
    last = live.registry.history()[-1]
    assert (last.action, last.why, last.who) == ("rollback", "alarms since noon", "on call")
    assert (last.champion, last.before) == ("2", "3")


def test_rolling_back_twice_goes_two_versions_back_and_then_says_that_there_is_no_more(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [takeoff("rollback", "--reason", "worse") for _ in range(3)] == [0, 0, 1]

    assert live.registry.champion() == live.versions[0]
    assert live.registry.previous() is None
    assert "No version served before version 1" in capsys.readouterr().err


def test_a_rollback_goes_to_the_version_asked_for(live: Live) -> None:
    assert takeoff("rollback", "--to", "1", "--reason", "the last good one") == 0

    assert live.registry.champion() == live.versions[0]


def test_a_dry_run_says_where_it_would_go_and_changes_nothing(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state(live.registry)

    code = takeoff("rollback", "--reason", "just asking", "--dry-run")

    assert code == 0
    assert "Would roll back from version 3 to version 2" in capsys.readouterr().out
    assert state(live.registry) == before


@pytest.mark.parametrize("wanted", ["4", "3", "99", "abc", "-1"])
def test_a_rollback_to_a_version_that_never_served_is_refused_and_changes_nothing(
    live: Live, capsys: pytest.CaptureFixture[str], wanted: str
) -> None:
    # Version 4 exists, but was never released.
    live.registry.client.create_model_version(
        live.registry.name, "somewhere", tags={"onnx_sha256": "0" * 64, "card": "{}"}
    )
    before = state(live.registry)

    code = takeoff("rollback", f"--to={wanted}", "--reason", "a typing error")

    shown = capsys.readouterr().err
    assert code == 1
    assert "never been champion" in shown or "champion already" in shown
    assert "Traceback" not in shown
    assert state(live.registry) == before


def test_after_rolling_forward_again_a_rollback_goes_to_what_served_in_between(live: Live) -> None:
    assert takeoff("rollback", "--to", "1", "--reason", "worse") == 0
    entry = history.record("release", "better after all", "3", "1", {})
    live.registry.promote(live.versions[2], "1", entry, {})

    assert takeoff("rollback", "--reason", "worse again") == 0

    assert live.registry.champion() == live.versions[0]


def test_a_release_that_was_rolled_back_does_not_come_again_by_itself(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.main()
    release.main()
    first = live.registry.champion()
    assert first is not None
    assert takeoff("rollback", "--reason", "alarms since noon") == 0

    with pytest.raises(TakeoffError, match=r"rolled back: alarms since noon"):
        release.main()

    assert live.registry.champion() != first


def test_a_reason_of_any_length_leaves_a_history_that_can_be_read(live: Live) -> None:
    entry = history.record("refusal", "because " * 2000, "3", "3", {})

    live.registry.note(entry, {})

    assert live.registry.history()[-1].why.startswith("because because")


def test_the_summary_after_a_refusal_names_the_champion_that_stays(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.main()
    release.main()
    change_params(live.folder, lambda params: params["release"]["floors"].update(roc_auc={"min": 0.99}))
    with pytest.raises(TakeoffError):
        release.main()
    champion = live.registry.champion()
    assert champion is not None
    capsys.readouterr()

    assert takeoff("summary") == 0

    said = capsys.readouterr().out
    assert f"{champion.card['candidate']}, version {champion.number} (stays" in said
    assert "at least 0.99" in said


@pytest.mark.parametrize("reason", ["", "  "])
def test_a_rollback_without_a_reason_is_refused(live: Live, reason: str) -> None:
    before = state(live.registry)

    assert takeoff("rollback", "--reason", reason) == 1

    assert state(live.registry) == before


def test_a_record_that_was_cut_off_makes_no_version_a_champion_of_the_past(
    live: Live, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = live.registry.client.create_model_version(
        live.registry.name, "somewhere", tags={"onnx_sha256": "4" * 64, "card": '{"candidate": "rule"}'}
    )
    fourth = live.registry.version(str(made.version))
    assert fourth is not None
    alias = live.registry.client.set_registered_model_alias

    def interrupted(name: str, which: str, number: str) -> None:
        if which == "champion":
            raise KeyboardInterrupt
        alias(name, which, number)

    monkeypatch.setattr(live.registry.client, "set_registered_model_alias", interrupted)
    with pytest.raises(KeyboardInterrupt):
        live.registry.promote(fourth, "3", history.record("release", "better", "4", "3", {}), {})

    assert live.registry.champion() == live.versions[2]
    assert "4" not in history.champions(live.registry.history())
    assert takeoff("rollback", "--to", "4", "--reason", "never served") == 1
    assert "never been champion" in capsys.readouterr().err


def test_the_history_shows_every_decision_and_outlasts_the_working_copy(
    live: Live, capsys: pytest.CaptureFixture[str], contract: Contract
) -> None:
    takeoff("rollback", "--reason", "alarms since noon")
    for folder in (paths.MODELS, paths.REPORTS):
        shutil.rmtree(folder, ignore_errors=True)
    capsys.readouterr()

    assert takeoff("history") == 0

    shown = capsys.readouterr().out
    assert [each.action for each in Registry(contract.name).history()] == [*["release"] * 3, "rollback"]
    assert "alarms since noon" in shown
    assert all(f"{name} is better" in shown for name in CANDIDATES)
    assert "2*" in shown


# The stage


def test_the_stage_writes_out_the_champion_and_run_again_changes_nothing(live: Live) -> None:
    run_stage(evaluate)
    run_stage(release)
    after = state(live.registry)
    champion = live.registry.champion()
    assert champion is not None
    assert files.read_json(paths.RELEASED / CARD_FILE)["onnx_sha256"] == champion.onnx_sha256
    assert files.sha256(paths.RELEASED / MODEL_FILE) == champion.onnx_sha256

    run_stage(release)

    assert state(live.registry) == after


def test_a_refusal_is_recorded_and_leaves_champion_and_released_model_as_they_were(live: Live) -> None:
    run_stage(evaluate)
    run_stage(release)
    champion, released = live.registry.champion(), files.sha256(paths.RELEASED / MODEL_FILE)

    def ask_for_too_much(params: dict[str, Any]) -> None:
        params["release"]["floors"]["roc_auc"]["min"] = 0.999

    change_params(live.folder, ask_for_too_much)
    with pytest.raises(TakeoffError, match=r"(?s)Refused: .*ROC AUC.*stays champion"):
        run_stage(release)

    assert live.registry.champion() == champion
    assert files.sha256(paths.RELEASED / MODEL_FILE) == released
    assert live.registry.history()[-1].action == "refusal"
    assert files.read_json(paths.RELEASE_REPORT)["outcome"] == "refused"


def test_a_champion_that_has_met_test_rows_is_said_to_be_judged_too_kindly(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    run_stage(evaluate)
    run_stage(release)
    assert "too kindly" not in capsys.readouterr().out
    assert files.read_json(paths.RELEASE_REPORT)["caution"] is None

    change_params(live.folder, lambda params: params["window"].update(end="2013-06-15"))
    run_stage(release)

    said = " ".join(capsys.readouterr().out.split())
    caution = files.read_json(paths.RELEASE_REPORT)["caution"]
    assert (
        "rows up to 2013-06-01, and the test split starts on 2013-05-15: it is judged too kindly" in caution
    )
    assert caution in said


def test_a_candidate_whose_file_was_changed_after_training_is_not_released(live: Live) -> None:
    run_stage(evaluate)
    other = (paths.CANDIDATES / "rule" / MODEL_FILE).read_bytes()
    (paths.CANDIDATES / "logistic" / MODEL_FILE).write_bytes(other)
    before = state(live.registry)

    with pytest.raises(TakeoffError, match=r"logistic/model\.onnx is not the file that training wrote"):
        run_stage(release)

    assert state(live.registry) == before


def test_a_release_cut_off_after_its_alias_moved_is_completed_by_the_next_run(live: Live) -> None:
    run_stage(evaluate)
    run_stage(release)
    whole = state(live.registry)
    # As if the last decision had not come to its end.
    (last,) = live.registry.client.search_runs([live.registry.decisions], max_results=1)
    live.registry.client.update_run(last.info.run_id, status="RUNNING")
    assert live.registry.history() == whole[2][:-1]

    run_stage(release)

    assert (live.registry.champion(), live.registry.previous()) == whole[:2]
    assert history.champions(live.registry.history()) == history.champions(whole[2])
