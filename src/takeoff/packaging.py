"""Bentos: what goes into one, its tag, and building it; the one adapter for BentoML's build side.

A Bento's version is a hash of all that goes into it, so that the same content has the same tag anywhere
and is built once. BentoML itself runs in a process of its own, which sees nothing but the staged files:
a Bento that lacks one of them fails to build instead of failing to serve.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

import takeoff
from takeoff import paths
from takeoff.contract import CONTRACT_FILE, Contract
from takeoff.errors import TakeoffError
from takeoff.files import read_json, sha256
from takeoff.model import CARD_FILE, MODEL_FILE
from takeoff.reference import PROFILE_FILE

CARD = (paths.RELEASED / CARD_FILE).as_posix()
REQUIREMENTS = Path("serving") / "requirements.txt"
SERVICE = "serving.service:Predictor"
# All that the service imports of this package: modules that need only what REQUIREMENTS lists.
MODULES = (
    *("__init__", "contract", "errors", "model", "paths", "settings", "value"),
    *("log_lock", "log_postgres", "log_schema", "log_sqlite", "log_store"),
)

STORE_VARIABLE = "BENTOML_HOME"
DEFAULT_STORE = Path(".bentoml")  # inside the project: nothing lands in a person's home
LOG_VARIABLE = "TAKEOFF_LOG_URL"  # of the service: where its prediction log is
DEFAULT_LOG = Path("data") / "log" / "predictions.db"
BUILD_FILE = "bentofile.yaml"
QUIET = {"BENTOML_DO_NOT_TRACK": "True", "ORT_DISABLE_TELEMETRY": "1"}  # both would report on their use


@dataclass(frozen=True)
class Bento:
    """A Bento to be.

    Attributes:
        tag: name:version; the version is a hash of everything else here.
        recipe: the text of ``bentofile.yaml``.
        sources: the file on disk for each path in the Bento; paths are those of the project, where the
            service looks for its files too, except that this package stands at the top.
        hashes: SHA-256 of each of these files.
    """

    tag: str
    recipe: str
    sources: Mapping[str, Path]
    hashes: Mapping[str, str]


def describe(contract: Contract, project: Path) -> Bento:
    """The Bento of the released model in the project folder; nothing is built yet.

    Raises:
        TakeoffError: a file that goes into it is missing, or the model was trained under another contract.
    """
    sources = _sources(project)
    if missing := [name for name, source in sources.items() if not source.is_file()]:
        raise TakeoffError(
            f"{missing[0]} is missing, and the Bento needs it. Run `dvc repro`, which makes it."
        )
    if read_json(sources[CARD])["contract_hash"] != contract.hash:
        raise TakeoffError(
            f"The released model was trained under another {CONTRACT_FILE} than the one in this folder. "
            f"Run `dvc repro`, which trains and releases under this one."
        )
    recipe = _recipe(contract, read_requirements(project))
    hashes = {name: sha256(source) for name, source in sources.items()}
    return Bento(f"{contract.name}:{_version(recipe, hashes)}", recipe, sources, hashes)


def read_requirements(project: Path) -> list[str]:
    """What the Bento installs, as name==version."""
    lines = (project / REQUIREMENTS).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def ensure_built(bento: Bento, labels: Mapping[str, str], project: Path) -> bool:
    """Make sure that the store holds this Bento with these labels; whether it had to be built.

    Labels are no part of the tag. A Bento with other labels is built again and takes the old one's place.

    Raises:
        TakeoffError: BentoML refused, or the store cannot be written.
    """
    store = store_folder(project)
    stored = bento_folder(store, bento.tag)
    if _labels(stored) == dict(labels):
        return False
    try:
        store.mkdir(parents=True, exist_ok=True)
        # BentoML copies into its store file by file. Built in a store of its own and moved, a Bento is
        # there whole or not at all.
        with tempfile.TemporaryDirectory(prefix=".building-", dir=store) as folder:
            _build(bento, labels, Path(folder))
            _move(bento_folder(Path(folder), bento.tag), stored)
    except OSError as error:
        raise TakeoffError(
            f"The Bento store could not be written: {error.strerror}. It is {DEFAULT_STORE} in the project "
            f"folder, or where {STORE_VARIABLE} says. What was in it before is untouched."
        ) from None
    return True


def store_folder(project: Path) -> Path:
    """BentoML's home: where the person said, otherwise inside the project."""
    return Path(os.environ.get(STORE_VARIABLE) or project / DEFAULT_STORE).expanduser().resolve()


