"""The module that a notebook becomes computes what the notebook computed, and is written to be read."""

import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import nbformat
import pytest

from takeoff.promotion.cells import digest, read
from takeoff.promotion.module import Need, body_digest_of, generate, header_of
from tests.conftest import PROJECT
from tests.promotion.awkward import AWKWARD
from tests.promotion.promoting import CALL, NAME, SETTINGS, promoted, run_module, same_answer, written

ALIKE = {
    "a global used inside a function, and by a function that it calls": """
        # %% code
        step = 2
        def twice(x):
            return x * step
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return [twice(each) for each in fit]
        """,
    "imports that stand below, one of them among others": """
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return mean(fit) + math.pi
        # %% code
        import os, math
        from statistics import (
            mean,  # of all
            median,
        )
        """,
    "a constant made of constants, in the order that they need": """
        # %% code
        names = ("a", "b")
        places = {name: place for place, name in enumerate(names)}
        # %% code
        (low, high), *rest = (1, 2), 3, 4
        total = low + high + sum(rest)
        total *= 2
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return places, total
        """,
    "a closure over a constant that was given another value later": """
        # %% code
        limit = 2
        def clipper(limit):
            return lambda x: min(x, limit)
        clip = clipper(limit)
        limit: str = "of a plot"
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return [clip(each) for each in (1, 2, 3)]
        """,
    "a name that is bound three times: the last before the call counts in functions": """
        # %% code
        scale = 2
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return scale
        # %% code
        result = fit([1.0], [3.0], Settings(size=2), None, 7)
        scale = 3
        # %% code
        result = fit([1.0], [3.0], Settings(size=2), None, 7)
        # %% code
        scale = 4
        """,
    "a last call through an object whose class calls fit": """
        # %% code
        scale = 2
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return scale
        # %% code
        class Trial:
            def run(self, *rows):
                return fit(*rows, Settings(size=2), None, 7)
        trial = Trial()
        scale = 3
        result = trial.run([1.0], [3.0])
        scale = 4
        """,
    "a last call through what holds on to fit": """
        # %% code
        from functools import partial
        scale = 2
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return scale
        # %% code
        trials = {"a": partial(fit, [1.0], [3.0])}
        scale = 3
        result = trials["a"](Settings(size=2), None, 7)
        scale = 4
        """,
    "a name that a default takes when it is defined, and another cell binds anew": """
        # %% code
        start = 1
        # %% candidate
        def count(x, start=start, /, *more, key=lambda y: y + 1, **options):
            return x + start + key(0)
        def fit(fit, validation, settings, contract, seed):
            return count(seed)
        # %% code
        start = 100
        """,
    "an import that is hidden by parameters, comprehensions and walrus": """
        # %% code
        import math as x
        y = 5
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            squares = [y * y for y in fit if (last := y)]
            return (lambda x: x + last)(seed), squares, [x for x in fit], y
        """,
    "a class with a base, a decorator and a constant, and a match statement": """
        # %% code
        import functools
        def doubled(function):
            @functools.wraps(function)
            def inner(*args, **options):
                return 2 * function(*args, **options)
            return inner
        class Root:
            base = offset = 4
        # %% candidate
        class Counter(Root):
            own = 3
            sums = [each for each in range(own)]
            @doubled
            def count(self, x: "Root") -> "list[Root]":
                match x:
                    case [first, *others]:
                        return first + len(others) + self.base
                    case {"k": value, **rest}:
                        return value + len(rest)
                    case int() | float() as number if number > limit:
                        return number
                return 0
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            c = Counter()
            return c.count(fit), c.count({"k": 1, "l": 2}), c.count(seed), c.sums
        # %% code
        limit = 6
        """,
    "what is global and what is nonlocal": """
        # %% code
        seen = 0
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            global seen
            inner = 1
            def step():
                nonlocal inner
                inner += settings.size
            step()
            seen = seen * 0 + inner
            return seen
        """,
    "an import that is guarded": """
        # %% code
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from collections.abc import Sequence
        try:
            import not_there_at_all as fast
        except ImportError:
            fast = None
        # %% candidate
        def fit(fit: "Sequence[float]", validation, settings, contract, seed):
            return fast is None
        """,
    "unicode names, and one that is written in two ways": """
        # %% code
        größe = 3
        ﬁlter_length = 4  # with a ligature, which Python reads as two letters
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return größe * filter_length, "„späte“ Flüge"
        """,
    "annotations that are never evaluated": """
        # %% candidate
        from __future__ import annotations
        def fit(fit: Rows, validation: Rows, settings: Settings, contract, seed: int) -> list[Rows]:
            return [seed]
        # %% code
        import numpy as np
        Rows = np.ndarray | None
        """,
    "a magic in a cell that is not tagged, beside what is needed": """
        # %% code
        base = 10
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return base + seed
        """,
    "a definition that a later tagged cell replaces": """
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return old_way
        # %% candidate
        old = 1
        old = old + 1
        def fit(fit, validation, settings, contract, seed):
            return old
        """,
    "two functions that call each other": """
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return even(seed)
        # %% code
        def even(n):
            return n == 0 or odd(n - 1)
        def odd(n):
            return n != 0 and even(n - 1)
        """,
    "submodules that are imported apart": """
        # %% code
        import xml.dom
        import xml.etree.ElementTree
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return xml.etree.ElementTree.fromstring("<a/>").tag
        """,
}


