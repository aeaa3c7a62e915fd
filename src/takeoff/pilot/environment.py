"""What ties a notebook to one machine: absolute paths, packages that the project lacks, installs in cells."""

import ast
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from takeoff.pilot.code import Call, Code, Place, constant, strings
from takeoff.pilot.finding import Finding

LOCK = "requirements.lock"
ROOTS = (
    "home|Users|users|content|kaggle|mnt|media|data|tmp|var|opt|root|srv|usr|etc|Volumes|workspace|workspaces|dbfs|"
    "scratch|nfs|export|gpfs|lustre|private|net|storage|shared|datasets|projects|project|work|app|databricks|s3"
)
PATH = re.compile(rf"^(?:file://)?(?:/(?:{ROOTS})(?:/|$)|~[\w.-]*[/\\]|[A-Za-z]:[\\/](?!/)|\\\\\w)|^~$")
SQL_PATH = re.compile(r"^\w+(?:\+\w+)?:////")
ANY_PATH = re.compile(r"^/[\w.-]+(/[\w .-]+)*/?$")
IN_COMMAND = re.compile(rf"(?:^|[\s='\"])((?:/(?:{ROOTS})/|~/|[A-Za-z]:\\)\S*)")
TAKES_PATH = re.compile(
    r"(^|\.)(read_\w+|to_(csv|parquet|pickle|json|excel|feather)|open|Path|PurePath|join|load|save|savez|loadtxt|"
    r"savetxt|genfromtxt|dump|chdir|listdir|glob|iglob|exists|makedirs|mkdir|savefig|ParquetFile|read_table|connect|"
    r"isfile|isdir|copy|move|ImageFolder|imread|walk)$"
)
HOME_CALLS = {"pathlib.Path.home", "os.path.expanduser"}
SHOWN = {
    "print",
    "title",
    "set_title",
    "xlabel",
    "ylabel",
    "suptitle",
    "compile",
    "Markdown",
    "HTML",
    "route",
}

INSTALLS = re.compile(
    r"(?:^|[\s;&|(])(?:[\w./{}]*/)?(?P<tool>pip3?(?:\.\d+)?|conda|mamba|micromamba|apt|apt-get|uv|poetry|brew|npm|yum|"
    r"easy_install|pipenv)\b[^;&|]*?\b(?:install|add|sync)\b"
)
SHELLS = re.compile(
    r"^(os\.(system|popen)|subprocess\.\w+|get_ipython\(\)\.(system|run_line_magic|getoutput))$"
)
INSTALL_CALLS = {"pip.main", "pip._internal.main", "pip._internal.cli.main.main"}

# What a package is called where it is not called as its module; for advice on those that are not installed.
DISTRIBUTIONS = {
    "cv2": "opencv-python", "PIL": "pillow", "sklearn": "scikit-learn", "skimage": "scikit-image",
    "yaml": "pyyaml", "bs4": "beautifulsoup4", "imblearn": "imbalanced-learn", "fitz": "pymupdf",
    "dotenv": "python-dotenv", "Crypto": "pycryptodome", "umap": "umap-learn", "hdbscan": "hdbscan",
    "skopt": "scikit-optimize",
}  # fmt: skip


def paths(code: Code) -> list[Finding]:
    """Texts in code, and commands, that name a place on one machine; URLs and prose are none."""
    found: dict[Place, str] = {}
    shown = _texts_for_people(code)
    given = _texts_for_files(code)
    for cell in code.cells:
        for place, text in strings(cell):
            if (place, text) in shown or re.search(r"\n", text):
                continue
            if PATH.match(text) or SQL_PATH.match(text) or ((place, text) in given and ANY_PATH.match(text)):
                found.setdefault(place, text)
    for call in code.calls:
        if call.name in HOME_CALLS:
            found.setdefault(call.place, f"{call.name}()")
    for command in code.commands:
        if (match := IN_COMMAND.search(command.text)) and not INSTALLS.search(f" {command.text}"):
            found.setdefault(command.place, match[1])
    return [
        Finding(
            "path",
            place.cell,
            place.line,
            f"`{_short(text)}`",
            "Read with `open_project().rows(...)`; write below the notebook's own folder, by relative paths.",
        )
        for place, text in sorted(found.items())
    ]


