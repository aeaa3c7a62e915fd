"""A body is read as what the contract allows, or refused with all that is wrong and what is allowed."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.reading import Reader
from serving.refusals import MOST_PROBLEMS, Refusal
from serving.requests import LARGEST_NUMBER, LONGEST_ID, MOST_ROWS, Feed, example_row
from takeoff.contract import Column, Contract, read_contract
from takeoff.errors import TakeoffError

CONTRACT = read_contract(Path(__file__).parents[2])
READER = Reader(CONTRACT)
EXAMPLE = example_row(CONTRACT)
BOUNDED = [
    name
    for name, c in CONTRACT.columns.items()
    if c.is_number and c.max is not None and "bounds" not in c.warn
]


def refusals(body: str) -> dict[str, str]:
    """Message by field of what is wrong with a body; empty when it is taken."""
    try:
        READER.row(body.encode())
    except Refusal as refusal:
        found = {each.field: f"{each.problem}; {each.allowed}" for each in refusal.problems}
        return found or {"": refusal.message}
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
    lenient = Reader(changed(CONTRACT, "weekday", warn=("missing",)))

    assert lenient.row(with_value(weekday=None).encode())["weekday"] is None


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

    with pytest.raises(Refusal, match=name):
        Reader(contract).row(json.dumps(row).encode())


@pytest.mark.parametrize("planted", ["17.0", "1.7e1", "0", "0.0", "-0.0"])
def test_a_whole_number_may_be_written_with_a_point(planted: str) -> None:
    assert refusals(with_value(departure_hour=17).replace("17", planted, 1)) == {}


@pytest.mark.parametrize("planted", ["17.5", "17.0000000001", "1e-12", "5e-324"])
def test_a_broken_number_for_a_whole_one_is_refused_however_small_the_fraction(planted: str) -> None:
    assert list(refusals(with_value(departure_hour=17).replace("17", planted, 1))) == ["departure_hour"]


@pytest.mark.parametrize(("planted", "taken"), [(10**18, True), (2 * 10**18, False), (-(10**18), True)])
def test_a_whole_number_without_bounds_is_taken_up_to_what_the_message_says(
    planted: int, taken: bool
) -> None:
    free = Column(about="free", type="integer", example=1)
    reader = Reader(CONTRACT.model_copy(update={"columns": {**CONTRACT.columns, "free": free}}))
    body = json.dumps({**EXAMPLE, "free": planted}).encode()

    if taken:
        assert reader.row(body)["free"] == planted
    else:
        with pytest.raises(Refusal) as caught:
            reader.row(body)
        assert caught.value.problems[0].allowed == f"a whole number from {-1e18:g} to {1e18:g}"


def test_a_value_out_of_its_set_is_refused_with_the_set() -> None:
    message = refusals(with_value(origin="LAX"))["origin"]

    assert all(allowed in message for allowed in CONTRACT.columns["origin"].values or ())


@pytest.mark.parametrize("planted", ["U", "ua", "UA\n", ""])
def test_text_that_breaks_its_pattern_is_refused_with_the_pattern(planted: str) -> None:
    found = refusals(with_value(carrier=planted))

    assert list(found) == ["carrier"]
    assert str(CONTRACT.columns["carrier"].pattern) in found["carrier"]


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

    row = Reader(contract).row(json.dumps(dict.fromkeys(names, 2.5)).encode())

    columns, _ = Feed(contract).columns([row])
    assert list(columns) == names
    assert all(value.tolist() == [[2.5]] for value in columns.values())


def test_missing_values_reach_the_model_as_it_knows_them() -> None:
    row = READER.row(with_value(temperature=None, plane_maker=None).encode())

    columns, _ = Feed(CONTRACT).columns([row])

    assert columns["temperature"].dtype == np.float32 and np.isnan(columns["temperature"]).all()
    assert columns["plane_maker"].tolist() == [[""]]


def test_a_pattern_that_the_service_cannot_search_is_named_before_it_starts() -> None:
    with pytest.raises(TakeoffError, match="look-around"):
        Reader(changed(CONTRACT, "carrier", pattern="^(?=U)UA$"))


def test_a_row_may_bring_its_id_and_time_for_the_log() -> None:
    row = READER.row(
        with_value(**{CONTRACT.id: "my-1", CONTRACT.time.column: "2013-07-01T17:45:00-04:00"}).encode()
    )

    assert row[CONTRACT.id] == "my-1"
    assert row[CONTRACT.time.column].timestamp() == 1372715100


@pytest.mark.parametrize("planted", ["2013-07-01T17:45:00", "yesterday", 1372715100, True])
def test_a_time_without_its_offset_is_refused(planted: Any) -> None:
    assert list(refusals(with_value(**{CONTRACT.time.column: planted}))) == [CONTRACT.time.column]


def test_an_id_that_is_too_long_is_refused() -> None:
    assert list(refusals(with_value(**{CONTRACT.id: "x" * (LONGEST_ID + 1)}))) == [CONTRACT.id]


def test_a_misspelt_field_gets_the_right_spelling() -> None:
    assert "did you mean carrier?" in refusals(with_value(carier="UA"))["carier"]


def test_what_is_repeated_of_a_bad_value_is_short() -> None:
    assert len(refusals(with_value(carrier="x" * 10_000))["carrier"]) < 200


def batch(rows: list[Any]) -> Refusal | None:
    try:
        READER.rows(json.dumps({"rows": rows}).encode())
    except Refusal as refusal:
        return refusal
    return None


@given(bad=st.sets(st.integers(0, 19), min_size=1))
def test_every_bad_row_of_a_batch_is_named(bad: set[int]) -> None:
    refusal = batch([{**EXAMPLE, "weekday": 9} if i in bad else EXAMPLE for i in range(20)])

    assert refusal is not None and refusal.status == 422
    assert {(each.row, each.field) for each in refusal.problems} == {(row, "weekday") for row in bad}


def test_a_batch_of_good_rows_is_read_in_order() -> None:
    rows = READER.rows(json.dumps({"rows": [{**EXAMPLE, "weekday": i % 7 + 1} for i in range(50)]}).encode())

    assert rows.feed["weekday"].ravel().tolist() == [i % 7 + 1 for i in range(50)]


def test_a_large_bad_batch_is_answered_with_a_short_list() -> None:
    refusal = batch([{}] * MOST_ROWS)

    assert refusal is not None and len(refusal.problems) == MOST_PROBLEMS


@pytest.mark.parametrize(
    "body", ["[]", "{}", '{"rows": []}', '{"rows": {}}', '{"rows": [], "x": 1}', '{"rowz": [1]}']
)
def test_what_is_no_batch_is_refused_with_what_one_is(body: str) -> None:
    with pytest.raises(Refusal) as caught:
        READER.rows(body.encode())

    assert caught.value.problems and all("rows" in str(each.allowed) for each in caught.value.problems)


def test_what_stands_beside_the_rows_is_named() -> None:
    with pytest.raises(Refusal) as caught:
        READER.rows(json.dumps({"rows": [EXAMPLE], "more": 1}).encode())

    assert [(each.field, each.problem) for each in caught.value.problems] == [("more", "is not known")]


def crowd(fields: int) -> dict[str, int]:
    return {f"f{place}": place for place in range(fields)}


@pytest.mark.parametrize("same_name", [False, True])
def test_a_row_with_very_many_fields_is_refused_before_each_is_looked_at(same_name: bool) -> None:
    row = json.dumps(crowd(3_000))
    if same_name:
        row = re.sub(r"f\d+", "f", row)

    with pytest.raises(Refusal) as alone:
        READER.row(row.encode())
    with pytest.raises(Refusal) as third:
        READER.rows(f'{{"rows": [{json.dumps(EXAMPLE)}, {row}, {row}]}}'.encode())

    assert [(each.row, each.problem) for each in alone.value.problems] == [(None, "has 3,000 fields")]
    assert [(each.row, each.problem) for each in third.value.problems] == [
        (1, "has 3,000 fields"),
        (2, "has 3,000 fields"),
    ]


def test_a_row_of_a_batch_may_be_as_large_as_one_alone_and_no_larger() -> None:
    refusal = batch([EXAMPLE, {**EXAMPLE, **crowd(100_000)}])

    assert refusal is not None and [each.row for each in refusal.problems] == [1]
    assert "64 KiB" in refusal.problems[0].problem


def test_a_few_unknown_fields_are_named_one_by_one() -> None:
    refusal = batch([{**EXAMPLE, **crowd(20)}])

    assert refusal is not None
    assert {each.field for each in refusal.problems} == set(crowd(20))
    assert all("carrier" in str(each.allowed) for each in refusal.problems)


def test_a_label_with_very_many_fields_is_refused_before_each_is_looked_at() -> None:
    with pytest.raises(Refusal) as caught:
        READER.labels(json.dumps({"labels": [crowd(3_000)]}).encode())

    assert [(each.row, each.problem) for each in caught.value.problems] == [(0, "has 3,000 fields")]


def test_a_text_full_of_colons_is_read_as_it_is() -> None:
    free = Column(about="free text", type="category", example="a")
    contract = CONTRACT.model_copy(update={"columns": {**CONTRACT.columns, "free": free}})
    row = {**EXAMPLE, "free": ":" * 5_000}

    assert Reader(contract).row(json.dumps(row).encode())["free"] == ":" * 5_000


@pytest.mark.parametrize("planted", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_named_in_a_batch_as_well(planted: str) -> None:
    row = json.dumps({**EXAMPLE, "temperature": None}).replace("null", planted)

    with pytest.raises(Refusal) as caught:
        READER.rows(f'{{"rows": [{json.dumps(EXAMPLE)}, {row}]}}'.encode())

    assert [(each.row, each.field) for each in caught.value.problems] == [(1, "temperature")]


def test_bounds_are_said_to_the_last_digit() -> None:
    dated = Column(about="a date", type="integer", min=20130101, max=20231231, example=20150101)
    contract = CONTRACT.model_copy(update={"columns": {**CONTRACT.columns, "dated": dated}})

    with pytest.raises(Refusal) as caught:
        Reader(contract).row(json.dumps({**EXAMPLE, "dated": 1}).encode())

    assert "from 20130101 to 20231231" in str(caught.value.problems[0].allowed)


def test_too_many_rows_are_refused_with_the_limit() -> None:
    refusal = batch([EXAMPLE] * (MOST_ROWS + 1))

    assert refusal is not None and f"{MOST_ROWS:,}" in str(refusal.problems[0].allowed)


@pytest.mark.parametrize(
    ("label", "field"),
    [
        ({"prediction_id": "x", "label": "late"}, "prediction_id"),
        ({"prediction_id": "01997a0e-6d2b-7c41-9b5e-3f8f5d1c2a77", "label": "early"}, "label"),
        ({"prediction_id": "01997a0e-6d2b-7c41-9b5e-3f8f5d1c2a77"}, "label"),
        (
            {"prediction_id": "01997a0e-6d2b-7c41-9b5e-3f8f5d1c2a77", "label": "late", "known_at": 5},
            "known_at",
        ),
    ],
)
def test_a_bad_label_is_named_with_its_row(label: dict[str, Any], field: str) -> None:
    good = {"prediction_id": "01997a0e-6d2b-7c41-9b5e-3f8f5d1c2a77", "label": "late"}

    with pytest.raises(Refusal) as caught:
        READER.labels(json.dumps({"labels": [good, label]}).encode())

    assert [(each.row, each.field) for each in caught.value.problems] == [(1, field)]
    assert caught.value.rows == ()  # a label is no row


TIME = CONTRACT.time.column
BAD = {**EXAMPLE, "weekday": 9}


def test_rows_that_are_named_as_wrong_are_told_with_their_own_time_where_it_can_be_read() -> None:
    at = "1970-01-01T01:00:00+00:00"

    refusal = batch([{**BAD, TIME: at}, {**EXAMPLE, TIME: at}, BAD, {**BAD, TIME: "at noon"}, 7])

    assert refusal is not None and refusal.rows == (3600.0, None, None, None)


def test_a_row_with_two_problems_is_one_row() -> None:
    refusal = batch([{**BAD, "origin": "LAX"}, EXAMPLE])

    assert refusal is not None and len(refusal.problems) == 2 and refusal.rows == (None,)


@pytest.mark.parametrize(("row", "times"), [({**BAD, TIME: "1970-01-01T00:00:05Z"}, (5.0,)), (7, (None,))])
def test_a_bad_row_that_came_alone_is_told_with_its_time(row: Any, times: tuple[float | None]) -> None:
    with pytest.raises(Refusal) as caught:
        READER.row(json.dumps(row).encode())

    assert caught.value.rows == times


@pytest.mark.parametrize("body", ['{"rows": []}', '{"rows": [', "[]"])
def test_a_body_of_which_no_row_is_named_refuses_no_row(body: str) -> None:
    with pytest.raises(Refusal) as caught:
        READER.rows(body.encode())

    assert caught.value.rows == ()


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_json_at_all_is_worse_than_a_refusal(content: Any) -> None:
    body = json.dumps(content).encode()

    for read in (READER.row, READER.rows, READER.labels):
        with pytest.raises(Refusal) as caught:
            read(body)
        assert 400 <= caught.value.status < 500
        json.loads(caught.value.body())


@given(st.binary())
def test_no_bytes_at_all_are_worse_than_a_refusal(body: bytes) -> None:
    with pytest.raises(Refusal):
        READER.row(body)