@pytest.mark.parametrize("cells", ALIKE.values(), ids=ALIKE.keys())
def test_the_module_answers_what_the_notebook_answered(
    cells: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SETTINGS + dedent(cells)
    same_answer(text if "result = " in text else text + CALL, tmp_path, monkeypatch)


FIT = """
# %% candidate
def fit(fit, validation, settings, contract, seed):
    return seed
"""


@pytest.mark.parametrize("awkward", AWKWARD, ids=lambda each: each.__name__)
def test_what_an_awkward_notebook_becomes_is_the_same_each_time_and_says_where_it_is_from(
    awkward: Callable[[], nbformat.NotebookNode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notebooks" / "trial.ipynb"
    path.parent.mkdir()
    nbformat.write(awkward(), path)
    monkeypatch.chdir(tmp_path)

    one, other = (generate(read(path), NAME) for _ in range(2))

    assert one == other
    header = header_of(one.text)
    assert header is not None
    assert header.notebook == "notebooks/trial.ipynb"
    assert header.digest == one.digest == digest(read(path))
    assert header.body_digest == body_digest_of(one.text)
    assert str(tmp_path) not in one.text


def test_a_module_that_was_changed_by_hand_no_longer_has_the_digest_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = promoted(SETTINGS + FIT + CALL, tmp_path, monkeypatch).text

    for changed in (
        text.replace("return seed", "return 1"),
        text.replace("calm_trees", "calmer"),
        text + "\n",
    ):
        header = header_of(changed)
        assert header is not None
        assert changed != text
        assert header.body_digest != body_digest_of(changed)


def test_a_module_that_a_person_wrote_has_no_header() -> None:
    assert header_of((PROJECT / "src/takeoff/candidates/boosted.py").read_text(encoding="utf-8")) is None
    assert header_of("") is None
    assert header_of("x = 1\n") is None


def test_outputs_prose_and_the_order_in_which_cells_were_run_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = promoted(SETTINGS + FIT + CALL, tmp_path, monkeypatch)
    run = (FIT + CALL).replace("candidate", "candidate 12").replace("code", "code 3")
    told = SETTINGS + "# %% markdown\nSome words.\n" + run + "\n# %% code\n\n# %% markdown\nThe end.\n"

    assert promoted(told, tmp_path, monkeypatch) == plain


def test_any_change_of_code_or_tags_changes_the_digest(tmp_path: Path) -> None:
    text = SETTINGS + FIT + CALL
    changed = [text, text + "# %% code\n1", text.replace("seed\n", "seed + 1\n"), text + "# %% candidate\n1"]

    assert len({digest(written(each, tmp_path)) for each in changed}) == len(changed)


@pytest.mark.parametrize(
    ("prose", "first"),
    [
        (
            "## Calm\n\nTrees *grown* [slowly](https://example.org), v. 2, e.g. here. And more.",
            "Trees grown slowly, v. 2, e.g. here.",
        ),
        ("# Only a `heading`", "Only a heading."),
        ('Quotes """ and \\\\ stay', 'Quotes """ and \\\\ stay.'),
        ("", "Candidate calm_trees, promoted from a notebook."),
    ],
)
def test_the_module_opens_with_the_first_sentence_above_the_first_tagged_cell(
    prose: str, first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generated = promoted(f"# %% markdown\n{prose}\n{SETTINGS}{FIT}{CALL}", tmp_path, monkeypatch)

    docstring = run_module(generated)["__doc__"]
    assert docstring.split("\n")[0] == first
    assert "Promoted from trial.ipynb; change it there" in docstring


def test_the_signature_is_completed_and_what_its_author_wrote_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
# %% candidate
from takeoff.contract import Contract as Agreement
from takeoff.settings import Settings as Base
class Settings(Base): pass
class Examples: pass
def numbers(contract: Agreement): return Examples
def fit(fit, validation, settings, contract, seed: float):
    return seed
"""
    generated = promoted(text + CALL.replace("size=2", ""), tmp_path, monkeypatch)

    assert (
        "def fit(\n    fit: TakeoffExamples, validation: TakeoffExamples, settings: Settings, "
        "contract: Agreement, seed: float\n) -> Fitted:" in generated.text
    )
    assert "from takeoff.features import Examples as TakeoffExamples\n" in generated.text
    assert "from takeoff.candidates import Fitted\n" in generated.text
    assert run_module(generated)["fit"].__annotations__["fit"].__module__ == "takeoff.features"


def test_comments_and_layout_are_the_authors_and_unused_imports_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
# %% code
import os

# Far from what follows.

# How calm: more is calmer.
CALM = 3  # of 5
# %% candidate
# About the whole of it.

# Why this one.
import math  # for pi
import json

# %% candidate
def fit(fit, validation, settings, contract, seed):
    # Nothing is learnt.
    return (math.pi *
            CALM)   # much

# The end.
"""
    generated = promoted(SETTINGS + text + CALL, tmp_path, monkeypatch)

    _, body = generated.text.split('"""\n\n', 1)
    assert (
        body
        == """# Why this one.
import math  # for pi

from takeoff.candidates import Fitted
from takeoff.contract import Contract
from takeoff.features import Examples
from takeoff.settings import Settings as Base


class Settings(Base):
    size: int = 3


# How calm: more is calmer.
CALM = 3  # of 5

# About the whole of it.


def fit(fit: Examples, validation: Examples, settings: Settings, contract: Contract, seed: int) -> Fitted:
    # Nothing is learnt.
    return math.pi * CALM  # much


# The end.
"""
    )
    assert generated.needs == (Need("CALM", cell=2, line=6, kind="constant"),)


def test_what_the_linter_says_of_the_authors_code_is_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SETTINGS + FIT.replace("return seed", "l = [None]\n    return seed == None") + CALL

    hints = promoted(text, tmp_path, monkeypatch).hints

    assert any(re.fullmatch(r"line \d+: E711 .*", hint) for hint in hints)
