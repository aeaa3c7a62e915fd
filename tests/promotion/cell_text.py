"""Notebooks as text that a person can read in a test.

In it a line `# %% KIND` opens a cell: `code`, `candidate` (a tagged one) or `markdown`; a
number behind it is the execution count that the saved file shows.
"""

import re
from textwrap import dedent

import nbformat

from takeoff.promotion.cells import TAG

OPENS = re.compile(r"^# %% (code|candidate|markdown) ?(\d*)\n", re.MULTILINE)


def notebook(text: str) -> nbformat.NotebookNode:
    """The notebook that a text stands for; the same text gives the same bytes."""
    _, *parts = OPENS.split(dedent(text))
    cells = [
        _cell(number, kind, source.strip("\n"), int(count) if count else None)
        for number, (kind, count, source) in enumerate(
            zip(parts[::3], parts[1::3], parts[2::3], strict=True), start=1
        )
    ]
    return nbformat.v4.new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
    )


def _cell(number: int, kind: str, source: str, count: int | None) -> nbformat.NotebookNode:
    name = f"cell-{number}"
    if kind == "markdown":
        return nbformat.v4.new_markdown_cell(source, id=name)
    metadata = {"tags": [TAG]} if kind == "candidate" else {}
    return nbformat.v4.new_code_cell(source, id=name, execution_count=count, metadata=metadata)
