"""How the project is started: what the set-up makes, what it says when it can't, what it leaves alone."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from dvc.cli import main as dvc
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from takeoff import paths

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NOBODY = "http://127.0.0.1:9/simple"
MAKE = shutil.which("make") or "make"
# What the set-up calls; a PATH of these alone is a machine without Python 3.11.
TOOLS = ("bash", "awk", "cat", "cksum", "df", "dirname", "grep", "head", "mv", "rm", "tail", "tee", "find")
LEFT_BEHIND = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "NEEDED_GB", "PYTHON", "PYTHONPATH", "VIRTUAL_ENV"}


@pytest.fixture
def project(tmp_path):
    """The files that the set-up needs, in a folder with a space in its name."""
    folder = tmp_path / "take off"
    folder.mkdir()
    for name in ("Makefile", "setup.sh", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def small_project(project):
    """The same with a list that is installed in seconds: only what builds the project, from a folder."""
    (project / "src" / "takeoff").mkdir(parents=True)
    (project / "src" / "takeoff" / "__init__.py").touch()
    (project / "requirements.lock").write_text(pack("setuptools", project.parent / "wheels"))
    return project


def pack(name, folder):
    """A wheel of an installed package in `folder`, and the line of a list that asks for it."""
    package = distribution(name)
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{package.version}-py3-none-any.whl", "w") as wheel:
        for file in package.files:
            if ".." not in file.parts and file.suffix != ".pyc":
                wheel.write(file.locate(), file.as_posix())
    return f"{name}=={package.version}\n"


def environment(**changes):
    """This process's environment without an outer make's and pip's settings; no registry answers in it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in LEFT_BEHIND and not name.startswith("PIP_")
    }
    own = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": NOBODY, "PYTHON": sys.executable}
    return kept | own | changes


def offline(project):
    """Everything comes from the folder of wheels beside the project."""
    return environment(PIP_NO_INDEX="1", PIP_FIND_LINKS=(project.parent / "wheels").as_uri(), NEEDED_GB="0")


