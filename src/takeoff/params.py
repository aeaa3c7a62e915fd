"""``params.yaml`` as values: how models are built, gated and watched."""

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from takeoff.contract import CONTRACT_FILE, Contract, Share
from takeoff.errors import TakeoffError
from takeoff.settings import Settings, nearest, parse, read_yaml

PARAMS_FILE = "params.yaml"

MOST_MONTHS = 1200  # a century: beyond it, counting back may leave the calendar
Positive = Annotated[int, Field(gt=0)]
Metric = Literal["cost", "log_loss", "brier", "roc_auc", "average_precision", "calibration_error"]


class Window(Settings):
    """Rows that exist for a run: from the first day up to, but not including, the end."""

    start: date
    end: date

    @model_validator(mode="after")
    def _is_ordered(self) -> "Window":
        if self.start >= self.end:
            raise ValueError(f"start {self.start} must be before end {self.end}")
        return self


class Split(Settings):
    """Months counted back from the end of the window."""

    test_months: Annotated[int, Field(gt=0, le=MOST_MONTHS)]
    validation_months: Annotated[int, Field(gt=0, le=MOST_MONTHS)]


class Candidate(Settings):
    """A model that competes; its own module says what its settings may be."""

    upkeep: Annotated[float, Field(ge=0)]
    settings: dict[str, Any]


class Parity(Settings):
    """How closely the ONNX file must follow the fitted object."""

    largest_difference: Annotated[float, Field(gt=0)]


class Slice(Settings):
    """A way to cut rows into groups: by a column (numbers at edges), or by the month of the time column."""

    column: str | None = None
    edges: tuple[float, ...] | None = None
    time: Literal["month"] | None = None

    @property
    def name(self) -> str:
        return self.column or str(self.time)

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "Slice":
        if (self.column is None) == (self.time is None):
            raise ValueError("a slice has either 'column' or 'time'")
        if self.edges is not None and list(self.edges) != sorted(set(self.edges)):
            raise ValueError("'edges' must grow")
        return self


