"""What names mean: against Python's own compiler, and against runs of notebooks made at random."""

import re
import symtable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from takeoff.errors import TakeoffError
from takeoff.promotion.module import generate
from takeoff.promotion.names import Use, analyse
from tests.conftest import PROJECT
from tests.promotion.promoting import NAME, SETTINGS, run_cells, run_module, written


class Found(NamedTuple):
    needs: set[str]
    binds: set[str]


COMPREHENSIONS = ("listcomp", "setcomp", "dictcomp", "genexpr")


def by_python(source: str) -> Found:
    """Global names that a text uses and binds, as the compiler sees them."""
    top = symtable.symtable(source, "<text>", "exec")
    needs = {each.get_name() for each in top.get_symbols() if each.is_referenced()}
    binds = {each.get_name() for each in top.get_symbols() if each.is_assigned() or each.is_imported()}
    tables = list(top.get_children())
    while tables:
        table = tables.pop()
        known = [each for each in table.get_symbols() if each.is_global()]
        needs |= {each.get_name() for each in known if each.is_referenced()}
        if table.get_name() in COMPREHENSIONS:
            binds |= {each.get_name() for each in known if each.is_assigned()}
        tables += table.get_children()
    return Found(needs, binds)


def by_us(source: str) -> Found:
    names = analyse(source).names.values()
    needs = {use.name for each in names for use in (*each.now, *each.later)}
    return Found(needs, {name for each in names for name in each.binds})


SOURCES = sorted((PROJECT / "src").rglob("*.py"))


@pytest.mark.slow
def test_names_are_those_that_the_compiler_sees_in_all_of_the_projects_own_code() -> None:
    assert SOURCES
    for path in SOURCES:
        source = path.read_text(encoding="utf-8")
        expected, found = by_python(source), by_us(source)
        # The compiler does not look into annotations that are strings.
        texts = " ".join(re.findall(r'"([^"\n]*)"', source))
        assert found.needs - expected.needs <= set(re.findall(r"\w+", texts)), path
        assert expected.needs <= found.needs, path
        assert found.binds == expected.binds, path


SCOPES = {
    "match": "def f(x):\n match x:\n  case [a, *b]: return a, b\n  case {'k': c, **d}: return c, d",
    "match of a class": "match a:\n case K(e=g) as h: b = g, h\n case L.m: b = c\n case 1 | 2 if d: pass",
    "match at the top": "match a:\n case [b, *c]: pass\n case {'k': d, **e}: pass\n case f: pass",
    "walrus in a comprehension": "def f(xs):\n [y := x for x in xs]\n return y",
    "walrus at the top": "a = (b := 1) + b\n[c := d for d in range(b)]",
    "a name bound below its use": "def f(n):\n for i in range(n):\n  if i: print(x)\n  x = i",
    "global": "def f():\n global a\n a = b\n def g():\n  a = 1\n  return a\n return a",
    "nonlocal": "def f():\n a = 1\n def g():\n  nonlocal a\n  a = b\n return g",
    "a class does not hide from its methods": "class C:\n a = 1\n b = a\n def m(self): return a, b",
    "a class comprehension": "class C:\n a = range(3)\n b = [c for c in a if d]",
    "defaults are looked up outside": "x = 1\ndef f(x=x, *, y=z): return lambda x=x, w=v: x + y",
    "decorators, bases and keywords": "@a.b(c)\nclass C(d, metaclass=e):\n @f\n def g(self) -> h: pass",
    "an error's name": "def f():\n try: pass\n except a as b: return b\n return c",
    "with": "def f():\n with a as b, c as (d, e): return b, d, e, g",
    "for": "def f():\n for a, *b in c: pass\n else: return a, b, d",
    "imports in functions": "def f():\n import a.b\n from c import d as e\n return a, e, g",
    "nested comprehensions": "[a for a in [b for b in c if b] for d in a if d for e in [f]]",
    "a generator's first iterable": "def f(a):\n return (a for a in a for b in c)",
    "deleting": "def f():\n a = b\n del a\n return c",
    "parts that are set": "a = 1\nc[d] += e\nf.g = h",
    "f-strings": "a = f'{b!r:{c}} {d=}'",
    "star-args": "def f(*a, **b): return g(*a, **b, **c)",
    "unicode": "größe = 1\ndef f(ﬁ): return fi + größe",
    "async": "async def f(a):\n async with b as c:\n  return [d async for d in c if await e]",
    "lambda": "a = lambda b, *c, d=e: (b, c, d, f)",
    "conditional import": "if a:\n import b\nelse:\n b = None\ntry:\n import c.d\nexcept ImportError: c = b",
}


@pytest.mark.parametrize("source", SCOPES.values(), ids=SCOPES.keys())
def test_names_are_those_that_the_compiler_sees(source: str) -> None:
    assert by_us(source) == by_python(source)


def test_what_runs_at_once_is_told_from_what_runs_when_a_function_is_called() -> None:
    source = (
        "@a\ndef f(x=b) -> c:\n    return d, lambda: e\nclass C(g):\n    h = i\n    def m(self): return j\n"
    )

    names = list(analyse(source).names.values())

    assert [use.name for each in names for use in each.now] == ["a", "b", "c", "g", "i"]
    assert [use for each in names for use in each.later] == [Use("d", 3), Use("e", 3), Use("j", 6)]


@pytest.mark.parametrize("postponed", [False, True])
def test_annotations_that_are_kept_as_text_are_not_looked_up_at_once(postponed: bool) -> None:
    (names,) = analyse("def f(a: B, c: 'D[E]') -> F: pass", postponed).names.values()

    assert {use.name for use in names.now} == (set() if postponed else {"B", "F"})
    assert {use.name for use in names.later} == ({"B", "D", "E", "F"} if postponed else {"D", "E"})


