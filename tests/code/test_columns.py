"""What is read by column is what would be read field by field, and nothing else is taken."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from serving.columns import Columns
from serving.requests import MOST_ROWS, Asked, Feed, batch_type, example_row, row_type
from takeoff.contract import Column, Contract, read_contract
from tests.mutations import NO_JSON, NO_NUMBERS, NO_TEXTS, NO_TIMES, STRANGE_TEXTS, TIMES, mutants
from tests.small_release import PROJECT, small_rows
from tests.small_service import as_sent

CONTRACT = read_contract(PROJECT)
EXAMPLE = example_row(CONTRACT)
COLUMNS = Columns(CONTRACT)
MUTANTS = 4_000
PLANTED = (*NO_NUMBERS, *NO_TEXTS, *NO_TIMES, *NO_JSON, *STRANGE_TEXTS, *TIMES)
OWN = [*CONTRACT.columns, CONTRACT.id, CONTRACT.time.column, "unknown"]


class FieldByField:
    """As pydantic reads a batch, which is how the service explains what it refuses."""

    def __init__(self, contract: Contract) -> None:
        self._batch, self._feed = TypeAdapter(batch_type(row_type(contract))), Feed(contract)

    def read(self, body: bytes) -> Asked | None:
        """The rows; None where they are refused."""
        try:
            return self._feed.ask(self._batch.validate_json(body)["rows"])
        except ValidationError:
            return None


FIELD_BY_FIELD = FieldByField(CONTRACT)


def assert_same(one: Asked, other: Asked) -> None:
    assert list(one.texts) == list(other.texts)
    assert list(one.ids) == list(other.ids)
    assert list(one.times) == list(other.times)
    np.testing.assert_array_equal(one.numbers, other.numbers)
    assert one.feed.keys() == other.feed.keys()
    for name, values in one.feed.items():
        assert values.dtype == other.feed[name].dtype and values.shape == other.feed[name].shape
        np.testing.assert_array_equal(values, other.feed[name])


def test_real_rows_are_read_as_they_are_field_by_field() -> None:
    rows = [as_sent(row, CONTRACT) for row in small_rows().head(1_000).to_dict("records")]
    body = json.dumps({"rows": rows}).encode()

    read, expected = COLUMNS.read(body), FIELD_BY_FIELD.read(body)

    assert read is not None and expected is not None
    assert_same(read, expected)


def test_no_mutant_is_read_otherwise_than_field_by_field() -> None:
    rows = [as_sent(row, CONTRACT) for row in small_rows().sample(100, random_state=1).to_dict("records")]
    read = taken = 0

    for mutant in mutants(rows, CONTRACT, MUTANTS, seed=2):
        body = mutant.request.body
        if mutant.request.path == "/predict":
            body = b'{"rows": [%s, %s]}' % (json.dumps(EXAMPLE).encode(), body)
        expected, found = FIELD_BY_FIELD.read(body), COLUMNS.read(body)
        taken += expected is not None
        if found is not None:
            assert expected is not None, mutant.what
            assert_same(found, expected)
            read += 1

    assert taken < MUTANTS / 2  # or nothing has been shown of what is refused
    assert read > 0.8 * taken > 0  # or all is left to the slow way


@given(
    values=st.dictionaries(
        st.sampled_from(OWN), st.sampled_from(PLANTED) | st.floats().map(repr), min_size=1, max_size=3
    ),
    left_out=st.sets(st.sampled_from(list(CONTRACT.columns)), max_size=1),
)
@settings(deadline=None)
def test_no_planted_value_is_read_otherwise_than_field_by_field(
    values: dict[str, str], left_out: set[str]
) -> None:
    texts = {name: json.dumps(value) for name, value in EXAMPLE.items() if name not in left_out} | values
    row = ",".join(f"{json.dumps(name)}: {text}" for name, text in texts.items())
    body = f'{{"rows": [{{{row}}}]}}'.encode("utf-8", "surrogatepass")

    found = COLUMNS.read(body)

    if found is not None:
        expected = FIELD_BY_FIELD.read(body)
        assert expected is not None
        assert_same(found, expected)


@pytest.mark.parametrize("value", ["17", "17.0", "1.7e1"])
def test_a_whole_number_that_is_written_with_a_point_is_kept_as_a_whole_one(value: str) -> None:
    row = json.dumps({**EXAMPLE, "departure_hour": None}).replace("null", value)

    read = COLUMNS.read(f'{{"rows": [{row}]}}'.encode())

    assert read is not None
    kept = json.loads(read.texts[0])[list(CONTRACT.columns).index("departure_hour")]
    assert (kept, type(kept)) == (17, int)


@pytest.mark.parametrize("rows", [0, MOST_ROWS + 1])
def test_too_few_or_too_many_rows_are_left_to_who_can_explain(rows: int) -> None:
    assert COLUMNS.read(json.dumps({"rows": [EXAMPLE] * rows}).encode()) is None


def test_columns_may_have_names_that_python_could_not_give() -> None:
    awkward = Column(about="awkward", type="number", missing=0.5, example=1)
    names = ["rows", "class", "two words", "row_id", "é", "column_1"]
    contract = CONTRACT.model_copy(update={"columns": dict.fromkeys(names, awkward)})
    body = json.dumps({"rows": [{name: place + 0.5 for place, name in enumerate(names)}, {}]}).encode()

    read, expected = Columns(contract).read(body), FieldByField(contract).read(body)

    assert read is not None and expected is not None
    assert_same(read, expected)


def test_a_name_that_cannot_be_looked_for_leaves_all_to_the_slow_way() -> None:
    number = Column(about="a number", type="number", example=1)
    contract = CONTRACT.model_copy(update={"columns": {'a "quoted" one': number}})

    assert Columns(contract).read(json.dumps({"rows": [{'a "quoted" one': 1}]}).encode()) is None


def test_a_contract_without_numbers_or_without_categories_is_read_too() -> None:
    number = Column(about="a number", type="number", example=1)
    text = Column(about="a text", type="category", example="a")
    for column, value in ((number, 1.5), (text, "x")):
        contract = CONTRACT.model_copy(update={"columns": {"only": column}})
        body = json.dumps({"rows": [{"only": value}, {"only": value}]}).encode()

        read, expected = Columns(contract).read(body), FieldByField(contract).read(body)

        assert read is not None and expected is not None
        assert_same(read, expected)
