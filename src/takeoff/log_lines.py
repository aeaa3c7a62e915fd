"""Predictions of the log as lines that the database itself puts together: one value for many rows.

Fetched one by one, the values of a row become objects of Python, and Python's lock is taken again for every
row: whoever measures beside it would wait, or be waited for. A line is CSV, which pyarrow reads without that
lock.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

import pyarrow as pa
from pyarrow import csv

from takeoff.log_schema import Dialect
from takeoff.split import Period

ROWS_A_QUERY = 50_000
CHARACTERS_A_QUERY = 50_000_000  # of rows, of which some are longer: a value of a database holds 1 GB at most

# Where a row has no time of its own, that of its answer stands for it.
WINDOW_TIME = "coalesce(p.row_time, p.time)"
# The service asks one challenger of a row. Should a log hold several all the same, the last by name is read:
# a version is `candidate-hash`, which tells no order, and the log does not keep when they answered.
JOINED = (
    "FROM predictions p LEFT JOIN labels l ON l.prediction_id = p.id "
    "LEFT JOIN shadow_predictions s ON s.prediction_id = p.id AND NOT EXISTS (SELECT 1 "
    "FROM shadow_predictions n WHERE n.prediction_id = p.id AND n.model_version > s.model_version) "
    "WHERE p.seq > ? AND p.seq <= ?"
)


class Field(NamedTuple):
    """What is read of a prediction: its expression, its kind in `Dialect.line`, its type in Arrow."""

    sql: str
    kind: str
    type: pa.DataType


TEXT, CATEGORY, MICROSECONDS = pa.string(), pa.dictionary(pa.int32(), pa.string()), pa.float64()
FIELDS = {
    "prediction_id": Field("p.id", "text", TEXT),
    "window_time": Field(WINDOW_TIME, "instant", MICROSECONDS),
    "time": Field("p.time", "instant", MICROSECONDS),
    "model_version": Field("p.model_version", "text", CATEGORY),
    "contract": Field("p.contract", "text", CATEGORY),
    "decision": Field("p.decision", "text", CATEGORY),
    "review": Field("p.review", "boolean", pa.int8()),
    "latency_ms": Field("p.latency_ms", "real", pa.float32()),
    "label": Field("l.label", "text?", CATEGORY),
    "label_time": Field("l.time", "instant?", MICROSECONDS),
    "known_at": Field("l.known_at", "instant?", MICROSECONDS),
    "row_id": Field("p.row_id", "text?", TEXT),
    "shadow_version": Field("s.model_version", "text?", CATEGORY),
}


class Lines(NamedTuple):
    """Some predictions, a line each, in the order in which they came.

    Attributes:
        count: of the lines.
        fields: CSV of the fields that were asked for.
        rows: JSON arrays of the contract's values.
        probabilities: JSON arrays, of the champion.
        shadows: JSON arrays, of the challenger; an empty line where there is none.
    """

    count: int  # type: ignore[assignment]  # nobody counts within one of these
    fields: str
    rows: str
    probabilities: str
    shadows: str

    def __add__(self, other: Self) -> Self:  # type: ignore[override]  # lines follow lines
        texts = (f"{mine}\n{theirs}" for mine, theirs in zip(self[1:], other[1:], strict=True))
        return type(self)(self.count + other.count, *texts)


def statement(names: Sequence[str], period: Period | None, dialect: Dialect) -> tuple[str, list[float]]:
    """The statement for the `Lines` of a range of `seq`, and the values behind the two of that range.

    Args:
        names: of `FIELDS`.
        period: of `window_time`; None for all.
        dialect: of the database.
    """
    fields = dialect.line([(FIELDS[name].sql, FIELDS[name].kind) for name in names])
    texts = (fields, "p.row", "p.probabilities", "coalesce(s.probabilities, '')")
    sql = f"SELECT count(*), {', '.join(map(dialect.lines, texts))} {JOINED}"
    if period is None:
        return sql, []
    values = [period.start.timestamp(), period.end.timestamp()]
    return f"{sql} AND {WINDOW_TIME} >= ? AND {WINDOW_TIME} < ?", values


def read_fields(text: str, names: Sequence[str]) -> pa.Table:
    """The lines of `Lines.fields` as a table with these columns."""
    kinds = {name: FIELDS[name].type for name in names}
    return read_csv(
        text.encode(), kinds, csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False), missing=""
    )


def read_csv(
    content: bytes, kinds: dict[str, pa.DataType], parse: csv.ParseOptions, missing: str
) -> pa.Table:
    """CSV without a head, in one piece; `missing` stands, without quotes, for what is missing.

    Raises:
        pa.ArrowInvalid: a line has another number of values, or a text is no number.
    """
    return csv.read_csv(
        pa.BufferReader(content),
        csv.ReadOptions(column_names=list(kinds), block_size=len(content) + 1),
        parse,
        csv.ConvertOptions(
            column_types=kinds,
            null_values=[missing],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def chosen(text: str, places: Iterable[int]) -> str:
    """Some of the lines of a text, none of which holds a line's end itself."""
    lines = text.split("\n")
    return "\n".join(lines[place] for place in places)
