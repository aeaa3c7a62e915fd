"""MLflow: training runs, model versions, the champion and the history of decisions.

The one module that imports MLflow. Runs are found by the SHA-256 of their ONNX file and versions by what
they release, so nothing that DVC keeps has to name a run or a version. The history is kept as runs of its
own experiment: it lives where the registry lives, and outlasts every working copy.
"""

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version as installed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from takeoff.address import check_answers, without_password
from takeoff.bootstrap import Estimate
from takeoff.errors import TakeoffError
from takeoff.history import Record
from takeoff.model import CARD_FILE, MODEL_FILE
from takeoff.release import identity

# MLflow reads the first of these when it is imported. Two tries of 7 s: a server that falls silent in the
# middle of a stage is given up within 15 s too, where MLflow's own 8 tries of 120 s would take an hour.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow
import mlflow.onnx
import onnx
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT
from sqlalchemy.exc import SQLAlchemyError

STORE = Path("mlruns")
# What MLflow, its database and the network raise where nobody made a mistake in the code.
EXPECTED = (MlflowException, SQLAlchemyError, OSError)
SCHEMA_ROWS = 1000
LONGEST_WHY = 2000
DIGEST_DIGITS = 36  # the most that MLflow keeps
CHAMPION, PREVIOUS = "champion", "previous"
SHA_TAG, IDENTITY_TAG, CARD_TAG = "onnx_sha256", "identity", "card"
BENTO_TAG, RECORD_TAG = "bento_tag", "record"


class TrainingRun(NamedTuple):
    """What is tracked of one fit. Times are seconds since 1970, memory is MiB."""

    candidate: str
    settings: Mapping[str, Any]
    metrics: Mapping[str, float]
    steps: Sequence[Mapping[str, float]]
    tags: Mapping[str, str]
    rows: pd.DataFrame
    rows_file: Path
    rows_sha256: str
    onnx: bytes
    onnx_sha256: str
    card: Mapping[str, Any]
    example: pd.DataFrame
    predictions: pd.DataFrame
    started: float
    ended: float


class Version(NamedTuple):
    """A registered model version."""

    number: str
    onnx_sha256: str
    card: Mapping[str, Any]
    bento: str | None