def make(project, *targets, env=None):
    return subprocess.run(
        [MAKE, *targets],
        cwd=project,
        env=env or environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def complaint(done):
    """The lines of a failed make that are not make's own."""
    assert done.returncode != 0
    return [line for line in done.stderr.splitlines() if line and not line.startswith("make: ***")]


def tools_folder(tmp_path):
    folder = tmp_path / "tools"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool))
    return folder


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_bare_make_lists_every_command_and_does_nothing(project):
    targets = re.findall(r"^\.PHONY: (.+)$", (project / "Makefile").read_text(), re.MULTILINE)

    done = make(project)

    listed = [line.split()[:2] for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert listed == [["make", target] for target in targets]
    assert not (project / ".venv").exists()


@pytest.mark.parametrize("shim", [False, True], ids=["nothing of that name", "a version manager's shim"])
def test_a_missing_python_is_told_in_one_line_with_how_to_get_it(project, tmp_path, shim):
    tools = tools_folder(tmp_path)
    if shim:
        script(tools / "python3.11", "echo 'pyenv: python3.11: command not found' >&2; exit 127")

    done = make(project, "setup", env=environment(PATH=str(tools), PYTHON="python3.11"))

    [line] = complaint(done)
    assert "Python 3.11 is needed" in line
    assert "apt install python3.11" in line
    assert not (project / ".venv").exists()


def test_a_python_without_ensurepip_is_told_in_one_line(project, tmp_path):
    # As on Debian without python3.11-venv: the module is not there.
    (tmp_path / "ensurepip.py").write_text("raise ModuleNotFoundError('ensurepip')\n")
    script(tmp_path / "debian-python", f'PYTHONPATH="{tmp_path}" exec "{sys.executable}" "$@"')

    done = make(project, "setup", env=environment(PYTHON=str(tmp_path / "debian-python")))

    [line] = complaint(done)
    assert "apt install python3.11-venv" in line
    assert not (project / ".venv").exists()


def test_too_small_a_disk_is_told_in_one_line_before_anything_is_written(project):
    done = make(project, "setup", env=environment(NEEDED_GB="999999"))

    [line] = complaint(done)
    assert "needs 999999 GB of free disk" in line
    assert not (project / ".venv").exists()


def test_a_registry_out_of_reach_is_told_in_one_line_that_names_the_log(project):
    done = make(project, "setup", env=environment(PIP_INDEX_URL=NOBODY, NEEDED_GB="0"))

    [line] = complaint(done)
    assert "Installing" not in done.stdout  # pip's own long attempts have not begun
    assert "could not reach its package registry" in line
    [log] = re.findall(r"\S+\.log", line)
    assert "Connection refused" in (project / log).read_text()
    assert not (project / ".venv" / "complete").exists()


def test_an_interrupt_leaves_nothing_that_counts_as_finished(project):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes calls and never answers
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        running = subprocess.Popen(
            [MAKE, "setup"],
            cwd=project,
            env=environment(PIP_INDEX_URL=address, NEEDED_GB="0"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # What is started in the background, as these tests may be, is told to ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        silent.settimeout(30)
        caller, _ = silent.accept()  # pip is at work
        os.killpg(running.pid, signal.SIGINT)
        _, errors = running.communicate(timeout=180)
        caller.close()

    assert running.returncode != 0
    assert "Interrupted." in errors
    assert "Traceback" not in errors
    assert not (project / ".venv" / "complete").exists()


def test_a_second_set_up_does_nothing(small_project):
    first = make(small_project, "setup", env=offline(small_project))
    made = (small_project / ".venv" / "complete").stat().st_mtime_ns
    started = time.perf_counter()

    second = make(small_project, "setup", env=offline(small_project))

    assert first.returncode == second.returncode == 0, first.stderr
    assert "Installing" in first.stdout and "Installing" not in second.stdout
    assert (small_project / ".venv" / "complete").stat().st_mtime_ns == made
    assert time.perf_counter() - started < 1


@pytest.mark.slow
@pytest.mark.parametrize("accident", ["unfinished", "moved"])
def test_an_environment_that_may_be_broken_is_made_anew(small_project, accident):
    make(small_project, "setup", env=offline(small_project))
    half_a_package = small_project / ".venv" / "lib" / "python3.11" / "site-packages" / "half.py"
    half_a_package.touch()
    where = small_project
    if accident == "unfinished":
        (small_project / ".venv" / "complete").unlink()
    else:
        where = small_project.rename(small_project.with_name("moved here"))

    done = make(where, "setup", env=offline(where))

    assert done.returncode == 0, done.stderr
    assert (where / ".venv" / "complete").read_text().startswith(f"{where.resolve()}\n")
    assert not (where / half_a_package.relative_to(small_project)).exists()


@pytest.mark.slow
def test_a_changed_list_is_installed_into_the_environment_that_is_there(small_project):
    make(small_project, "setup", env=offline(small_project))
    with (small_project / "requirements.lock").open("a") as lock:
        lock.write(pack("iniconfig", small_project.parent / "wheels"))

    done = make(small_project, "setup", env=offline(small_project))

    assert done.returncode == 0, done.stderr
    assert "Making .venv" not in done.stdout
    assert list((small_project / ".venv").glob("lib/*/site-packages/iniconfig"))


def test_the_lock_is_exact_versions_without_hash_address_or_build():
    lines = [line for line in LOCK.splitlines() if not line.startswith("#")]

    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []


def test_the_lock_holds_every_dependency_in_a_version_that_is_allowed():
    locked = dict(line.split("==") for line in LOCK.splitlines() if not line.startswith("#"))
    versions = {canonicalize_name(name): version for name, version in locked.items()}
    asked = [
        *PYPROJECT["build-system"]["requires"],
        *PYPROJECT["project"]["dependencies"],
        *PYPROJECT["project"]["optional-dependencies"]["dev"],
    ]

    wrong = [
        str(wish)
        for wish in map(Requirement, asked)
        if not wish.specifier.contains(versions.get(canonicalize_name(wish.name), "0"))
    ]

    assert wrong == []


def test_clean_removes_what_the_pipeline_made_and_keeps_history_and_foreign_data(project):
    pipelines = [path for path in vars(paths).values() if isinstance(path, Path)]
    made = [path for path in pipelines if path.suffix] + [paths.SPLIT, paths.QUARANTINE, paths.MODELS]
    kept = ["mlruns", ".bentoml", ".remote", ".dvc/cache", "reports/benchmarks", "data/raw/mine.csv"]
    for path in [*made, Path(".venv"), *map(Path, kept)]:
        (project / path).mkdir(parents=True, exist_ok=True)
    for folder in ("pipelines", "src", "tests"):
        (project / folder).mkdir()

    done = make(project, "clean")

    assert done.returncode == 0, done.stderr
    assert [str(path) for path in [*made, ".venv"] if (project / path).exists()] == []
    assert [path for path in kept if not (project / path).exists()] == []


def test_data_can_be_pushed_and_pulled_at_once(tmp_path, monkeypatch):
    folder = tmp_path / "take off"
    shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "*.local"))
    shutil.copy(ROOT / ".dvcignore", folder)
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    for kind in ("GLOBAL", "SYSTEM"):  # no configuration but the project's
        monkeypatch.setenv(f"DVC_{kind}_CONFIG_DIR", str(tmp_path / "nothing"))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.chdir(folder)
    Path("rows.csv").write_text("a,b\n1,2\n")

    codes = [dvc(["add", "--quiet", "rows.csv"]), dvc(["push", "--quiet"])]
    shutil.rmtree(".dvc/cache")
    Path("rows.csv").unlink()
    codes.append(dvc(["pull", "--quiet"]))

    assert codes == [0, 0, 0]
    assert Path("rows.csv").read_text() == "a,b\n1,2\n"
    assert Path(".remote").is_dir()


def test_checks_before_a_commit_need_no_network():
    configuration = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))

    hooks = [hook for repository in configuration["repos"] for hook in repository["hooks"]]

    assert {repository["repo"] for repository in configuration["repos"]} == {"local"}
    assert {hook["language"] for hook in hooks} == {"unsupported"}