def bento_folder(store: Path, tag: str) -> Path:
    """Where BentoML keeps a Bento inside its home."""
    name, version = tag.split(":")
    return store / "bentos" / name / version


def serve(tag: str, host: str, port: int, project: Path) -> NoReturn:
    """Become the server of a Bento of the store.

    Raises:
        TakeoffError: the store does not hold it.
    """
    store = store_folder(project)
    if not bento_folder(store, tag).is_dir():
        raise TakeoffError(
            f"The Bento {tag} is not in the store. Run `python -m pipelines.package`, which builds the "
            f"one of the released model, or copy it back into {STORE_VARIABLE}."
        )
    log = (project / DEFAULT_LOG).resolve()
    environment = {
        LOG_VARIABLE: f"sqlite:///{log}",
        **os.environ,
        STORE_VARIABLE: str(store),
        **QUIET,
    }
    command = [sys.executable, "-m", "bentoml", "serve", tag, "--host", host, "--port", str(port)]
    # In place of this process, so that whoever stops it stops the server.
    os.execve(sys.executable, command, environment)


def _sources(project: Path) -> dict[str, Path]:
    challenged = (project / paths.CHALLENGER).is_dir()
    own = [
        CONTRACT_FILE,
        (paths.RELEASED / MODEL_FILE).as_posix(),
        CARD,
        (paths.REFERENCE / PROFILE_FILE).as_posix(),
        paths.GOLDEN.as_posix(),
        *([(paths.CHALLENGER / file).as_posix() for file in (MODEL_FILE, CARD_FILE)] if challenged else []),
        REQUIREMENTS.as_posix(),
        *sorted(path.relative_to(project).as_posix() for path in (project / "serving").glob("*.py")),
    ]
    package = Path(takeoff.__path__[0])
    return {name: project / name for name in own} | {
        f"takeoff/{module}.py": package / f"{module}.py" for module in MODULES
    }


def _recipe(contract: Contract, requirements: list[str]) -> str:
    recipe = {
        "name": contract.name,
        "service": SERVICE,
        "description": f"# {contract.name}\n\n{contract.question}\n",
        # Every requirement is exact; locking would ask a package index at each build. BentoML would not
        # read REQUIREMENTS itself in a folder whose path has a hidden part, as the default store's has.
        "python": {"packages": requirements, "lock_packages": False},
        "envs": [{"name": name, "value": value} for name, value in QUIET.items()],
    }
    return yaml.safe_dump(recipe, sort_keys=False)


def _version(recipe: str, hashes: Mapping[str, str]) -> str:
    lines = [f"{name} {hashes[name]}" for name in sorted(hashes)]
    return hashlib.sha256("\n".join([recipe, *lines]).encode()).hexdigest()[:16]


def _labels(folder: Path) -> dict[str, Any] | None:
    """Labels of a stored Bento, or None where there is none."""
    try:
        return dict(yaml.safe_load((folder / "bento.yaml").read_text(encoding="utf-8"))["labels"])
    except FileNotFoundError:
        return None


def _build(bento: Bento, labels: Mapping[str, str], store: Path) -> None:
    """Build into an empty store."""
    stage = store / "stage"
    for name, source in bento.sources.items():
        target = stage / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    (stage / BUILD_FILE).write_text(bento.recipe, encoding="utf-8", newline="\n")
    command = [sys.executable, "-m", "bentoml", "build", "--bentofile", BUILD_FILE]
    command += ["--version", bento.tag.split(":")[1]]
    for name, value in labels.items():
        command += ["--label", f"{name}={value}"]
    environment = os.environ | {STORE_VARIABLE: str(store)} | QUIET
    result = subprocess.run(command, cwd=stage, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise TakeoffError(f"BentoML could not build {bento.tag}: {_reason(result.stderr)}")


def _reason(stderr: str) -> str:
    """The line of an error output that says what is wrong."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or "Failed" in line or "Exception" in line]
    return (errors or lines or ["it did not say why"])[-1]


def _move(built: Path, stored: Path) -> None:
    stored.parent.mkdir(parents=True, exist_ok=True)
    if stored.exists():
        stored.replace(built.with_name("old"))  # goes with the temporary folder
    built.replace(stored)
    (stored.parent / "latest").write_text(stored.name)
