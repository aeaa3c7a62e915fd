"""`make container` and `make container-run`: the image of a Bento, built and run with podman or docker.

Whatever a machine needs on top comes from outside, as options or as environment variables: see --help.
"""

import ast
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from serving.settings import PREFIX
from takeoff import files, paths
from takeoff.errors import TakeoffError
from takeoff.model import CARD_FILE
from takeoff.packaging import bento_folder, store_folder
from takeoff.stage import HERE, run, show

# podman first: it needs neither a daemon nor root. Both build and run the same image.
ENGINES = ("podman", "docker")
IMAGE = "takeoff"
VOLUME = f"{IMAGE}-log:/var/lib/takeoff"
CONTAINERFILE = Path(__file__).with_name("Containerfile")
LOCK = Path("requirements.lock")
SERVES = ("bento.yaml", "README.md", "src")  # of a Bento; the rest is for building it and for its catalogue
MOST_MB = 600  # what an image may weigh
STOP_SECONDS = 30  # longer than the longest request that is to be finished
INDEX_SETTINGS = ("index-url", "extra-index-url", "trusted-host")

app = typer.Typer(
    help="Build the image of a Bento, and run it. Run it in the project folder.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Engine = Annotated[
    str,
    typer.Option(
        envvar="CONTAINER_ENGINE",
        help="podman or docker, where need be with options of its own, as in `podman --runtime runc`. "
        "Default: podman if it works, otherwise docker.",
    ),
]
BentoTag = Annotated[
    str, typer.Option("--bento", help="A Bento's tag. Default: that of models/package.json.")
]
Image = Annotated[str, typer.Option(envvar="CONTAINER_IMAGE", help="The image's name, without a tag.")]


