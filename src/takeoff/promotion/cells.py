"""A notebook as promotion sees it: its cells in the order of the file, whatever order they were run in."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

from takeoff.errors import TakeoffError

TAG = "candidate"  # of the cells that become the module
OLDEST_FORMAT = 4  # of notebook files that are read

Kind = Literal["code", "markdown", "raw"]

HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$")
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
MARKS = re.compile(r"(\*\*|\*|__|`|~~)")
SENTENCE_END = re.compile(r"[.!?](?=\s+[^\W\d_a-z]|\s*$)")


class Cell(NamedTuple):
    """One cell.

    Attributes:
        number: its place among all cells, counted from 1 as a person counts.
        source: its text, with plain line feeds.
        tags: set in JupyterLab under the property inspector.
        execution_count: what the saved file says; None where it was not run.
    """

    number: int
    kind: Kind
    source: str
    tags: frozenset[str]
    execution_count: int | None


class Notebook(NamedTuple):
    """A notebook file: where it lies, and its cells."""

    path: Path
    cells: tuple[Cell, ...]


def read(path: Path) -> Notebook:
    """Read a notebook file; nothing of it is run.

    Raises:
        TakeoffError: it is missing, is no notebook, is older than format 4, or is not written in Python.
    """
    name = shown(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TakeoffError(f"There is no notebook {name}. Give its path from the project folder.") from None
    except OSError as error:
        raise TakeoffError(f"{name} can't be read: {error.strerror or error}.") from None
    except ValueError:
        raise TakeoffError(
            f"{name} is no notebook: it is not JSON in UTF-8. Expected a saved .ipynb file."
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get("nbformat"), int):
        raise TakeoffError(f"{name} is no notebook: it names no format. Expected a saved .ipynb file.")
    if content["nbformat"] < OLDEST_FORMAT:
        raise TakeoffError(
            f"{name} is in notebook format {content['nbformat']}, expected {OLDEST_FORMAT} or later: "
            "open it in JupyterLab and save it, which brings it up to date."
        )
    _check_python(content.get("metadata"), name)
    cells = content.get("cells")
    if not isinstance(cells, list):
        raise TakeoffError(f"{name} is no notebook: it has no list of cells. Save it again in JupyterLab.")
    return Notebook(path, tuple(_cell(number, each, name) for number, each in enumerate(cells, start=1)))


def tagged(notebook: Notebook) -> tuple[Cell, ...]:
    """The code cells tagged `candidate`, in the notebook's order."""
    return tuple(cell for cell in notebook.cells if cell.kind == "code" and TAG in cell.tags)


def title(notebook: Notebook) -> str | None:
    """The first sentence of the markdown cell right before the first tagged cell, without its markup."""
    first = next((cell.number for cell in tagged(notebook)), None)
    before = [cell for cell in notebook.cells if first and cell.number < first and cell.source.strip()]
    if not before or before[-1].kind != "markdown":
        return None
    paragraphs = re.split(r"\n\s*\n", _without_headings(before[-1].source).strip())
    headings = [found[1] for line in before[-1].source.split("\n") if (found := HEADING.match(line))]
    text = next((each for each in [*paragraphs, *headings] if each.strip()), "")
    plain = " ".join(MARKS.sub("", LINK.sub(r"\1", text)).split())
    end = SENTENCE_END.search(plain)
    plain = plain[: end.end()] if end else plain
    return (plain if plain[-1] in ".!?" else f"{plain}.") if plain else None


def digest(notebook: Notebook) -> str:
    """SHA-256, in hexadecimal, of what a module is made from: code, tags, and the candidate's title.

    Outputs, execution counts, other prose and cells without code don't count.
    """
    code = [
        [cell.source.rstrip(), sorted(cell.tags)]
        for cell in notebook.cells
        if cell.kind == "code" and cell.source.strip()
    ]
    text = json.dumps([title(notebook), code], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def shown(path: Path) -> str:
    """A path for people: from the current folder where it lies within, else its name alone."""
    folder = Path.cwd()
    whole = path if path.is_absolute() else folder / path
    return whole.relative_to(folder).as_posix() if whole.is_relative_to(folder) else path.name


def _check_python(metadata: Any, name: str) -> None:
    known = metadata if isinstance(metadata, dict) else {}
    language = known.get("language_info", {}).get("name") or known.get("kernelspec", {}).get("language")
    if language and str(language).lower() not in ("python", "ipython"):
        raise TakeoffError(f"{name} is written in {language}; only notebooks in Python can be promoted.")


def _cell(number: int, content: Any, name: str) -> Cell:
    try:
        source = content["source"]
        text = source if isinstance(source, str) else "".join(source)
        kind = content["cell_type"]
        tags = frozenset(str(tag) for tag in content.get("metadata", {}).get("tags", []))
        count = content.get("execution_count")
    except (TypeError, KeyError, AttributeError):
        raise TakeoffError(
            f"{name}: cell {number} is not as a notebook's cell has to be. Save it again in JupyterLab."
        ) from None
    if kind not in ("code", "markdown", "raw"):
        raise TakeoffError(f"{name}: cell {number} is of kind '{kind}', expected code, markdown or raw.")
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    return Cell(number, kind, plain, tags, count if isinstance(count, int) else None)


def _without_headings(text: str) -> str:
    return "\n".join("" if HEADING.match(line) else line for line in text.split("\n"))
