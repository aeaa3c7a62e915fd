"""Notebook files as nbformat reads them. The one module that imports it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Whatever checks by JSON Schema loads a grammar of international addresses, which takes two seconds and
# which no notebook needs: a package that jsonschema can do without.
GRAMMAR = "rfc3987_syntax"


@contextmanager
def _as_if_missing(package: str) -> Iterator[None]:
    """A package can't be imported within the block, unless it already was."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # Python's own way to say so
    try:
        yield
    finally:
        del sys.modules[package]


with _as_if_missing(GRAMMAR):
    import nbformat
    from nbformat import NotebookNode
    from nbformat.v4 import new_code_cell

__all__ = ["NotebookNode", "new_code_cell", "read"]


def read(path: Path) -> NotebookNode:
    """A notebook file, as format 4."""
    return nbformat.read(path, as_version=4)