class Evaluation(Settings):
    """How models are measured."""

    resamples: Annotated[int, Field(ge=100)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    calibration_bins: Annotated[int, Field(ge=2)]
    slices: tuple[Slice, ...]
    slice_rows: Positive


class Floor(Settings):
    """What a metric must reach."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _has_a_side(self) -> "Floor":
        if (self.min is None) == (self.max is None):
            raise ValueError("a floor has either 'min' or 'max'")
        return self


class Release(Settings):
    """What the gate asks of a challenger."""

    metric: Metric
    floors: dict[Metric, Floor]
    beats: tuple[str, ...]
    critical_slices: tuple[str, ...]
    slice_margin: Annotated[float, Field(ge=0)]
    challenger: str | None


class Reference(Settings):
    """What drift will be measured against."""

    sample_rows: Positive
    bins: Annotated[int, Field(ge=2)]


class Levels(Settings):
    """From where on something is worth a look, and from where on it is severe."""

    watch: Annotated[float, Field(ge=0)]
    severe: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _is_ordered(self) -> "Levels":
        if self.watch > self.severe:
            raise ValueError(f"watch {self.watch:g} must not be above severe {self.severe:g}")
        return self


class Drift(Settings):
    """What counts as drift of one column, beyond what noise explains."""

    resamples: Annotated[int, Field(ge=100)]
    noise_quantile: Annotated[float, Field(gt=0.5, lt=1)]
    psi: Levels
    distance: Levels
    missing: Levels
    unseen: Levels
    importance: Levels


class Multivariate(Settings):
    """How hard a classifier tries to tell a window from the reference, and what its success means."""

    rows: Annotated[int, Field(ge=100)]
    folds: Annotated[int, Field(ge=2)]
    auc: Annotated[float, Field(ge=0.5, le=1)]


class Labels(Settings):
    """How much truth must have come before live performance is judged on it."""

    rows: Positive
    share: Annotated[float, Field(gt=0, le=1)]


class Performance(Settings):
    """How far live, or estimated, performance may fall behind what the release promised."""

    cost_above_promise: Levels
    roc_auc_below_promise: Levels
    calibration_rows: Positive
    calibration_error: Levels
    loss_to_rule: Levels
    estimate_trust: Annotated[float, Field(ge=0)]


class Quality(Settings):
    """How many rows may break the contract, be refused by the service, or come at all."""

    broken: Share
    refused: Share
    traffic: Annotated[float, Field(gt=1)]
    usual_windows: Positive
    share_rows: Positive


class Verdict(Settings):
    """In how many of the last windows something must be found before it is believed, and whose they are."""

    last: Positive
    watch: Positive
    retrain: Positive
    champions_share: Annotated[float, Field(gt=0, le=1)]

    @model_validator(mode="after")
    def _can_be_reached(self) -> "Verdict":
        for key in ("watch", "retrain"):
            if getattr(self, key) > self.last:
                raise ValueError(f"{key} {getattr(self, key)} can't be more than last {self.last}")
        return self


class Monitoring(Settings):
    """How production is watched."""

    window: Literal["day", "week", "month"]
    rows: Positive
    evidently_rows: Positive
    webhook_seconds: Annotated[float, Field(gt=0)]
    drift: Drift
    multivariate: Multivariate
    labels: Labels
    performance: Performance
    quality: Quality
    decision: Verdict


class Params(Settings):
    """All of ``params.yaml``."""

    seed: Annotated[int, Field(ge=0)]
    window: Window
    split: Split
    compete: Annotated[tuple[str, ...], Field(min_length=1)]
    candidates: dict[str, Candidate]
    parity: Parity
    evaluation: Evaluation
    release: Release
    reference: Reference
    monitoring: Monitoring


def read_params(folder: Path, contract: Contract) -> Params:
    """The parameters of the project in `folder`.

    Raises:
        TakeoffError: the file is missing, or a key or value in it is not allowed, or it names a
            candidate or a column that does not exist.
    """
    params = parse(Params, read_yaml(folder / PARAMS_FILE), PARAMS_FILE)
    _check_candidates(params)
    _check_columns(params, contract)
    return params


def known_candidates() -> list[str]:
    """Names of the candidates that have a module."""
    folder = Path(__file__).parent / "candidates"
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def check_candidate(name: str, where: str = "candidate") -> None:
    """Raise a TakeoffError that names the nearest candidate unless `name` has a module."""
    if name not in known_candidates():
        raise TakeoffError(
            f"{PARAMS_FILE}: {where}: there is no candidate '{name}'; {nearest(name, known_candidates())}"
        )


def _check_candidates(params: Params) -> None:
    for key in ("compete", "candidates"):
        for name in getattr(params, key):
            check_candidate(name, key)
    for name in (*params.compete, *params.release.beats):
        if name not in params.candidates:
            raise TakeoffError(
                f"{PARAMS_FILE}: '{name}' competes but has no settings under 'candidates'; "
                f"{nearest(name, list(params.candidates))}"
            )
    for name in params.release.beats:
        if name not in params.compete:
            raise TakeoffError(
                f"{PARAMS_FILE}: release.beats: '{name}' does not compete, so nothing can beat it; "
                f"{nearest(name, list(params.compete))}"
            )
    if (name := params.release.challenger) is not None and name not in params.compete:
        raise TakeoffError(
            f"{PARAMS_FILE}: release.challenger: '{name}' does not compete; "
            f"{nearest(name, list(params.compete))}"
        )
    if repeated := [name for name in params.compete if params.compete.count(name) > 1]:
        raise TakeoffError(f"{PARAMS_FILE}: compete: '{repeated[0]}' stands twice.")


def _check_columns(params: Params, contract: Contract) -> None:
    for item in params.evaluation.slices:
        if item.column is None:
            continue
        if item.column not in contract.columns:
            raise TakeoffError(
                f"{PARAMS_FILE}: evaluation.slices: {CONTRACT_FILE} has no column '{item.column}'; "
                f"{nearest(item.column, list(contract.columns))}"
            )
        if contract.columns[item.column].is_number != (item.edges is not None):
            raise TakeoffError(
                f"{PARAMS_FILE}: evaluation.slices: '{item.column}' is a "
                f"{contract.columns[item.column].type}; numbers need 'edges', categories take none."
            )
    names = [item.name for item in params.evaluation.slices]
    for name in params.release.critical_slices:
        if name not in names:
            raise TakeoffError(
                f"{PARAMS_FILE}: release.critical_slices: '{name}' is not under evaluation.slices; "
                f"{nearest(name, names)}"
            )
