"""What only IPython understands, `%magics` and `!shell` lines, put aside: the rest is Python."""

import ast
import io
import re
import tokenize
from typing import NamedTuple

STAND_IN = (
    "get_ipython()"  # IPython's own name for what runs magics; what comes from it is refused by that name
)

PYTHON_CELLS = (
    "time",
    "capture",
    "prun",
)  # cell magics whose cell runs as Python, among the notebook's names
LINE = re.compile(r"(?P<indent>\s*)(?P<target>[^\W\d][\w.,\s\[\]*'\"]*=\s*)?[%!].*")
HELP = re.compile(r"(?P<indent>\s*)(\?{1,2}[\w.*]+|[\w.*]+\?{1,2})\s*")


class Magic(NamedTuple):
    """A line that is not Python."""

    line: int
    text: str


class Plain(NamedTuple):
    """A cell's text as Python.

    Attributes:
        source: as many lines as the cell has.
        magics: what was put aside; `source` may hold a stand-in for it.
    """

    source: str
    magics: tuple[Magic, ...]


def to_python(source: str) -> Plain:
    """A cell's text with a stand-in where it is not Python.

    Raises:
        SyntaxError: it is not valid Python even so.
    """
    lines = source.split("\n")
    first = next((place for place, line in enumerate(lines) if line.strip()), None)
    if first is not None and lines[first].startswith("%%"):
        return _cell_magic(lines, first)
    try:
        parse(source)
    except SyntaxError:
        return _line_magics(lines)
    return Plain(source, ())


def parse(source: str) -> None:
    """Do nothing where a text is valid Python.

    Raises:
        SyntaxError: it is not, or is nested too deeply to be read.
    """
    try:
        ast.parse(source)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error) or "nested too deeply", ("", 1, 1, "")) from None


def _cell_magic(lines: list[str], first: int) -> Plain:
    name, *words = lines[first][2:].split() or [""]
    magic = Magic(first + 1, lines[first].strip())
    if name not in PYTHON_CELLS:
        return Plain("\n" * (len(lines) - 1), (magic,))
    caught = next((word for word in words if word.isidentifier()), None) if name == "capture" else None
    stand_in = f"{caught} = {STAND_IN}" if caught else STAND_IN
    rest = to_python("\n".join([*[""] * (first + 1), *lines[first + 1 :]]))
    below = rest.source.split("\n")
    return Plain("\n".join([*below[:first], stand_in, *below[first + 1 :]]), (magic, *rest.magics))


def _line_magics(lines: list[str]) -> Plain:
    """Put aside each line that looks like a magic and does not stand inside a string or a bracket."""
    plain: list[str] = []
    magics: list[Magic] = []
    goes_on = False
    for number, line in enumerate(lines, start=1):
        found = LINE.fullmatch(line) or HELP.fullmatch(line)
        if goes_on:
            plain.append("")
        elif found and _complete(plain):
            target = found.groupdict().get("target") or ""
            plain.append(f"{found['indent']}{target}{STAND_IN}")
            magics.append(Magic(number, line.strip()))
        else:
            plain.append(line)
        goes_on = (goes_on or bool(plain[-1] != line)) and line.endswith("\\")
    parse("\n".join(plain))
    return Plain("\n".join(plain), tuple(magics))


def _complete(lines: list[str]) -> bool:
    """Whether these lines leave no string and no bracket open."""
    text = "\n".join(lines) + "\n"
    try:
        for _ in tokenize.generate_tokens(io.StringIO(text).readline):
            pass
    except tokenize.TokenError:
        return False
    except SyntaxError:  # indentation that can't be: for the parser to tell
        return True
    return not (lines and lines[-1].endswith("\\"))
