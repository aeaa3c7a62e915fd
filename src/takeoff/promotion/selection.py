"""Which statements of a notebook its candidate's module takes, in which order, and what stands against it."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from takeoff.promotion.bindings import BUILTINS, Bindings, Need, bindings_of, same
from takeoff.promotion.cells import TAG
from takeoff.promotion.constants import what, why_not, why_not_called
from takeoff.promotion.names import Use
from takeoff.promotion.refusal import Problem, not_defined, unfit
from takeoff.promotion.units import Source, Unit, units_of

Chain = tuple[tuple[Unit, Use], ...]  # who needs whom, from a tagged statement on


class Selection(NamedTuple):
    """What a module is made of.

    Attributes:
        futures, imports: in the notebook's order.
        body: everything else, in the module's order.
        problems: why it can't be made; empty where it can.
        fit: what `fit` means when it is called last, if anything.
    """

    futures: tuple[Unit, ...]
    imports: tuple[Unit, ...]
    body: tuple[Unit, ...]
    problems: tuple[Problem, ...]
    live: dict[str, Unit | None]


def select(sources: Sequence[Source]) -> Selection:
    """What the tagged cells define, and whatever that needs."""
    units = units_of(tuple(sources))
    names = bindings_of(units)
    problems = [*_forbidden(sources, units), *_too_late(names)]
    taken, missing = _taken(names)
    problems += missing
    imports = _with_submodules([unit for unit in taken if unit.kind == "import"], names)
    definitions = [unit for unit in taken if unit.kind != "import"]
    problems += [*_ambiguous(taken, names), *_changed(definitions, names)]
    body, mixed = _ordered(definitions, imports, names)
    problems += [] if problems else mixed
    last = max((unit.place for unit in taken), default=0)
    futures = [unit for unit in units if unit.kind == "future" and unit.place <= last]
    live = {name: names.live(name) for name in ("fit", "Settings")}
    return Selection(tuple(futures), tuple(imports), tuple(body), tuple(problems), live)


def identity(unit: Unit) -> object:
    """What tells two units apart; of imports, what they give: `a` of `import a.b` and of `import a.c`."""
    if unit.kind != "import" or unit.imported is None:
        return unit.place
    name = next(iter(unit.names.binds), "")
    source, part = unit.imported
    return (source.split(".")[0], None, name) if _is_plain(unit) else (source, part, name)


def _forbidden(sources: Iterable[Source], units: Iterable[Unit]) -> Iterable[Problem]:
    """Whatever has no place in tagged cells, and imports that hide what they bind."""
    for source in sources:
        for magic in source.plain.magics if TAG in source.cell.tags else ():
            yield Problem(
                source.cell.number,
                magic.line,
                f"`{magic.text}` is a magic or a shell command, which only a notebook has. Move it to a cell "
                "that is not tagged.",
            )
    magic_cells = {source.cell.number for source in sources if source.plain.magics}
    for unit in units:
        if unit.kind == "import" and not unit.names.binds:
            yield Problem(
                unit.cell,
                unit.line,
                f"`{unit.code}` does not say what it imports, and may hide other names. Name what you use.",
            )
        elif unit.tagged and unit.kind in ("other", "delete") and unit.cell not in magic_cells:
            yield Problem(
                unit.cell,
                unit.line,
                f"{what(unit)} defines nothing that a module can hold. A tagged cell holds imports, "
                "functions, classes and constants: move this to a cell that is not tagged.",
            )


def _too_late(names: Bindings) -> Iterable[Problem]:
    """Tagged definitions that replace, after the last call of `fit`, what that call used."""
    for unit in names.units:
        for name in unit.names.binds if unit.tagged and unit.place > names.horizon else ():
            earlier = names.before(name, names.horizon)
            if earlier and unit.kind != "import" and earlier.names.binds:
                yield Problem(
                    unit.cell,
                    unit.line,
                    f"`{name}` is defined again after the last call of `fit`, which used that of cell "
                    f"{earlier.cell}, line {earlier.names.binds[name]}. Call `fit` once more below, or take "
                    "the tag away from one of them.",
                )


def _taken(names: Bindings) -> tuple[list[Unit], list[Problem]]:
    """The live tagged definitions and, transitively, what they need; and why some of it can't be had."""
    taken: dict[int, Unit] = {}
    problems: dict[tuple[str, str], Problem] = {}

    def take(unit: Unit, chain: Chain) -> None:
        if unit.place in taken:
            return
        reason = why_not(unit) or _reads_when_called(unit, names)
        if reason:
            problem = unfit(unit, chain, reason)
            problems.setdefault(problem.about, problem)
            return
        taken[unit.place] = unit
        for need in names.needs(unit):
            link = (*chain, (unit, need.use))
            if need.target is not None:
                take(need.target, link)
            elif need.use.name not in BUILTINS:
                problem = not_defined(link, names.live(need.use.name))
                problems.setdefault(problem.about, problem)

    for unit in names.units:
        if unit.tagged and _is_root(unit, names):
            take(unit, ())
    return [taken[place] for place in sorted(taken)], list(problems.values())