@app.command()
def build(
    bento: BentoTag = "",
    engine: Engine = "",
    image: Image = IMAGE,
    base_image: Annotated[
        str,
        typer.Option(
            envvar="CONTAINER_BASE_IMAGE", help="In place of python:3.11-slim. It needs Python 3.11 and pip."
        ),
    ] = "",
    options: Annotated[
        str,
        typer.Option(
            envvar="CONTAINER_BUILD_OPTIONS", help="More options for the engine's build, as in a shell."
        ),
    ] = "",
) -> None:
    """Build IMAGE:VERSION and IMAGE:latest. pip asks the package index that it asks here."""
    command = find_engine(engine)
    tag = bento or packaged_bento()
    folder = _stored(tag)
    names = [f"{image}:{version_of(tag)}", f"{image}:latest"]
    print(f"Building {names[0]} from the Bento {tag} (a minute or two)", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        context, secret = Path(temporary) / "context", Path(temporary) / "pip.conf"
        lay_out(folder, context)
        secret.write_text(pip_config(_pip_settings()), encoding="utf-8")
        arguments = [*command, "build", "--file", str(CONTAINERFILE), f"--secret=id=pip-config,src={secret}"]
        arguments += [f"--tag={name}" for name in names]
        arguments += [f"--label={name}={value}" for name, value in labels(folder).items()]
        arguments += [f"--build-arg=BASE_IMAGE={base_image}"] if base_image else []
        # The image format of OCI, podman's default, has no health checks.
        arguments += ["--format=docker"] if _is_podman(command) else []
        environment = os.environ | {"DOCKER_BUILDKIT": "1"}  # docker's older builder knows no secrets
        done = subprocess.run([*arguments, *shlex.split(options), str(context)], env=environment, check=False)
    if done.returncode != 0:
        raise TakeoffError(f"{command[0]} could not build the image; its reason stands above.")
    size = _ask([*command, "image", "inspect", "--format", "{{.Size}}", names[0]]).stdout
    show(
        f"Built {names[0]}, {int(size) / 1e6:.0f} MB, also known as {names[1]}. Start it: make container-run"
    )


@app.command("run")
def start(
    bento: BentoTag = "",
    engine: Engine = "",
    image: Image = IMAGE,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 3000,
    name: Annotated[str, typer.Option(envvar="CONTAINER_NAME", help="Name of the container.")] = IMAGE,
    volume: Annotated[
        str, typer.Option(envvar="CONTAINER_VOLUME", help="What holds the prediction log, and where it goes.")
    ] = VOLUME,
    options: Annotated[
        str,
        typer.Option(
            envvar="CONTAINER_RUN_OPTIONS", help="More options for the engine's run, as in a shell."
        ),
    ] = "",
) -> None:
    """Run the image until Ctrl-C or SIGTERM, with all TAKEOFF_... variables that are set here."""
    command = find_engine(engine)
    target = f"{image}:{version_of(bento or packaged_bento())}"
    if _ask([*command, "image", "inspect", target]).returncode != 0:
        raise TakeoffError(f"There is no image {target} yet. Run `make container` first.")
    arguments = [*command, "run", "--rm", f"--name={name}", f"--stop-timeout={STOP_SECONDS}"]
    arguments += ["--read-only", "--tmpfs=/tmp:rw,size=64m,mode=1777", f"--volume={volume}"]
    arguments += ["--cap-drop=ALL", "--security-opt=no-new-privileges"]
    # The same port inside: then the container's network may also be the machine's.
    arguments += [f"--publish=127.0.0.1:{port}:{port}", f"--env=BENTOML_PORT={port}"]
    arguments += [f"--env={each}" for each in sorted(os.environ) if each.startswith(PREFIX)]  # values unseen
    arguments += [*shlex.split(options), target]
    os.execvp(arguments[0], arguments)  # signals go to the engine itself


def find_engine(wanted: str = "") -> list[str]:
    """The command of a container engine that works here.

    Args:
        wanted: engine and its options as in a shell; empty for the first of ENGINES that works.

    Raises:
        TakeoffError: none works; says what each one answered.
    """
    problems = []
    for each in [wanted] if wanted else ENGINES:
        command = shlex.split(each)
        if shutil.which(command[0]) is None:
            problems.append(f"{command[0]} is not installed.")
            continue
        answer = _ask([*command, "info"])
        if answer.returncode == 0:
            return command
        said = (answer.stderr.strip() or answer.stdout.strip() or "no reason given").splitlines()[-1]
        problems.append(f"{command[0]} does not work: {said}")
    raise TakeoffError(
        "Building and running containers needs podman or docker. " + " ".join(problems) + "\n"
        "Install podman (Debian: apt install podman) or start docker's daemon."
    )


def packaged_bento() -> str:
    """Tag of the Bento that the stage `package` made.

    Raises:
        TakeoffError: it has not run yet.
    """
    return str(files.read_json(HERE / paths.PACKAGE_REPORT)["bento"])


def version_of(tag: str) -> str:
    """Version in a Bento's tag, which is also the image's tag.

    Raises:
        TakeoffError: it is no name:version.
    """
    name, _, version = tag.partition(":")
    if not (name and version):
        raise TakeoffError(f"'{tag}' is no tag of a Bento: expected NAME:VERSION.")
    return version


def lay_out(bento: Path, context: Path) -> None:
    """Fill a new folder with what the build gets to see.

    Args:
        bento: folder of the Bento in the store.
        context: folder to make.
    """
    (context / "bento").mkdir(parents=True)
    for name in SERVES:
        source, target = bento / name, context / "bento" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    required = (bento / "env" / "python" / "requirements.txt").read_text(encoding="utf-8")
    (context / "requirements.txt").write_text(required, encoding="utf-8")
    locked = (HERE / LOCK).read_text(encoding="utf-8")
    (context / "constraints.txt").write_text(constraints(locked, required), encoding="utf-8")


def constraints(locked: str, required: str) -> str:
    """Exact versions of what a Bento's requirements need in turn: those that the project is tested with.

    Args:
        locked: text of requirements.lock.
        required: text of the Bento's requirements, which win where an older Bento names other versions.
    """
    own = {_package(line) for line in required.splitlines()}
    kept = [line for line in locked.splitlines() if "==" in line and not line.startswith("#")]
    return "".join(f"{line}\n" for line in kept if _package(line) not in own)


def labels(bento: Path) -> dict[str, str]:
    """What the image says of itself, from the Bento in its folder."""
    about = yaml.safe_load((bento / "bento.yaml").read_text(encoding="utf-8"))
    card = files.read_json(bento / "src" / paths.RELEASED / CARD_FILE)
    given: dict[str, Any] = {
        "org.opencontainers.image.title": about["name"],
        "org.opencontainers.image.version": about["version"],
        "org.opencontainers.image.created": about["creation_time"],
        "takeoff.bento": f"{about['name']}:{about['version']}",
        "takeoff.model-version": about["labels"].get("model_version", ""),
        "takeoff.onnx-sha256": card["onnx_sha256"],
        "takeoff.contract-hash": card["contract_hash"],
    }
    return {name: str(value) for name, value in given.items()}


def pip_config(settings: str) -> str:
    """A pip.conf with the package indexes that pip asks on this machine.

    Args:
        settings: what `pip config list` prints. Folders of this machine do not exist inside the build, so
            only addresses are kept.
    """
    found: dict[str, str] = {}
    for line in sorted(settings.splitlines(), key=lambda line: line.startswith(":env:")):  # which pip obeys
        name, _, value = line.partition("=")
        name = name.rpartition(".")[2]
        words = str(ast.literal_eval(value)).split() if name in INDEX_SETTINGS else []
        if kept := [word for word in words if "://" not in word or word.startswith("http")]:
            found[name] = " ".join(kept)
    return "".join(["[global]\n", *(f"{name} = {value}\n" for name, value in found.items())])


def _pip_settings() -> str:
    return _ask([sys.executable, "-m", "pip", "config", "list"]).stdout


def _stored(tag: str) -> Path:
    version_of(tag)
    folder = bento_folder(store_folder(HERE), tag)
    if not folder.is_dir():
        raise TakeoffError(
            f"The Bento {tag} is not in the store. Run `make run`, which builds the released one."
        )
    return folder


def _package(line: str) -> str:
    return line.split("==")[0].split("[")[0].strip().lower().replace("_", "-").replace(".", "-")


def _is_podman(command: Sequence[str]) -> bool:
    return "podman" in _ask([*command, "--version"]).stdout  # also behind the name of docker


def _ask(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    run(app)
