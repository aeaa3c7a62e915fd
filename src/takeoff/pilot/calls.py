"""What a call in a notebook's code gives, and what happens in it."""

import ast
from collections import ChainMap
from dataclasses import replace

from takeoff.pilot import expressions, trace
from takeoff.pilot.code import argument, constant, dotted, tokens
from takeoff.pilot.state import Env, State
from takeoff.pilot.values import (
    PART_WORDS,
    AllColumns,
    Column,
    Many,
    Model,
    Names,
    Rows,
    Table,
    Value,
    is_part,
    joined,
    joined_names,
    part_of,
)

DEEPEST = 5  # calls of the notebook's own functions within each other that are followed
SPLITS = {"train_test_split", "random_split", "randomSplit", "temporal_train_test_split"}
FITS = {"fit", "fit_transform", "fit_resample", "partial_fit", "fit_predict"}
FOLDS = {"cross_val_score", "cross_validate", "cross_val_predict"}
DRAWS = {"rand", "random", "permutation", "random_sample", "uniform", "choice", "binomial", "randperm"}
FRAME_METHODS = {
    "drop",
    "assign",
    "filter",
    "apply",
    "pipe",
    "dropna",
    "sort_values",
    "set_index",
    "reset_index",
    "copy",
}
SCALARS = {"mean", "median", "mode", "std", "min", "max", "quantile", "var"}
# Endings of the names of classes that learn from rows how to change them. Labels may be encoded early.
LEARNERS = (
    "Scaler", "Imputer", "Discretizer", "Vectorizer", "PCA", "SVD", "Encoder", "KBest", "Percentile",
    "FromModel", "RFE", "RFECV", "PowerTransformer", "QuantileTransformer", "SplineTransformer",
    "ColumnTransformer", "NMF", "FastICA", "Threshold", "SelectFdr", "SelectFpr", "SelectFwe",
    "LinearDiscriminantAnalysis", "Normalizer", "TfidfTransformer",
)  # fmt: skip
NOT_LEARNT = ("LabelEncoder", "LabelBinarizer", "Normalizer", "HashingVectorizer", "FunctionTransformer")
SAMPLERS = (
    "SMOTE",
    "SMOTENC",
    "SMOTEN",
    "ADASYN",
    "BorderlineSMOTE",
    "Sampler",
    "SMOTEENN",
    "SMOTETomek",
    "SVMSMOTE",
)


def learns(kind: str) -> bool:
    """Whether a class, by its name, learns from rows how to change them."""
    name = kind.rpartition(".")[2]
    return name.endswith(LEARNERS) and not name.endswith(NOT_LEARNT)


def call(state: State, node: ast.Call, env: Env) -> Value:
    """What a call gives; what it learns, splits or brings together is written down."""
    name = dotted(node.func, state.code.aliases)
    last = name.rpartition(".")[2]
    if isinstance(node.func, ast.Name) and node.func.id in state.functions and state.depth < DEEPEST:
        return _own_function(state, node, env)
    if isinstance(node.func, ast.Attribute):
        receiver = expressions.value(state, node.func.value, env)
        if receiver is None and last in FRAME_METHODS:
            receiver = expressions.table_of(state, node.func.value, env)
        special = _method(state, node, last, receiver, env)
        if special is not NotImplemented:
            return special
    else:
        receiver = None
    arguments = [
        expressions.value(state, each.value if isinstance(each, ast.Starred) else each, env)
        for each in node.args
    ]
    named = {each.arg: expressions.value(state, each.value, env) for each in node.keywords}
    if last in SPLITS | FOLDS:
        return _splits(state, node, env, arguments, named)
    if last in DRAWS and not any(isinstance(each, Table | Column | Many) for each in arguments):
        return Rows()
    repeats = argument(node, "replace")
    if constant(repeats) is True or (name == "sklearn.utils.resample" and repeats is None):
        part = any(is_part(each) for each in [*arguments, receiver])
        state.learn(node, "resampling", part, [node], env)
    if last in ("OLS", "WLS", "GLS", "Logit", "GLM", "Probit", "MNLogit", "QuantReg", "RLM", "Poisson"):
        state.pair(
            node, *(arguments[1::-1] if len(arguments) > 1 else (named.get("exog"), named.get("endog")))
        )
    if last in ("Dataset", "DMatrix", "Pool"):
        target = named.get("label", arguments[1] if len(arguments) > 1 else None)
        state.pair(node, arguments[0] if arguments else named.get("data"), target)
    if last == "DataFrame" and node.args and isinstance(node.args[0], ast.Dict):
        return _frame_of(state, node, node.args[0], env)
    if last in ("list", "set", "sorted", "tuple", "Index") and arguments:
        return AllColumns(arguments[0]) if isinstance(arguments[0], Table) else arguments[0]
    if isinstance(receiver, Table | Column):
        given = [each for each in [*arguments, *named.values()] if isinstance(each, Column)]
        return joined([receiver, *given])
    if (last[:1].isupper() or last.startswith("make_")) and last not in ("Series", "DataFrame", "Index"):
        return Model(name) if not _is_data_class(last) else joined([*arguments, *named.values()])
    return joined([*arguments, *named.values()])


