"""The service that a Bento runs: contract rows in; probabilities, decisions and a log of them out."""

import sys
import time
from collections.abc import Awaitable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import bentoml
from _bentoml_sdk import Service  # private, for `to_asgi`: the version is pinned, and a test holds it to this

from serving.edge import UNLOGGED, Edge
from serving.heads import bound_heads
from serving.log_state import LogUnavailable
from serving.openapi import Document, document
from serving.requests import label_type, row_type
from serving.runtime import Runtime
from serving.settings import read_settings
from takeoff.contract import read_contract
from takeoff.errors import TakeoffError

# A Bento has the layout of the project, so the service finds its files in both.
T = TypeVar("T")
HOME = Path(__file__).resolve().parent.parent
try:
    SETTINGS = read_settings()
    CONTRACT = read_contract(HOME)
    Row = row_type(CONTRACT)
    LabelOfOne = label_type(CONTRACT)
except TakeoffError as error:
    sys.exit(str(error))  # what is wrong, instead of where
bound_heads(SETTINGS.body_seconds)


class EdgeService(Service):  # type: ignore[misc]  # BentoML has no types for mypy
    """A BentoML service behind our own outermost layer and with our own description."""

    def to_asgi(self, is_main: bool = True) -> Any:
        """BentoML's application inside `Edge`."""
        return Edge(super().to_asgi(is_main), runtime)

    @property
    def openapi_spec(self) -> Document:
        """What /docs.json says and / shows."""
        return document(CONTRACT, bool(SETTINGS.api_keys), runtime().description)


@cache
def runtime() -> Runtime:
    """The one of this process; made when it is first needed, which is after BentoML knows the Bento."""
    bento = Predictor.bento  # type: ignore[attr-defined]
    version = bento.info.labels.get("model_version") if bento else None
    return Runtime(HOME, CONTRACT, SETTINGS, version, str(bento.tag) if bento else None)


async def kept(answering: Awaitable[T]) -> T | None:
    """What an api answers; None where the log cannot keep it, which `Edge` is told, and refuses it."""
    try:
        return await answering
    except LogUnavailable as error:
        UNLOGGED.get().append(error)
        return None


@bentoml.service(
    name=CONTRACT.name,
    description=CONTRACT.question,
    service_class=EdgeService,
    workers=SETTINGS.workers,
    # For what does not go round BentoML. A request stays in memory until its timer ends, even when
    # answered, so a long timeout costs memory.
    traffic={"timeout": max(1, round(SETTINGS.deadline_seconds)), "max_concurrency": 128},
    # Both cost more than the prediction itself; counts and latencies are on /metrics.
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": [".*"]},
)
class Predictor:
    """Asks a released model about contract rows."""

    def __init__(self) -> None:
        runtime()  # a missing file stops the service here, not at the first request

    # Edge answers these itself, unless TAKEOFF_FAST_PATH=false; BentoML's client and schema know them from
    # here. What they are given has been validated by Edge either way.

    @bentoml.api  # type: ignore[untyped-decorator]
    async def predict(self, row: Row, /) -> dict[str, Any]:  # type: ignore[valid-type]
        """Probability of each class, the decision that costs least, and whether to ask a human."""
        answers = await kept(runtime().answer((row,), time.perf_counter()))
        return answers[0] if answers else {}

    @bentoml.api  # type: ignore[untyped-decorator]
    async def predict_batch(self, rows: list[Row]) -> dict[str, Any]:  # type: ignore[valid-type]
        """The same for many rows; one bad row fails them all."""
        return {"predictions": await kept(runtime().answer(rows, time.perf_counter()))}

    @bentoml.api  # type: ignore[untyped-decorator]
    async def feedback(self, labels: list[LabelOfOne]) -> dict[str, Any]:  # type: ignore[valid-type]
        """The truth of earlier predictions; may be sent again without being counted twice."""
        return await kept(runtime().feedback(labels)) or {}
