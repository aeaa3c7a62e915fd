"""Bodies as valid content, or a refusal that says what is wrong with them."""

from typing import Any

from pydantic import TypeAdapter

from serving.refusals import Explain, parse
from serving.requests import Row, batch_type, feedback_type, label_type, row_type
from takeoff.contract import Contract


class Reader:
    """Reads what the contract allows. Each method raises a `Refusal` for anything else."""

    def __init__(self, contract: Contract) -> None:
        row, label = row_type(contract), label_type(contract)
        self._row, self._label = TypeAdapter(row), TypeAdapter(label)
        self._batch, self._feedback = TypeAdapter(batch_type(row)), TypeAdapter(feedback_type(label))
        self._explain_row = Explain(contract, None, self._row)
        self._explain_batch = Explain(contract, "rows", self._row)
        self._explain_feedback = Explain(contract, "labels", self._label)

    def row(self, body: bytes) -> Row:
        """One row."""
        return parse(self._row, body, self._explain_row)  # type: ignore[no-any-return]

    def rows(self, body: bytes) -> list[Row]:
        """The rows of a batch."""
        return parse(self._batch, body, self._explain_batch)["rows"]  # type: ignore[no-any-return]

    def labels(self, body: bytes) -> list[dict[str, Any]]:
        """The labels of a feedback: prediction_id, label, and known_at or None."""
        return parse(self._feedback, body, self._explain_feedback)["labels"]  # type: ignore[no-any-return]