def installs(code: Code) -> list[Finding]:
    """Commands and calls that install something."""
    return [
        Finding(
            "install",
            place.cell,
            place.line,
            f"`{_short(text)}`",
            "Delete the line; name the package under `dependencies` in pyproject.toml, then `make lock` and "
            "`make setup`.",
        )
        for place, text, _ in install_places(code)
    ]


def install_places(code: Code) -> list[tuple[Place, str, ast.Call | None]]:
    """Where something is installed, by which text, and by which call where it is no command."""
    found: list[tuple[Place, str, ast.Call | None]] = [
        (each.place, f"{each.mark}{each.text}", None)
        for each in code.commands
        if each.mark in ("!", "%", "!!") and INSTALLS.search(f" {each.text}")
    ]
    for call in code.calls:
        text = " ".join(_words(call.node))
        if call.name in INSTALL_CALLS or (SHELLS.match(call.name) and INSTALLS.search(f" {text}")):
            found.append((call.place, f"{call.name}({text})", call.node))
    return sorted(found, key=lambda each: each[0])


def packages(code: Code, notebook: Path, project: Path) -> list[Finding]:
    """Imports that are neither of Python, nor beside the notebook, nor locked by the project."""
    locked = _locked(project / LOCK)
    wanted: dict[str, Place] = {}
    for each in code.imports:
        if not each.optional:
            wanted.setdefault(_unit(each.module), each.place)
    findings = []
    for module, place in wanted.items():
        root = module.partition(".")[0]
        if root in sys.stdlib_module_names or _is_beside(root, notebook.parent) or _is_beside(root, project):
            continue
        names = _distributions(root)
        if not is_there(module):
            problem = f"`{module}` is not installed here"
        elif locked and names and not any(_normal(each) in locked for each in names):
            problem = f"`{module}` is installed here, but is not in {LOCK}"
        else:
            continue
        name = DISTRIBUTIONS.get(root, names[0] if names else root)
        findings.append(
            Finding(
                "package",
                place.cell,
                place.line,
                problem + ".",
                f"Name `{name}` under `dependencies` in pyproject.toml, then `make lock` and `make setup`; "
                "or do without it.",
            )
        )
    return findings


def is_there(module: str) -> bool:
    """Whether a module can be imported here; it is not."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError, AttributeError):
        return False


def _unit(module: str) -> str:
    """What decides where a module comes from: its root; of a name that many share, two parts."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "google" else parts[0]


def _is_beside(root: str, folder: Path) -> bool:
    return (folder / f"{root}.py").is_file() or (folder / root).is_dir() or (folder / "src" / root).is_dir()


def _distributions(root: str) -> list[str]:
    """Installed packages that have this module; the one of the same name is asked first, which is quick."""
    try:
        return [importlib.metadata.distribution(root).metadata["Name"]]
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return list(_modules().get(root, []))


_KNOWN: dict[str, list[str]] = {}


def _modules() -> Mapping[str, list[str]]:
    if not _KNOWN:
        _KNOWN.update(importlib.metadata.packages_distributions())
    return _KNOWN


def _locked(lock: Path) -> frozenset[str]:
    if not lock.is_file():
        return frozenset()
    lines = lock.read_text(encoding="utf-8").splitlines()
    return frozenset(_normal(line.partition("==")[0]) for line in lines if "==" in line) | {"takeoff"}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _words(call: ast.Call) -> Iterator[str]:
    for part in [*call.args, *(each.value for each in call.keywords)]:
        for node in ast.walk(part):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def _texts_for_people(code: Code) -> set[tuple[Place, str]]:
    return set(_texts_of(code, lambda call: call.last in SHOWN))


def _texts_for_files(code: Code) -> set[tuple[Place, str]]:
    return set(_texts_of(code, lambda call: bool(TAKES_PATH.search(call.name))))


def _texts_of(code: Code, wanted: Callable[[Call], bool]) -> Iterator[tuple[Place, str]]:
    for call in filter(wanted, code.calls):
        for each in [*call.node.args, *(word.value for word in call.node.keywords)]:
            parts = each.values if isinstance(each, ast.JoinedStr) else [each]
            for part in parts:
                if isinstance(text := constant(part), str):
                    yield Place(call.place.cell, part.lineno), text


def _short(text: str) -> str:
    return text if len(text) <= 70 else f"{text[:67]}..."
