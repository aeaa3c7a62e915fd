"""The description of the service says what the service does."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from serving.openapi import document
from serving.reading import Reader
from serving.refusals import Refusal
from serving.requests import example_row
from takeoff.contract import read_contract
from tests.conftest import PROJECT

CONTRACT = read_contract(PROJECT)
DOCUMENT = document(CONTRACT, needs_key=False).asdict()
READER = Reader(CONTRACT)
POSTS = [path for path, item in DOCUMENT["paths"].items() if "post" in item]


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})


@pytest.mark.parametrize("path", POSTS)
def test_the_example_of_a_request_is_taken(path: str) -> None:
    example = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
    read = {"/predict": READER.row, "/predict_batch": READER.rows, "/feedback": READER.labels}[path]

    assert read(json.dumps(example).encode())


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_every_example_fits_its_schema(path: str) -> None:
    (operation,) = DOCUMENT["paths"][path].values()
    answers = [answer for status, answer in operation["responses"].items() if status in ("200", "503")]

    contents = [part["content"] for part in (*answers, operation.get("requestBody", {"content": {}}))]
    shown = [each for content in contents for each in content.values() if "example" in each]
    assert shown or path == "/model"  # whose example is the model that serves
    assert [list(validator(each["schema"]).iter_errors(each["example"])) for each in shown] == [[]] * len(
        shown
    )


def test_the_example_of_a_refusal_is_what_a_refusal_is() -> None:
    schema = DOCUMENT["components"]["schemas"]["Refusal"]

    with pytest.raises(Refusal) as caught:
        READER.row(json.dumps(example_row(CONTRACT) | {next(iter(CONTRACT.columns)): "?"}).encode())

    assert json.loads(caught.value.body()) == schema["example"]


def test_the_schema_of_a_row_says_what_the_contract_says() -> None:
    properties = DOCUMENT["components"]["schemas"]["Row"]["properties"]

    assert properties["origin"]["enum"] == list(CONTRACT.columns["origin"].values or ())
    assert properties["carrier"]["pattern"] == CONTRACT.columns["carrier"].pattern
    assert properties["weekday"]["maximum"] == CONTRACT.columns["weekday"].max
    assert properties["weekday"]["type"] == "integer"
    assert {"type": "null"} in properties["temperature"]["anyOf"]
    assert set(DOCUMENT["components"]["schemas"]["Row"]["required"]) == {
        name for name, column in CONTRACT.columns.items() if not column.missing
    }


def test_where_keys_are_set_every_endpoint_but_health_asks_for_one() -> None:
    paths = document(CONTRACT, needs_key=True).asdict()["paths"]

    free = {
        path
        for path, item in paths.items()
        for operation in item.values()
        if "401" not in operation["responses"]
    }

    assert free == {"/livez", "/readyz"}
