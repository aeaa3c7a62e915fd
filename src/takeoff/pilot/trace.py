"""Follows tables and columns through a notebook's code, without running it.

It knows enough of pandas and scikit-learn to say from which rows something was learnt, when rows were split,
and which columns stand on which side of a fit. What it doesn't know it lets pass: a rule then says nothing.
"""

import ast
from collections.abc import Iterable
from dataclasses import replace

from takeoff.pilot import expressions
from takeoff.pilot.code import Code, constant, tokens
from takeoff.pilot.state import Env, State
from takeoff.pilot.values import PART_WORDS, Column, Many, Rows, Table, Trace, Value, joined, part_of

SELECTORS = {"ColumnTransformer", "make_column_transformer", "ColumnSelector", "DataFrameMapper"}


def trace(code: Code) -> Trace:
    """What the code does to tables, in the order of the file."""
    state = State(code)
    state.found.selects = any(call.last in SELECTORS for call in code.calls)
    env: Env = {}
    for cell in code.cells:
        state.cell = cell.number
        run(state, cell.tree.body, env)
    state.pair_by_name(env)
    return state.found


def run(state: State, body: Iterable[ast.stmt], env: Env) -> None:
    """Follow statements in their order."""
    for statement in body:
        state.clock += 1
        _step(state, statement, env)


def _step(state: State, statement: ast.stmt, env: Env) -> None:
    match statement:
        case ast.FunctionDef():
            state.functions[statement.name] = (statement, state.cell)
        case ast.Assign(targets=targets, value=value):
            given = expressions.value(state, value, env)
            for target in targets:
                _bind(state, target, given, env, value)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            _bind(state, target, expressions.value(state, value, env), env, value)
        case ast.AugAssign(target=target, value=value):
            _bind(
                state,
                target,
                joined([expressions.value(state, target, env), expressions.value(state, value, env)]),
                env,
                value,
            )
        case ast.For(target=target, iter=source, body=body, orelse=rest):
            given = expressions.value(state, source, env)
            _bind(state, target, given if isinstance(given, Rows) else None, env, source)
            run(state, [*body, *rest], env)
        case ast.With(items=items, body=body):
            for item in items:
                given = expressions.value(state, item.context_expr, env)
                if item.optional_vars:
                    _bind(state, item.optional_vars, given, env, item.context_expr)
            run(state, body, env)
        case ast.If(test=test, body=body, orelse=rest) | ast.While(test=test, body=body, orelse=rest):
            expressions.value(state, test, env)
            run(state, [*body, *rest], env)
        case ast.Try(body=body, handlers=handlers, orelse=rest, finalbody=last):
            run(state, [*body, *rest, *last], env)
            for handler in handlers:
                run(state, handler.body, env)
        case ast.Delete(targets=targets):
            for target in targets:
                _delete(state, target, env)
        case ast.Return(value=value):
            state.returned.append(expressions.value(state, value, env) if value else None)
        case ast.Expr(value=value):
            expressions.value(state, value, env)


def _bind(state: State, target: ast.expr, given: Value, env: Env, source: ast.expr) -> None:
    match target:
        case ast.Name(id=name):
            if tokens(name) & PART_WORDS and not _reads(source) and isinstance(given, Table | Column):
                state.divide(source, [source], env)
                given = part_of(given)
            if given is None and _reads(source):
                given = Table(name, state.place(source), part=bool(tokens(name) & PART_WORDS))
            env[name] = given
            state.bound(name, [source], env)
        case ast.Tuple(elts=items) | ast.List(elts=items):
            values = given.items if isinstance(given, Many) else ()
            each_is_rows = isinstance(given, Rows)
            for place, item in enumerate(items):
                value = values[place] if place < len(values) else given if each_is_rows else None
                _bind(state, item, value, env, source)
        case ast.Subscript(
            value=ast.Attribute(value=base, attr="loc" | "iloc"), slice=ast.Tuple(elts=[_, key])
        ):
            _set_column(state, base, key, given, env, target)
        case ast.Subscript(value=base, slice=key):
            _set_column(state, base, key, given, env, target)


def _set_column(state: State, base: ast.expr, key: ast.expr, given: Value, env: Env, node: ast.expr) -> None:
    table = expressions.table_of(state, base, env)
    name = constant(key)
    if table is None or not isinstance(name, str):
        return
    made = given if isinstance(given, Column) else state.nothing(table, node)
    if name not in made.names or len(made.names) > 1:  # not only cleaned
        table.with_column(name, replace(made, place=state.place(node), order=state.clock))


def _delete(state: State, target: ast.expr, env: Env) -> None:
    if isinstance(target, ast.Subscript) and (table := expressions.table_of(state, target.value, env)):
        name = constant(target.slice)
        table.drop([name] if isinstance(name, str) else [])


def _reads(node: ast.expr) -> bool:
    """Whether rows come from elsewhere: a file called train is no side of a split that was made here."""
    return any(isinstance(each, ast.Attribute) and each.attr.startswith("read_") for each in ast.walk(node))
