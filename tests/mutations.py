"""Requests that a service must not fall over: valid rows, changed in every way that a caller gets them wrong.

Each says what has to come back, worked out from the contract: which status, and which fields of which rows
the refusal has to name. Values are planted as JSON text, so that they need not be what Python would write.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from serving.requests import LONGEST_ID, MOST_ROWS, ROW_BYTES
from takeoff.contract import Column, Contract
from tests.traffic import Request

Field = tuple[int | None, str]  # row (None where there is only one), name
Pairs = list[tuple[str, str]]  # of a JSON object, both as JSON text: a name may come twice
ID = "01997a0e-6d2b-7c41-9b5e-3f8f5d1c2a77"  # of no prediction

NO_NUMBERS = (
    *('"12"', '""', '"NaN"', '"null"', "true", "false", "[]", "[1]", "{}", '{"a": 1}'),
    *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e39", "-1e39"),
    *("1" + "0" * 400, "-" + "9" * 400),
)
NO_TEXTS = ("12", "-1.5", "0", "true", "false", "[]", '["UA"]', "{}", "NaN", "1e999")
STRANGE_TEXTS = (
    *(
        '""',
        '" "',
        '"\\u0000"',
        '"\\n"',
        '"UA\\n"',
        '"\uff35\uff21"',
        '"ua"',
        '"🛫"',
        '"\\u202eUA"',
        '"é"',
        '"e\\u0301"',
    ),
    *('"%s%n"', '"\'; DROP TABLE predictions; --"', '"../../etc/passwd"', json.dumps("A" * 5_000)),
)
NO_TIMES = (
    *('"2013-07-01T17:45:00"', '"yesterday"', '""', '"2013-13-01T00:00:00Z"', '"2013-07-01"', '"now"'),
    *("1372715100", "true", "[]", "1e999", '"99999-01-01T00:00:00Z"', '"2013-07-01T17:45:00+99:00"'),
)
TIMES = (
    *('"2013-07-01T21:45:00Z"', '"2013-07-01T21:45:00.123456+05:30"', "null"),
    *('"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59-12:00"'),
)
IDS = (json.dumps("x" * LONGEST_ID), '"\\u0000"', '"🛫"', '" "', '"\';--"', '"\\ud83d\\ude80"', "null")
NO_IDS = ('""', json.dumps("x" * (LONGEST_ID + 1)), "12", "true", "[]", "{}")
UNKNOWN = (
    "",
    " ",
    "Weekday",
    "weekdays",
    "rows",
    "__proto__",
    "$ref",
    "a.b",
    "🛫",
    "\0",
    "x" * 3_000,
    "row[0]",
)
# What stands for a value but is no JSON at all.
NO_JSON = ("007", "+5", ".5", "5.", "0x1F", "1_000", "'UA'", "None", "undefined", "-", '"\n"', '"\\x41"', "")
# More digits than the reader takes, which sees no field yet.
TOO_LONG = "9" * 5_000
HALVES = ('"\\ud800"', '"\\udfff"', '"\\ude80\\ud83d"', '"\\ud800\\u0041"')  # of surrogate pairs
NO_OBJECTS = ("null", "true", "1", '"text"', "[]", "[{}]", "NaN", "{}")
BAD_TYPES = (
    *("", "text/plain", "application/xml", "application/json; charset=utf-16", "application/jsonx"),
    *("application/json; charset=latin-1", "multipart/form-data; boundary=x", "a" * 2_000, "application"),
)


class Mutant(NamedTuple):
    """A changed request.

    Attributes:
        what: was done to it.
        request: to send.
        statuses: of which one has to come back.
        wrong: what a 422 has to name, and nothing else.
    """

    what: str
    request: Request
    statuses: frozenset[int]
    wrong: frozenset[Field] = frozenset()


class Change(NamedTuple):
    """A value of a row as JSON text, None for none, and whether it may be so."""

    field: str
    text: str | None
    allowed: bool


def mutants(rows: Sequence[Mapping[str, Any]], contract: Contract, count: int, seed: int) -> Iterator[Mutant]:
    """Every change of every column once, then what chance makes of them.

    Args:
        rows: valid ones.
        contract: what a row is.
        count: how many there shall be at least.
        seed: of chance.
    """
    random = Random(seed)
    changes = [change for name in contract.columns for change in _changes(name, contract)]
    changes += _changes_of_own(contract)
    yield from (_row(_pairs(random.choice(rows)), [change]) for change in changes)
    made = len(changes)
    while made < count:
        for mutant in _by_chance(rows, changes, contract, random):
            made += 1
            yield mutant


def _by_chance(
    rows: Sequence[Mapping[str, Any]], changes: Sequence[Change], contract: Contract, random: Random
) -> Iterator[Mutant]:
    """One of each kind; rows and what is done to them are new each time."""
    pairs = _pairs(random.choice(rows))
    yield _row(pairs, _different(changes, random.randint(1, 3), random))
    yield _row(pairs, _different(changes, random.randint(4, 12), random))
    yield _row(_pairs(random.choice(rows)), [])
    yield _batch([_pairs(each) for each in random.choices(rows, k=random.randint(1, 12))], changes, random)
    yield _unknown(pairs, random)
    yield _twice(pairs, changes, random)
    yield _no_json(pairs, random)
    yield _broken(pairs, random)
    yield _garbled(pairs, random)
    yield _nested(pairs, random)
    yield _about(pairs, random)
    yield _around(rows, contract, random)
    yield _label(contract, random)


# values


def _changes(name: str, contract: Contract) -> Iterator[Change]:
    column = contract.columns[name]
    may_be_missing = column.missing > 0 or "missing" in column.warn
    yield Change(name, None, may_be_missing)
    yield Change(name, "null", may_be_missing)
    for text, allowed in _numbers(column) if column.is_number else _texts(column):
        yield Change(name, text, allowed)


def _numbers(column: Column) -> Iterator[tuple[str, bool]]:
    yield from ((text, False) for text in NO_NUMBERS)
    whole = column.type == "integer" and "type" not in column.warn
    free = "bounds" in column.warn
    for bound, outwards in ((column.min, -math.inf), (column.max, math.inf)):
        if bound is not None:
            yield repr(float(bound)), True
            yield f"{bound:e}", True
            yield repr(float(bound) + math.copysign(1, outwards)), free
            yield repr(math.nextafter(bound, outwards)), free and not whole
    yield repr(float(column.example)), True
    yield repr(int(column.example) + 0.5), not whole
    for zero in ("0", "-0", "-0.0", "0e5", "0.0"):
        above = column.min is None or column.min <= 0
        yield zero, free or (above and (column.max is None or column.max >= 0))


def _texts(column: Column) -> Iterator[tuple[str, bool]]:
    yield from ((text, False) for text in NO_TEXTS)
    if column.values or column.pattern:
        yield from ((text, False) for text in STRANGE_TEXTS)
    yield from ((json.dumps(each), True) for each in column.values or [column.example])
    yield json.dumps(f"{column.example} "), not (column.values or column.pattern)


def _changes_of_own(contract: Contract) -> Iterator[Change]:
    """Of the caller's own id and time of a row."""
    yield from (Change(contract.id, text, True) for text in IDS)
    yield from (Change(contract.id, text, False) for text in NO_IDS)
    yield from (Change(contract.time.column, text, True) for text in TIMES)
    yield from (Change(contract.time.column, text, False) for text in NO_TIMES)


