"""What a torch module does in `forward` that no ONNX graph can hold: leave its tensors, or decide by values.

A graph is drawn once, and then holds for all rows: what depends on the numbers in a row has to be one of
its operations. Shapes, settings (`self.width`) and `self.training` are known then, and may decide.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence

from takeoff.pilot.code import Code, Place, dotted

BASES = ("Module", "LightningModule")
# What is known of a tensor without its values.
ATTRIBUTES = {"shape", "ndim", "dtype", "device", "requires_grad", "is_cuda", "layout"}
METHODS = {
    "size",
    "dim",
    "ndimension",
    "numel",
    "nelement",
    "element_size",
    "is_floating_point",
    "get_device",
}
FUNCTIONS = {"len", "isinstance", "hasattr", "type", "callable", "id"}

LEAVES = {"numpy", "item", "tolist"}  # methods that give something else than a tensor
NUMBERS = {"int", "float", "bool"}
MOST_SHOWN = 60  # letters of what was found

ACTION = (
    "Stay in tensors: `torch.where` for a choice, torch for what numpy does, sizes from `x.shape`. Or "
    "compute it in src/takeoff/dataset.py, before the contract."
)


def left_graphs(code: Code) -> Iterator[tuple[str, Place, str, str]]:
    """For each line of a `forward` that leaves the graph: a key, its place, what was found, what to do."""
    networks: set[str] = set()
    for cell in code.cells:
        for node in ast.walk(cell.tree):
            if not isinstance(node, ast.ClassDef):
                continue
            bases = [dotted(base, code.aliases) for base in node.bases]
            if not any(base in networks or base.rpartition(".")[2] in BASES for base in bases):
                continue
            networks.add(node.name)
            for function in node.body:
                if isinstance(function, ast.FunctionDef) and function.name == "forward":
                    for found, what in _problems(function.body, _tensors(function.args), code.aliases):
                        text = f"`{node.name}.forward` {what}: `{_short(found)}`. No graph can."
                        yield f"{node.name} {found.lineno}", Place(cell.number, found.lineno), text, ACTION


def _tensors(given: ast.arguments) -> set[str]:
    """Parameters that hold values of rows: not `self`, nor what a type or a default makes a setting."""
    positional = [*given.posonlyargs, *given.args]
    defaults = dict(zip(reversed([each.arg for each in positional]), reversed(given.defaults), strict=False))
    defaults |= {
        each.arg: default
        for each, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
        if default is not None
    }
    starred = [given.vararg] if given.vararg else []
    return {
        each.arg
        for each in [*positional[1:], *given.kwonlyargs, *starred]
        if not _is_setting(each.annotation, defaults.get(each.arg))
    }


def _is_setting(annotation: ast.expr | None, default: ast.expr | None) -> bool:
    typed = isinstance(annotation, ast.Name) and annotation.id in ("bool", "int", "float", "str")
    return typed or (isinstance(default, ast.Constant) and default.value is not None)


def _problems(
    statements: Sequence[ast.stmt], values: set[str], aliases: Mapping[str, str]
) -> Iterator[tuple[ast.expr, str]]:
    """What leaves the graph, in the order of the lines.

    Args:
        values: names that hold values of rows; the statements bind and lose some.
    """
    for statement in statements:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            continue
        for expression in _own_expressions(statement):
            yield from _taken_out(expression, values, aliases)
        if isinstance(statement, ast.If | ast.While) and _depends(statement.test, values):
            yield statement.test, "decides by values of its rows"
        _bind(statement, values)
        for block in ("body", "orelse", "finalbody"):
            yield from _problems(getattr(statement, block, []), values, aliases)


def _own_expressions(statement: ast.stmt) -> Iterator[ast.expr]:
    """The expressions of a statement, without those of the blocks in it."""
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.expr):
            yield child
        elif isinstance(child, ast.withitem):
            yield child.context_expr


def _taken_out(
    expression: ast.expr, values: set[str], aliases: Mapping[str, str]
) -> Iterator[tuple[ast.expr, str]]:
    for node in ast.walk(expression):
        if isinstance(node, ast.IfExp) and _depends(node.test, values):
            yield node.test, "decides by values of its rows"
        if not isinstance(node, ast.Call):
            continue
        given = any(_depends(each, values) for each in [*node.args, *(each.value for each in node.keywords)])
        match node.func:
            case ast.Attribute(value=value, attr=method) if method in LEAVES and _depends(value, values):
                yield node, "takes values out of its tensors"
            case ast.Name(id=name) if name in NUMBERS and given:
                yield node, "takes values out of its tensors"
            case ast.Name(id="range") if given:
                yield node, "repeats as often as its rows say"
            case _ if given and dotted(node.func, aliases).startswith("numpy."):
                yield node, "hands its tensors to numpy"


def _bind(statement: ast.stmt, values: set[str]) -> None:
    match statement:
        case ast.Assign(targets=targets, value=value):
            names, depends = _stored(*targets), _depends(value, values)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            names, depends = _stored(target), _depends(value, values)
        case ast.For(target=target, iter=each):
            names, depends = _stored(target), _depends(each, values)
        case ast.AugAssign(target=ast.Name(id=name), value=value):
            names, depends = {name}, name in values or _depends(value, values)
        case _:
            return
    values -= names
    values |= names if depends else set()


def _stored(*targets: ast.expr) -> set[str]:
    stored = (node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
    return {node.id for node in stored if isinstance(node.ctx, ast.Store)}


def _depends(node: ast.AST, values: set[str]) -> bool:
    """Whether what an expression gives depends on values of rows, and not just on their shape."""
    match node:
        case ast.Name(id=name):
            return name in values
        case ast.Attribute(attr=name) if name in ATTRIBUTES:
            return False
        case ast.Call(func=ast.Attribute(attr=name)) if name in METHODS:
            return False
        case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS:
            return False
        case ast.Compare(ops=operators) if all(isinstance(each, ast.Is | ast.IsNot) for each in operators):
            return False
    return any(_depends(child, values) for child in ast.iter_child_nodes(node))


def _short(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."
