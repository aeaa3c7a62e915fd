"""The description of the service: OpenAPI 3.1, made from the contract and from the types that read bodies."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from serving.requests import allowed, batch_type, example_row, feedback_type, label_type, row_type
from takeoff.contract import Contract

REFERENCE = "#/components/schemas/{model}"
EXAMPLE_ID = "01997a0e-6d2b-7c41-9b5e-3f8f5d1c2a77"
EXAMPLE_METRICS = 'takeoff_requests_total{endpoint="/predict",status="200"} 3.0\n'
# Why a request is refused, by status; all have the same body.
REFUSALS = {
    400: "The body is not JSON",
    401: "No key, or a wrong one",
    408: "The body came too slowly",
    413: "The body is too large",
    415: "The body is not said to be plain JSON in UTF-8",
    422: "A value is not allowed; every one is named",
    429: "Too many requests at once; try again after Retry-After seconds",
    503: "No answer in time, or it could not be logged; try again after Retry-After seconds",
}


class Document(dict[str, Any]):
    """An OpenAPI document, in the form that BentoML's documentation page asks for."""

    def asdict(self) -> dict[str, Any]:
        """The document itself."""
        return dict(self)


def document(contract: Contract, needs_key: bool, model: Mapping[str, Any] | None = None) -> Document:
    """The whole description.

    Args:
        contract: what a row is.
        needs_key: whether every endpoint but health asks for a key.
        model: what `/model` says, as its example.
    """
    schemas = _schemas(contract)
    schemas["Refusal"]["example"] = _example_refusal(contract)
    row = example_row(contract)
    answer = _example_answer(contract)
    label = {"prediction_id": EXAMPLE_ID, "label": contract.target.classes[-1]}
    paths = {
        "/predict": _post(
            "predict",
            "Answer one row",
            "Probability of each class, the decision that costs least, and whether to ask a human.",
            ("Row", row),
            ("Answer", answer),
        ),
        "/predict_batch": _post(
            "predict_batch",
            "Answer many rows",
            "All or nothing: one bad row, and none is predicted; the bad ones are named.",
            ("Batch", {"rows": [row, row]}),
            ("Answers", {"predictions": [answer, answer]}),
        ),
        "/feedback": _post(
            "feedback",
            "Tell the truth of earlier predictions",
            "May be sent again without being counted twice; another label for it corrects the first.",
            ("Feedback", {"labels": [label]}),
            ("Stored", {"stored": 1, "repeated": 0, "changed": 0, "spooled": 0, "unknown": []}),
        ),
        "/model": _get(
            "model",
            "What serves",
            "Version, contract, training window, numbers, threshold.",
            {200: ("What serves", "Model", model)},
        ),
        "/livez": _get(
            "livez",
            "The process is alive",
            "Needs no key.",
            {200: ("It is", "Alive", {"status": "alive"})},
            health=True,
        ),
        "/readyz": _get(
            "readyz",
            "Answers can be given",
            "Asks the model about rows whose answers are known, and says how the log is. Needs no key.",
            {
                200: ("They can", "Readiness", _example_readiness(True)),
                503: (
                    "They cannot: the model has changed, or nothing can hold an answer",
                    "Readiness",
                    _example_readiness(False),
                ),
            },
            health=True,
        ),
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "summary": "Counts and latencies for Prometheus",
                "tags": ["Operation"],
                "responses": {
                    "200": {
                        "description": "Prometheus text format",
                        "content": {"text/plain": {"schema": {"type": "string"}, "example": EXAMPLE_METRICS}},
                    }
                },
            }
        },
    }
    made = Document(
        openapi="3.1.0",
        info={"title": contract.name, "description": contract.question, "version": contract.hash},
        paths=paths,
        components={"schemas": schemas},
    )
    return _with_keys(made) if needs_key else made


def _schemas(contract: Contract) -> dict[str, Any]:
    row, label = row_type(contract), label_type(contract)
    named = {"Row": row, "Batch": batch_type(row), "Label": label, "Feedback": feedback_type(label)}
    read = {name: TypeAdapter(kind).json_schema(ref_template=REFERENCE) for name, kind in named.items()}
    for schema in read.values():
        schema.pop("$defs", None)  # each stands here under its own name
    return {**read, **_written(contract)}