def _different(changes: Sequence[Change], number: int, random: Random) -> list[Change]:
    """So many changes, at most one of each field."""
    return list({change.field: change for change in random.choices(changes, k=number)}.values())


# requests


def _row(pairs: Pairs, changes: Sequence[Change]) -> Mutant:
    wrong = frozenset((None, change.field) for change in changes if not change.allowed)
    what = ", ".join(f"{change.field}: {change.text and change.text[:40]}" for change in changes) or "valid"
    return _asked(what, _changed(pairs, changes), frozenset({422 if wrong else 200}), wrong)


def _batch(rows: Sequence[Pairs], changes: Sequence[Change], random: Random) -> Mutant:
    """A batch with at most one changed row."""
    place = random.randrange(len(rows))
    done = _different(changes, random.randint(0, 2), random)
    texts = [_object(_changed(row, done) if number == place else row) for number, row in enumerate(rows)]
    wrong = frozenset((place, change.field) for change in done if not change.allowed)
    request = _request("/predict_batch", f'{{"rows": [{", ".join(texts)}]}}')
    return Mutant(f"row {place} of a batch: {done}", request, frozenset({422 if wrong else 200}), wrong)


def _unknown(pairs: Pairs, random: Random) -> Mutant:
    name = random.choice(UNKNOWN)
    return _asked(
        f"unknown {name[:20]!r}",
        [*pairs, (json.dumps(name), random.choice(("1", "null", "[]", '"x"')))],
        frozenset({422}),
        frozenset({(None, name)}),
    )