def _method(state: State, node: ast.Call, last: str, base: Value, env: Env) -> Value:
    """Methods that mean more than their receiver and arguments together; else NotImplemented."""
    place = state.place(node)
    if isinstance(base, Model):
        return _model_method(state, node, last, base, env)
    if base is None and last in FITS:
        return _model_method(state, node, last, Model("?"), env)
    if isinstance(base, AllColumns):
        gone = joined_names(expressions.value(state, each, env) for each in node.args)
        return AllColumns(base.table, base.but | gone)
    if last == "pop" and (table := expressions.table_of(state, node.func.value, env)) and node.args:  # type: ignore[attr-defined]
        name = constant(node.args[0])
        if isinstance(name, str):
            column = table.column(name, place, state.clock)
            table.drop([name])
            return column
    if isinstance(base, Column) and last in ("shift", "diff", "pct_change"):
        steps = constant(argument(node, "periods", 0))
        ahead = isinstance(steps, int | float) and steps < 0
        return base.used("ahead" if ahead else "before") if ahead or last == "shift" else base
    if isinstance(base, Column) and last == "rolling" and constant(argument(node, "center")) is True:
        return base.used("ahead")
    if last in ("groupby", "resample") and (table := expressions.table_of(state, node.func.value, env)):  # type: ignore[attr-defined]
        for each in node.args:
            expressions.value(state, each, env)
        return table.copy()
    if isinstance(base, Column) and last in ("transform", "agg", "aggregate", *SCALARS) and _groups(node):
        return base.used("grouped")
    if last == "fillna" and isinstance(base, Table | Column) and node.args and _summarises(node.args[0]):
        state.learn(node, "filling gaps with a figure of all rows", base.part, [node], env)
    if not isinstance(base, Table):
        return NotImplemented  # type: ignore[no-any-return]
    match last:
        case "drop":
            return _dropped(state, node, base, env)
        case "assign":
            for word in node.keywords:
                given = _applied(state, word.value, base, env)
                base = base.copy()
                if word.arg:
                    made = given if isinstance(given, Column) else state.nothing(base, node)
                    base.with_column(word.arg, replace(made, place=place, order=state.clock))
            return base
        case "apply" if node.args:
            found = _applied(state, node.args[0], base, env)
            return found if isinstance(found, Column) else base
        case "pipe" if node.args and isinstance(node.args[0], ast.Name):
            return _own_function(state, ast.Call(node.args[0], [node.func.value, *node.args[1:]], []), env)  # type: ignore[attr-defined]
        case "filter":
            wanted = expressions.value(state, argument(node, "items", 0), env)
            return base.chosen(wanted.items, place) if isinstance(wanted, Names) else None
        case "select_dtypes" | "describe" | "melt" | "pivot_table" | "pivot":
            return None
        case "sample":
            return part_of(base) if argument(node, "frac") is not None else base
    return NotImplemented  # type: ignore[no-any-return]


