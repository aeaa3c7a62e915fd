"""Bodies as valid content, or a refusal that says what is wrong with them."""

from typing import Any

from pydantic import TypeAdapter

from serving.columns import Columns
from serving.outline import Outline, crowded
from serving.refusals import LABEL_FIELDS, Explain, invalid, parse
from serving.requests import (
    Asked,
    Feed,
    Row,
    batch_type,
    feedback_type,
    label_type,
    row_fields,
    row_type,
)
from takeoff.contract import Contract


class Reader:
    """Reads what the contract allows. Each method raises a `Refusal` for anything else."""

    def __init__(self, contract: Contract) -> None:
        row, label = row_type(contract), label_type(contract)
        self._row, self._label = TypeAdapter(row), TypeAdapter(label)
        self._batch, self._feedback = TypeAdapter(batch_type(row)), TypeAdapter(feedback_type(label))
        self._columns, self._feed = Columns(contract), Feed(contract)
        self._fields = list(row_fields(contract))
        self._rows_outline = Outline("rows", self._fields)
        self._labels_outline = Outline("labels", list(LABEL_FIELDS))
        self._explain_row = Explain(contract, None, self._row)
        self._explain_batch = Explain(contract, "rows", self._row)
        self._explain_feedback = Explain(contract, "labels", self._label)

    def row(self, body: bytes) -> Row:
        """One row."""
        if problems := crowded(body, self._fields, None):
            raise invalid(tuple(problems), (None,))
        return parse(self._row, body, self._explain_row)  # type: ignore[no-any-return]

    def rows(self, body: bytes) -> Asked:
        """The rows of a batch."""
        if (asked := self._columns.read(body)) is not None:
            return asked
        self._rows_outline.check(body)
        return self._feed.ask(parse(self._batch, body, self._explain_batch)["rows"])

    def labels(self, body: bytes) -> list[dict[str, Any]]:
        """The labels of a feedback: prediction_id, label, and known_at or None."""
        self._labels_outline.check(body)
        return parse(self._feedback, body, self._explain_feedback)["labels"]  # type: ignore[no-any-return]
