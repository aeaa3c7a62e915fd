"""Whether a notebook runs from top to bottom: what its saved counts say, and names used too early."""

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from takeoff.pilot.code import Code, CodeCell, Place
from takeoff.pilot.finding import Finding

PROVIDED = set(dir(builtins)) | {"get_ipython", "display", "In", "Out", "exit", "quit", "__name__", "__doc__"}
HISTORY = re.compile(r"_+|_i+|_i?\d+|_oh|_dh|_ih|__annotations__|__builtins__")
# What may bring in names that can't be seen.
UNSEEN_CALLS = {"exec", "globals", "locals", "eval", "run_line_magic"}
UNSEEN_MAGICS = ("run ", "pylab", "load ", "store ", "load_ext autotime", "run\t", "sql", "R ")


def order(code: Code) -> list[Finding]:
    """What the counts of the saved file, and the names in it, say against running it from top to bottom."""
    return [*_counts(code), *_names(code)]


def _counts(code: Code) -> Iterator[Finding]:
    cells = [cell for cell in code.cells if cell.tree.body or cell.commands or cell.broken]
    if all(cell.run_as is None for cell in cells):
        return
    in_order = _longest_ascending([cell for cell in cells if cell.run_as is not None])
    for cell in cells:
        if cell.run_as is None:
            yield Finding(
                "order",
                cell.number,
                1,
                "This cell was not run when the notebook was saved, others were.",
                "Delete it if nothing needs it; otherwise restart the kernel, run all cells and save.",
            )
        elif cell.number not in in_order:
            yield Finding(
                "order",
                cell.number,
                1,
                f"Run as [{cell.run_as}], out of the order of the cells around it.",
                "Restart the kernel, run all cells and save; move what breaks to where it belongs.",
            )


def _longest_ascending(cells: list[CodeCell]) -> set[int]:
    """Numbers of the most cells whose counts ascend; of several such sets, that of the first cells."""
    counts = [cell.run_as or 0 for cell in cells]
    lengths = [1] * len(cells)
    for place in reversed(range(len(cells))):
        after = [lengths[k] for k in range(place + 1, len(cells)) if counts[k] > counts[place]]
        lengths[place] += max(after, default=0)
    kept: set[int] = set()
    left, last = max(lengths, default=0), 0
    for cell, count, length in zip(cells, counts, lengths, strict=True):
        if length == left and count > last:
            kept.add(cell.number)
            left, last = left - 1, count
    return kept


@dataclass
class _Names:
    """Names as a notebook's cells bind and use them, in the order of the file."""

    bound: set[str] = field(default_factory=lambda: set(PROVIDED))
    later: dict[str, list[tuple[str, Place]]] = field(default_factory=dict)  # free names of functions
    missed: list[tuple[str, Place]] = field(default_factory=list)
    first: dict[str, int] = field(default_factory=dict)  # cell that binds a name first
    checked: set[str] = field(default_factory=set)

    def bind(self, name: str, cell: int) -> None:
        self.bound.add(name)
        self.first.setdefault(name, cell)

    def use(self, name: str, place: Place) -> None:
        if name not in self.bound and not HISTORY.fullmatch(name):
            self.missed.append((name, place))
        if name in self.later and name not in self.checked:
            self.checked.add(name)
            for free, where in self.later[name]:
                self.use(free, where)


def _names(code: Code) -> Iterator[Finding]:
    names = _Names()
    for cell in code.cells:
        for command in cell.commands:
            if found := re.match(r"capture\s+(?:--\S+\s+)*(\w+)", command.text):
                names.bind(found[1], cell.number)
        _walk(cell.tree.body, cell.number, names)
    unseen = _has_unseen(code)
    for function in set(names.later) - names.checked:
        names.checked.add(function)
        names.missed += [each for each in names.later[function] if each[0] not in names.bound]
    told: set[str] = set()
    for name, place in names.missed:
        at = names.first.get(name)
        if (
            name in told
            or (at is None and unseen)
            or (at is not None and name in names.bound and at < place.cell)
        ):
            continue
        told.add(name)
        yield Finding(
            "order",
            place.cell,
            place.line,
            f"`{name}` is used here, but defined {f'only in cell {at}' if at else 'in no cell'}.",
            f"Move the definition of `{name}` above this cell."
            if at
            else f"Write the cell that defines `{name}` again, above this one; it was deleted or renamed.",
        )


def _has_unseen(code: Code) -> bool:
    stars = any(
        isinstance(node, ast.ImportFrom) and any(name.name == "*" for name in node.names)
        for cell in code.cells
        for node in ast.walk(cell.tree)
    )
    return (
        stars
        or any(call.last in UNSEEN_CALLS for call in code.calls)
        or any(each.mark != "!" and each.text.startswith(UNSEEN_MAGICS) for each in code.commands)
        or any(cell.broken for cell in code.cells)
    )


def _walk(body: list[ast.stmt], cell: int, names: _Names) -> None:
    for statement in body:
        _Visitor(cell, names).visit(statement)


