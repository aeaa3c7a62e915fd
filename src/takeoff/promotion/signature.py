"""The two names by which production knows a candidate, `Settings` and `fit`, and the types of `fit`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import libcst as cst

from takeoff.promotion.cells import TAG
from takeoff.promotion.names import normal
from takeoff.promotion.refusal import Problem
from takeoff.promotion.units import Unit

PARAMETERS = {
    "fit": "Examples",
    "validation": "Examples",
    "settings": "Settings",
    "contract": "Contract",
    "seed": "int",
}
RESULT = "Fitted"
SOURCES = {"Examples": "takeoff.features", "Contract": "takeoff.contract", "Fitted": "takeoff.candidates"}
SIGNATURE = f"def fit({', '.join(PARAMETERS)})"


class Typed(NamedTuple):
    """`fit` with its signature complete, and the imports that this takes."""

    code: str
    imports: tuple[str, ...]


def problems_of(live: Mapping[str, Unit | None], first_tagged: int) -> Iterator[Problem]:
    """What is missing or wrong about `Settings` and `fit`.

    Args:
        live: what the two mean when `fit` is called last.
        first_tagged: number of the first tagged cell.
    """
    settings, fit = live["Settings"], live["fit"]
    if settings is None or not isinstance(settings.node, cst.ClassDef):
        yield _missing("Settings", "class Settings(Base)", settings, first_tagged)
    elif not settings.node.bases:
        yield Problem(
            settings.cell,
            settings.line,
            "`Settings` has no base. Write `from takeoff.settings import Settings as Base` and "
            "`class Settings(Base):`.",
        )
    elif not settings.tagged:
        yield _untagged("Settings", settings)
    if fit is None or not isinstance(fit.node, cst.FunctionDef):
        yield _missing("fit", SIGNATURE, fit, first_tagged)
    elif not fit.tagged:
        yield _untagged("fit", fit)
    elif fit.node.asynchronous is not None:
        yield Problem(fit.cell, fit.line, f"`fit` is async, and nobody waits for it. Write `{SIGNATURE}:`.")
    elif _parameters(fit.node) != list(PARAMETERS):
        yield Problem(
            fit.cell,
            fit.line,
            f"`fit` does not take what training gives it. Write `{SIGNATURE}:`, these five in this order; "
            "what else it needs belongs into `Settings`.",
        )


def with_types(fit: cst.FunctionDef, code: str, bound: Mapping[str, Unit]) -> Typed:
    """`fit` with the annotations that its author left out.

    Args:
        fit: as parsed, its parameters as `problems_of` wants them.
        code: its text.
        bound: what the module's names mean.
    """
    wanted = [PARAMETERS[normal(each.name.value)] for each in fit.params.params if each.annotation is None]
    wanted += [RESULT] if fit.returns is None else []
    if not wanted:
        return Typed(code, ())
    names = {kind: _name_for(kind, bound) for kind in dict.fromkeys(wanted) if kind in SOURCES}
    parameters = [
        each if each.annotation else each.with_changes(annotation=_annotation(each.name.value, names))
        for each in fit.params.params
    ]
    typed = fit.with_changes(params=fit.params.with_changes(params=parameters), leading_lines=())
    if fit.returns is None:
        typed = typed.with_changes(returns=cst.Annotation(cst.Name(names[RESULT])))
    imports = [
        f"from {SOURCES[kind]} import {kind}" + ("" if name == kind else f" as {name}")
        for kind, name in names.items()
        if name not in bound
    ]
    return Typed(cst.Module([]).code_for_node(typed).strip("\n"), tuple(imports))


def _annotation(parameter: str, names: Mapping[str, str]) -> cst.Annotation:
    kind = PARAMETERS[normal(parameter)]
    return cst.Annotation(cst.Name(names.get(kind, kind)))


def _name_for(kind: str, bound: Mapping[str, Unit]) -> str:
    """The name of a type in the module: the author's, or its own where that means nothing else."""
    known = (name for name, unit in bound.items() if unit.imported == (SOURCES[kind], kind))
    name = next(known, kind)
    while name in bound and bound[name].imported != (SOURCES[kind], kind):
        name = f"Takeoff{name}"
    return name


def _parameters(fit: cst.FunctionDef) -> Sequence[str] | None:
    """Names of the parameters that can be given by place or by name; None where there are others."""
    others = (fit.params.posonly_params, fit.params.kwonly_params, fit.params.star_kwarg)
    starred = isinstance(fit.params.star_arg, cst.Param | cst.ParamStar)
    return None if any(others) or starred else [normal(each.name.value) for each in fit.params.params]


def _missing(name: str, wanted: str, found: Unit | None, first_tagged: int) -> Problem:
    if found is None:
        return Problem(
            first_tagged, 1, f"no cell defines `{name}`. Define `{wanted}:` in a cell tagged `{TAG}`."
        )
    return Problem(
        found.cell, found.line, f"`{name}` is not what production expects. Define it as `{wanted}:`."
    )


def _untagged(name: str, found: Unit) -> Problem:
    return Problem(
        found.cell,
        found.line,
        f"`{name}` is defined in a cell that is not tagged. Tag that cell `{TAG}`: it is part of it.",
    )
