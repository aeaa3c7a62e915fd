"""The statements of a notebook as units that a module takes or leaves."""

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Literal, NamedTuple

import libcst as cst
from libcst import matchers

from takeoff.errors import TakeoffError
from takeoff.promotion import magics
from takeoff.promotion.cells import TAG, Cell, Notebook, shown
from takeoff.promotion.names import Analysed, Names, analyse, bound_by, dotted

Kind = Literal["import", "future", "function", "class", "constant", "guard", "text", "delete", "other"]

# Methods that change what they are called on.
CHANGING = re.compile(
    "add|append|clear|discard|eval|extend|fit|fit_transform|insert|load_state_dict|move_to_end|partial_fit|"
    "pop|popitem|put|remove|reverse|seed|set_params|setdefault|sort|train|update|[a-z]+_"
)


POSTPONED = re.compile(r"^from __future__ import .*\bannotations\b", re.MULTILINE)


class Unit(NamedTuple):
    """One statement at the top level of a cell; of an import, one for each name.

    Attributes:
        place: among all units of the notebook.
        cell, line: where it stands, counted from 1.
        kind: `guard` is an `if` or `try` around imports, `text` a comment or a string.
        lead: the comments and empty lines right above.
        code: as its author wrote it, without `lead`.
        whole: of an import, the statement of which it is a part; else as `code`.
        statement: place of the first unit of the same statement, which only imports share.
        names: that it binds and needs.
        changes: names of objects that it changes when it runs.
        node: as parsed; None for a comment.
        imported: of an import, module and name (None for a module as a whole).
    """

    place: int
    cell: int
    line: int
    tagged: bool
    kind: Kind
    lead: tuple[str, ...]
    code: str
    whole: str
    statement: int
    names: Names
    changes: frozenset[str] = frozenset()
    node: cst.CSTNode | None = None
    imported: tuple[str, str | None] | None = None


class Source(NamedTuple):
    """A code cell, as Python."""

    cell: Cell
    plain: magics.Plain
    analysed: Analysed


def sources_of(notebook: Notebook) -> tuple[Source, ...]:
    """The code cells, as Python.

    Raises:
        TakeoffError: a cell is not valid Python.
    """
    code = [cell for cell in notebook.cells if cell.kind == "code"]
    # What a cell imports from the future holds for the whole of it, and for all below.
    first = next((cell.number for cell in code if POSTPONED.search(cell.source)), len(notebook.cells) + 1)
    return tuple(_source(cell, cell.number >= first, shown(notebook.path)) for cell in code)


def units_of(sources: tuple[Source, ...]) -> tuple[Unit, ...]:
    """All statements of the cells, in the notebook's order."""
    units: list[Unit] = []
    for source in sources:
        for unit in _units(source):
            place = len(units)
            units.append(unit._replace(place=place, statement=place - unit.statement))
    return tuple(units)


def _source(cell: Cell, postponed: bool, notebook: str) -> Source:
    try:
        plain = magics.to_python(cell.source)
        return Source(cell, plain, analyse(plain.source, postponed))
    except SyntaxError as error:
        line, words = error.lineno, error.msg
    except cst.ParserSyntaxError as error:
        line, words = error.raw_line, error.message
    raise TakeoffError(
        f"{notebook} is not valid Python in cell {cell.number}, line {line}: {words}. "
        "Correct it, and run the notebook from top to bottom."
    )


def _units(source: Source) -> Iterator[Unit]:
    module, cell = source.analysed.module, source.cell
    lead = [_comment(line) for line in module.header]
    for statement in module.body:
        lead += [_comment(line) for line in statement.leading_lines]
        for node, code in _parts(statement, module):
            names = source.analysed.names[node]
            unit = Unit(
                place=0,
                cell=cell.number,
                line=names.line,
                tagged=TAG in cell.tags,
                kind=_kind(node, names),
                lead=tuple(lead),
                code=code,
                whole=code,
                statement=0,
                names=names,
                changes=_changed(node),
                node=node,
            )
            apart = lead[: len(lead) - len(right_above(lead))]
            if any(apart):
                yield _text(cell, apart)
                unit = unit._replace(lead=tuple(right_above(lead)))
            yield from _aliases(unit, node, module) if unit.kind in ("import", "future") else [unit]
            lead = []
    tail = [*lead, *(_comment(line) for line in module.footer)]
    if any(tail):
        yield _text(cell, tail)


def right_above(lead: Sequence[str]) -> list[str]:
    """The comments between which and a statement there is no empty line."""
    return list(takewhile(bool, reversed(lead)))[::-1]


def _text(cell: Cell, lines: Sequence[str]) -> Unit:
    nothing = Names(1, {}, (), ())
    return Unit(0, cell.number, 1, TAG in cell.tags, "text", tuple(lines), "", "", 0, nothing)


