"""All that a worker holds while it serves: settings, model, challenger, prediction log."""

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from pydantic import TypeAdapter

from serving import metrics
from serving.core import UNREGISTERED, Answered, Core, describe
from serving.histograms import Histograms
from serving.log_state import Observer, Retention
from serving.prediction_log import PredictionLog
from serving.requests import Row, row_type
from serving.settings import ServiceSettings
from serving.shadow import Shadow
from serving.spool import Spool
from takeoff import model, paths
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.log_schema import INVALID_ROWS
from takeoff.log_store import Label, open_store, sqlite_file
from takeoff.model import CARD_FILE

UNLOADED = "It could not be loaded, so it predicts nothing; the output of the service says why."

logger = logging.getLogger("bentoml.takeoff")


class Runtime:
    """A worker's own; `start` it inside the event loop that serves.

    Args:
        home: folder with the Bento's files.
        contract: what a row is.
        settings: of the service.
        version: of the model in the registry, where it has one.
        bento: tag of the Bento, where it is one.

    Raises:
        TakeoffError: a file is missing or unreadable, unless it is the challenger's.
    """

    def __init__(
        self,
        home: Path,
        contract: Contract,
        settings: ServiceSettings,
        version: str | None,
        bento: str | None,
    ) -> None:
        self.settings = settings
        shipped = model.load(home / paths.RELEASED)
        self.core = Core(shipped, version or UNREGISTERED, contract)
        self.description = describe(self.core, shipped.card, bento)
        self._tolerance = float(shipped.card["parity"]["largest_allowed"])
        self._golden = _read_golden(home, row_type(contract))
        self._challenger, self._unloaded = _challenger(home, contract)
        self.description["challenger"] = self._challenger.version if self._challenger else None
        self.description["challenger_failure"] = UNLOADED if self._unloaded else None
        self.histograms = Histograms(home, contract)
        self.shadow: Shadow | None = None
        self._log: PredictionLog | None = None
        metrics.MODEL.labels(self.core.version, shipped.card["candidate"]).set(1)

    @property
    def log(self) -> PredictionLog:
        """The prediction log, once started."""
        assert self._log is not None, "the service has not started yet"
        return self._log

    def start(self) -> None:
        """Open the log and let the challenger listen."""
        if self._log is not None:
            return
        metrics.forget_the_dead()
        settings, contract = self.settings, self.core.contract
        spool = Spool(_spool_folder(settings), settings.spool_max_mb * 2**20)
        self._log = PredictionLog(
            lambda: open_store(settings.log_url, list(contract.columns), contract.hash, contract.numbers),
            spool,
            Retention(days=settings.log_days, most_rows=settings.log_max_rows),
            _observer(),
        )
        if self._challenger:
            self.shadow = Shadow(self._challenger, self._log.record_shadow)

    def close(self) -> None:
        """Finish what is under way."""
        self.histograms.show()
        if self.shadow:
            self.shadow.close()
        if self._log:
            self._log.close()

    async def answer(self, rows: Sequence[Row], started: float) -> list[dict[str, Any]]:
        """Answers for rows of one request, once they are in the log, in types that BentoML knows.

        Raises:
            LogUnavailable: they could not be kept, so they must not be given.
        """
        answered = self.core.answer(rows, [started] * len(rows))
        await self.log.submit(answered.entries)
        self.answered(answered)
        return msgspec.to_builtins(answered.answers)  # type: ignore[no-any-return]

    async def feedback(self, labels: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Store labels; how many were new, known, corrected, kept in the spool, or of unknown predictions."""
        now = time.time()
        result = await self.log.feedback(
            [
                Label(each["prediction_id"], each["label"], now, known.timestamp() if known else None)
                for each in labels
                for known in (each["known_at"],)
            ]
        )
        counts = result._asdict()
        for outcome in ("stored", "repeated", "changed", "spooled"):
            metrics.LABELS.labels(outcome).inc(counts[outcome])
        return counts

    def answered(self, answered: Answered) -> None:
        """Count rows whose answers are in the log, and show them to the challenger."""
        self.histograms.offer(answered.feed, answered.events)
        for decision, count in answered.decisions.items():
            metrics.decided(decision).inc(count)
        if answered.reviews:
            metrics.REVIEWS.inc(answered.reviews)
        for field, count in answered.warned.items():
            metrics.UNSEEN.labels(field).inc(count)
        if self.shadow:
            self.shadow.offer(answered.feed, [answer.prediction_id for answer in answered.answers])
        elif self._unloaded:
            metrics.SHADOW.labels("not loaded").inc(len(answered.answers))

    def refused(self, reason: str, rows: Sequence[float | None] = ()) -> None:
        """Count a request that was refused; in the log by its bad rows, where it has some.

        Args:
            reason: of the request.
            rows: see `serving.refusals.Refusal`.
        """
        metrics.REFUSALS.labels(reason).inc()
        if rows:
            self.log.refused(INVALID_ROWS, rows)
        else:
            self.log.refused(reason)

    def golden_difference(self) -> float:
        """Largest difference between what the model says of the golden rows now and said when packed."""
        rows, expected = self._golden
        if not rows:
            return 0.0
        said = [self.core.probabilities([row])[0] for row in rows]
        return float(np.abs(np.array(said) - expected).max())

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether this worker can answer, and why not."""
        difference = self.golden_difference()
        state = self.log.state()
        golden = difference <= self._tolerance
        ready = golden and state.mode != "nowhere"
        log = {"mode": state.mode, "spooled_rows": state.spooled_rows, "since": state.since}
        return ready, {
            "status": "ready" if ready else "not ready",
            "model_version": self.core.version,
            "golden_rows": "as packed" if golden else f"off by {difference:.2g}",
            "log": log | ({"failure": state.failure} if state.failure else {}),
        }


def _read_golden(home: Path, row: Any) -> tuple[list[Row], np.ndarray]:
    file = home / paths.GOLDEN
    if not file.is_file():  # only a Bento has been packed
        return [], np.empty((0, 0))
    golden = json.loads(file.read_text(encoding="utf-8"))
    rows = TypeAdapter(list[row]).validate_json(json.dumps(golden["rows"]))
    return rows, np.array(golden["probabilities"])


def _challenger(home: Path, contract: Contract) -> tuple[Core | None, bool]:
    """The challenger, if there is one that can be loaded; and whether there is one that cannot."""
    if not (home / paths.CHALLENGER / CARD_FILE).is_file():
        return None, False
    try:
        shipped = model.load(home / paths.CHALLENGER)
        version = f"{shipped.card['candidate']}-{shipped.card['onnx_sha256'][:12]}"
        return Core(shipped, version, contract), False
    except Exception as error:  # whatever is wrong with it, the champion can serve
        expected = isinstance(error, TakeoffError)
        logger.error("The challenger cannot be loaded: %s", error, exc_info=not expected)
        return None, True


def _spool_folder(settings: ServiceSettings) -> Path:
    if settings.spool_dir is not None:
        return Path(settings.spool_dir)
    file = sqlite_file(settings.log_url)
    return (file.parent if file else Path("prediction-log")) / "spool"


def _observer() -> Observer:
    def committed(rows: int, seconds: float) -> None:
        metrics.LOG_ROWS.labels("database").inc(rows)
        metrics.LOG_COMMIT.observe(seconds)

    return Observer(
        committed=committed,
        spooled=lambda rows: metrics.LOG_ROWS.labels("spool").inc(rows),
        drained=metrics.LOG_DRAINED.inc,
        shadow_dropped=lambda rows: metrics.SHADOW.labels("not logged").inc(rows),
    )
