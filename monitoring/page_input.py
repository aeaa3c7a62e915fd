"""What the page reads: the JSON of windows and of the decision, with every part that may be missing.

Nothing else is demanded of a file than what the page shows, so that a part which was added, or could not be
measured, keeps nothing else from being seen.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
)

from takeoff import paths

NOTHING: Mapping[Path, str] = {}
State = Literal["healthy", "watch", "retrain"]
Severity = Literal["none", "watch", "severe"]


def _dict(found: Any) -> Any:
    return {} if found is None else found


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Estimate(_Part):
    """A measured value and the interval around it."""

    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat


Metrics = Annotated[dict[str, Estimate | None], BeforeValidator(_dict)]


class WindowInput(_Part):
    """Which rows a window holds."""

    name: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]+$")]  # it becomes an address
    kind: Literal["day", "week", "month"]
    start: AwareDatetime
    end: AwareDatetime
    complete: bool = True


class ReferenceInput(_Part):
    """What the window was measured against."""

    model_version: str | None = None
    candidate: str | None = None
    promised: Metrics = {}


class ColumnDrift(_Part):
    """How far a column moved, or a class probability; what noise alone reaches stands beside it."""

    column: str = ""
    class_: str = Field("", alias="class")
    importance: FiniteFloat | None = None
    psi: FiniteFloat | None = None
    psi_floor: FiniteFloat | None = None
    distance: FiniteFloat | None = None
    distance_kind: str = ""
    distance_floor: FiniteFloat | None = None
    missing: FiniteFloat | None = None
    missing_reference: FiniteFloat | None = None
    missing_floor: FiniteFloat | None = None
    unseen: FiniteFloat | None = None
    unseen_floor: FiniteFloat | None = None
    effect: FiniteFloat | None = None
    severity: Severity = "none"


class DriftInput(_Part):
    """Drift of every column and of what the model says."""

    columns: tuple[ColumnDrift, ...] = ()
    predictions: tuple[ColumnDrift, ...] = ()


class Importance(_Part):
    """A column that a classifier used."""

    column: str
    importance: FiniteFloat


class Multivariate(_Part):
    """How well a classifier tells the window from the reference."""

    roc_auc: Estimate
    floor: FiniteFloat | None = None
    columns: tuple[Importance, ...] = ()


class Lag(_Part):
    """Hours until the truth was known."""

    median: FiniteFloat
    p90: FiniteFloat


class LabelsInput(_Part):
    """How many rows have their truth."""

    rows: int
    share: FiniteFloat
    never: int | None = None
    lag_hours: Lag | None = None


class Money(_Part):
    """What the decisions cost, for so many rows and in total."""

    currency: str
    per_rows: int
    model: Estimate | None = None
    rule: Estimate | None = None
    promised: Estimate | None = None
    gain_over_rule: Estimate | None = None
    total_model: FiniteFloat | None = None
    total_rule: FiniteFloat | None = None


class Calibration(_Part):
    """Rows that got about the same probability, and how often the event came."""

    predicted: FiniteFloat
    observed: FiniteFloat
    rows: int


class PerformanceInput(_Part):
    """What the answers were worth where the truth has come."""

    rows: int
    metrics: Metrics = {}
    promised: Metrics = {}
    money: Money | None = None
    calibration: Annotated[tuple[Calibration, ...], BeforeValidator(lambda found: found or ())] = ()
    event_share: Estimate | None = None
    predicted_share: FiniteFloat | None = None


class EstimatedInput(_Part):
    """What the answers are worth if the probabilities are right."""

    metrics: Metrics = {}


class RuleInput(_Part):
    """A rule of the contract, held against the window."""

    rule: str
    column: str | None = None
    measured: Any = None
    required: Any = None
    failing: int | None = None
    passed: bool | None = None
    severity: str = ""


class QualityInput(_Part):
    """Whether the rows are what the contract says, and what the service refused."""

    rules: tuple[RuleInput, ...] = ()
    broken_rows: int | None = None
    checked_rows: int | None = None
    refused: Annotated[dict[str, int], BeforeValidator(_dict)] = {}


class Compared(_Part):
    """A metric of two models on the same rows."""

    champion: FiniteFloat
    challenger: FiniteFloat
    difference: Estimate | None = None


class ShadowInput(_Part):
    """A challenger that answers the same rows, unseen."""

    model_version: str
    rows: int
    errors: int = 0
    agree_share: FiniteFloat | None = None
    metrics: Annotated[dict[str, Compared | None], BeforeValidator(_dict)] = {}


class Result(_Part):
    """The JSON of a window."""

    window: WindowInput
    rows: int
    model_versions: Annotated[dict[str, int], BeforeValidator(_dict)] = {}
    reference: ReferenceInput | None = None
    notes: tuple[str, ...] = ()
    drift: DriftInput | None = None
    multivariate: Multivariate | None = None
    labels: LabelsInput | None = None
    performance: PerformanceInput | None = None
    estimated: EstimatedInput | None = None
    quality: QualityInput | None = None
    shadow: ShadowInput | None = None

    @property
    def version(self) -> str | None:
        """The version that gave most of the answers."""
        return max(self.model_versions, key=lambda each: self.model_versions[each], default=None)


class ReasonInput(_Part):
    """Why it is not healthy."""

    window: str
    what: str
    column: str | None = None
    measured: FiniteFloat
    required: FiniteFloat
    direction: str
    severity: Literal["watch", "retrain"]
    text: str


class WindowState(_Part):
    """What one window says."""

    name: str
    state: str
    why: str | None = None


class Decision(_Part):
    """The JSON of the decision."""

    state: State
    sentence: str
    window: str | None = None
    made_at: str | None = None
    model_version: str | None = None
    reasons: tuple[ReasonInput, ...] = ()
    windows: tuple[WindowState, ...] = ()
    changed: bool = False
    previous_state: str | None = None
    notes: tuple[str, ...] = ()


class Reports(NamedTuple):
    """Everything that the monitor left.

    Attributes:
        decision: None where there is none, or it can't be read.
        results: of the windows, the oldest first.
        drawn: names of the windows that have a report of Evidently's.
        skipped: a sentence for each file that can't be shown.
    """

    decision: Decision | None
    results: tuple[Result, ...]
    drawn: frozenset[str]
    skipped: tuple[str, ...]


Found = TypeVar("Found", bound=_Part)


def read_reports(folder: Path, coming: Mapping[Path, str] = NOTHING, drawn: Iterable[Path] = ()) -> Reports:
    """What the monitor leaves in a folder; a file that can't be read is named and passed over.

    Args:
        folder: holds `decision.json` and `windows/`.
        coming: text of files that are about to be written there, by path.
        drawn: reports of Evidently's that are about to be put there.
    """
    skipped: list[str] = []
    windows = folder / paths.WINDOWS.name
    results_in = {*windows.glob("*.json"), *(file for file in coming if file.parent == windows)}
    decision = _read(folder / paths.DECISION_REPORT.name, Decision, coming, skipped)
    found = [_read(file, Result, coming, skipped) for file in sorted(results_in)]
    results = sorted((each for each in found if each), key=lambda each: each.window.start)
    names = frozenset(file.stem for file in (*windows.glob("*.html"), *drawn))
    return Reports(decision, tuple(results), names, tuple(skipped))


def _read(file: Path, kind: type[Found], coming: Mapping[Path, str], skipped: list[str]) -> Found | None:
    again = "Run the monitor again, which writes it anew."
    try:
        text = coming[file] if file in coming else file.read_text(encoding="utf-8")
        return kind.model_validate(json.loads(text))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the file as a whole"
        skipped.append(f"{file.name} is not shown: '{where}' is not what this version writes. {again}")
    except (ValueError, OSError):
        skipped.append(f"{file.name} is not shown: it can't be read as JSON. {again}")
    return None
