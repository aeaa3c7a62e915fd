"""dvc.yaml against the code: a stage runs again when code that makes its output has changed."""

import ast
from functools import cache
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
SOURCE = PROJECT / "src" / "takeoff"
STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
# What reads, writes, reports and tracks, but computes nothing that an output holds.
PLUMBING = {"cli", "contract", "errors", "files", "history", "params", "paths", "provenance", "registry"}
PLUMBING |= {"settings", "stage", "summary", "timing"}


def imported(file: Path) -> set[str]:
    """Modules of takeoff that a file names in its imports."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "takeoff":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("takeoff."):
            names.add(str(node.module).split(".")[1])
    return names


@cache
def used(file: Path) -> frozenset[str]:
    """Modules that compute, reached from a file by imports."""
    found = set()
    for name in imported(file) - PLUMBING:
        module = SOURCE / f"{name}.py"
        if module.is_file():
            found |= {name} | used(module)
        elif (SOURCE / name / "__init__.py").is_file():
            found |= used(SOURCE / name / "__init__.py")
    return frozenset(found)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_all_code_that_makes_its_output(name: str) -> None:
    code = {Path(each).stem for each in STAGES[name]["deps"] if each.startswith("src/takeoff/")}

    assert used(PROJECT / "pipelines" / f"{name}.py") - code == set()


@pytest.mark.parametrize("name", STAGES)
def test_a_failed_stage_keeps_every_output_of_the_last_good_run(name: str) -> None:
    outputs = [*STAGES[name].get("outs", []), *STAGES[name].get("metrics", [])]

    assert outputs
    assert all(options["persist"] for output in outputs for options in output.values())
