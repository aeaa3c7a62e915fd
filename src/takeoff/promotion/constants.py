"""Whether a statement can stand in a module: what it defines must not come from data, files or a shell."""

import re

import libcst as cst
from libcst import matchers

from takeoff.promotion.names import dotted
from takeoff.promotion.units import Unit, root, running

# Last names of calls whose result is no constant, and what they do. Whatever else is called on data is found
# by the name of the data.
CALLS = {
    "opens the project, as only a notebook does": "open_project",
    "opens a file": "open|fdopen|NamedTemporaryFile|TemporaryFile|memmap|mmap",
    "reads data": (
        "read|read_[a-z0-9_]+|load|load_[a-z0-9_]+|fetch|fetch_[a-z0-9_]+|loadtxt|genfromtxt|fromfile|"
        "scan_[a-z]+|execute|fetchall|urlopen|urlretrieve|connect|input|rows|examples|champion"
    ),
    "runs a command": "get_ipython|system|getoutput|check_output|check_call|Popen|popen|run_line_magic",
    "fits or predicts": "fit|fit_[a-z]+|partial_fit|predict|predict_[a-z]+|transform|inverse_transform|score",
    "is a table of data": "DataFrame|Series",
    "depends on when it runs": "now|today|utcnow|time_ns|perf_counter|monotonic",
    "depends on the machine": "cwd|home|getcwd|gethostname|getenv|listdir|glob|rglob|iterdir|expanduser",
    "depends on chance": "rand[a-z_]*|default_rng|RandomState|Generator|shuffle|uuid[14]|token_[a-z]+",
    "runs text as code": "eval|exec|globals|locals|vars|__import__",
}
KNOWN = {reason: re.compile(pattern) for reason, pattern in CALLS.items()}

STATEMENTS: tuple[tuple[type[cst.CSTNode], str], ...] = (
    (cst.For, "a `for` loop"),
    (cst.While, "a `while` loop"),
    (cst.With, "a `with` block"),
    (cst.Try, "a `try` block"),
    (cst.If, "an `if` block"),
    (cst.Match, "a `match` block"),
    (cst.Del, "`del`"),
)


def why_not(unit: Unit) -> str:
    """Why a unit can't be part of a module, as the end of a sentence about it; empty where it can.

    Names that it uses have to be asked for themselves.
    """
    if unit.kind == "import":
        return _why_not_import(unit)
    if unit.kind in ("function", "class", "constant") and unit.node is not None:
        return next(filter(None, (_why_not_value(node) for node in running(unit.node))), "")
    if unit.kind in ("text", "future", "guard"):
        return ""
    block = next((words for kind, words in STATEMENTS if isinstance(unit.node, kind)), "")
    return f"comes from {block}" if block else "is not made by a definition"


def why_not_called(unit: Unit) -> str:
    """The same for what a function of the notebook gives; empty where `unit` is no function."""
    if unit.kind != "function" or unit.node is None:
        return ""
    calls = matchers.findall(unit.node, matchers.Call())
    return next(filter(None, (_why_not_value(call) for call in calls)), "")


def what(unit: Unit) -> str:
    """A statement that is no definition, in words."""
    block = next((words for kind, words in STATEMENTS if isinstance(unit.node, kind)), "")
    first = unit.code.split("\n")[0].strip()
    return block or f"`{first if len(first) <= 60 else first[:57] + '...'}`"


def _why_not_import(unit: Unit) -> str:
    source, name = unit.imported or ("", None)
    if source.startswith("."):
        return "is imported from a folder that a notebook does not have"
    if source.split(".")[0] == "IPython":
        return "belongs to notebooks: production has nothing to show it on"
    if source == "takeoff.notebook" or (source, name) == ("takeoff", "notebook"):
        return "opens the project, as only a notebook does"
    return ""


def _why_not_value(node: cst.CSTNode) -> str:
    match node:
        case cst.Await() | cst.Yield():
            return "has to be waited for"
        case cst.Assign(value=cst.GeneratorExp()):
            return "is a generator, which can be used only once"
        case cst.Call(func=function):
            return _why_not_call(function)
        case cst.Attribute(attr=cst.Name(value="environ")):
            return "depends on the machine: `os.environ`"
    return ""


def _why_not_call(function: cst.BaseExpression) -> str:
    named = function.attr if isinstance(function, cst.Attribute) else function
    if not isinstance(named, cst.Name):
        return ""
    path = dotted(function)
    path = f"{root(function)}(...){path}" if path.startswith(".") else path
    reason = next((reason for reason, calls in KNOWN.items() if calls.fullmatch(named.value)), "")
    if not reason and ".random." in f".{path}.":
        reason = "depends on chance"
    return f"{reason}: `{path}(...)`" if reason else ""