def test_a_string_in_an_annotation_is_a_name_only_where_it_is_a_type() -> None:
    source = (
        "class C:\n"
        "    a: Literal['auto', 'cpu'] = 'auto'\n"
        "    b: Annotated['Rows', 'unit', Field(description='width')] = None\n"
        "    c: typing.Literal['x'] | list['Item']\n"
    )

    assert by_us(source).needs == {"Literal", "Annotated", "Rows", "Field", "typing", "list", "Item"}


def test_what_is_augmented_is_needed_and_bound() -> None:
    assert by_us("a += b") == Found({"a", "b"}, {"a"})


VALUES = ("a", "b", "c", "d", "e")
FUNCTIONS = ("f", "g")

value = st.sampled_from(VALUES)
function = st.sampled_from(FUNCTIONS)
number = st.integers(2, 99)
# Functions use values only, so that none calls itself.
definition = st.one_of(
    st.builds("{} = {}".format, value, number),
    st.builds("{} = {} * 2 + {}".format, value, value, number),
    st.builds("{} += {}".format, value, number),
    st.builds("{} = {}() + {}".format, value, function, number),
    st.builds("{}, {} = {}, {}".format, value, value, value, number),
    st.builds("from math import floor as {0}; {0} = {0}({1}.5)".format, value, number),
    st.builds("def {}(y={}):\n    return y * 3 + {} + {}".format, function, value, value, number),
    st.builds("{} = lambda y={}: y + {} * 5".format, function, value, value),
    st.builds("def {}():\n    return [{} for {} in range({} % 7)]".format, function, value, value, value).map(
        lambda text: text.replace("return [", "return sum([") + ")"
    ),
)
cell = st.tuples(st.booleans(), st.lists(definition, min_size=1, max_size=2))

START = "# %% code\na = 1\nb = 2\nc = 3\nd = e = 4\ndef f(): return a\ndef g(): return b\n"
ALL = """
# %% candidate
def fit(fit, validation, settings, contract, seed):
    return a, b, c, d, e, f(), g()
"""
LAST = "# %% code\nresult = fit([1.0, 2.0], [3.0], Settings(size=2), None, 7)\n"
# What may be said of a name that is bound more than once; anything else would be a refusal of what is fine.
ALLOWED = ("means two things", "would mean something else", "is defined again after")


@st.composite
def notebooks(draw: st.DrawFn) -> str:
    """Cells that bind few names over and over, tagged or not, with `fit` and its last call somewhere."""
    drawn = draw(st.lists(cell, min_size=1, max_size=5))
    # Tagged cells below the last call are refused soon, so that few are enough.
    call = draw(st.one_of(st.just(len(drawn)), st.integers(0, len(drawn))))
    cells = [
        f"# %% {'candidate' if is_tagged else 'code'}\n" + "\n".join(lines) + "\n"
        for is_tagged, lines in drawn
    ]
    cells.insert(call, LAST)
    cells.insert(draw(st.integers(0, call)), ALL)
    return SETTINGS + START + "".join(cells)


@pytest.mark.slow
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=notebooks())
def test_whatever_is_bound_where_the_module_answers_as_the_notebook_or_is_refused(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run_cells(text)["result"]
    monkeypatch.chdir(PROJECT)
    try:
        generated = generate(written(text, tmp_path), NAME)
    except TakeoffError as refused:
        event("refused")
        told = str(refused).split("\n")[1:]
        assert all(any(words in line for words in ALLOWED) for line in told), refused
        return
    event("promoted")
    module = run_module(generated)
    assert module["fit"]([1.0, 2.0], [3.0], module["Settings"](size=2), None, 7) == expected, generated.text


names_once = st.permutations(
    [
        "one = 1",
        "two = one + 1",
        "def three(x=two):\n    return x + one + len(tail)",
        "import math as m",
        "four = [m.floor(each + two) for each in range(4)]",
        "class Five:\n    size = two\n    def get(self):\n        return self.size + six()",
        "six = lambda: three() * 6",
        "tail = ('x',) * 2",
    ]
)


@pytest.mark.slow
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=names_once, breaks=st.lists(st.booleans(), min_size=8, max_size=8), data=st.data())
def test_names_that_are_bound_once_are_promoted_from_any_cells_in_any_order_that_runs(
    order: list[str], breaks: list[bool], data: st.DataObject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = {
        "two = ": ("one = ",),
        "def three": ("two = ",),
        "four": ("import", "two = "),
        "class": ("two = ",),
    }
    placed: list[str] = []
    while order:  # the first that can run, again and again
        ready = next(
            each
            for each in order
            if all(
                any(done.startswith(need) for done in placed)
                for start, needed in needs.items()
                if each.startswith(start)
                for need in needed
            )
        )
        placed.append(ready)
        order = [each for each in order if each != ready]
    kinds = st.sampled_from(["code", "candidate"])
    body = "".join(
        (f"# %% {data.draw(kinds)}\n" if is_new or not place else "") + each + "\n"
        for place, (each, is_new) in enumerate(zip(placed, breaks, strict=True))
    )
    whole = ALL.replace("a, b, c, d, e, f(), g()", "one, two, three(), four, Five().get()")
    at_end = data.draw(st.booleans())
    text = SETTINGS + (body + whole if at_end else whole + body) + LAST
    expected = run_cells(text)["result"]
    monkeypatch.chdir(PROJECT)

    module = run_module(generate(written(text, tmp_path), NAME))

    assert module["fit"]([1.0, 2.0], [3.0], module["Settings"](size=2), None, 7) == expected
