"""What the prediction log holds, as values: rows, tables, and the view for people. Knows no database."""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Literal, NamedTuple

SCHEMA_VERSION = 1
VIEW = "readable"
INVALID_ROWS = "invalid_rows"  # reason of what was refused row by row; any other is of whole requests
LONGEST_NAME = 60  # PostgreSQL cuts a name after 63 bytes, which could make two the same

Outcome = Literal["stored", "repeated", "changed"]


class Entry(NamedTuple):
    """One answered prediction.

    Attributes:
        id: the prediction's id, UUIDv7 as text: of two, the later is the greater.
        time: when it was answered, unix seconds (UTC).
        model_version: version that answered.
        contract: hash of the contract by which `row` is read.
        row: JSON array of the values, in the contract's order.
        probability: of the event, the last class.
        probabilities: JSON array, in the order of the classes.
        decision: the class that was decided on.
        review: whether asking a human is cheaper than deciding.
        latency_ms: from the request's arrival to the prediction, milliseconds.
        row_id: the caller's own id of the row.
        row_time: the row's own time, unix seconds, by which windows are cut (a replay plays fast).
    """

    id: str
    time: float
    model_version: str
    contract: str
    row: str
    probability: float
    probabilities: str
    decision: str
    review: bool
    latency_ms: float
    row_id: str | None = None
    row_time: float | None = None

    def cleaned(self) -> "Entry":
        """The same with U+FFFD for what a database cannot hold."""
        row_id = None if self.row_id is None else storable(self.row_id)
        return self._replace(row=_storable_json(self.row), row_id=row_id)


class ShadowEntry(NamedTuple):
    """What a model said that was asked beside the one that answered; `error` says why it said nothing."""

    prediction_id: str
    model_version: str
    probability: float | None
    probabilities: str | None
    decision: str | None
    latency_ms: float | None
    error: str | None = None


class Label(NamedTuple):
    """The truth about a prediction: `time` is when it arrived, `known_at` when it was known; unix seconds."""

    prediction_id: str
    label: str
    time: float
    known_at: float | None = None


class Refused(NamedTuple):
    """How much a process has refused in an hour; it counts on, and says so again and again.

    Attributes:
        hour: its start, unix seconds.
        row_hour: start of the hour that holds the row's own time; `hour` where there is none.
        reason: `INVALID_ROWS`, of which each counts; else one word, as the caller got it, for each request.
        process: who counts; no two have the same.
        count: all of this hour so far.
    """

    hour: int
    row_hour: int
    reason: str
    process: str
    count: int  # type: ignore[assignment]  # named as its column; nobody counts within one of these


class Labelled(NamedTuple):
    """What became of a label, and whether its prediction is in the log."""

    outcome: Outcome
    known: bool


class Table(NamedTuple):
    """A table: kinds of its columns by name (`?` where a value may be missing), and its key.

    One that is `numbered` has a column `seq` before these, which the database counts up.
    """

    name: str
    columns: dict[str, str]
    key: str
    indexed: str | None = None
    numbered: bool = False


class Dialect(NamedTuple):
    """What two databases say differently.

    Attributes:
        kinds: type of a column by its kind.
        row_options: what follows a table whose rows are found by their key.
        member: that a text is in a JSON array, which takes the place of `?`; stands behind a column.
        value: the expression of a row's value at a place; the second argument says whether it is a number.
        instant: the expression of unix seconds as a time that a person reads.
        line: the expression of a line of CSV with these expressions, each given with its kind (`?` where it
            may be missing, which leaves it empty): `text` in quotes, `real`, `boolean` as 0 or 1, and
            `instant`, which is unix seconds, as whole microseconds.
        lines: an expression's values of all rows, in the order of `p.seq`, as one text with a line for each.
    """

    kinds: dict[str, str]
    row_options: str
    member: str
    value: Callable[[int, bool], str]
    instant: Callable[[str], str]
    line: Callable[[Sequence[tuple[str, str]]], str]
    lines: Callable[[str], str]


# `seq` is the order in which rows came; every other column is a field of Entry, in its order.
PREDICTIONS = Table(
    "predictions",
    {
        "id": "text",
        "time": "real",
        "model_version": "text",
        "contract": "text",
        "row": "text",
        "probability": "real",
        "probabilities": "text",
        "decision": "text",
        "review": "boolean",
        "latency_ms": "real",
        "row_id": "text?",
        "row_time": "real?",
    },
    key="id",
    numbered=True,
)
SHADOWS = Table(
    "shadow_predictions",
    {
        "prediction_id": "text",
        "model_version": "text",
        "probability": "real?",
        "probabilities": "text?",
        "decision": "text?",
        "latency_ms": "real?",
        "error": "text?",
    },
    key="prediction_id, model_version",
)
LABELS = Table(
    "labels",
    {"prediction_id": "text", "label": "text", "time": "real", "known_at": "real?"},
    key="prediction_id",
    indexed="time",
)
# Labels that came before their prediction, if that ever comes: so that they can be kept from being too many.
EARLY_LABELS = Table("early_labels", {"prediction_id": "text"}, key="prediction_id", numbered=True)
# Of each process a row of its own, in which it counts on: what is written twice counts once.
REFUSALS = Table(
    "refusals",
    {"hour": "integer", "row_hour": "integer", "reason": "text", "process": "text", "count": "integer"},
    key="hour, row_hour, reason, process",
)
CONTRACTS = Table("contracts", {"hash": "text", "columns": "text"}, key="hash")
SCHEMA_INFO = Table("schema_info", {"name": "text", "value": "text"}, key="name")


