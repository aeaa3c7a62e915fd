"""What an expression of a notebook's code stands for."""

import ast
from collections import ChainMap

from takeoff.pilot import calls
from takeoff.pilot.code import constant, tokens
from takeoff.pilot.state import Env, State
from takeoff.pilot.values import (
    PART_WORDS,
    AllColumns,
    Column,
    Many,
    Names,
    Rows,
    Table,
    Value,
    joined,
    joined_names,
    part_of,
)

FRAME_WORDS = {
    "values",
    "T",
    "dt",
    "str",
    "index",
    "shape",
    "size",
    "loc",
    "iloc",
    "at",
    "iat",
    "cat",
    "plot",
}


def value(state: State, node: ast.expr | None, env: Env) -> Value:
    """What an expression stands for, as far as it can be followed."""
    match node:
        case None | ast.Lambda():
            return None
        case ast.Name(id=name):
            return env.get(name)
        case ast.Constant(value=str() as text):
            return Names((text,))
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            return _several(state, items, env)
        case ast.ListComp() | ast.GeneratorExp() | ast.SetComp():
            return _comprehension(state, node, env)
        case ast.Attribute():
            return _attribute(state, node, env)
        case ast.Subscript():
            return _subscript(state, node, env)
        case ast.Call():
            return calls.call(state, node, env)
        case ast.BinOp(left=left, op=op, right=right):
            return _operation(state, left, op, right, env)
        case ast.Dict(values=values):
            for each in values:
                value(state, each, env)
            return None
        case ast.Compare(left=left, comparators=others):
            return joined([value(state, each, env) for each in (left, *others)])
    return joined(
        [value(state, each, env) for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr)]
    )


def _several(state: State, items: list[ast.expr], env: Env) -> Value:
    values = [value(state, each.value if isinstance(each, ast.Starred) else each, env) for each in items]
    if values and all(isinstance(each, Names) for each in values):
        return Names(tuple(text for each in values if isinstance(each, Names) for text in each.items))
    return Many(tuple(values))


def _comprehension(state: State, node: ast.ListComp | ast.GeneratorExp | ast.SetComp, env: Env) -> Value:
    first = node.generators[0]
    source = value(state, first.iter, env)
    inner: Env = ChainMap({}, env)
    if isinstance(source, Table):
        source = AllColumns(source)
    if isinstance(source, AllColumns):
        excluded = {
            text
            for test in first.ifs
            for part in ast.walk(test)
            if isinstance(part, ast.Compare) and isinstance(part.ops[0], ast.NotIn | ast.NotEq)
            for other in part.comparators
            if isinstance(found := value(state, other, env), Names)
            for text in found.items
        }
        plain = isinstance(node.elt, ast.Name) and (excluded or not first.ifs)
        return AllColumns(source.table, source.but | excluded) if plain else None
    value(state, node.elt, inner)
    return None


def _attribute(state: State, node: ast.Attribute, env: Env) -> Value:
    base = value(state, node.value, env)
    if node.attr == "columns":
        table = base if isinstance(base, Table) else table_of(state, node.value, env)
        return AllColumns(table) if table else None
    if isinstance(base, Table) and node.attr not in FRAME_WORDS and not node.attr.startswith("_"):
        return base.column(node.attr, state.place(node), state.clock)
    return base if isinstance(base, Table | Column | Many) else None


def _subscript(state: State, node: ast.Subscript, env: Env) -> Value:
    place = state.place(node)
    if isinstance(node.value, ast.Attribute) and node.value.attr in ("loc", "iloc"):
        return _located(state, node.value.value, node, env)
    key = value(state, node.slice, env)
    if isinstance(key, Names) and isinstance(node.value, ast.Name | ast.Attribute | ast.Subscript | ast.Call):
        table = table_of(state, node.value, env)
        if table is None:
            return None
        if len(key.items) == 1 and isinstance(constant(node.slice), str):
            return table.column(key.items[0], place, state.clock)
        if len(key.items) == 1 and isinstance(node.slice, ast.Name):
            return table.column(key.items[0], place, state.clock)
        return table.chosen(key.items, place)
    base = value(state, node.value, env)
    if isinstance(base, AllColumns) and isinstance(node.slice, ast.Compare):
        # As in df.columns[df.columns != target].
        others = (value(state, each, env) for each in node.slice.comparators)
        return AllColumns(base.table, base.but | joined_names(others))
    if isinstance(key, AllColumns) and isinstance(base, Table):
        return base.without(key.but, place)
    if isinstance(base, Many) and isinstance(index := constant(node.slice), int):
        return base.items[index] if -len(base.items) <= index < len(base.items) else None
    return rows_of(state, base, node.slice, key)


def _located(state: State, base: ast.expr, node: ast.Subscript, env: Env) -> Value:
    """``.loc`` and ``.iloc``: rows, or rows and columns."""
    rows, columns = (
        node.slice.elts
        if isinstance(node.slice, ast.Tuple) and len(node.slice.elts) == 2
        else (node.slice, None)
    )
    table = table_of(state, base, env) if columns is not None else value(state, base, env)
    cut = rows_of(state, table, rows, value(state, rows, env))
    if columns is None or not isinstance(cut, Table):
        return cut
    wanted = value(state, columns, env)
    if isinstance(wanted, Names):
        single = isinstance(columns, ast.Constant) or (
            isinstance(columns, ast.Name) and len(wanted.items) == 1
        )
        if single:
            return cut.column(wanted.items[0], state.place(node), state.clock)
        return cut.chosen(wanted.items, state.place(node))
    if isinstance(wanted, AllColumns):
        return cut.without(wanted.but, state.place(node))
    everything = isinstance(columns, ast.Slice) and not (columns.lower or columns.upper)
    return cut if everything else None


def rows_of(state: State, base: Value, key: ast.expr, chosen: Value) -> Value:
    """Some rows of a table or column: a part where chosen by position or at random."""
    if not isinstance(base, Table | Column):
        return base
    by_position = isinstance(key, ast.Slice) and (key.lower or key.upper)
    return part_of(base) if by_position or isinstance(chosen, Rows) else base


def _operation(state: State, left: ast.expr, op: ast.operator, right: ast.expr, env: Env) -> Value:
    a, b = value(state, left, env), value(state, right, env)
    if isinstance(a, Names) and isinstance(b, Names):
        return Names(a.items + b.items)
    if isinstance(a, AllColumns) and isinstance(b, Names):
        return AllColumns(a.table, a.but | set(b.items))
    if isinstance(op, ast.Div) and _is_centred(left) and isinstance(a, Table | Column):
        state.learn(left, "scaling by hand", a.part, [left], env)
    return joined([a, b])


def table_of(state: State, node: ast.expr, env: Env) -> Table | None:
    """The table that an expression stands for; a name of which nothing is known becomes one."""
    found = value(state, node, env)
    if isinstance(found, Table):
        return found
    if found is None and isinstance(node, ast.Name) and node.id in env:
        fresh = Table(node.id, state.place(node), part=bool(tokens(node.id) & PART_WORDS))
        env[node.id] = fresh
        return fresh
    return None


def _is_centred(node: ast.expr) -> bool:
    """Whether something has its own mean, or least, taken off it."""
    match node:
        case ast.BinOp(op=ast.Sub(), right=ast.Call(func=ast.Attribute(attr="mean" | "min" | "median"))):
            return True
    return False
