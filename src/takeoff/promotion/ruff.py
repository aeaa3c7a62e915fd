"""The project's own formatter and linter on a text that is not a file yet."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from takeoff.errors import TakeoffError

SORTED = ("--select", "I,F401")  # imports in the project's order, without those that nothing uses


def formatted(text: str, path: Path) -> str:
    """A module's text with its imports sorted and formatted by the rules of the project in this folder.

    Args:
        text: valid Python.
        path: where it will lie, which decides about the rules.

    Raises:
        TakeoffError: ruff is missing or fails.
    """
    as_sorted = _ruff(text, path, "check", *SORTED, "--fix", "--exit-zero")
    return _ruff(as_sorted, path, "format")


def hints(text: str, path: Path) -> tuple[str, ...]:
    """What the project's linter says of a module: line, rule, words.

    Raises:
        TakeoffError: ruff is missing or fails.
    """
    found = _found(text, path)
    return tuple(f"line {each['location']['row']}: {each['code']} {each['message']}" for each in found)


def codes(text: str, path: Path) -> tuple[str, ...]:
    """The rules of the project's linter that a module breaks, one for each time.

    Raises:
        TakeoffError: ruff is missing or fails.
    """
    return tuple(each["code"] for each in _found(text, path))


def _found(text: str, path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        _ruff(text, path, "check", "--output-format", "json", "--exit-zero")
    )
    return found


def _ruff(text: str, path: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "ruff", *arguments]
    command += ["--quiet", "--no-cache", "--stdin-filename", path.as_posix(), "-"]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().split("\n")[0]
        raise TakeoffError(f"ruff can't format {path.name}: {words}. Run `make setup`, which installs it.")
    return done.stdout.decode()
