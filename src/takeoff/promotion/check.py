"""``takeoff promote --check``: does every promoted module still equal what its notebook would give?"""

import ast
import re
from pathlib import Path
from typing import NamedTuple

from rich.text import Text

from takeoff.errors import TakeoffError
from takeoff.promotion.cells import Cell, Notebook, digest, read
from takeoff.promotion.module import Header, body_digest_of, generate, header_of, is_header_changed, same_code
from takeoff.promotion.registration import CANDIDATES
from takeoff.stage import read_config, show

HEADER_CHANGED = (
    "its header was changed: a docstring on top has to name its notebook and two hashes. Take the change "
    "back with git; or, to go on with the module alone, delete all three lines."
)


class Finding(NamedTuple):
    """What holds for one promoted module.

    Attributes:
        path: of the module.
        fine: whether it is what its notebook would give.
        says: in a sentence, with what to do.
    """

    path: Path
    fine: bool
    says: str


def check() -> None:
    """Compare every promoted module of the project in the current folder; nothing is run.

    Raises:
        TakeoffError: at least one differs, or there is no project here.
    """
    read_config()  # in another folder there is nothing to find, which must not look like all being well
    found = findings()
    if not found:
        show("No candidate was promoted from a notebook yet.")
    for each in found:
        show(Text(f"{'ok' if each.fine else 'DIFFERS'}: {each.path.as_posix()}: {each.says}"))
    if wrong := [each.path.stem for each in found if not each.fine]:
        raise TakeoffError(
            f"{len(wrong)} of {len(found)} promoted candidates differ from their notebook: {', '.join(wrong)}"
        )


def findings() -> list[Finding]:
    """One for each module that says that it was promoted, by name; all else in the folder is left alone."""
    found = []
    for path in sorted(CANDIDATES.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        header = header_of(text)
        if header is not None:
            found.append(_finding(path, text, header))
        elif is_header_changed(text):
            found.append(Finding(path, False, HEADER_CHANGED))
    return found


def _finding(path: Path, text: str, header: Header) -> Finding:
    notebook = Path(header.notebook)
    if not notebook.is_file():
        return Finding(
            path,
            False,
            f"its notebook {header.notebook} is gone. Bring it back from git; or, to go on with the module "
            "alone, delete the lines of its docstring that name the notebook and the two hashes.",
        )
    try:
        cells = read(notebook)
        would_be = generate(cells, path.stem).text
    except TakeoffError as error:
        return Finding(path, False, f"its notebook can't be promoted any more. {error}")
    by_hand = body_digest_of(text) != header.body_digest
    changed = digest(cells) != header.digest
    again = f"takeoff promote {header.notebook} --as {path.stem}"
    if same_code(text, would_be) and not by_hand:
        later = ", although cells that it does not use changed since" if changed else ""
        return Finding(path, True, f"equals what {header.notebook} gives{later}.")
    return Finding(path, False, _difference(by_hand, changed, _names(text, would_be, cells), header, again))


def _difference(by_hand: bool, changed: bool, names: str, header: Header, again: str) -> str:
    if by_hand and changed:
        return (
            f"both were changed since, the module by hand and {header.notebook} too{names}. Carry what you "
            f"want to keep into the notebook, then run `{again} --overwrite`."
        )
    if by_hand:
        return (
            f"was changed by hand since{names}. Carry the change into {header.notebook}, then run "
            f"`{again} --overwrite`; or take it back with git."
        )
    if changed:
        return f"{header.notebook} changed since{names}. Run `{again}`."
    return f"the rules of formatting, or this command, changed since{names}. Run `{again}`."


def _names(text: str, would_be: str, notebook: Notebook) -> str:
    """What differs, as " (`fit`, cell 12)"; empty where it is but a comment or the layout."""
    before, after = _statements(text), _statements(would_be)
    differing = [name for name in {**after, **before} if before.get(name) != after.get(name)]
    if not differing:
        return ""
    cells = {name: cell.number for cell in notebook.cells for name in differing if _defines(cell, name)}
    words = [f"`{name}`, cell {cells[name]}" if name in cells else f"`{name}`" for name in differing]
    return f" ({'; '.join(words)})"


def _statements(text: str) -> dict[str, str]:
    """The code of each definition and constant of a module, by name; that of its imports under one."""
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return {"a syntax error": text}
    found: dict[str, str] = {}
    for statement in body:
        code = ast.unparse(statement)
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            found[statement.name] = code
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            found["import"] = found.get("import", "") + code
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            stored = (each for each in ast.walk(statement) if isinstance(each, ast.Name))
            found |= {each.id: code for each in stored if isinstance(each.ctx, ast.Store)}
    return found


def _defines(cell: Cell, name: str) -> bool:
    pattern = rf"^(?:def |class )?{re.escape(name)}\b\s*[:(=]"
    return cell.kind == "code" and re.search(pattern, cell.source, re.MULTILINE) is not None
