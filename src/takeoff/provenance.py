"""Where a result came from: code, libraries, machine."""

import resource
import subprocess
import sys
from importlib.metadata import version

# The libraries that can change a model's numbers.
LIBRARIES = ("numpy", "scikit-learn", "torch", "onnx", "skl2onnx", "onnxruntime")


def git_commit() -> str:
    """The commit checked out here, with "+changes" where files differ from it; "none" outside git."""
    try:
        commit = _git("rev-parse", "HEAD")
        return f"{commit}+changes" if _git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.CalledProcessError):
        return "none"


def library_versions() -> dict[str, str]:
    """Installed version of each library that can change a model's numbers, without its build's suffix."""
    return {name: version(name).split("+")[0] for name in LIBRARIES}


def peak_memory_mib() -> float:
    """Most resident memory that this process ever held, MiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
