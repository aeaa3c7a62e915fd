"""The module that a notebook becomes computes what the notebook computed, and is written to be read."""

import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import nbformat
import pytest

from takeoff.promotion.cells import digest, read
from takeoff.promotion.module import Need, body_digest_of, generate, header_of, same_code
from tests.conftest import PROJECT
from tests.promotion.alike import ALIKE
from tests.promotion.awkward import AWKWARD
from tests.promotion.promoting import CALL, NAME, SETTINGS, promoted, run_module, same_answer, written


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_digests_in_the_code_tell_two_modules_apart_and_those_in_the_header_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = promoted(
        f"{SETTINGS}# %% candidate\nSOURCE = '{'a' * 64}'\n{FIT}{CALL}", tmp_path, monkeypatch
    ).text
    header = header_of(text)
    assert header is not None

    assert same_code(text, text.replace(header.digest, "b" * 64).replace(header.body_digest, "c" * 64))
    assert not same_code(text, text.replace("a" * 64, "b" * 64))


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
        == """# ruff: noqa: D101, D103

# Why this one.
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


DOCUMENTED = """
# %% candidate
from takeoff.settings import Settings as Base

class Settings(Base):
    'None.'

def fit(fit, validation, settings, contract, seed):
    'The seed.'
    return seed
"""
NO_DOCSTRING = "# ruff: noqa: D103"
NO_TYPES = "# mypy: ignore-errors"
HEADS = {
    "all is there": ("def one(*, x: int) -> int:\n    'One.'\n    return x", []),
    "no docstring": ("def one(x: int) -> int:\n    return x", [NO_DOCSTRING]),
    "no result": ("def one(x: int):\n    'One.'", [NO_TYPES]),
    "no type": ("def one(*x) -> None:\n    'One.'", [NO_TYPES]),
    "a function within": (
        "def one() -> None:\n    'One.'\n    def two(x): pass\n    two(1)",
        [NO_TYPES],
    ),
    "a start that gives nothing": ("class One:\n    'One.'\n    def __init__(self, x: int): self.x = x", []),
    "neither": ("def one(x):\n    return x", [NO_DOCSTRING, NO_TYPES]),
    "a lambda": ("one = lambda x: x", []),
}


@pytest.mark.parametrize(("cell", "expected"), HEADS.values(), ids=HEADS.keys())
def test_docstrings_and_types_are_asked_for_only_where_their_author_wrote_them_all(
    cell: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"{DOCUMENTED}\n# %% candidate\n{cell}\n"

    generated = promoted(text, tmp_path, monkeypatch)

    head = generated.text.split('"""\n\n', 1)[1].split("from takeoff", 1)[0]
    assert head.split("\n")[:-2] == expected
    assert not [each for each in generated.hints if "D10" in each or "RUF100" in each]


def test_what_is_pulled_in_from_below_stands_right_before_its_first_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
# %% candidate
def first():
    return 1
def fit(fit, validation, settings, contract, seed):
    return helper()
# %% code
def helper():
    return SIZE
SIZE = 3
"""
    body = promoted(SETTINGS + text + CALL, tmp_path, monkeypatch).text

    order = re.findall(r"^(?:class |def )?(Settings|first|SIZE|helper|fit)\b", body, re.MULTILINE)
    assert order == ["Settings", "first", "SIZE", "helper", "fit"]


def test_an_import_that_nothing_uses_ships_only_where_its_author_says_that_it_acts_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "# %% candidate\nfrom IPython.display import display\nimport sklearn.experimental  # noqa: F401\n"

    module = promoted(SETTINGS + text + FIT + CALL, tmp_path, monkeypatch).text

    assert "IPython" not in module
    assert "import sklearn.experimental  # noqa: F401\n" in module


def test_what_the_linter_says_of_the_authors_code_is_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SETTINGS + FIT.replace("return seed", "l = [None]\n    return seed == None") + CALL

    hints = promoted(text, tmp_path, monkeypatch).hints

    assert any(re.fullmatch(r"line \d+: E711 .*", hint) for hint in hints)
