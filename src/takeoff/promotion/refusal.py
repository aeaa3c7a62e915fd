"""Why a notebook can't be promoted, in words for a person: the name, the cell, the line, what to do."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from takeoff.errors import TakeoffError
from takeoff.promotion.cells import shown
from takeoff.promotion.names import Use
from takeoff.promotion.units import Unit

TAGGED_REMEDY = "Compute it inside `fit`, write it as a literal, or move it to a cell that is not tagged."
REMEDY = "Pass it to `fit`, compute it inside `fit`, or write it as a literal."
GIVEN = ("validation", "settings", "contract", "seed")  # what `fit` is given, besides rows
HISTORY = re.compile(r"In|Out|_+|_i{1,3}|_i?\d+|_[iod]h")  # IPython's own


class Problem(NamedTuple):
    """One thing that stands against promotion.

    Attributes:
        cell, line: where to look, counted from 1.
        text: what is wrong and what to do, as sentences.
        about: the names it is about, by which the same problem is told once.
    """

    cell: int
    line: int
    text: str
    about: tuple[str, str] = ("", "")


def refuse(path: Path, problems: Iterable[Problem]) -> TakeoffError:
    """All that stands against promoting a notebook, in the order of its cells."""
    told = dict.fromkeys(f"cell {each.cell}, line {each.line}: {each.text}" for each in sorted(problems))
    lines = "\n".join(f"- {text}" for text in told)
    return TakeoffError(f"{shown(path)} can't be promoted:\n{lines}")


def unfit(unit: Unit, chain: tuple[tuple[Unit, Use], ...], reason: str) -> Problem:
    """A definition that a module can't hold, and who needs it."""
    if not chain:
        return Problem(
            unit.cell,
            unit.line,
            f"{_name_of(unit)} {reason}. {TAGGED_REMEDY}",
            ("", f"{unit.cell} {unit.line}"),
        )
    user, use = _tagged_use(chain)
    name = chain[-1][1].name
    made = "" if unit.tagged else f" (cell {unit.cell}, line {unit.names.binds.get(name, unit.line)})"
    text = f"{_subject(chain, use)} {reason}{made}. {_remedy(use.name, unit)}"
    return Problem(user.cell, use.line, text, (use.name, name))


def not_defined(chain: tuple[tuple[Unit, Use], ...], later: Unit | None) -> Problem:
    """A name that nothing defines, or only what stands below."""
    user, use = _tagged_use(chain)
    name, subject = chain[-1][1].name, _subject(chain, use)
    if HISTORY.fullmatch(name):
        text = f"{subject} is the notebook's own history of inputs and outputs. Give what you use a name."
    elif name == "display":
        text = f"{subject} belongs to notebooks: production has nothing to show it on. Take it out of there."
    elif name == "get_ipython":
        text = f"{subject} is the notebook itself: magics and shell commands. Take it out of there."
    elif later is not None:
        text = (
            f"{subject} is used before cell {later.cell}, line {later.line} defines it: run from top to "
            "bottom, the notebook fails there. Move the definition up."
        )
    else:
        text = (
            f"{subject} is not defined in this notebook: a kernel that knew it had it from a cell that is "
            "gone. Define it in a cell, or import it."
        )
    return Problem(user.cell, use.line, text, (use.name, name))


def _subject(chain: tuple[tuple[Unit, Use], ...], told: Use) -> str:
    """What a sentence is about: the name that is used where it is told, or what that needs, and where."""
    user, use = chain[-1]
    if use == told:
        return f"`{use.name}`"
    return f"`{told.name}` needs `{use.name}` (cell {user.cell}, line {use.line}), which"


def _tagged_use(chain: tuple[tuple[Unit, Use], ...]) -> tuple[Unit, Use]:
    """The last use in a tagged cell that led there."""
    return next((link for link in reversed(chain) if link[0].tagged), chain[0])


def _remedy(name: str, unit: Unit) -> str:
    if unit.kind == "delete":
        return "Keep it until the last call of `fit`."
    if unit.kind == "import":
        return "Take it out of there."
    if name in GIVEN:
        return f"`fit` is given `{name}`: hand it on from there, as an argument of the function that uses it."
    if name == "params":
        return "What may be set belongs into `Settings`; the seed is the `seed` that `fit` is given."
    return REMEDY


def _name_of(unit: Unit) -> str:
    names = ", ".join(f"`{name}`" for name in unit.names.binds)
    return names or "this"
