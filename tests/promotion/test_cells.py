"""A notebook file is read as a person counts its cells, whatever was run in it."""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from takeoff.errors import TakeoffError
from takeoff.promotion import cells
from takeoff.promotion.cells import digest, read
from takeoff.promotion.magics import Magic, to_python
from tests.promotion.cell_text import notebook

PLAIN = notebook("# %% markdown\nWords.\n# %% code 3\nx = 1\n# %% candidate\ny = 2\n")


def saved(content: Any, folder: Path) -> Path:
    path = folder / "a notebook.ipynb"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_cells_are_counted_from_one_among_all_cells(tmp_path: Path) -> None:
    found = read(saved(PLAIN, tmp_path)).cells

    assert [(cell.number, cell.kind, cell.source) for cell in found] == [
        (1, "markdown", "Words."),
        (2, "code", "x = 1"),
        (3, "code", "y = 2"),
    ]
    assert [cell.execution_count for cell in found] == [None, 3, None]
    assert [cells.TAG in cell.tags for cell in found] == [False, False, True]


def test_a_source_kept_as_lines_is_the_same_as_one_kept_as_text(tmp_path: Path) -> None:
    as_lines = json.loads(json.dumps(PLAIN))
    for cell in as_lines["cells"]:
        cell["source"] = [f"{line}\r\n" for line in cell["source"].split("\n")]
    assert [cell.source.rstrip() for cell in read(saved(as_lines, tmp_path)).cells] == [
        "Words.",
        "x = 1",
        "y = 2",
    ]


BROKEN = {
    "no JSON": ("x = 1", "is not JSON"),
    "another JSON": ("[1]", "is no notebook"),
    "no format": ('{"cells": []}', "is no notebook"),
    "an old format": ('{"nbformat": 3, "worksheets": []}', "format 3, expected 4 or later"),
    "no cells": ('{"nbformat": 4}', "has no list of cells"),
    "a broken cell": ('{"nbformat": 4, "cells": [1]}', "cell 1 is not as a notebook's cell"),
    "a strange cell": (
        '{"nbformat": 4, "cells": [{"cell_type": "sound", "source": ""}]}',
        "cell 1 is of kind 'sound'",
    ),
    "another language": ('{"nbformat": 4, "metadata": {"kernelspec": {"language": "R"}}}', "is written in R"),
}


@pytest.mark.parametrize(("content", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_a_file_that_is_no_python_notebook_is_refused(content: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(TakeoffError) as refused:
        read(saved(content, tmp_path))

    assert said in str(refused.value)
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir], ids=["missing", "a folder"])
def test_a_notebook_that_is_not_there_is_refused(make: Any, tmp_path: Path) -> None:
    make(tmp_path / "trial.ipynb")

    with pytest.raises(TakeoffError, match=r"trial\.ipynb"):
        read(tmp_path / "trial.ipynb")


def test_the_digest_is_of_code_and_tags_alone(tmp_path: Path) -> None:
    run = nbformat.from_dict(json.loads(json.dumps(PLAIN)))
    run.cells[1].update(execution_count=99, outputs=[nbformat.v4.new_output("stream", text="1")])
    run.metadata["language_info"]["version"] = "3.12"
    run.cells[1].metadata["scrolled"] = True
    tagged = nbformat.from_dict(json.loads(json.dumps(PLAIN)))
    tagged.cells[1].metadata["tags"] = [cells.TAG]

    plain = digest(read(saved(PLAIN, tmp_path)))

    assert digest(read(saved(run, tmp_path))) == plain
    assert digest(read(saved(tagged, tmp_path))) != plain


MAGICS = {
    "a line magic": ("%time\nx = 1", "get_ipython()\nx = 1", [Magic(1, "%time")]),
    "a shell line in a block": (
        "if x:\n    !ls -l 'a\ny",
        "if x:\n    get_ipython()\ny",
        [Magic(2, "!ls -l 'a")],
    ),
    "its result": ("a, b = !ls", "a, b = get_ipython()", [Magic(1, "a, b = !ls")]),
    "one that goes on": ("!ls \\\n  -l\nx", "get_ipython()\n\nx", [Magic(1, "!ls \\")]),
    "help": ("x.y??\n?z", "get_ipython()\nget_ipython()", [Magic(1, "x.y??"), Magic(2, "?z")]),
    "a timed cell": (
        "%%time\nx = 1\n!ls",
        "get_ipython()\nx = 1\nget_ipython()",
        [Magic(1, "%%time"), Magic(3, "!ls")],
    ),
    "a cell in another language": ("\n%%bash\nls\n(", "\n\n\n", [Magic(2, "%%bash")]),
    "a caught cell": (
        "%%capture out --no-stderr\nx",
        "out = get_ipython()\nx",
        [Magic(1, "%%capture out --no-stderr")],
    ),
    "text that looks like one": (
        'x = """\n%time\n"""\n!ls',
        'x = """\n%time\n"""\nget_ipython()',
        [Magic(4, "!ls")],
    ),
    "a remainder over two lines": ("x = (5\n  %y)", "x = (5\n  %y)", []),
    "a remainder beside a magic": (
        "x = (5\n  %y)\n%time",
        "x = (5\n  %y)\nget_ipython()",
        [Magic(3, "%time")],
    ),
}


@pytest.mark.parametrize(("source", "plain", "found"), MAGICS.values(), ids=MAGICS.keys())
def test_what_only_ipython_understands_is_put_aside_on_its_line(
    source: str, plain: str, found: list[Magic]
) -> None:
    assert to_python(source) == (plain, tuple(found))


@given(st.lists(st.sampled_from(["x = 1", "%time", "!ls", "y?", "z = !ls", "'''", "(", ")", "    w", ""])))
def test_putting_magics_aside_keeps_the_number_of_lines_or_says_that_it_is_not_python(
    lines: list[str],
) -> None:
    source = "\n".join(lines)
    try:
        plain = to_python(source)
    except SyntaxError:
        return
    assert plain.source.count("\n") == source.count("\n")
    assert all(lines[magic.line - 1].strip() == magic.text for magic in plain.magics)