class _Visitor(ast.NodeVisitor):
    """Uses and bindings of the top level, in the order in which they happen."""

    def __init__(self, cell: int, names: _Names, hidden: frozenset[str] = frozenset()) -> None:
        self.cell, self.names, self.hidden = cell, names, hidden

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            if node.id not in self.hidden:
                self.names.use(node.id, Place(self.cell, node.lineno))
        elif isinstance(node.ctx, ast.Store):
            self.names.bind(node.id, self.cell)
        elif isinstance(node.ctx, ast.Del):
            self.names.bound.discard(node.id)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.names.use(node.target.id, Place(self.cell, node.lineno))
        self.visit(node.value)
        self.visit(node.target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.annotation)
        if node.value:
            self.visit(node.value)
            self.visit(node.target)

    def visit_For(self, node: ast.For) -> None:
        for part in (node.iter, node.target, *node.body, *node.orelse):
            self.visit(part)

    def visit_Import(self, node: ast.Import) -> None:
        for name in node.names:
            self.names.bind(name.asname or name.name.partition(".")[0], self.cell)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for name in node.names:
            self.names.bind(name.asname or name.name, self.cell)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.names.bind(node.name, self.cell)
        self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> None:
        caught = {
            each.id
            for handler in node.handlers
            for each in ast.walk(handler.type or ast.Name("NameError", ast.Load()))
            if isinstance(each, ast.Name)
        }
        before = len(self.names.missed)
        for statement in node.body:
            self.visit(statement)
        if caught & {"NameError", "Exception"}:  # the author asks whether a name is there
            del self.names.missed[before:]
        for part in (*node.handlers, *node.orelse, *node.finalbody):
            self.visit(part)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name:
            self.names.bind(node.name, self.cell)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        now = (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults, node.returns)
        for part in (*now, *(each.annotation for each in arguments)):
            if part is not None:
                self.visit(part)
        self.names.later[node.name] = list(_free(node, self.cell, self.hidden))
        self.names.checked.discard(node.name)
        self.names.bind(node.name, self.cell)
        for each in ast.walk(node):  # what it declares global, it binds for all
            for name in each.names if isinstance(each, ast.Global) else ():
                self.names.bind(name, self.cell)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in (*node.decorator_list, *node.bases, *(each.value for each in node.keywords)):
            self.visit(part)
        methods = [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
        others = [each for each in node.body if each not in methods]
        own = frozenset(_bound_in(others)) | {each.name for each in methods}
        for statement in others:
            _Visitor(self.cell, _Scratch(self.names, own), self.hidden | own).visit(statement)
        free = [each for method in methods for each in _free(method, self.cell, self.hidden | {node.name})]
        self.names.later[node.name] = free
        self.names.bind(node.name, self.cell)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for part in node.args.defaults:
            self.visit(part)
        own = frozenset(_arguments(node.args))
        _Visitor(self.cell, self.names, self.hidden | own).visit(node.body)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        own = frozenset(
            each.id
            for generator in node.generators
            for each in ast.walk(generator.target)
            if isinstance(each, ast.Name)
        )
        inner = _Visitor(self.cell, self.names, self.hidden | own)
        self.visit(node.generators[0].iter)
        for generator in node.generators:
            for part in (*([] if generator is node.generators[0] else [generator.iter]), *generator.ifs):
                inner.visit(part)
        for part in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
            inner.visit(part)

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehension  # noqa: N815


class _Scratch(_Names):
    """The names of a class body: what it binds stays within."""

    def __init__(self, outer: _Names, own: frozenset[str]) -> None:
        super().__init__(outer.bound | own, outer.later, outer.missed, dict(outer.first), outer.checked)


def _free(
    node: ast.FunctionDef | ast.AsyncFunctionDef, cell: int, hidden: frozenset[str]
) -> Iterator[tuple[str, Place]]:
    """Names that a function takes from outside, each at its first use."""
    declared = {name for each in ast.walk(node) if isinstance(each, ast.Global) for name in each.names}
    local = (set(_arguments(node.args)) | set(_bound_in(node.body)) | set(hidden)) - declared
    seen: set[str] = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Lambda | ast.FunctionDef | ast.AsyncFunctionDef):
            local |= set(_arguments(each.args))
    guarded = {
        id(inner)
        for each in ast.walk(node)
        if isinstance(each, ast.Try)
        for statement in each.body
        for inner in ast.walk(statement)
    }
    for statement in node.body:
        for each in ast.walk(statement):
            if (
                isinstance(each, ast.Name)
                and isinstance(each.ctx, ast.Load)
                and each.id not in local | seen
                and id(each) not in guarded
                and each.id not in PROVIDED
            ):
                seen.add(each.id)
                yield each.id, Place(cell, each.lineno)


def _bound_in(body: list[ast.stmt]) -> Iterator[str]:
    for statement in body:
        for node in ast.walk(statement):
            match node:
                case ast.Name(id=name, ctx=ast.Store()):
                    yield name
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    yield name
                case ast.Import(names=names) | ast.ImportFrom(names=names):
                    yield from (each.asname or each.name.partition(".")[0] for each in names)
                case ast.ExceptHandler(name=str() as name) | ast.MatchAs(name=str() as name):
                    yield name


def _arguments(arguments: ast.arguments) -> Iterator[str]:
    every = [
        *arguments.posonlyargs,
        *arguments.args,
        *arguments.kwonlyargs,
        arguments.vararg,
        arguments.kwarg,
    ]
    return (each.arg for each in every if each)
