"""Which global names the statements of a text bind and need: libcst's scope analysis, with Python's own rules
where it falls short (names bound by `match`, by `:=` in a comprehension, and after their first use)."""

import ast
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import libcst as cst
from libcst import matchers, metadata
from libcst.metadata.scope_provider import LocalScope

Texts = cst.SimpleString | cst.ConcatenatedString
Functions = cst.FunctionDef | cst.Lambda
OWN = (
    matchers.MatchAs()
    | matchers.MatchStar()
    | matchers.MatchMapping()
    | matchers.MatchKeywordElement()
    | matchers.NamedExpr()
    | matchers.Global()
)


class Use(NamedTuple):
    """A global name that a statement needs, and the line where it does."""

    name: str
    line: int


class Names(NamedTuple):
    """What one statement at the top level has to do with global names.

    Attributes:
        line: where it stands, counted from 1; of a decorated definition, the line of its name.
        binds: names that it binds when it runs, with the line that does.
        now: names it needs when it runs.
        later: names that functions in it need when they are called.
    """

    line: int
    binds: Mapping[str, int]
    now: tuple[Use, ...]
    later: tuple[Use, ...]


class Analysed(NamedTuple):
    """A parsed text.

    Attributes:
        module: as libcst has it.
        names: of each statement at the top level; of a line of several statements, each of them.
    """

    module: cst.Module
    names: Mapping[cst.CSTNode, Names]


def analyse(source: str, postponed: bool = False) -> Analysed:
    """The names of each statement at the top level of a text.

    Args:
        source: Python.
        postponed: whether `from __future__ import annotations` is in force.

    Raises:
        libcst.ParserSyntaxError: it can't be parsed.
    """
    wrapper = metadata.MetadataWrapper(cst.parse_module(source))
    found = _Analysis(wrapper, postponed)
    return Analysed(wrapper.module, {node: found.names(node) for node in _statements(wrapper.module)})


class _Analysis:
    """Every use and every binding of a global name, by the statement around it."""

    def __init__(self, wrapper: metadata.MetadataWrapper, postponed: bool) -> None:
        self.postponed = postponed
        self.parents = wrapper.resolve(metadata.ParentNodeProvider)
        self.positions = wrapper.resolve(metadata.PositionProvider)
        self.own = _OwnNames(wrapper.module, self.parents)
        self.uses: dict[cst.CSTNode, list[tuple[Use, bool]]] = {}
        self.bindings: dict[cst.CSTNode, dict[str, int]] = {}
        for scope in dict.fromkeys(wrapper.resolve(metadata.ScopeProvider).values()):
            if scope is not None:
                self._collect(scope)
        for name, node in self.own.at_top:
            self._bind(name, node)

    def names(self, node: cst.CSTNode) -> Names:
        uses = sorted(set(self.uses.get(node, [])), key=lambda each: (each[0].line, each[0].name))
        return Names(
            line=self._line(node),
            binds=self.bindings.get(node, {}),
            now=tuple(use for use, is_later in uses if not is_later),
            later=tuple(use for use, is_later in uses if is_later),
        )

    def _collect(self, scope: metadata.Scope) -> None:
        for access in scope.accesses:
            if access.scope is scope and access.node not in self.own.no_uses:
                is_text = isinstance(access.node, Texts)
                for name in _names_in(access.node) if not is_text or self._is_type(access.node) else ():
                    if self._is_global(name, access):
                        kept = is_text or (self.postponed and access.is_annotation)
                        self._use(name, access.node, kept)
        if isinstance(scope, metadata.GlobalScope):
            for each in scope.assignments:
                if isinstance(each, metadata.Assignment):
                    self._bind_all(normal(each.name), each.node)

    def _use(self, name: str, node: cst.CSTNode, is_kept_as_text: bool = False) -> None:
        statement, is_later = self._around(node)
        use = Use(name, self._line(node))
        self.uses.setdefault(statement, []).append((use, is_later or is_kept_as_text))

    def _bind_all(self, name: str, node: cst.CSTNode) -> None:
        """Bind a name; of an import, by the names in it that bind it so."""
        if isinstance(node, cst.Import | cst.ImportFrom) and not isinstance(node.names, cst.ImportStar):
            for alias in node.names:
                if bound_by(alias) == name:
                    self._bind(name, alias)
        else:
            self._bind(name, node)

    def _bind(self, name: str, node: cst.CSTNode) -> None:
        statement, is_later = self._around(node)
        if is_later:  # declared global in a function: bound when that is called, if ever
            return
        self.bindings.setdefault(statement, {}).setdefault(name, self._line(node))
        if isinstance(self.parents[node], cst.AugAssign):
            self._use(name, node)

    def _around(self, node: cst.CSTNode) -> tuple[cst.CSTNode, bool]:
        """The top-level statement around a node, and whether the node only runs when a function is called."""
        is_later = False
        current = node
        while True:
            parent = self.parents[current]
            if isinstance(parent, Functions) and current is parent.body:
                is_later = True
            if isinstance(parent, cst.Module):
                return current, is_later
            if isinstance(parent, cst.SimpleStatementLine) and isinstance(self.parents[parent], cst.Module):
                return current, is_later
            current = parent

    def _is_global(self, name: str, access: metadata.Access) -> bool:
        """Whether a name means the module's, by the rules by which Python looks it up."""
        scope: metadata.Scope = access.scope
        while isinstance(scope, LocalScope):
            if name in self.own.declared_global.get(scope.node, ()):
                return True
            if isinstance(scope, metadata.ClassScope):
                # libcst knows that only its own statements see its names, and only once they are bound.
                if any(each.scope is scope for each in access.referents):
                    return False
            elif name in self.own.bound.get(scope.node, ()) or any(
                normal(each.name) == name for each in scope.assignments
            ):
                return False
            scope = scope.parent
        return True

    def _is_type(self, text: cst.CSTNode) -> bool:
        """Whether a string in an annotation is itself one: not an argument, a `Literal` or a remark."""
        current = text
        while not isinstance(current, cst.Annotation | cst.Module):
            parent = self.parents[current]
            if isinstance(parent, cst.Call):
                return False
            if isinstance(parent, cst.Subscript) and current is not parent.value:
                name = dotted(parent.value).split(".")[-1]
                if name == "Literal" or (name == "Annotated" and current is not parent.slice[0]):
                    return False
            current = parent
        return True

    def _line(self, node: cst.CSTNode) -> int:
        named = node.name if isinstance(node, cst.FunctionDef | cst.ClassDef) else node
        return int(self.positions[named].start.line)


