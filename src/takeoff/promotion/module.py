"""From a notebook to the text of its candidate's module, without running anything."""

import hashlib
import keyword
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import libcst as cst

from takeoff.errors import TakeoffError
from takeoff.promotion.cells import TAG, Notebook, digest, shown, tagged, title
from takeoff.promotion.refusal import refuse
from takeoff.promotion.ruff import formatted, hints
from takeoff.promotion.selection import Selection, select
from takeoff.promotion.signature import problems_of, with_types
from takeoff.promotion.spared import spared
from takeoff.promotion.units import Unit, right_above, sources_of

FOLDER = Path("src") / "takeoff" / "candidates"
WIDTH = 100  # of the header's prose
QUOTES = '"""'

FROM = re.compile(r"^Promoted from (?P<notebook>.+); change it there and promote again\.$", re.MULTILINE)
OF_NOTEBOOK = re.compile(r"^SHA-256 of the notebook's code: (?P<digest>[0-9a-f]{64})$", re.MULTILINE)
OF_MODULE = re.compile(r"^SHA-256 of this module: (?P<digest>[0-9a-f]{64})$", re.MULTILINE)
LINES = (FROM, OF_NOTEBOOK, OF_MODULE)


class Need(NamedTuple):
    """What the tagged cells use and an untagged cell defines, so that it was pulled in.

    Attributes:
        cell, line: of its definition, counted from 1.
    """

    name: str
    cell: int
    line: int
    kind: Literal["import", "function", "class", "constant"]


class Generated(NamedTuple):
    """A module, not written yet.

    Attributes:
        text: formatted, with its header.
        digest: of the notebook, see `cells.digest`.
        needs: what was pulled in from untagged cells, in the module's order.
        hints: what the project's linter says of the author's code: line of `text`, rule, words.
    """

    text: str
    digest: str
    needs: tuple[Need, ...]
    hints: tuple[str, ...] = ()


class Header(NamedTuple):
    """What a promoted module says of itself.

    Attributes:
        notebook: path from the project folder, with forward slashes.
        digest: of the notebook's code when it was promoted.
        body_digest: of the module when it was promoted, see `body_digest_of`.
    """

    notebook: str
    digest: str
    body_digest: str


def generate(notebook: Notebook, name: str) -> Generated:
    """The module of a notebook's tagged cells and of all that they need.

    The same notebook gives the same bytes. Run in the project folder: it is formatted by its rules.

    Raises:
        TakeoffError: each thing that can't be promoted, with its name, cell and line and what to do.
    """
    _check_name(name)
    if not tagged(notebook):
        raise TakeoffError(
            f"{shown(notebook.path)} has no code cell tagged `{TAG}`. Tag those that define `Settings` and "
            f"`fit`: in JupyterLab select a cell, open the property inspector (the gears), add `{TAG}`, save."
        )
    selected = select(sources_of(notebook))
    problems = [*selected.problems, *problems_of(selected.live, tagged(notebook)[0].number)]
    if problems:
        raise refuse(notebook.path, problems)
    path = FOLDER / f"{name}.py"
    code = digest(notebook)
    plain = formatted(_header(notebook, name, code) + _written(selected), path)
    text = _sealed(_headed(plain, spared(plain, path, selected.body)))
    return Generated(text, code, tuple(_needs(selected)), hints(text, path))


def header_of(text: str) -> Header | None:
    """What the docstring of a promoted module says; None where the module was not promoted."""
    docstring = _docstring(text)
    notebook, code, module = (pattern.search(docstring) for pattern in LINES)
    if notebook is None or code is None or module is None:
        return None
    return Header(notebook["notebook"], code["digest"], module["digest"])


def is_header_changed(text: str) -> bool:
    """Whether a module still says that it was promoted, but not as promotion said it."""
    return header_of(text) is None and any(pattern.search(text) for pattern in LINES)


def body_digest_of(text: str) -> str:
    """SHA-256, in hexadecimal, of a promoted module as it is now, its own digest left out.

    It equals `Header.body_digest` as long as nobody changed the module by hand.
    """
    return hashlib.sha256(_without(text, OF_MODULE).encode()).hexdigest()