def _reads_when_called(unit: Unit, names: Bindings) -> str:
    """Why a constant is none that is made by a function of the notebook; empty where that is as good."""
    made_by = [names.before(use.name, unit.place) for use in unit.names.now]
    reasons = [why_not_called(each) for each in made_by if unit.kind == "constant" and each is not None]
    return next(filter(None, reasons), "")


def _is_root(unit: Unit, names: Bindings) -> bool:
    if unit.kind == "import":  # left out where nothing uses it, unless its author says it acts by itself
        return "noqa" in unit.whole
    if unit.kind in ("future", "other", "delete"):
        return False
    return not unit.names.binds or any(same(names.live(name), unit) for name in unit.names.binds)


def _with_submodules(imports: list[Unit], names: Bindings) -> list[Unit]:
    """With every `import a.x` where there is an `import a.b`: whether `a.x` works depends on it."""
    roots = {next(iter(unit.names.binds)) for unit in imports if _is_plain(unit)}
    found = {unit.place: unit for unit in imports}
    for unit in names.units:
        if unit.place < names.horizon and _is_plain(unit) and roots & set(unit.names.binds):
            found[unit.place] = unit
    return [found[place] for place in sorted(found)]


def _is_plain(unit: Unit) -> bool:
    source, name = unit.imported or ("", "")
    return unit.kind == "import" and name is None and source.split(".")[0] in unit.names.binds


def _ambiguous(taken: Sequence[Unit], names: Bindings) -> Iterable[Problem]:
    """Names that would mean two things within the module."""
    meant: dict[str, dict[object, Unit]] = {}
    for unit in taken:
        for need in names.needs(unit):
            if need.target is not None and not (set(unit.names.binds) & {need.use.name}):
                meant.setdefault(need.use.name, {}).setdefault(identity(need.target), need.target)
    for name, targets in meant.items():
        one, *others = sorted(targets.values(), key=lambda unit: unit.place)
        if others and not all(unit.tagged and unit.kind != "import" for unit in targets.values()):
            places = " and ".join(f"cell {unit.cell}, line {unit.line}" for unit in (one, others[-1]))
            yield Problem(
                others[-1].cell,
                others[-1].line,
                f"`{name}` means two things to the tagged cells: what {places} make of it. In a module it "
                "can mean only one: give one of them another name.",
            )


def _changed(definitions: Sequence[Unit], names: Bindings) -> Iterable[Problem]:
    """What is taken, but was changed by a statement that is not."""
    places = {unit.place for unit in definitions}
    for unit in names.units:
        if unit.place > names.horizon or unit.place in places:
            continue
        for name in sorted(unit.changes):
            made = names.before(name, unit.place)
            if made and made.place in places and same(made, names.live(name)):
                yield Problem(
                    unit.cell,
                    unit.line,
                    f"{what(unit)} changes `{name}` of cell {made.cell}, line {made.line} after it was made; "
                    "a module would have it unchanged. Make it whole in one statement, or inside `fit`.",
                )


def _ordered(
    definitions: Sequence[Unit], imports: Sequence[Unit], names: Bindings
) -> tuple[list[Unit], list[Problem]]:
    """The notebook's order, but what was pulled in stands before its use where that changes no meaning."""
    early = _before_use(definitions, names)
    if not list(_mixed(early, imports, names)):
        return early, []
    return list(definitions), list(_mixed(definitions, imports, names))


def _before_use(definitions: Sequence[Unit], names: Bindings) -> list[Unit]:
    known = {unit.place for unit in definitions}
    order: dict[int, Unit] = {}
    entered: set[int] = set()

    def place(unit: Unit) -> None:
        if unit.place in entered:
            return
        entered.add(unit.place)
        targets = [need.target for need in names.needs(unit) if need.target and need.target.place in known]
        for target in sorted(targets, key=lambda each: each.place):
            if not target.tagged:
                place(target)
        order[unit.place] = unit

    for unit in definitions:
        place(unit)
    return list(order.values())


def _mixed(order: Sequence[Unit], imports: Sequence[Unit], names: Bindings) -> Iterable[Problem]:
    """Names that would mean something else in a module of this order than they meant in the notebook."""
    module = [*imports, *order]
    for place, unit in enumerate(module):
        for need in names.needs(unit) if unit.kind != "import" else ():
            seen = module[:place] if need.at_once else module
            found = next((each for each in reversed(seen) if need.use.name in each.names.binds), None)
            if not _same(found, need):
                where = found or need.target or unit
                yield Problem(
                    unit.cell,
                    need.use.line,
                    f"`{need.use.name}` would mean something else in a module: that of cell {where.cell}, "
                    f"line {where.line}. Give the two of them different names.",
                )


def _same(found: Unit | None, need: Need) -> bool:
    if found is None or need.target is None:
        return found is need.target
    return identity(found) == identity(need.target)