def _parts(
    statement: cst.SimpleStatementLine | cst.BaseCompoundStatement, module: cst.Module
) -> Iterator[tuple[cst.CSTNode, str]]:
    """The statements of a line that holds several, each with its text; any other statement as it is."""
    bare = statement.with_changes(leading_lines=())
    if not isinstance(bare, cst.SimpleStatementLine) or not isinstance(statement, cst.SimpleStatementLine):
        yield statement, module.code_for_node(bare).strip("\n")
        return
    for node in statement.body:
        alone = node.with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
        line = bare.with_changes(body=[alone])
        if node is not statement.body[-1]:
            line = line.with_changes(trailing_whitespace=cst.TrailingWhitespace())
        yield node, module.code_for_node(line).strip("\n")


def _aliases(unit: Unit, node: cst.CSTNode, module: cst.Module) -> Iterator[Unit]:
    """One unit for each name of an import; of those behind the first, nothing stands above."""
    if not isinstance(node, cst.Import | cst.ImportFrom) or isinstance(node.names, cst.ImportStar):
        yield unit
        return
    source = "" if isinstance(node, cst.Import) else "." * len(node.relative) + dotted(node.module)
    for place, alias in enumerate(node.names):
        name = bound_by(alias)
        line = unit.names.binds.get(name, unit.line)
        asked = dotted(alias.name)
        kept = alias.with_changes(comma=cst.MaybeSentinel.DEFAULT)
        single: cst.Import | cst.ImportFrom = node.with_changes(names=[kept])
        if isinstance(single, cst.ImportFrom):
            single = single.with_changes(lpar=None, rpar=None)
            imported: tuple[str, str | None] = (source, asked)
        else:
            imported = (asked, None)
        yield unit._replace(
            line=line,
            statement=place,
            lead=unit.lead if place == 0 else (),
            names=unit.names._replace(line=line, binds={name: line}),
            imported=imported,
            code=unit.whole
            if len(node.names) == 1
            else module.code_for_node(cst.SimpleStatementLine([single])).strip("\n"),
        )


def _kind(node: cst.CSTNode, names: Names) -> Kind:
    match node:
        case cst.ImportFrom(module=cst.Name(value="__future__")):
            return "future"
        case cst.Import() | cst.ImportFrom():
            return "import"
        case cst.FunctionDef():
            return "function"
        case cst.ClassDef():
            return "class"
        case cst.Assign(value=cst.Lambda()) | cst.AnnAssign(value=cst.Lambda()):
            return "function"
        case cst.Assign() | cst.AnnAssign() | cst.AugAssign():
            return "constant" if names.binds else "other"
        case cst.Expr(value=cst.NamedExpr()):
            return "constant"
        case cst.Expr(value=cst.SimpleString() | cst.ConcatenatedString()):
            return "text"
        case cst.If() | cst.Try() if _guards_imports(node):
            return "guard"
        case cst.Del():
            return "delete"
    return "other"


def _guards_imports(node: cst.If | cst.Try) -> bool:
    """Whether there is an import in it, and nothing but imports, constants, `pass` and `raise`."""
    allowed = cst.Import | cst.ImportFrom | cst.Assign | cst.AnnAssign | cst.Pass | cst.Raise
    lines = matchers.findall(node, matchers.SimpleStatementLine())
    parts = [part for line in lines if isinstance(line, cst.SimpleStatementLine) for part in line.body]
    blocks = matchers.findall(
        node,
        matchers.FunctionDef() | matchers.ClassDef() | matchers.For() | matchers.While() | matchers.With(),
    )
    return (
        not blocks
        and all(isinstance(part, allowed) for part in parts)
        and any(isinstance(part, cst.Import | cst.ImportFrom) for part in parts)
    )


def _changed(node: cst.CSTNode) -> frozenset[str]:
    """Names of the objects that a statement changes: by setting or deleting a part, or by a method."""
    targets: list[cst.CSTNode] = []
    for found in running(node):
        match found:
            case cst.AssignTarget(target=target):
                targets += _leaves(target)
            case cst.AugAssign(target=target) | cst.AnnAssign(target=target) | cst.Del(target=target):
                targets += _leaves(target)
            case cst.Call(func=cst.Attribute(value=owner, attr=cst.Name(value=method))):
                if CHANGING.fullmatch(method):
                    targets.append(cst.Attribute(owner, cst.Name(method)))
    parts = [each for each in targets if isinstance(each, cst.Attribute | cst.Subscript)]
    return frozenset(name for each in parts if (name := root(each)))


def root(node: cst.CSTNode) -> str:
    """The name at the start of `name.a[0].b(c)`; empty where it starts with something else."""
    while True:
        match node:
            case cst.Name(value=name):
                return name
            case cst.Attribute(value=inner) | cst.Subscript(value=inner) | cst.Call(func=inner):
                node = inner
            case _:
                return ""


def running(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """A node and all in it that runs with it: not what stands in functions."""
    yield node
    for child in node.children:
        is_body = isinstance(node, cst.FunctionDef | cst.Lambda) and child is node.body
        if not is_body:
            yield from running(child)


def _leaves(target: cst.CSTNode) -> Iterator[cst.CSTNode]:
    if isinstance(target, cst.Tuple | cst.List):
        for element in target.elements:
            yield from _leaves(element.value)
    else:
        yield target


def _comment(line: cst.EmptyLine) -> str:
    return line.comment.value if line.comment else ""