class Registry:
    """A connection to the tracking server or the embedded store, for one model name."""

    def __init__(self, name: str) -> None:
        """Connect; fail within seconds where nothing answers.

        Args:
            name: names the experiment, the history and the registered model.

        Raises:
            TakeoffError: the address in MLFLOW_TRACKING_URI does not answer.
        """
        self.name = name
        self.uri = tracking_uri()
        _quiet()
        check_answers(self.uri)
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        with self._plain_errors():
            self.client = MlflowClient(self.uri, self.uri)
            self.experiment = self._experiment(name)
            self.decisions = self._experiment(f"{name}-history")

    def log_training(self, run: TrainingRun) -> str:
        """Write one training run, whole or marked as failed; its id."""
        with self._plain_errors():
            begun = self.client.create_run(
                self.experiment,
                start_time=int(run.started * 1000),
                run_name=run.candidate,
                tags={**run.tags, SHA_TAG: run.onnx_sha256, "candidate": run.candidate},
            )
            run_id = begun.info.run_id
            try:
                self._log_values(run_id, run)
                self._log_data(run_id, run)
                self._log_model(run_id, run)
            except BaseException:
                with suppress(*EXPECTED):  # what went wrong first is what has to be said
                    self.client.set_terminated(run_id, RunStatus.to_string(RunStatus.FAILED))
                raise
            self.client.set_terminated(run_id, end_time=int(run.ended * 1000))
        return str(run_id)

    def log_trial(
        self, name: str, settings: Mapping[str, Any], metrics: Mapping[str, Estimate], tags: Mapping[str, str]
    ) -> str:
        """Write what a notebook tried into an experiment of its own, away from the pipeline's runs; its id.

        A metric's value stands under its name, the ends of its interval under the name with `_low` and
        `_high`.
        """
        with self._plain_errors():
            run = self.client.create_run(self._experiment(f"{self.name}-trials"), tags=tags, run_name=name)
            self.client.log_batch(
                run.info.run_id,
                metrics=[
                    Metric(f"{metric}{end}", number, run.info.start_time, 0)
                    for metric, estimate in metrics.items()
                    for end, number in zip(("", "_low", "_high"), estimate, strict=True)
                ],
                params=[Param(key, str(value)) for key, value in settings.items()],
            )
            self.client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    def champion(self) -> Version | None:
        """The version that serves."""
        return self._by_alias(CHAMPION)

    def previous(self) -> Version | None:
        """The version that rollback goes to."""
        return self._by_alias(PREVIOUS)

    def version(self, number: str) -> Version | None:
        """The version with this number."""
        with self._plain_errors():
            found = self.client.search_model_versions(
                f"name = '{self.name}' and version_number = {int(number)}"
            )
        return _version(found[0]) if found else None

    def version_of(self, card: Mapping[str, Any]) -> Version | None:
        """The version of this very release: same ONNX file, contract and decision."""
        with self._plain_errors():
            found = self.client.search_model_versions(
                f"name = '{self.name}' and tag.{IDENTITY_TAG} = '{identity(card)}'"
            )
        return _version(max(found, key=lambda each: int(each.version))) if found else None

    def onnx_of(self, wanted: Version) -> bytes:
        """The ONNX file of a version.

        Raises:
            TakeoffError: the store has lost the file or holds another one under its name.
        """
        with self._plain_errors(), TemporaryDirectory() as temporary:
            source = mlflow.artifacts.download_artifacts(
                f"models:/{self.name}/{wanted.number}", dst_path=temporary
            )
            content = (Path(source) / MODEL_FILE).read_bytes()
        if hashlib.sha256(content).hexdigest() != wanted.onnx_sha256:
            raise TakeoffError(
                f"The file of version {wanted.number} in MLflow at {without_password(self.uri)} is not the "
                f"one that was released. Restore the artifact store from a backup, or roll back to another "
                f"version."
            )
        return content

    def register(self, card: Mapping[str, Any]) -> Version:
        """The version of this release, made from its ONNX file's training run unless it exists.

        Raises:
            TakeoffError: no finished training run has logged this file.
        """
        if existing := self.version_of(card):
            return existing
        onnx_sha256 = card["onnx_sha256"]
        with self._plain_errors():
            runs = self.client.search_runs(
                [self.experiment],
                f"tags.{SHA_TAG} = '{onnx_sha256}' and attributes.status = 'FINISHED'",
                max_results=1,
            )
            if not runs or not runs[0].outputs.model_outputs:
                raise TakeoffError(
                    f"MLflow at {without_password(self.uri)} has no training run of {card['candidate']} "
                    f"(ONNX {onnx_sha256[:12]}); its model came from a cache or another store. "
                    f"Run `python -m pipelines.train {card['candidate']}`, then `dvc repro`."
                )
            logged = runs[0].outputs.model_outputs[0].model_id
            if not self.client.search_registered_models(f"name = '{self.name}'"):
                self.client.create_registered_model(self.name)
            made = self.client.create_model_version(
                self.name,
                self.client.get_logged_model(logged).artifact_location,
                run_id=runs[0].info.run_id,
                model_id=logged,
                tags={SHA_TAG: onnx_sha256, IDENTITY_TAG: identity(card), CARD_TAG: json.dumps(card)},
            )
        return _version(made)

    def promote(
        self, chosen: Version, previous: str | None, record: Record, files: Mapping[str, str]
    ) -> None:
        """Make `chosen` the champion and version number `previous` the one to roll back to; record it.

        The record is opened first and closed last: one that was cut off in between stands as unfinished
        in the history, and is no proof that its version ever served.
        """
        with self._plain_errors():
            run_id = self._open_record(record, files)
            if previous:
                self.client.set_registered_model_alias(self.name, PREVIOUS, previous)
            elif self.previous():
                self.client.delete_registered_model_alias(self.name, PREVIOUS)
            self.client.set_registered_model_alias(self.name, CHAMPION, chosen.number)
            self.client.set_terminated(run_id)

    def note(self, record: Record, files: Mapping[str, str]) -> None:
        """Record a decision that moved nothing."""
        with self._plain_errors():
            self.client.set_terminated(self._open_record(record, files))

    def history(self) -> list[Record]:
        """Every finished decision, oldest first."""
        found: list[Any] = []
        token = None
        with self._plain_errors():
            while True:
                page = self.client.search_runs(
                    [self.decisions],
                    "attributes.status = 'FINISHED'",
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
                found += page
                token = page.token
                if not token:
                    break
        return [Record(**json.loads(run.data.tags[RECORD_TAG])) for run in found]

    def released(self, card: Mapping[str, Any]) -> Version:
        """The version of this release.

        Raises:
            TakeoffError: it is not registered.
        """
        found = self.version_of(card)
        if found is None:
            raise TakeoffError(
                f"MLflow at {without_password(self.uri)} has no version of the released model "
                f"({card['candidate']}, ONNX {card['onnx_sha256'][:12]}). Run `dvc repro --force release`."
            )
        return found

    def tag_bento(self, released: Version, bento: str) -> None:
        """Write a Bento's tag on its version."""
        with self._plain_errors():
            self.client.set_model_version_tag(self.name, released.number, BENTO_TAG, bento)

    def _log_values(self, run_id: str, run: TrainingRun) -> None:
        now = int(run.ended * 1000)
        final = [Metric(name, float(value), now, 0) for name, value in run.metrics.items()]
        by_step = [
            Metric(name, float(value), now, step)
            for step, metrics in enumerate(run.steps, start=1)
            for name, value in metrics.items()
        ]
        params = [Param(name, str(value)) for name, value in run.settings.items()]
        self.client.log_batch(run_id, metrics=final, params=params)
        for start in range(0, len(by_step), 1000):  # the most that a server takes in one request
            self.client.log_batch(run_id, metrics=by_step[start : start + 1000])

    def _log_data(self, run_id: str, run: TrainingRun) -> None:
        # Of the first rows: MLflow looks at every value to infer a schema that the contract fixes anyway.
        data = mlflow.data.from_pandas(
            run.rows.head(SCHEMA_ROWS),
            source=run.rows_file.as_posix(),
            name=run.rows_file.stem,
            digest=run.rows_sha256[:DIGEST_DIGITS],
        )
        profile = {"num_rows": len(run.rows), "num_elements": run.rows.size}
        described = Dataset(**{**data.to_dict(), "profile": json.dumps(profile)})
        context = InputTag(MLFLOW_DATASET_CONTEXT, "training")
        self.client.log_inputs(run_id, datasets=[DatasetInput(described, tags=[context])])

    def _log_model(self, run_id: str, run: TrainingRun) -> None:
        self.client.log_dict(run_id, dict(run.card), CARD_FILE)
        with mlflow.start_run(run_id=run_id, log_system_metrics=False):
            mlflow.onnx.log_model(
                onnx.load_from_string(run.onnx),
                name=run.candidate,
                signature=infer_signature(run.example, run.predictions),
                input_example=run.example,
                # Named, or MLflow would load the model in another process to find them out.
                pip_requirements=[f"{each}=={installed(each)}" for each in ("onnxruntime", "onnx", "pandas")],
                onnx_execution_providers=["CPUExecutionProvider"],
                save_as_external_data=False,
            )

    def _open_record(self, record: Record, files: Mapping[str, str]) -> str:
        if len(record.why) > LONGEST_WHY:  # a tag that is too long is cut by MLflow, and is then no JSON
            record = record._replace(why=record.why[:LONGEST_WHY] + " ...")
        run = self.client.create_run(
            self.decisions, run_name=record.action, tags={RECORD_TAG: json.dumps(record._asdict())}
        )
        for name, text in files.items():
            self.client.log_text(run.info.run_id, text, name)
        return str(run.info.run_id)

    def _by_alias(self, alias: str) -> Version | None:
        with self._plain_errors():
            try:
                return _version(self.client.get_model_version_by_alias(self.name, alias))
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found:
            return str(found.experiment_id)
        where = (STORE / "artifacts").resolve().as_uri() if self.uri.startswith("sqlite") else None
        return str(self.client.create_experiment(name, where))

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        """Turn what MLflow, its database or the network raise into one line."""
        try:
            yield
        except EXPECTED as error:
            raise TakeoffError(_in_words(error, self.uri)) from None


def tracking_uri() -> str:
    """Where MLflow keeps things: MLFLOW_TRACKING_URI, or an SQLite file in the project folder."""
    given = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if given:
        return given
    STORE.mkdir(exist_ok=True)
    return f"sqlite:///{STORE.as_posix()}/mlflow.db"


def _version(found: ModelVersion) -> Version:
    tags = found.tags
    return Version(str(found.version), tags[SHA_TAG], json.loads(tags[CARD_TAG]), tags.get(BENTO_TAG))


def _in_words(error: Exception, uri: str) -> str:
    text = str(error)
    where = f"MLflow at {without_password(uri)}"
    if "database is locked" in text:
        return f"{where}: its database is locked by another process. Let that one end, then run this again."
    if "Can't locate revision" in text or "out-of-date database schema" in text:
        return f"{where}: its database was made by another version of MLflow. Run `mlflow db upgrade`."
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return f"{where} failed: {first[:300]}"


def _quiet() -> None:
    """Leave only what a person has to act on: MLflow logs stack traces of errors that it raises as well."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="mlflow")
