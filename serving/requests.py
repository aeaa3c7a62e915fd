"""What a caller may send, derived from the contract and from nothing else."""

import math
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from pydantic import (
    AwareDatetime,
    ConfigDict,
    FailFast,
    Field,
    GetPydanticSchema,
    TypeAdapter,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, SchemaError, core_schema
from typing_extensions import TypedDict

from takeoff.contract import CONTRACT_FILE, Column, Contract
from takeoff.errors import TakeoffError
from takeoff.model import MISSING_TEXT

MOST_ROWS = 10_000  # of a batch, and labels of a feedback
ROW_BYTES = 64 * 1024  # largest body of one row, and largest row of a batch
LONGEST_ID = 200  # characters of an id that a caller gives
# A model is fed float32, in which a larger number would become infinity.
LARGEST_NUMBER = float(np.finfo(np.float32).max)
LARGEST_WHOLE = 1e18  # and a whole one is read into 64 bits

_JSON = msgspec.json.Encoder()  # of all ways to write it the quickest
to_json = _JSON.encode

Row = Mapping[str, Any]  # a valid row: a value for each column in the contract's order, then id and time


class Asked(NamedTuple):
    """Rows as the model reads them, and as the log keeps them.

    Attributes:
        feed: one array of shape (n, 1) per contract column, as `takeoff.model.predict` takes them: float32
            with NaN where missing, or object (str) with "" where missing.
        numbers: the numbers among them, float32, shape (n, numbers), in the contract's order.
        texts: of each row, the JSON array of its values in the contract's order.
        ids: the caller's own id of each row, where there is one.
        times: each row's own time in unix seconds, where there is one.
    """

    feed: dict[str, npt.NDArray[Any]]
    numbers: npt.NDArray[np.float32]
    texts: Sequence[str]
    ids: Sequence[str | None]
    times: Sequence[float | None]


def row_type(contract: Contract) -> Any:
    """A strict TypedDict of one row, for pydantic.

    Types, bounds, values, patterns and what may be missing (null or left out) are the contract's. A rule
    under a column's `warn` does not refuse; a wrong type always does, since a model can't be fed with it.
    Infinity, NaN, numbers too large for float32, booleans and text for numbers and unknown fields are
    refused. Patterns are searched by a linear-time engine, so no text can hold the service up. Beside
    the columns a row may bring its id and its time, both for the log alone.

    Raises:
        TakeoffError: a pattern needs what that engine lacks.
    """
    extra: Any = {"example": example_row(contract)}
    config = ConfigDict(extra="forbid", strict=True, json_schema_extra=extra)
    row = _typed_dict("Row", row_fields(contract), config)
    try:
        TypeAdapter(row)
    except SchemaError as error:
        raise TakeoffError(
            f"{CONTRACT_FILE}: a 'pattern' cannot be used by the service, which knows no look-around and no "
            f"back-references: {str(error).splitlines()[-1].strip()}"
        ) from None
    return row


def row_fields(contract: Contract) -> dict[str, Any]:
    """The type of each field of a row, for pydantic; see `row_type`."""
    fields = {name: _field(column) for name, column in contract.columns.items()}
    # Caller's own: known to the contract, needed by no model, kept in the log.
    fields[contract.id] = _optional(
        Annotated[str, Field(min_length=1, max_length=LONGEST_ID)], "your own id of the row, for the log"
    )
    fields[contract.time.column] = _optional(
        AwareDatetime,
        "the row's own time (ISO 8601 with an offset), for the log",
        examples=["2013-07-01T21:45:00Z"],
    )
    return fields


def batch_type(row: Any) -> Any:
    """A TypedDict of many rows. Stops at the first bad one: who explains a refusal looks again."""
    rows = Annotated[list[row], Field(min_length=1, max_length=MOST_ROWS), FailFast()]
    return _strict("Batch", {"rows": rows})


def label_type(contract: Contract) -> Any:
    """A TypedDict of the truth of one prediction."""
    return _strict(
        "Label",
        {
            "prediction_id": Annotated[
                str,
                Field(
                    pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
                    description="prediction_id of the answer",
                ),
            ],
            "label": Annotated[Literal[contract.target.classes], Field(description="the truth")],
            "known_at": _optional(
                AwareDatetime,
                "when the truth was known (ISO 8601 with an offset)",
                examples=["2013-07-02T01:10:00Z"],
            ),
        },
    )


def feedback_type(label: Any) -> Any:
    """A TypedDict of many labels; stops at the first bad one."""
    labels = Annotated[list[label], Field(min_length=1, max_length=MOST_ROWS), FailFast()]
    return _strict("Feedback", {"labels": labels})


def example_row(contract: Contract) -> dict[str, Any]:
    """The contract's examples as one row, as a caller would send it."""
    return {name: _whole(column.example) for name, column in contract.columns.items()}


def allowed(name: str, contract: Contract) -> str:
    """What a field of a row may be, in words; also for the caller's id and time."""
    if name == contract.id:
        return f"text of 1 to {LONGEST_ID} characters, or null"
    if name == contract.time.column:
        return "a time with an offset, as 2013-07-01T21:45:00Z, or null"
    column = contract.columns[name]
    words = _number_in_words(column) if column.is_number else _text_in_words(column)
    return words + (", or null" if may_be_missing(column) else "")


class Feed:
    """Turns rows into what the model is fed; made once, since it is in every request."""

    def __init__(self, contract: Contract) -> None:
        self.numbers = contract.numbers
        self.categories = contract.categories
        self._columns = len(contract.columns)
        self._id, self._time = contract.id, contract.time.column
        getter = itemgetter(*self.numbers) if self.numbers else lambda row: ()
        self._numbers_of = getter if len(self.numbers) != 1 else lambda row: (getter(row),)

    def columns(self, rows: Sequence[Row]) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.float32]]:
        """`feed` and `numbers` of `Asked`."""
        numbers = np.array([self._numbers_of(row) for row in rows], dtype=np.float32)
        feed: dict[str, npt.NDArray[Any]] = {
            name: numbers[:, i : i + 1] for i, name in enumerate(self.numbers)
        }
        for name in self.categories:
            feed[name] = as_texts([row[name] for row in rows])
        return feed, numbers

    def ask(self, rows: Sequence[Row]) -> Asked:
        """Rows as the model and the log want them."""
        feed, numbers = self.columns(rows)
        times = [row[self._time] for row in rows]
        return Asked(
            feed,
            numbers,
            texts=as_json([list(row.values())[: self._columns] for row in rows]),
            ids=[row[self._id] for row in rows],
            times=[time and time.timestamp() for time in times],
        )