def _twice(pairs: Pairs, changes: Sequence[Change], random: Random) -> Mutant:
    """A field twice, of which JSON does not say which counts."""
    change = random.choice([each for each in changes if each.text is not None])
    extra = (json.dumps(change.field), change.text or "")
    wrong = frozenset() if change.allowed else frozenset({(None, change.field)})
    twice = [*pairs, extra] if random.random() < 0.5 else [extra, *pairs]
    return _asked(f"twice: {change}", twice, frozenset({200, 422} if wrong else {200}), wrong)


def _no_json(pairs: Pairs, random: Random) -> Mutant:
    name, _ = random.choice(pairs)
    text = random.choice((*NO_JSON, *HALVES, TOO_LONG))
    return _asked(f"{name}: {text}", [(n, text if n == name else t) for n, t in pairs], frozenset({400}))


def _broken(pairs: Pairs, random: Random) -> Mutant:
    """A body that is cut, continued, in another encoding, or otherwise no JSON in UTF-8."""
    body = _object(pairs).encode()
    bodies = {
        "cut": body[: random.randrange(len(body))],
        "continued": body + random.choice((b"}", b"{}", b",", b"\0", b"x", body)),
        "utf-16": body.decode().encode("utf-16"),
        "utf-16-le": body.decode().encode("utf-16-le"),
        "utf-32": body.decode().encode("utf-32"),
        "latin-1": body.replace(b'"', b'"\xe9', 1),
        "half a character": body.replace(b'"', b'"\xf0\x9f', 1),
        "overlong": body.replace(b'"', b'"\xc0\x80', 1),
        "encoded surrogate": body.replace(b'"', b'"\xed\xa0\x80', 1),
        "single quotes": body.replace(b'"', b"'"),
        "comma at the end": body[:-1] + b",}",
        "comment": b"/* a row */" + body,
        "deep lists": b"[" * random.randint(1_000, 60_000),
        "deep objects": b'{"a":' * random.randint(1_000, 10_000),
        "nothing": b"",
        "blank": b" \n" * random.randint(1, 1_000),
    }
    what = random.choice(list(bodies))
    return Mutant(what, Request("/predict", bodies[what]), frozenset({400}))


def _garbled(pairs: Pairs, random: Random) -> Mutant:
    """Some bytes are others: whatever that makes of it, it has its answer."""
    body = bytearray(_object(pairs).encode())
    for _ in range(random.randint(1, 3)):
        body[random.randrange(len(body))] = random.randrange(256)
    return Mutant(f"garbled: {bytes(body)!r}", Request("/predict", bytes(body)), frozenset({200, 400, 422}))


def _nested(pairs: Pairs, random: Random) -> Mutant:
    """A value that is no value, but much in much."""
    name = random.choice(pairs)[0]
    depth = random.choice((1, 10, 100, 190, 210, 1_000))
    left, right = random.choice((("[", "]"), ('{"a":', "}")))
    changed = [(n, left * depth + "1" + right * depth if n == name else t) for n, t in pairs]
    return _asked(
        f"{name} nested {depth} deep", changed, frozenset({400, 422}), frozenset({(None, json.loads(name))})
    )


