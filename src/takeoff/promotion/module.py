"""From a notebook to the text of its candidate's module, without running anything."""

from typing import Literal, NamedTuple

from takeoff.promotion.cells import Notebook


class Need(NamedTuple):
    """What the tagged cells use and an untagged cell defines, so that it was pulled in.

    Attributes:
        cell, line: of its definition, counted from 1.
    """

    name: str
    cell: int
    line: int
    kind: Literal["import", "function", "class", "constant"]


class Generated(NamedTuple):
    """A module, not written yet.

    Attributes:
        text: formatted, with its header.
        digest: of the notebook, see `cells.digest`.
        needs: what was pulled in from untagged cells, in the module's order.
        hints: what the project's linter says of the author's code: line of `text`, rule, words.
    """

    text: str
    digest: str
    needs: tuple[Need, ...]
    hints: tuple[str, ...] = ()


class Header(NamedTuple):
    """What a promoted module says of itself.

    Attributes:
        notebook: path from the project folder, with forward slashes.
        digest: of the notebook's code when it was promoted.
        body_digest: of the module when it was promoted, see `body_digest_of`.
    """

    notebook: str
    digest: str
    body_digest: str


def generate(notebook: Notebook, name: str) -> Generated:
    """The module of a notebook's tagged cells and of all that they need.

    The same notebook gives the same bytes. Run in the project folder: it is formatted by its rules.

    Raises:
        TakeoffError: each thing that can't be promoted, with its name, cell and line and what to do.
    """
    raise NotImplementedError


def header_of(text: str) -> Header | None:
    """What the docstring of a promoted module says; None where the module was not promoted."""
    raise NotImplementedError


def body_digest_of(text: str) -> str:
    """SHA-256, in hexadecimal, of a promoted module as it is now, its own digest left out.

    It equals `Header.body_digest` as long as nobody changed the module by hand.
    """
    raise NotImplementedError