def same_code(text: str, other: str) -> bool:
    """Whether two promoted modules are the same but for the two digests in their docstrings."""
    one, two = (_without(each, OF_NOTEBOOK, OF_MODULE) for each in (text, other))
    return one == two


def _check_name(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or not name.isascii():
        raise TakeoffError(
            f"A candidate can't be called '{name}': it names a Python module. Take letters, digits and _, "
            "starting with a letter, and no word of Python's own, as in `--as calm_trees`."
        )


def _header(notebook: Notebook, name: str, code: str) -> str:
    """The docstring, its own digest still to be filled in."""
    first = title(notebook) or f"Candidate {name}, promoted from a notebook."
    safe = first.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    about = "\n".join(textwrap.wrap(safe, WIDTH, break_long_words=False, break_on_hyphens=False))
    return f'''"""{about}

Promoted from {shown(notebook.path)}; change it there and promote again.
SHA-256 of the notebook's code: {code}
SHA-256 of this module: {"0" * len(code)}
"""

'''


def _headed(text: str, comments: Sequence[str]) -> str:
    """A module with comments right below its docstring."""
    if not comments:
        return text
    opening, docstring, code = text.split(QUOTES, 2)
    return QUOTES.join([opening, docstring, "\n\n" + "\n".join(comments) + code])


def _sealed(text: str) -> str:
    return OF_MODULE.sub(f"SHA-256 of this module: {body_digest_of(text)}", text, count=1)


def _without(text: str, *lines: re.Pattern[str]) -> str:
    """A module without some lines of its docstring, with plain line feeds."""
    docstring = plain = _docstring(text)
    for line in lines:
        plain = line.sub("", plain)
    return text.replace("\r\n", "\n").replace(docstring, plain, 1)


def _docstring(text: str) -> str:
    """The text of the docstring that a module opens with; empty where it opens otherwise."""
    inside = text.replace("\r\n", "\n").split(QUOTES, 2)
    return inside[1] if len(inside) > 2 and not inside[0].strip() else ""


def _written(selected: Selection) -> str:
    bound = {name: unit for unit in (*selected.imports, *selected.body) for name in unit.names.binds}
    fit = selected.live["fit"]
    typed = with_types(fit.node, fit.code, bound) if fit and isinstance(fit.node, cst.FunctionDef) else None
    imports = [*(typed.imports if typed else ()), *_imports(selected.imports)]
    futures = sorted({unit.code for unit in selected.futures})
    body = [
        unit._replace(code=typed.code) if fit and typed and unit.place == fit.place else unit
        for unit in selected.body
    ]
    return "\n".join([*futures, "", *imports, "", *_body(body), ""])


def _imports(units: Sequence[Unit]) -> Iterator[str]:
    """Import statements: as written where all of one is needed, else with the names that are."""
    parts: dict[int, list[Unit]] = {}
    for unit in units:
        parts.setdefault(unit.statement, []).append(unit)
    for each in parts.values():
        first = each[0]
        yield from right_above(first.lead) if first.tagged else ()
        names = first.node.names if isinstance(first.node, cst.Import | cst.ImportFrom) else ()
        whole = not isinstance(names, cst.ImportStar) and len(each) == len(names)
        yield from [first.whole] if whole else [unit.code for unit in each]


def _body(units: Iterable[Unit]) -> Iterator[str]:
    """The definitions, each with what stands above it; a blank line where they come from another cell."""
    cell = 0
    for unit in units:
        if unit.cell != cell:
            yield ""
        cell = unit.cell
        lead = unit.lead if unit.tagged else right_above(unit.lead)
        yield from lead
        yield from [unit.code] if unit.code else []


def _needs(selected: Selection) -> Iterator[Need]:
    for unit in (*selected.imports, *selected.body):
        if not unit.tagged:
            kind = unit.kind
            for name, line in unit.names.binds.items():
                if kind == "function" or kind == "class" or kind == "constant":
                    yield Need(name, unit.cell, line, kind)
                else:
                    yield Need(name, unit.cell, line, "import")
