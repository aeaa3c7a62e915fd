"""A project of its own for the story: a copy of the files that git knows, and what runs in it."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from monitoring.params_text import replaced
from monitoring.workspace import environment
from takeoff.errors import TakeoffError
from takeoff.files import write_text
from takeoff.params import PARAMS_FILE
from takeoff.ports import unused_port

MARK = ".story"  # a folder that holds this file was made here, and may be made anew
SERVICE_OUTPUT = "service.txt"
START_SECONDS, STOP_SECONDS = 120, 60
# A person's registry, Bento store, log and webhook are not those of the story.
OUTSIDE = ("MLFLOW_", "BENTOML_", "TAKEOFF_", "DVC_")


def make(source: Path, folder: Path, compete: Sequence[str] | None) -> None:
    """Copy the project in `source` into `folder`, as a repository of its own that has run nothing yet.

    Args:
        source: a git working copy; what git ignores stays behind.
        folder: missing, empty, or what an earlier story made, which is removed.
        compete: names of the candidates that compete; None: as in ``params.yaml``.

    Raises:
        TakeoffError: the folder holds something else, or git does not know the source.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise TakeoffError(
            f"{folder.as_posix()} holds something that no story made. Choose another --folder."
        )
    listed = _git(source, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_text(folder / MARK, "Made by `make story`, which removes it when it starts anew.\n")
    for name in filter(None, listed.split("\0")):
        if (source / name).is_file() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, folder / name)
    if compete:
        path = folder / PARAMS_FILE
        text = replaced(path.read_text(encoding="utf-8"), "compete", f"[{', '.join(compete)}]")
        write_text(path, text)
    _git(folder, "init", "-q")
    _git(folder, "add", "-A")
    identity = ["-c", "user.name=story", "-c", "user.email=story@localhost"]
    _git(folder, *identity, "commit", "-q", "--no-verify", "-m", "The project as the story found it")


def run(folder: Path, *arguments: str, allowed: Sequence[int] = (0,)) -> int:
    """Run `python -m ...` in the folder, its output on this terminal; the exit code.

    Raises:
        TakeoffError: the exit code is none of those allowed.
    """
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=folder, env=_environment(folder), check=False)
    if done.returncode not in allowed:
        raise TakeoffError(
            f"The story ended at `python -m {' '.join(arguments)}` in {folder.as_posix()}, "
            f"for the reason above."
        )
    return done.returncode


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The champion's service on a free port until the block ends; its address.

    Raises:
        TakeoffError: it did not start.
    """
    port = unused_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "takeoff.cli", "serve", "--port", str(port)]
    with (folder / SERVICE_OUTPUT).open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=_environment(folder),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the story, which stops the service itself
        )
    try:
        _wait_until_ready(process, address, folder)
        yield address
    finally:
        _stop(process)


def _wait_until_ready(process: "subprocess.Popen[bytes]", address: str, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{address}/readyz", timeout=5):
            return
        time.sleep(0.1)
    lines = (folder / SERVICE_OUTPUT).read_text(encoding="utf-8", errors="replace").splitlines()
    raise TakeoffError(f"The story's service did not start: {(lines or ['it did not say why.'])[-1]}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in environment().items() if not name.startswith(OUTSIDE)}
    quiet = {"DVC_NO_ANALYTICS": "1", "BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return kept | quiet | {"PYTHONPATH": str(folder / "src"), "PYTHONUNBUFFERED": "1"}


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, encoding="utf-8", check=True
        )
    except (OSError, subprocess.CalledProcessError):
        raise TakeoffError(
            "The story copies the files that git knows, and git does not know this folder. "
            "Run it in a clone of the project."
        ) from None
    return done.stdout
