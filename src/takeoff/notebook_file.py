"""Notebook files as nbformat reads them. The one module that imports it."""

from pathlib import Path

from takeoff.lighter import without_grammar

with without_grammar():
    import nbformat
    from nbformat import NotebookNode
    from nbformat.v4 import new_code_cell

__all__ = ["NotebookNode", "new_code_cell", "read"]


def read(path: Path) -> NotebookNode:
    """A notebook file, as format 4."""
    return nbformat.read(path, as_version=4)
