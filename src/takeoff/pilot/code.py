"""The code of a notebook as syntax trees: cells, what they import, what they call, and what is no Python.

Nothing is run. Lines that only a notebook understands (``!ls``, ``%matplotlib inline``) are taken out of the
tree, keep their line, and are kept as `Command`.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeVar

from takeoff.promotion.cells import Notebook

Node = TypeVar("Node", bound=ast.AST)

# Cell magics whose body is Python all the same.
PYTHON_BODIES = {"time", "timeit", "capture", "prun", "memit", "mprun", "python", "python3", "skip", "ai"}
COMMAND = re.compile(r"^(?P<indent>\s*)(?P<bound>[\w\s,.\[\]'\"]+=\s*)?(?P<mark>[!%]{1,2})\s*(?P<text>\S.*)$")
TIMED = re.compile(r"(?:time|timeit|prun|memit)\s+(?:-\w+\s*\d*\s+)*(\S.*)$")
HELP = re.compile(r"^(\s*)(\?{1,2}\s*[\w.]+|[\w.]+\s*\?{1,2})\s*$")


class Place(NamedTuple):
    """Where something stands: number of the cell among all cells, and line in it, both counted from 1."""

    cell: int
    line: int


class Command(NamedTuple):
    """A line that is no Python: `text` follows the mark, which is ! for a shell and % for a magic."""

    place: Place
    mark: str
    text: str


class CodeCell(NamedTuple):
    """A code cell: its tree (empty where `broken` says at which line it is no Python) and its commands."""

    number: int
    source: str
    tree: ast.Module
    commands: tuple[Command, ...]
    run_as: int | None
    broken: int | None


class Call(NamedTuple):
    """A call: its place, its dotted name with imports resolved, as in ``sklearn.svm.SVC().fit``."""

    place: Place
    name: str
    node: ast.Call

    @property
    def last(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def root(self) -> str:
        return self.name.partition(".")[0]


class Import(NamedTuple):
    """An imported module, and whether the code goes on without it (it stands in a try that catches that)."""

    place: Place
    module: str
    optional: bool


class Code(NamedTuple):
    """All code of a notebook, in the order of the file.

    Attributes:
        aliases: what each imported name stands for, as in ``{"pd": "pandas"}``.
    """

    cells: tuple[CodeCell, ...]
    imports: tuple[Import, ...]
    aliases: Mapping[str, str]
    calls: tuple[Call, ...]

    @property
    def commands(self) -> tuple[Command, ...]:
        return tuple(each for cell in self.cells for each in cell.commands)


def parse(notebook: Notebook) -> Code:
    """The code of a notebook."""
    cells = tuple(
        _cell(cell.number, cell.source, cell.execution_count)
        for cell in notebook.cells
        if cell.kind == "code"
    )
    imports, aliases = _imports(cells)
    calls = tuple(
        Call(Place(cell.number, node.lineno), dotted(node.func, aliases), node)
        for cell in cells
        for node in sorted(_of(cell.tree, ast.Call), key=lambda each: (each.lineno, each.col_offset))
    )
    return Code(cells, imports, aliases, calls)


def dotted(node: ast.expr | None, aliases: Mapping[str, str]) -> str:
    """The name of an expression, imports resolved; () and [] stand for calls and subscripts in it."""
    match node:
        case ast.Name(id=name):
            return aliases.get(name, name)
        case ast.Attribute(value=value, attr=attribute):
            return f"{dotted(value, aliases)}.{attribute}"
        case ast.Call(func=function):
            return f"{dotted(function, aliases)}()"
        case ast.Subscript(value=value):
            return f"{dotted(value, aliases)}[]"
    return "?"


def argument(call: ast.Call, name: str, position: int | None = None) -> ast.expr | None:
    """The argument of a call by its name, or by its position."""
    named = next((each.value for each in call.keywords if each.arg == name), None)
    if named is None and position is not None and position < len(call.args):
        return call.args[position]
    return named


def constant(node: ast.expr | None) -> object:
    """What a literal says, also one with a sign; None for anything else."""
    try:
        return ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def has_spread(call: ast.Call) -> bool:
    """Whether arguments come from somewhere else, as in ``f(**settings)``."""
    return any(each.arg is None for each in call.keywords)


def strings(cell: CodeCell) -> Iterator[tuple[Place, str]]:
    """Every text in the code of a cell that is no docstring; of an f-string, its parts."""
    prose = {
        id(node.value)
        for node in ast.walk(cell.tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(cell.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield Place(cell.number, node.lineno), node.value


def tokens(name: str) -> frozenset[str]:
    """The words of a name, in lower case: ``X_trainSet2`` has x, train and set."""
    return frozenset(part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name))


def identifiers(code: Code) -> frozenset[str]:
    """Every name and attribute in the code, imports and definitions too."""
    found = set(code.aliases) | set(code.aliases.values())
    for cell in code.cells:
        for node in ast.walk(cell.tree):
            match node:
                case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                    found.add(name)
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    found.add(name)
    return frozenset(found)


def _of(tree: ast.AST, kind: type[Node]) -> Iterator[Node]:
    return (node for node in ast.walk(tree) if isinstance(node, kind))


def _cell(number: int, source: str, count: int | None) -> CodeCell:
    source = _without_indent(source)
    try:
        return CodeCell(number, source, ast.parse(source), (), count, None)
    except (SyntaxError, ValueError):
        plain, commands = _without_commands(number, source)
    try:
        return CodeCell(number, source, ast.parse(plain), commands, count, None)
    except SyntaxError as error:
        return CodeCell(number, source, ast.Module([], []), commands, count, error.lineno or 1)
    except ValueError:
        return CodeCell(number, source, ast.Module([], []), commands, count, 1)


def _without_indent(source: str) -> str:
    """Source without the indent of its first line, as a notebook runs it."""
    first = next((line for line in source.split("\n") if line.strip()), "")
    indent = first[: len(first) - len(first.lstrip())]
    return "\n".join(line.removeprefix(indent) for line in source.split("\n")) if indent else source


def _without_commands(number: int, source: str) -> tuple[str, tuple[Command, ...]]:
    """Source with the lines that are no Python made harmless, and those lines."""
    plain: list[str] = []
    commands: list[Command] = []
    lines = iter(enumerate(source.split("\n"), start=1))
    for line, text in lines:
        if HELP.match(text):
            plain.append(f"{text[: len(text) - len(text.lstrip())]}pass")
            continue
        found = COMMAND.match(text)
        if not found:
            plain.append(text)
            continue
        mark, said = found["mark"], found["text"]
        if mark == "%" and (timed := TIMED.match(said)) and not found["bound"]:
            plain.append(f"{found['indent']}{timed[1]}")  # a statement, whose time is told
            continue
        plain.append(f"{found['indent']}{found['bound'] + 'None' if found['bound'] else 'pass'}")
        while said.endswith("\\") and (following := next(lines, None)):
            said = f"{said[:-1]} {following[1].strip()}"
            plain.append("")
        commands.append(Command(Place(number, line), mark, said))
        if mark == "%%" and said.split()[0] not in PYTHON_BODIES:
            rest = [body for _, body in lines]
            inner = (
                "!" if said.split()[0] in ("bash", "sh", "script", "cmd", "system", "sx") else said.split()[0]
            )
            commands += [
                Command(Place(number, line + offset), inner, body)
                for offset, body in enumerate(rest, start=1)
                if body.strip()
            ]
            plain += [""] * len(rest)
    return "\n".join(plain), tuple(commands)


def _imports(cells: tuple[CodeCell, ...]) -> tuple[tuple[Import, ...], dict[str, str]]:
    imports: list[Import] = []
    aliases: dict[str, str] = {}
    for cell in cells:
        optional = {
            id(inner)
            for node in _of(cell.tree, ast.Try)
            if any(_catches_import(handler) for handler in node.handlers)
            for statement in node.body
            for inner in ast.walk(statement)
        }
        for node in ast.walk(cell.tree):
            place = Place(cell.number, getattr(node, "lineno", 1))
            if isinstance(node, ast.Import):
                for name in node.names:
                    imports.append(Import(place, name.name, id(node) in optional))
                    aliases[name.asname or name.name.partition(".")[0]] = (
                        name.name if name.asname else name.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                imports.append(Import(place, node.module, id(node) in optional))
                aliases |= {
                    name.asname or name.name: f"{node.module}.{name.name}"
                    for name in node.names
                    if name.name != "*"
                }
    return tuple(imports), aliases


def _catches_import(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or any(
        isinstance(node, ast.Name) and node.id in ("ImportError", "ModuleNotFoundError", "Exception")
        for node in ast.walk(handler.type)
    )
