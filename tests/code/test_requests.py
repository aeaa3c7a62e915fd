"""The request model takes what the contract allows, and nothing else."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serving.requests import LARGEST_NUMBER, example_row, request_model, to_columns
from takeoff.contract import Column, Contract, read_contract
from takeoff.errors import TakeoffError

CONTRACT = read_contract(Path(__file__).parents[2])
ROW = request_model(CONTRACT)
EXAMPLE = example_row(CONTRACT)
BOUNDED = [
    name
    for name, c in CONTRACT.columns.items()
    if c.is_number and c.max is not None and "bounds" not in c.warn
]


def refusals(body: str) -> dict[str, str]:
    """Message by field of what is wrong with a body; empty when it is taken."""
    try:
        ROW.model_validate_json(body)
    except ValidationError as error:
        return {".".join(map(str, problem["loc"])): problem["msg"] for problem in error.errors()}
    return {}


def with_value(**values: Any) -> str:
    return json.dumps({**EXAMPLE, **values})


def changed(contract: Contract, name: str, **fields: Any) -> Contract:
    column = contract.columns[name].model_copy(update=fields)
    return contract.model_copy(update={"columns": {**contract.columns, name: column}})


def test_the_examples_of_the_contract_are_a_row() -> None:
    assert refusals(json.dumps(EXAMPLE)) == {}


@given(name=st.sampled_from(BOUNDED), excess=st.floats(0.5, 1e30), above=st.booleans())
def test_a_number_out_of_its_bounds_is_refused_with_the_bound(name: str, excess: float, above: bool) -> None:
    column = CONTRACT.columns[name]
    bound = column.max if above else column.min
    assert bound is not None
    planted = float(np.floor(bound + excess + 1)) if above else float(np.ceil(bound - excess - 1))

    found = refusals(with_value(**{name: planted}))

    assert list(found) == [name]
    assert f"{bound:g}" in found[name]


def test_a_bound_that_only_warns_does_not_refuse() -> None:
    highest = CONTRACT.columns["wind_speed"].max
    assert "bounds" in CONTRACT.columns["wind_speed"].warn and highest is not None

    assert refusals(with_value(wind_speed=highest + 1)) == {}


@pytest.mark.parametrize("name", [name for name, column in CONTRACT.columns.items() if column.missing > 0])
def test_what_may_be_missing_may_be_null_or_left_out(name: str) -> None:
    without = {key: value for key, value in EXAMPLE.items() if key != name}

    assert refusals(with_value(**{name: None})) == {}
    assert refusals(json.dumps(without)) == {}


@pytest.mark.parametrize("name", [name for name, column in CONTRACT.columns.items() if column.missing == 0])
def test_what_must_be_there_is_named_when_it_is_not(name: str) -> None:
    without = {key: value for key, value in EXAMPLE.items() if key != name}

    assert list(refusals(with_value(**{name: None}))) == [name]
    assert list(refusals(json.dumps(without))) == [name]


def test_missing_that_only_warns_does_not_refuse() -> None:
    lenient = request_model(changed(CONTRACT, "weekday", warn=("missing",)))

    lenient.model_validate_json(with_value(weekday=None))


@pytest.mark.parametrize("planted", ["1e999", "-1e999", "NaN", "Infinity", "-Infinity", "true", '"12"', "[]"])
@pytest.mark.parametrize("name", ["distance", "departure_hour"])
def test_what_is_no_finite_number_is_refused(name: str, planted: str) -> None:
    assert CONTRACT.columns[name].is_number
    body = with_value(**{name: "HERE"}).replace('"HERE"', planted)

    assert list(refusals(body)) == [name]


@pytest.mark.parametrize("name", ["wind_speed", "unbounded_integer"])
def test_a_number_too_large_for_the_model_is_refused_where_no_bound_does(name: str) -> None:
    free = Column(about="free", type="integer", example=1)
    contract = CONTRACT.model_copy(update={"columns": {**CONTRACT.columns, "unbounded_integer": free}})
    row = {**EXAMPLE, "unbounded_integer": 1, name: int(LARGEST_NUMBER) * 10}

    with pytest.raises(ValidationError, match=name):
        request_model(contract).model_validate_json(json.dumps(row))


def test_a_whole_number_may_be_written_with_a_point_but_a_broken_one_is_refused() -> None:
    assert refusals(with_value(departure_hour=17.0)) == {}
    assert list(refusals(with_value(departure_hour=17.5))) == ["departure_hour"]


def test_a_value_out_of_its_set_is_refused_with_the_set() -> None:
    message = refusals(with_value(origin="LAX"))["origin"]

    assert all(allowed in message for allowed in CONTRACT.columns["origin"].values or ())


@pytest.mark.parametrize("planted", ["U", "ua", "UA\n", ""])
def test_text_that_breaks_its_pattern_is_refused_with_the_pattern(planted: str) -> None:
    found = refusals(with_value(carrier=planted))

    assert list(found) == ["carrier"]
    assert planted == "" or str(CONTRACT.columns["carrier"].pattern) in found["carrier"]


def test_an_unknown_field_is_refused_by_name() -> None:
    assert list(refusals(with_value(colour="red"))) == ["colour"]


def test_every_wrong_field_is_named_at_once() -> None:
    assert set(refusals(with_value(origin="LAX", weekday=9, colour="red"))) == {"origin", "weekday", "colour"}


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '"text"', "[" * 10_000, '{"a":' * 10_000])
def test_a_body_that_is_no_object_is_refused(body: str) -> None:
    assert refusals(body) != {}


def test_a_column_may_have_a_name_that_python_could_not_give() -> None:
    awkward = Column(about="awkward", type="number", example=1)
    names = ["model_json_schema", "class", "_hidden", "two words"]
    contract = CONTRACT.model_copy(update={"columns": dict.fromkeys(names, awkward)})

    row = request_model(contract).model_validate_json(json.dumps(dict.fromkeys(names, 2.5)))

    columns = to_columns(row, contract)
    assert list(columns) == names
    assert all(value.tolist() == [2.5] for value in columns.values())


def test_missing_values_reach_the_model_as_it_knows_them() -> None:
    row = ROW.model_validate_json(with_value(temperature=None, plane_maker=None))

    columns = to_columns(row, CONTRACT)

    assert columns["temperature"].dtype == np.float32 and np.isnan(columns["temperature"]).all()
    assert columns["plane_maker"].tolist() == [""]


def test_a_pattern_that_the_service_cannot_search_is_named_before_it_starts() -> None:
    with pytest.raises(TakeoffError, match="look-around"):
        request_model(changed(CONTRACT, "carrier", pattern="^(?=U)UA$"))


def test_the_schema_says_what_the_contract_says() -> None:
    properties = ROW.model_json_schema(mode="serialization")["properties"]

    assert properties["origin"]["enum"] == list(CONTRACT.columns["origin"].values or ())
    assert properties["carrier"]["pattern"] == CONTRACT.columns["carrier"].pattern
    assert properties["weekday"]["maximum"] == CONTRACT.columns["weekday"].max
    assert properties["temperature"]["nullable"] is True
