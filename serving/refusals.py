"""Why a request is refused, in words that help whoever sent it: each field, each row, what is allowed."""

from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Any, NamedTuple

from pydantic import AwareDatetime, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from serving.requests import allowed
from takeoff.contract import Contract

MOST_PROBLEMS = 100  # named in one answer
MOST_NAMES = 50  # of fields that are listed
LABEL_FIELDS = ("prediction_id", "label", "known_at")
LONGEST_GIVEN = 40  # characters of a value that are repeated
_INSTANT: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)


class Refusal(Exception):  # noqa: N818  # named for what it is
    """A request that is not answered.

    Attributes:
        status: of HTTP, 4xx or 503.
        code: one word for programs, also the `reason` in the metrics.
        message: one sentence for people.
        problems: what is wrong where, see `Problem`; may be empty.
        headers: to send along.
        rows: of each row that is named as wrong, its own time in unix seconds, None where that can't be read.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        problems: tuple["Problem", ...] = (),
        headers: Mapping[str, str] | None = None,
        rows: tuple[float | None, ...] = (),
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.problems = problems
        self.headers = headers or {}
        self.rows = rows

    def body(self) -> bytes:
        """As JSON: {"error": {"code", "message", "problems"}}."""
        problems = [
            {name: value for name, value in problem._asdict().items() if value is not None}
            for problem in self.problems
        ]
        return to_json({"error": {"code": self.code, "message": self.message, "problems": problems}})


class Problem(NamedTuple):
    """One thing that is wrong; `row` counts from 0 and is None where there is only one."""

    row: int | None
    field: str
    problem: str
    allowed: str | None


def parse(adapter: TypeAdapter[Any], body: bytes, explain: "Explain") -> Any:
    """The valid content of a body.

    Raises:
        Refusal: 400 where it is no JSON, 422 where it is not what is allowed.
    """
    try:
        return adapter.validator.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise no_json(first["msg"].removeprefix("Invalid JSON: ")) from None
        problems = explain(body, error)
        raise invalid(problems, explain.times(body, problems)) from None


def no_json(problem: str) -> Refusal:
    """The refusal of a body that cannot be read at all."""
    return Refusal(400, "invalid_json", f"The body is not valid JSON: {problem}.")


def invalid(problems: tuple[Problem, ...], rows: tuple[float | None, ...] = ()) -> Refusal:
    """The refusal of content that is JSON, but not what is allowed; `rows` as in `Refusal`."""
    return Refusal(422, "invalid", _sentence(problems), problems, rows=rows)


class Explain:
    """Turns pydantic's errors into problems.

    Args:
        contract: what a row is.
        items: what stands for many in the body: `rows` or `labels`; None where the body is one row.
        item: of one row or label.
    """

    def __init__(self, contract: Contract, items: str | None, item: TypeAdapter[Any]) -> None:
        self.contract, self.items, self.item = contract, items, item

    def __call__(self, body: bytes, error: ValidationError) -> tuple[Problem, ...]:
        """What is wrong with a body that is JSON, at most `MOST_PROBLEMS`; many have passed an `Outline`."""
        if self.items is None:
            return self._row(None, error)
        # The first pass stopped at the first bad row, which bounds what a large bad body costs.
        problems: list[Problem] = []
        for number, item in enumerate(from_json(body)[self.items]):
            try:
                self.item.validator.validate_json(to_json(item, inf_nan_mode="constants"))
            except ValidationError as bad:
                problems += self._row(number, bad)
            if len(problems) >= MOST_PROBLEMS:
                break
        return tuple(problems[:MOST_PROBLEMS])

    def times(self, body: bytes, problems: tuple[Problem, ...]) -> tuple[float | None, ...]:
        """Of each row among the problems its own time, see `Refusal`; nothing where the body is of labels."""
        if self.items == "labels":
            return ()
        if self.items is None:
            return (self._time(from_json(body)),)
        named = dict.fromkeys(each.row for each in problems if each.row is not None)
        rows = from_json(body)[self.items] if named else []
        return tuple(self._time(rows[number]) for number in named)

    def _time(self, row: Any) -> float | None:
        """A row's own time, where that much of it is right."""
        given = row.get(self.contract.time.column) if isinstance(row, dict) else None
        try:
            return _INSTANT.validate_json(to_json(given, inf_nan_mode="constants"), strict=True).timestamp()
        except ValidationError:
            return None

    def _row(self, number: int | None, error: ValidationError) -> tuple[Problem, ...]:
        known = error.errors(include_url=False)[:MOST_PROBLEMS]
        return tuple(self._problem(number, each) for each in known)

    def _problem(self, number: int | None, error: Any) -> Problem:
        if not error["loc"]:
            return Problem(number, "(row)" if number is not None else "(body)", "is no object", "an object")
        field = str(error["loc"][0])
        names = self._names()
        if error["type"] == "extra_forbidden":
            near = get_close_matches(field, names, n=1)
            known = f"did you mean {near[0]}?" if near else _listed(names)
            return Problem(number, short(field), "is not known", known)
        what = "is missing" if error["type"] == "missing" else f"{_given(error['input'])} is not allowed"
        return Problem(number, field, what, self._allowed(field))

    def _names(self) -> list[str]:
        if self.items == "labels":
            return list(LABEL_FIELDS)
        return [*self.contract.columns, self.contract.id, self.contract.time.column]

    def _allowed(self, field: str) -> str:
        if self.items != "labels":
            return allowed(field, self.contract)
        return {
            "prediction_id": "the prediction_id of an answer",
            "label": "one of " + ", ".join(self.contract.target.classes),
            "known_at": "a time with an offset, as 2013-07-02T01:10:00Z, or null",
        }[field]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"only {', '.join(names[:MOST_NAMES])}{more}"


def _sentence(problems: tuple[Problem, ...]) -> str:
    rows = sorted({each.row for each in problems if each.row is not None})
    fields = list(dict.fromkeys(each.field for each in problems))
    named = ", ".join(fields[:5]) + (f" and {len(fields) - 5} more" if len(fields) > 5 else "")
    where = ""
    if rows:
        shown = ", ".join(map(str, rows[:5])) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")
        where = f" in row {shown}" if len(rows) == 1 else f" in rows {shown}"
    more = f" Only the first {MOST_PROBLEMS} problems are listed." if len(problems) >= MOST_PROBLEMS else ""
    return f"Nothing was predicted or stored: wrong{where}: {named}.{more}"


def _given(value: Any) -> str:
    """A value as its sender wrote it, cut."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return short(to_json(value, inf_nan_mode="constants").decode())


def short(text: str) -> str:
    """Text of a caller, cut."""
    return text if len(text) <= LONGEST_GIVEN else text[: LONGEST_GIVEN - 3] + "..."