class _OwnNames:
    """Names that functions bind in ways that libcst takes for uses, and those that they declare global."""

    def __init__(self, module: cst.Module, parents: Mapping[cst.CSTNode, cst.CSTNode]) -> None:
        self.parents = parents
        self.bound: dict[cst.CSTNode, set[str]] = {}
        self.declared_global: dict[cst.CSTNode, set[str]] = {}
        self.at_top: list[tuple[str, cst.CSTNode]] = []
        self.no_uses: set[cst.CSTNode] = set()
        for node in matchers.findall(module, OWN):
            self._add(node)

    def _add(self, node: cst.CSTNode) -> None:
        match node:
            case cst.MatchAs(name=cst.Name() as name) | cst.MatchStar(name=cst.Name() as name):
                self._bind(name)
                self.no_uses.add(name)
            case cst.MatchMapping(rest=cst.Name() as name):
                self._bind(name)
                self.no_uses.add(name)
            case cst.MatchKeywordElement():
                self.no_uses.add(node.key)
            case cst.NamedExpr(target=cst.Name() as name):
                self._bind(name)
            case cst.Global():
                names = self.declared_global.setdefault(self._owner(node), set())
                names.update(normal(item.name.value) for item in node.names)

    def _bind(self, name: cst.Name) -> None:
        owner = self._owner(name)
        if isinstance(owner, cst.Module):
            self.at_top.append((normal(name.value), name))
        else:
            self.bound.setdefault(owner, set()).add(normal(name.value))

    def _owner(self, node: cst.CSTNode) -> cst.CSTNode:
        """The function, class or module in which a statement binds names."""
        current = node
        while True:
            parent = self.parents[current]
            inside = isinstance(parent, Functions | cst.ClassDef) and current is parent.body
            if inside or isinstance(parent, cst.Module):
                return parent
            current = parent


def normal(name: str) -> str:
    """A name as Python compares it: `ﬁt`, written with a ligature, is `fit`."""
    return name if name.isascii() else unicodedata.normalize("NFKC", name)


def bound_by(alias: cst.ImportAlias) -> str:
    """The name that one part of an import binds."""
    if alias.asname is not None and isinstance(alias.asname.name, cst.Name):
        return normal(alias.asname.name.value)
    return normal(dotted(alias.name).split(".")[0])


def dotted(node: cst.BaseExpression | None) -> str:
    """`a.b.c` as text, of nested attributes; empty for anything else."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        return f"{dotted(node.value)}.{node.attr.value}"
    return ""


def _statements(module: cst.Module) -> Iterator[cst.CSTNode]:
    for statement in module.body:
        if isinstance(statement, cst.SimpleStatementLine):
            yield from statement.body
        else:
            yield statement


def _names_in(node: cst.CSTNode) -> Sequence[str]:
    """The names that an access stands for: more than one only in an annotation that is a string."""
    if isinstance(node, Texts):
        text = node.evaluated_value
        try:
            tree = ast.parse(text.strip() if isinstance(text, str) else "", mode="eval")
        except SyntaxError:
            return ()
        return sorted({normal(each.id) for each in ast.walk(tree) if isinstance(each, ast.Name)})
    while isinstance(node, cst.Attribute):
        node = node.value
    # libcst takes these three for names.
    if isinstance(node, cst.Name) and node.value not in ("None", "True", "False"):
        return (normal(node.value),)
    return ()