def _written(contract: Contract) -> dict[str, Any]:
    """What the service sends."""
    classes = list(contract.target.classes)
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    count = {"type": "integer", "minimum": 0}
    text = {"type": "string"}
    nullable_text = {"type": ["string", "null"]}
    number = {"type": "number"}
    estimate = _object({"value": number, "low": number, "high": number})
    return {
        "Answer": _object(
            {
                "prediction_id": {"type": "string", "format": "uuid", "description": "for /feedback"},
                "probability": {**probability, "description": f"of '{classes[-1]}'"},
                "probabilities": _object(dict.fromkeys(classes, probability)),
                "decision": {"type": "string", "enum": classes},
                "review": {"type": "boolean", "description": "asking a human is cheaper than this decision"},
                "model_version": text,
                "warnings": {
                    "type": "array",
                    "description": "values that are allowed but that training never saw",
                    "items": _object({"field": text, "warning": text}),
                },
            }
        ),
        "Answers": _object({"predictions": {"type": "array", "items": _reference("Answer")}}),
        "Stored": _object(
            {
                **dict.fromkeys(("stored", "repeated", "changed", "spooled"), count),
                "unknown": {
                    "type": "array",
                    "items": text,
                    "description": "prediction ids that are not in the log (yet); their labels are kept too",
                },
            }
        ),
        "Model": _object(
            {
                "name": text,
                "question": text,
                "model_version": text,
                "bento": nullable_text,
                "candidate": text,
                "onnx_sha256": text,
                "contract_hash": text,
                "classes": {"type": "array", "items": text},
                "event": text,
                "threshold": probability,
                "review_band": {
                    "anyOf": [_object({"from": probability, "to": probability}), {"type": "null"}]
                },
                "costs": {"type": "object"},
                "training": _object({"start": text, "end": text, "rows": count}),
                "test": {"anyOf": [_object({"start": text, "end": text, "rows": count}), {"type": "null"}]},
                "metrics": {
                    "anyOf": [{"type": "object", "additionalProperties": estimate}, {"type": "null"}],
                    "description": "on the test rows, with intervals",
                },
                "challenger": {**nullable_text, "description": "predicts too, for the log alone"},
                "challenger_failure": {
                    **nullable_text,
                    "description": "why there is none, if there should be",
                },
            }
        ),
        "Alive": _object({"status": {"const": "alive"}}),
        "Readiness": _object(
            {
                "status": {"enum": ["ready", "not ready"]},
                "model_version": text,
                "golden_rows": text,
                "log": {
                    "type": "object",
                    "required": ["mode", "spooled_rows"],
                    "properties": {"mode": {"enum": ["database", "spool", "nowhere"]}},
                },
            }
        ),
        "Refusal": _object(
            {
                "error": _object(
                    {
                        "code": text,
                        "message": text,
                        "problems": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["field", "problem"],
                                "properties": {
                                    "row": {**count, "description": "counted from 0"},
                                    "field": text,
                                    "problem": text,
                                    "allowed": text,
                                },
                            },
                        },
                    }
                )
            }
        ),
    }


def _example_answer(contract: Contract) -> dict[str, Any]:
    classes = contract.target.classes
    return {
        "prediction_id": EXAMPLE_ID,
        "probability": 0.25,
        "probabilities": {
            name: 0.25 if name == classes[-1] else 0.75 / (len(classes) - 1) for name in classes
        },
        "decision": classes[0],
        "review": contract.costs.review is not None,
        "model_version": "1",
        "warnings": [],
    }


def _example_readiness(ready: bool) -> dict[str, Any]:
    return {
        "status": "ready" if ready else "not ready",
        "model_version": "1",
        "golden_rows": "as packed" if ready else "off by 0.31",
        "log": {"mode": "database", "spooled_rows": 0, "since": None},
    }


def _example_refusal(contract: Contract) -> dict[str, Any]:
    name = next(iter(contract.columns))
    problem = {"field": name, "problem": '"?" is not allowed', "allowed": allowed(name, contract)}
    message = f"Nothing was predicted or stored: wrong: {name}."
    return {"error": {"code": "invalid", "message": message, "problems": [problem]}}


def _post(
    name: str, summary: str, description: str, takes: tuple[str, Any], gives: tuple[str, Any]
) -> dict[str, Any]:
    body = {"required": True, "content": _json(takes[0], takes[1])}
    responses = {"200": {"description": "Answered, and in the log", "content": _json(gives[0], gives[1])}}
    statuses = [status for status in REFUSALS if status != 401]
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "description": description,
            "tags": ["Predictions"],
            "requestBody": body,
            "responses": responses | {str(status): _refusal(status) for status in statuses},
        }
    }


def _get(
    name: str,
    summary: str,
    description: str,
    gives: Mapping[int, tuple[str, str, Any]],
    health: bool = False,
) -> dict[str, Any]:
    """`gives`: by status what it means, its schema, an example."""
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "description": description,
        "tags": ["Operation"],
        "responses": {
            str(status): {"description": what, "content": _json(schema, example)}
            for status, (what, schema, example) in gives.items()
        },
    }
    if health:
        operation["security"] = []
    return {"get": operation}


def _with_keys(made: Document) -> Document:
    made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    made["security"] = [{"key": []}]
    for path in made["paths"].values():
        for operation in path.values():
            if operation.get("security") != []:
                operation["responses"]["401"] = _refusal(401)
    return made


def _refusal(status: int) -> dict[str, Any]:
    return {"description": REFUSALS[status], "content": _json("Refusal")}


def _json(schema: str, example: Any = None) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": _reference(schema)}
    if example is not None:
        content["example"] = example
    return {"application/json": content}


def _reference(schema: str) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=schema)}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}