def tables(dialect: Dialect, wanted: Iterable[Table]) -> list[str]:
    """Statements that make these tables where they are not."""
    statements = []
    for table in wanted:
        columns = [f"{name} {_type(dialect, kind)}" for name, kind in table.columns.items()]
        if table.numbered:
            columns = [f"seq {dialect.kinds['sequence']}", *columns, f"UNIQUE ({table.key})"]
            options = ""
        else:
            columns.append(f"PRIMARY KEY ({table.key})")
            options = dialect.row_options
        statements.append(f"CREATE TABLE IF NOT EXISTS {table.name} ({', '.join(columns)}){options}")
        if table.indexed:
            name = f"{table.name}_{table.indexed}"
            statements.append(f"CREATE INDEX IF NOT EXISTS {name} ON {table.name} ({table.indexed})")
    return statements


def readable_view(
    dialect: Dialect, columns: Sequence[str], contract_hash: str, numbers: Collection[str]
) -> str:
    """The statement that makes the view for people: one row a prediction of this contract.

    Every column of the contract stands there under its name; times can be read, and the label is joined.
    A name that stands there already, or too long for a database, is made different.
    """
    fixed = {
        "prediction_id": "p.id",
        "answered_at": dialect.instant("p.time"),
        "model_version": "p.model_version",
        "probability": "p.probability",
        "decision": "p.decision",
        "review": "p.review",
        "latency_ms": "p.latency_ms",
        "label": "l.label",
        "label_known_at": dialect.instant("l.known_at"),
        "row_id": "p.row_id",
        "row_time": dialect.instant("p.row_time"),
    }
    values = [dialect.value(place, name in numbers) for place, name in enumerate(columns)]
    names = distinct_names([*fixed, *columns])
    chosen = [
        f"{value} AS {quoted(name)}" for name, value in zip(names, [*fixed.values(), *values], strict=True)
    ]
    return (
        f"CREATE VIEW {VIEW} AS SELECT {', '.join(chosen)} FROM predictions p "
        f"LEFT JOIN labels l ON l.prediction_id = p.id WHERE p.contract = {_text(contract_hash)}"
    )


def distinct_names(names: Sequence[str]) -> list[str]:
    """Names as columns of one view: cut to `LONGEST_NAME` bytes, and told apart by a number behind."""
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        stem = _cut(storable(name) or "column", LONGEST_NAME)
        made, number = stem, 1
        while made.casefold() in taken:  # SQLite holds names equal that differ in case alone
            number += 1
            made = f"{_cut(stem, LONGEST_NAME - 1 - len(str(number)))}_{number}"
        taken.add(made.casefold())
        found.append(made)
    return found


def judge(labels: Sequence[Label], stored: Iterable[Label]) -> tuple[list[Outcome], list[Label]]:
    """What becomes of labels, in their order, and those that have to be written, one a prediction.

    A different label corrects the one before, unless that one arrived later (a spool is drained late): then
    the label counts as repeated, since it was heard before.
    """
    current = {each.prediction_id: each for each in stored}
    written: dict[str, Label] = {}
    outcomes: list[Outcome] = []
    for label in labels:
        before = current.get(label.prediction_id)
        if before is not None and (before.label == label.label or label.time < before.time):
            outcomes.append("repeated")
            continue
        outcomes.append("stored" if before is None else "changed")
        current[label.prediction_id] = written[label.prediction_id] = label
    return outcomes, list(written.values())


def storable(text: str) -> str:
    """Text with U+FFFD for NUL, which PostgreSQL refuses, and for halves of surrogate pairs."""
    if text.isascii():
        return text.replace("\0", "\ufffd")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")


def quoted(name: str) -> str:
    """A name in SQL, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _type(dialect: Dialect, kind: str) -> str:
    base = dialect.kinds[kind.removesuffix("?")]
    return base if kind.endswith("?") else f"{base} NOT NULL"


def _cut(name: str, most_bytes: int) -> str:
    return name.encode()[:most_bytes].decode(errors="ignore")


def are_plain(entries: Iterable[Entry]) -> bool:
    """Whether a database certainly takes their texts as they are; quick, for all are asked about."""
    rows = "".join([each.row for each in entries])
    ids = "".join([each.row_id for each in entries if each.row_id is not None])
    return rows.isascii() and ids.isascii() and "\\u" not in rows and "\0" not in ids


def _storable_json(text: str) -> str:
    """JSON whose strings every database can read; JSON without such strings stays as it is, to the letter."""
    content = json.loads(text)
    cleaned = _storable_values(content)
    return text if cleaned == content else json.dumps(cleaned, ensure_ascii=False)


def _storable_values(content: Any) -> Any:
    if isinstance(content, str):
        return storable(content)
    return [_storable_values(each) for each in content] if isinstance(content, list) else content
