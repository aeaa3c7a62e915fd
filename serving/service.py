"""The service that a Bento runs: one contract row in, probabilities and a decision out."""

from pathlib import Path

import bentoml
from pydantic import BaseModel, ConfigDict

from serving.requests import request_model, to_columns
from takeoff import model, value
from takeoff.contract import read_contract

# A Bento has the layout of the project, so the service finds its files in both.
HOME = Path(__file__).resolve().parent.parent
CONTRACT = read_contract(HOME)
Row = request_model(CONTRACT)


class Answer(BaseModel):
    """What a caller gets for one row."""

    model_config = ConfigDict(protected_namespaces=())  # pydantic would keep names in model_ for itself

    probabilities: dict[str, float]  # float32 values, by class
    decision: str
    candidate: str
    model_version: str | None  # in the registry; none outside a Bento
    onnx_sha256: str


@bentoml.service(
    name=CONTRACT.name,
    description=CONTRACT.question,
    # A request stays in memory until its timer ends, even when answered, so a long timeout costs memory.
    traffic={"timeout": 5, "max_concurrency": 128},
    # Both cost more than the prediction itself; counts and latencies are on /metrics.
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": [".*"]},
)
class Predictor:
    """Holds the shipped model."""

    def __init__(self) -> None:
        self.model = model.load(HOME / "models" / "released")

    @bentoml.api
    async def predict(self, row: Row, /) -> Answer:  # type: ignore[valid-type]
        """Probability of each class, and the decision that costs least."""
        card = self.model.card
        probabilities = model.predict(self.model.session, to_columns(row, CONTRACT))
        decision = value.decide(probabilities, card["decision"]["threshold"])
        return Answer(
            probabilities=dict(zip(card["classes"], probabilities[0].tolist(), strict=True)),
            decision=card["classes"][decision[0]],
            candidate=card["candidate"],
            model_version=_model_version(),
            onnx_sha256=card["onnx_sha256"],
        )


def _model_version() -> str | None:
    return Predictor.bento.info.labels.get("model_version") if Predictor.bento else None
