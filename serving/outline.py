"""What a body looks like from afar, before anybody looks at each of its fields.

Who explains a refusal names every wrong field, and a body of megabytes may hold a million of them. So rows
are bounded first, by their number, their size and their fields, at no more cost than to find their ends.
"""

import json
import re

import msgspec
from pydantic_core import from_json

from serving.refusals import MOST_PROBLEMS, Problem, invalid, no_json, short
from serving.requests import MOST_ROWS, ROW_BYTES

MORE_FIELDS = 100  # of a row, beyond those that are known, that are named one by one
# What only JavaScript calls a number, and the readers behind this name with its field.
NO_NUMBER = re.compile(rb"\b(?:NaN|Infinity)\b")


class Outline:
    """Checks a body of many.

    Args:
        items: what stands for many in it: `rows` or `labels`.
        fields: of one of them.
    """

    def __init__(self, items: str, fields: list[str]) -> None:
        self._items, self._fields = items, fields
        body = msgspec.defstruct("Body", [(items, list[msgspec.Raw])], forbid_unknown_fields=True)
        self._body = msgspec.json.Decoder(body)

    def check(self, content: bytes) -> None:
        """Let a body pass whose items may be looked at one by one.

        Raises:
            Refusal: 400 where it is no JSON, 422 where it is no such body, or one of its items too large.
        """
        try:
            items = getattr(self._body.decode(NO_NUMBER.sub(_as_number, content)), self._items)
        except msgspec.ValidationError as error:
            raise invalid((self._around(str(error)),)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise no_json(_where(content) or str(error)) from None
        if not 1 <= len(items) <= MOST_ROWS:
            raise invalid((self._problem("has too many" if items else "is empty"),))
        problems: list[Problem] = []
        for number, item in enumerate(items):
            problems += crowded(bytes(item), self._fields, number)
            if len(problems) >= MOST_PROBLEMS:
                break
        if problems:
            named = tuple(problems[:MOST_PROBLEMS])
            raise invalid(named, (None,) * len(named) if self._items == "rows" else ())

    def _around(self, said: str) -> Problem:
        """What msgspec found wrong with what is around the items."""
        if "unknown field `" in said:
            name = said[said.index("`") + 1 : said.rindex("`")]
            return Problem(None, short(name), "is not known", f"only '{self._items}'")
        if "missing required field" in said:
            return self._problem("is missing")
        if "`$." in said:
            return self._problem("is no list")
        return Problem(None, "(body)", "is no object", f'an object: {{"{self._items}": [...]}}')

    def _problem(self, what: str) -> Problem:
        return Problem(None, self._items, what, f"a list of 1 to {MOST_ROWS:,} {self._items}")


def crowded(item: bytes, fields: list[str], number: int | None) -> list[Problem]:
    """What is wrong with an item that holds more than anybody should look at; empty where it does not.

    Args:
        item: a row or a label, as JSON.
        fields: that it may have.
        number: of it in the body; None where it is alone.
    """
    if len(item) > ROW_BYTES:
        return [Problem(number, "(row)", f"is larger than {ROW_BYTES // 1024} KiB", _fields(fields))]
    most = len(fields) + MORE_FIELDS
    if item.count(b":") <= most:  # a field has one, and so may a text
        return []
    try:
        pairs = json.loads(item, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return []
    # A list of pairs is an object here; a real list of so many is no row, which is said in one sentence.
    is_object = item.lstrip()[:1] == b"{"
    if not is_object or len(pairs) <= most:
        return []
    return [Problem(number, "(row)", f"has {len(pairs):,} fields", _fields(fields))]


def _fields(fields: list[str]) -> str:
    return f"an object of up to {len(fields)} fields"


def _where(content: bytes) -> str | None:
    """Where the reader that looks at rows finds the fault of what is no JSON, as it says elsewhere too."""
    try:
        from_json(content)
    except ValueError as error:
        return str(error)
    return None


def _as_number(found: "re.Match[bytes]") -> bytes:
    return b"9" * len(found[0])
