"""What a name means at each point of a clean run from top to bottom."""

import builtins
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import libcst as cst
from libcst import matchers

from takeoff.promotion.names import Use, normal
from takeoff.promotion.units import Unit

HOLDERS = (matchers.Arg, matchers.Assign, matchers.AnnAssign, matchers.Element, matchers.DictElement)
BUILTINS = frozenset(dir(builtins)) | {"__name__", "__doc__", "__class__"}


class Need(NamedTuple):
    """A name that a unit uses, and the unit that it means; None for a builtin or for nothing at all.

    Attributes:
        at_once: the name is looked up when the unit runs, not when a function in it is called by `fit`.
    """

    use: Use
    target: Unit | None
    at_once: bool


class Bindings(NamedTuple):
    """The notebook's statements by the names that they bind or delete.

    Attributes:
        units: all, in order.
        binders: units that bind or delete a name, in order.
        horizon: place of the last statement that calls `fit`; behind the last unit where none does.
    """

    units: Sequence[Unit]
    binders: Mapping[str, Sequence[Unit]]
    horizon: int

    def before(self, name: str, place: int) -> Unit | None:
        """What last bound a name before a place."""
        return next((unit for unit in reversed(self.binders.get(name, ())) if unit.place < place), None)

    def live(self, name: str) -> Unit | None:
        """What a name means to functions that the last call of `fit` calls."""
        later = (unit for unit in self.binders.get(name, ()) if unit.place >= self.horizon)
        return self.before(name, self.horizon) or next(later, None)

    def needs(self, unit: Unit) -> tuple[Need, ...]:
        """What the names in a unit mean.

        What runs at once may call functions, which then see what was bound by then: where that differs from
        what the last call of `fit` sees, it is needed too.
        """
        found = [Need(use, self.live(use.name), at_once=False) for use in unit.names.later]
        called: set[int] = set()
        uses = list(unit.names.now)
        direct = len(uses)
        for number, use in enumerate(uses):
            target = self.before(use.name, unit.place)
            if number < direct or (target and not same(target, self.live(use.name))):
                found.append(Need(use, target, at_once=True))
            if target and target.place not in called:
                called.add(target.place)
                uses += target.names.later
        return tuple(found)


def bindings_of(units: Sequence[Unit]) -> Bindings:
    """See `Bindings`."""
    binders: dict[str, list[Unit]] = {}
    for unit in units:
        for name in dict.fromkeys([*unit.names.binds, *deleted_by(unit)]):
            binders.setdefault(name, []).append(unit)
    return Bindings(units, binders, _horizon(units))


def deleted_by(unit: Unit) -> Iterator[str]:
    """Names that a `del` takes away."""
    if isinstance(unit.node, cst.Del):
        target = unit.node.target
        parts = [each.value for each in target.elements] if isinstance(target, cst.Tuple) else [target]
        yield from (normal(part.value) for part in parts if isinstance(part, cst.Name))


def same(one: Unit | None, other: Unit | None) -> bool:
    """Whether two are the same statement, or none is one."""
    return (one.place if one else None) == (other.place if other else None)


def _horizon(units: Sequence[Unit]) -> int:
    """Place of the last statement that calls `fit`, itself or through what was made of it."""
    callers = {"fit"}
    classes: set[str] = set()
    while True:
        found = [unit for unit in units if _can_call(unit, callers, classes)]
        names = {name for unit in found for name in unit.names.binds}
        if names <= callers:
            break
        callers |= names
        classes |= {name for unit in found if unit.kind == "class" for name in unit.names.binds}
    calls = (
        unit.place
        for unit in reversed(units)
        if unit.kind in ("constant", "other") and callers & {use.name for use in unit.names.now}
    )
    return next(calls, len(units))


def _can_call(unit: Unit, callers: set[str], classes: set[str]) -> bool:
    """Whether what a unit defines may call one of `callers`: a function, an object, `partial(fit)`."""
    if callers & {use.name for use in unit.names.later}:
        return True
    if unit.kind != "constant" or unit.node is None or not callers & {use.name for use in unit.names.now}:
        return False
    held = [node for kind in HOLDERS for node in matchers.findall(unit.node, kind(value=matchers.Name()))]
    made = matchers.findall(unit.node, matchers.Call(func=matchers.Name()))
    holds = any(_is_one_of(getattr(node, "value", None), callers) for node in held)
    return holds or any(_is_one_of(getattr(node, "func", None), classes) for node in made)


def _is_one_of(node: object, names: set[str]) -> bool:
    return isinstance(node, cst.Name) and normal(node.value) in names
