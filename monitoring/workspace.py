"""The project's files around a run of the pipeline: set aside before it, put back if it came to nothing.

The one module that calls DVC. What DVC keeps in its cache comes back from there; what it does not (the
configuration, the lock file, the reports that are read as text) is copied first. The copy outlasts a run
that was killed: the next one finds it and puts everything back before it starts.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from takeoff import files, paths
from takeoff.errors import TakeoffError
from takeoff.params import PARAMS_FILE
from takeoff.settings import read_yaml

PIPELINE_FILE, LOCK_FILE = Path("dvc.yaml"), Path("dvc.lock")
OWN = Path(".dvc") / "tmp"  # DVC's folder for what is of this machine and this moment
ASIDE, ASIDE_LOCK = OWN / "retrain", OWN / "retrain.lock"
INDEX_FILE = "index.json"
# Not of DVC, but written by a run: what the gate said last, and how fast the candidates were.
REPORTS = (paths.RELEASE_REPORT, paths.TIMING_REPORT)
# DVC ends with this line where a stage has just said itself, in plain words, why it stopped.
REPEATED = "ERROR: failed to reproduce"


def check_can_come_back() -> None:
    """Raise a TakeoffError unless DVC could bring every output of the pipeline back as it is now."""
    done = _dvc("data", "status", "--json", capture=True)
    if done.returncode != 0:
        raise TakeoffError(
            f"DVC can't say whether the pipeline's files are in its cache: {_last(done.stderr)}"
        )
    status = json.loads(done.stdout)
    changed = [name for names in status.get("uncommitted", {}).values() for name in names]
    if lost := [*status.get("not_in_cache", []), *changed]:
        raise TakeoffError(
            f"{lost[0]} is not what {LOCK_FILE} says, so it could not come back if the gate refuses. "
            f"Run `make run` first. Nothing was changed."
        )


def set_aside(champion: str) -> None:
    """Copy what DVC would not bring back, all of it or nothing. The gate's report starts from none.

    Args:
        champion: version that the files belong to.
    """
    kept = [Path(PARAMS_FILE), LOCK_FILE, *_uncached(), *REPORTS]

    def fill(folder: Path) -> None:
        for number, path in enumerate(kept):
            if path.exists():
                shutil.copyfile(path, folder / str(number))
        index = {"champion": champion, "files": [path.as_posix() for path in kept]}
        files.write_json(folder / INDEX_FILE, index)

    files.replace_folder(ASIDE, fill)
    paths.RELEASE_REPORT.unlink(missing_ok=True)


def put_back(leave: tuple[Path, ...] = ()) -> None:
    """Make every file what it was when it was set aside, except those to `leave` as they are now.

    Raises:
        TakeoffError: DVC could not bring its outputs back; what was set aside is kept, to try again.
    """
    for number, name in enumerate(files.read_json(ASIDE / INDEX_FILE)["files"]):
        path, copy = Path(name), ASIDE / str(number)
        if path in leave:
            continue
        if copy.exists():
            files.write_bytes(path, copy.read_bytes())
        else:
            path.unlink(missing_ok=True)
    done = _dvc("checkout", "--force", "--quiet", capture=True)
    if done.returncode != 0:
        raise TakeoffError(
            f"{PARAMS_FILE} and {LOCK_FILE} are what they were, but DVC could not bring the files back: "
            f"{_last(done.stderr)} Run `dvc checkout --force`, then `dvc status`."
        )
    forget()


def forget() -> None:
    """What was set aside is no longer wanted: the new files stay."""
    shutil.rmtree(ASIDE, ignore_errors=True)


def recover(champion: str) -> bool:
    """Put back what a run that was cut off had set aside; whether that was done.

    Args:
        champion: version that serves now. Where it is another one than before the run, the gate has let the
            new files through, and they stay.
    """
    if not (ASIDE / INDEX_FILE).exists():
        return False
    if files.read_json(ASIDE / INDEX_FILE)["champion"] != champion:
        forget()
        return False
    put_back()
    return True


def reproduce() -> int:
    """Run the stages that have to, with their own output; DVC's exit code, 0 if all went well.

    Nothing comes from DVC's cache of runs: a gate whose inputs it has seen has to judge again, since the
    champion is none of them. An interrupt ends the stage first and is raised then.
    """
    command = [sys.executable, "-m", "dvc", "repro", "--no-run-cache"]
    # In a group of its own, so that an interrupt reaches DVC and its stage wherever it came from: DVC itself
    # waits for a stage that was interrupted, but passes nothing on. What a shell starts in the background
    # ignores interrupts, and so would all that it starts.
    process = subprocess.Popen(
        command,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr
    try:
        held_back = _pass_on(process.stderr)
        code = process.wait()
    except KeyboardInterrupt:
        _interrupt(process)
        raise
    if code and not paths.RELEASE_REPORT.exists():
        sys.stderr.writelines(held_back)
    return code


def environment() -> dict[str, str]:
    """This process's environment, in which stages that say `python` get this one."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def _pass_on(stream: IO[str]) -> list[str]:
    """Copy lines to the standard error as they come; those that only repeat a stage are returned."""
    held_back = []
    for line in stream:
        if line.startswith(REPEATED):
            held_back.append(line)
        else:
            sys.stderr.write(line)
            sys.stderr.flush()
    return held_back


def _interrupt(process: "subprocess.Popen[str]") -> None:
    """Interrupt DVC and its stage, and wait until both have put their own things in order."""
    for ask in (signal.SIGINT, signal.SIGKILL):  # whoever interrupts again does not want to wait
        with suppress(ProcessLookupError):
            os.killpg(process.pid, ask)
        with suppress(KeyboardInterrupt):
            process.communicate()
            return


def _uncached() -> list[Path]:
    """Outputs that git or nobody keeps, rather than DVC's cache."""
    stages: Mapping[str, Any] = read_yaml(PIPELINE_FILE).get("stages", {})
    outputs = [
        item
        for stage in stages.values()
        for kind in ("outs", "metrics", "plots")
        for item in stage.get(kind, [])
        if isinstance(item, dict)
    ]
    return [
        Path(name)
        for item in outputs
        for name, settings in item.items()
        if isinstance(settings, dict) and settings.get("cache") is False
    ]


def _dvc(*arguments: str, capture: bool) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, env=environment(), capture_output=capture, text=True, check=False)


def _last(output: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return (lines or ["it did not say why."])[-1]