def _model_method(state: State, node: ast.Call, last: str, model: Model, env: Env) -> Value:
    arguments = [expressions.value(state, each, env) for each in node.args]
    named = {each.arg: expressions.value(state, each.value, env) for each in node.keywords}
    features = arguments[0] if arguments else named.get("X")
    target = arguments[1] if len(arguments) > 1 else named.get("y")
    if last == "split":
        state.divide(node, node.args, env)
        return Rows()
    if last in FITS:
        state.pair(node, features, target)
        part = is_part(features) or any(
            tokens(each.id) & PART_WORDS
            for argument_ in node.args[:1]
            for each in ast.walk(argument_)
            if isinstance(each, ast.Name)
        )
        if learns(model.kind) or model.kind.rpartition(".")[2].endswith(SAMPLERS):
            state.learn(node, model.kind.rpartition(".")[2], part, node.args, env)
        if last == "fit_resample":
            return Many((features, target))
    if last in ("fit", "partial_fit", "set_params", "set_output"):
        return model
    given = joined([*arguments, *named.values()])
    if (
        state.found.selects
        and isinstance(given, Table)
        and model.kind.endswith(("er", "Pipeline", "line", "?"))
    ):
        return given.chosen((), given.selected) if given.known is None else given
    return given


def _splits(
    state: State, node: ast.Call, env: Env, arguments: list[Value], named: dict[str | None, Value]
) -> Value:
    last = dotted(node.func, state.code.aliases).rpartition(".")[2]
    rest = arguments[1:] if last in FOLDS else arguments
    features = rest[0] if rest else named.get("X")
    state.pair(node, features, rest[1] if len(rest) > 1 else named.get("y"))
    state.divide(node, node.args, env)
    if last in FOLDS:
        return None
    return Many(tuple(part_of(each) for each in rest for _ in range(2)))


def _own_function(state: State, node: ast.Call, env: Env) -> Value:
    """A call of the notebook's own function: its body, with what it was given."""
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if name not in state.functions:
        return None
    function, cell = state.functions[name]
    given = [expressions.value(state, each, env) for each in node.args]
    local: dict[str, Value] = {}
    parameters = [*function.args.posonlyargs, *function.args.args]
    for parameter, default in zip(reversed(parameters), reversed(function.args.defaults), strict=False):
        local[parameter.arg] = expressions.value(state, default, env)
    local |= {each.arg: value for each, value in zip(parameters, given, strict=False)}
    for each, source in zip(parameters, node.args, strict=False):
        state.bound(each.arg, [source], env)
    for word in node.keywords:
        if word.arg:
            state.bound(word.arg, [word.value], env)
    local |= {each.arg: expressions.value(state, each.value, env) for each in node.keywords if each.arg}
    before, state.cell, caller = state.returned, cell, state.cell
    state.returned, state.depth = [], state.depth + 1
    trace.run(state, function.body, ChainMap(local, env))
    results = [each for each in state.returned if each is not None]
    state.returned, state.cell, state.depth = before, caller, state.depth - 1
    return results[0] if results else None


def _applied(state: State, function: ast.expr, base: Table, env: Env) -> Value:
    """What a function of a table, or of its rows, gives."""
    if not isinstance(function, ast.Lambda) or not function.args.args:
        return expressions.value(state, function, env)
    inner: Env = ChainMap({function.args.args[0].arg: base}, env)
    return expressions.value(state, function.body, inner)


def _dropped(state: State, node: ast.Call, base: Table, env: Env) -> Value:
    by_column = argument(node, "columns")
    axis = constant(argument(node, "axis", 1))
    given = expressions.value(state, by_column if by_column is not None else argument(node, "labels", 0), env)
    if by_column is None and axis not in (1, "columns"):
        return base
    if not isinstance(given, Names):
        return None
    if constant(argument(node, "inplace")) is True:
        base.drop(given.items)
        return None
    return base.without(given.items, state.place(node))


def _frame_of(state: State, node: ast.Call, content: ast.Dict, env: Env) -> Table:
    place = state.place(node)
    table = Table(f"made at {place}", place, frozenset(), made=True)
    for key, each in zip(content.keys, content.values, strict=True):
        name, given = constant(key), expressions.value(state, each, env)
        if isinstance(name, str):
            table.with_column(name, given if isinstance(given, Column) else state.nothing(table, node))
        if isinstance(given, Column):
            table.made = given.made
            table.origin = given.origin
    return table


def _is_data_class(name: str) -> bool:
    return name.endswith(("Tensor", "TensorDataset", "DataLoader", "Variable"))


def _summarises(node: ast.expr) -> bool:
    return any(isinstance(each, ast.Attribute) and each.attr in SCALARS for each in ast.walk(node))


def _groups(node: ast.Call) -> bool:
    """Whether a call stands at the end of a chain that groups rows."""
    return any(isinstance(each, ast.Attribute) and each.attr == "groupby" for each in ast.walk(node.func))