def as_json(rows: Iterable[Sequence[Any]]) -> list[str]:
    """Each row's values as a JSON array, for the log."""
    return _JSON.encode_lines(rows).decode().split("\n")[:-1]  # no line's end is left in JSON


def as_texts(values: Sequence[str | None]) -> npt.NDArray[np.object_]:
    """A category as the model is fed it: object (str), shape (n, 1), with "" where it is missing."""
    filled = [MISSING_TEXT if each is None else each for each in values]
    return np.array(filled, dtype=object).reshape(-1, 1)


def _strict(name: str, fields: dict[str, Any]) -> Any:
    return _typed_dict(name, fields, ConfigDict(extra="forbid", strict=True))


def _typed_dict(name: str, fields: dict[str, Any], config: ConfigDict) -> Any:
    make: Any = TypedDict  # what is in it is known only at run time
    made = make(name, fields)
    made.__pydantic_config__ = config
    return made


def _optional(kind: Any, about: str, examples: list[Any] | None = None) -> Any:
    extra: Any = {"nullable": True}  # BentoML's schema drops the null of an optional type, but keeps this
    return Annotated[
        kind | None, Field(default=None, description=about, examples=examples, json_schema_extra=extra)
    ]


def may_be_missing(column: Column) -> bool:
    """Whether a row may lack it."""
    return column.missing > 0 or "missing" in column.warn


def _field(column: Column) -> Any:
    kind = _number(column) if column.is_number else _text(column)
    about = column.about + (f" [{column.unit}]" if column.unit else "")
    examples = [_whole(column.example)]
    if may_be_missing(column):
        return _optional(kind, about, examples)
    return Annotated[kind, Field(description=about, examples=examples)]


def bounds(column: Column) -> tuple[float, float]:
    """Lowest and highest number that the service takes; of a whole number they are whole."""
    largest = LARGEST_WHOLE if is_whole(column) else LARGEST_NUMBER
    lowest, highest = -largest, largest
    if "bounds" not in column.warn:
        lowest = lowest if column.min is None else column.min
        highest = highest if column.max is None else column.max
    return (math.ceil(lowest), math.floor(highest)) if is_whole(column) else (lowest, highest)


def is_whole(column: Column) -> bool:
    """Whether the service takes whole numbers only."""
    return column.type == "integer" and "type" not in column.warn


def _number(column: Column) -> Any:
    lowest, highest = bounds(column)
    if not is_whole(column):
        return Annotated[float, Field(ge=lowest, le=highest, allow_inf_nan=False)]
    schema = {"type": "integer", "minimum": lowest, "maximum": highest}
    whole = _whole_number(int(lowest), int(highest))
    return Annotated[int, GetPydanticSchema(lambda *_: whole), WithJsonSchema(schema)]


def _whole_number(lowest: int, highest: int) -> CoreSchema:
    # Read as a float, since many callers' languages write 17 as 17.0. Only then as an int, which takes no
    # fraction, however small (`multiple_of=1` takes one of 1e-9), but would have taken text and booleans.
    number = core_schema.float_schema(ge=lowest, le=highest, allow_inf_nan=False, strict=True)
    return core_schema.chain_schema([number, core_schema.int_schema(strict=False)])


def _text(column: Column) -> Any:
    if column.values is not None and "values" not in column.warn:
        return Literal[column.values]
    pattern = None if "pattern" in column.warn else column.pattern
    # Text without characters is how a missing value reaches the model; a caller says null instead.
    return Annotated[str, Field(min_length=1, pattern=pattern)]


def _number_in_words(column: Column) -> str:
    lowest, highest = bounds(column)
    words = "a whole number" if is_whole(column) else "a number"
    if lowest > -LARGEST_NUMBER and highest < LARGEST_NUMBER:
        words += f" from {lowest:.15g} to {highest:.15g}"
    elif lowest > -LARGEST_NUMBER:
        words += f" from {lowest:.15g} up"
    elif highest < LARGEST_NUMBER:
        words += f" up to {highest:.15g}"
    else:
        words += " that a float32 holds"
    return words + (f" ({column.unit})" if column.unit else "")


def _text_in_words(column: Column) -> str:
    if column.values is not None and "values" not in column.warn:
        return "one of " + ", ".join(column.values)
    if column.pattern is not None and "pattern" not in column.warn:
        return f"text that matches {column.pattern}"
    return "text of at least one character"


def _whole(value: Any) -> Any:
    """A whole number as an int, as a person would write it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