def _about(pairs: Pairs, random: Random) -> Mutant:
    """A good row in a bad request."""
    good = _request("/predict", _object(pairs))
    choices: list[tuple[str, Request, int]] = [
        ("content type", good._replace(content_type=random.choice(BAD_TYPES)), 415),
        ("compressed", good._replace(more_headers=("Content-Encoding: gzip",)), 415),
        ("too large", good._replace(body=good.body + b" " * ROW_BYTES), 413),
        ("method", good._replace(method=random.choice(("PUT", "PATCH", "DELETE", "OPTIONS", "GET"))), 405),
        (
            "path",
            good._replace(path=random.choice(("/Predict", "/predict/", "/predict/x", "//predict"))),
            404,
        ),
        ("strange path", good._replace(path="/%00%ff/../../etc/passwd?" + "a" * 2_000), 404),
        ("query", good._replace(path="/predict?weekday=9&" + "a" * 500), 200),
        ("headers", good._replace(more_headers=tuple(f"X-{i}: {'é' * 50}" for i in range(50))), 200),
        ("charset", good._replace(content_type='Application/JSON; charset="UTF-8"'), 200),
    ]
    what, request, status = random.choice(choices)
    return Mutant(what, request, frozenset({status}))


def _around(rows: Sequence[Mapping[str, Any]], contract: Contract, random: Random) -> Mutant:
    """A batch that is wrong as a whole, or of no objects."""
    row = _object(_pairs(random.choice(rows)))
    label = _object(_pairs({"prediction_id": ID, "label": contract.target.classes[0]}))
    path, name, good = random.choice((("/predict_batch", "rows", row), ("/feedback", "labels", label)))
    body = (None, "(body)")
    choices: list[tuple[str, Field]] = [
        ("[]", body),
        ("null", body),
        (f"[{good}]", body),
        ("{}", (None, name)),
        (f'{{"{name}": []}}', (None, name)),
        (f'{{"{name}": null}}', (None, name)),
        (f'{{"{name}": {good}}}', (None, name)),
        (f'{{"{name}": "all"}}', (None, name)),
        (f'{{"{name}": [{good}], "more": 1}}', (None, "more")),
        (f'{{"{name}": [{good}, {random.choice(NO_OBJECTS[:-1])}]}}', (1, "(row)")),
    ]
    if random.random() < 0.003:  # for these are large
        choices = [(f'{{"{name}": [{",".join([good] * (MOST_ROWS + 1))}]}}', (None, name))]
    text, wrong = random.choice(choices)
    return Mutant(f"{path}: {text[:60]}", _request(path, text), frozenset({422}), frozenset({wrong}))


def _label(contract: Contract, random: Random) -> Mutant:
    """A bad label."""
    truth = json.dumps(contract.target.classes[-1])
    good = {"prediction_id": f'"{ID}"', "label": truth, "known_at": "null"}
    wrong_texts = {
        "prediction_id": ('"1"', "1", "null", f'"{ID.upper()}"', f'"{ID}\\n"', '""', "[]", "true"),
        "label": ('"x"', "1", "null", '""', "true", truth.upper(), "[]", json.dumps("x" * 5_000)),
        "known_at": NO_TIMES,
    }
    name = random.choice(list(wrong_texts))
    text = random.choice(wrong_texts[name])
    labels = [
        _object([(json.dumps(n), t) for n, t in (good | changed).items()]) for changed in ({}, {name: text})
    ]
    request = _request("/feedback", f'{{"labels": [{", ".join(labels)}]}}')
    return Mutant(f"label: {name}: {text[:40]}", request, frozenset({422}), frozenset({(1, name)}))


def _asked(
    what: str, pairs: Pairs, statuses: frozenset[int], wrong: frozenset[Field] = frozenset()
) -> Mutant:
    return Mutant(what, _request("/predict", _object(pairs)), statuses, wrong)


def _request(path: str, text: str) -> Request:
    return Request(path, text.encode("utf-8", "surrogatepass"))


def _pairs(row: Mapping[str, Any]) -> Pairs:
    return [(json.dumps(name), json.dumps(value)) for name, value in row.items()]


def _changed(pairs: Pairs, changes: Sequence[Change]) -> Pairs:
    done = {json.dumps(change.field): change.text for change in changes}
    kept = [(name, text) for name, text in pairs if name not in done]
    return [*kept, *((name, text) for name, text in done.items() if text is not None)]


def _object(pairs: Pairs) -> str:
    return "{" + ", ".join(f"{name}: {text}" for name, text in pairs) + "}"
