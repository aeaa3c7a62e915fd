"""What the project asks of modules that were written as such, and not of one that comes out of a notebook."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import libcst as cst
from libcst import matchers

from takeoff.promotion.ruff import codes
from takeoff.promotion.units import Unit

DOCSTRINGS = {"D101", "D103"}  # of classes and functions; notebooks are free of them in pyproject.toml
OWN = ("self", "cls")  # parameters that need no type


def spared(text: str, path: Path, body: Sequence[Unit]) -> tuple[str, ...]:
    """Comments for a module's head that spare it what its author was never asked for.

    Args:
        text: of the module, formatted.
        path: where it will lie.
        body: its statements, as their author wrote them.

    Returns:
        One that names the docstrings that are missing, and one against the type checker unless all
        functions are typed; none where all is there.
    """
    missing = sorted(DOCSTRINGS & set(codes(text, path)))
    untyped = not all(_is_typed(function) for unit in body for function in _functions(unit))
    return (
        *([f"# ruff: noqa: {', '.join(missing)}"] if missing else []),
        *(["# mypy: ignore-errors"] if untyped else []),
    )


def _functions(unit: Unit) -> Iterator[cst.FunctionDef]:
    """The functions in a statement, but `fit`: what is missing of its types, promotion adds."""
    for found in matchers.findall(unit.node, matchers.FunctionDef()) if unit.node else ():
        if isinstance(found, cst.FunctionDef) and not (found is unit.node and "fit" in unit.names.binds):
            yield found


def _is_typed(function: cst.FunctionDef) -> bool:
    """Whether nothing is missing of a signature; `__init__` with a typed parameter needs no result."""
    given = function.params
    starred = [each for each in (given.star_arg, given.star_kwarg) if isinstance(each, cst.Param)]
    every = [*given.posonly_params, *given.params, *given.kwonly_params, *starred]
    asked = [each for place, each in enumerate(every) if place > 0 or each.name.value not in OWN]
    returns = function.returns is not None or (function.name.value == "__init__" and bool(asked))
    return returns and all(each.annotation is not None for each in asked)
