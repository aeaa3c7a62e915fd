"""Files that are there whole or not at all.

Every write goes to a neighbouring temporary file and is renamed into place, so that a stage that
fails or is interrupted leaves what was there before.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from takeoff.errors import TakeoffError


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text; see `replacing` for what it raises."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes; see `replacing` for what it raises."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON with a stable layout; NaN is refused with a ValueError."""
    write_text(path, as_json(content))


def as_json(content: Any) -> str:
    """Indented JSON with a stable layout; NaN is refused with a ValueError."""
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def write_rows(path: Path, rows: pd.DataFrame) -> None:
    """Write a frame as Parquet, without its index, the same bytes for the same rows."""
    with replacing(path) as temporary:
        rows.to_parquet(temporary, index=False, compression="zstd")


def read_json(path: Path) -> Any:
    """Read a JSON file that an earlier stage wrote.

    Raises:
        TakeoffError: it is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _missing(path) from None
    except ValueError:
        raise TakeoffError(f"{path.as_posix()} is not valid JSON. Delete it and run `dvc repro`.") from None


def read_rows(path: Path) -> pd.DataFrame:
    """Read a Parquet file of rows.

    Raises:
        TakeoffError: it is missing, empty, truncated or not Parquet.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise _missing(path) from None
    except PermissionError:
        raise TakeoffError(
            f"{path.as_posix()} may not be read by this user. Change its permissions."
        ) from None
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError):
        size = path.stat().st_size
        problem = "is an empty file" if size == 0 else f"cannot be read as Parquet ({size:,} bytes; cut off?)"
        raise TakeoffError(
            f"{path.as_posix()} {problem}. Delete it and run `dvc repro` to make it again."
        ) from None
    # An index that pandas stored in the file is a column of the data like any other.
    return pd.DataFrame(table.to_pandas(ignore_metadata=True))


def sha256(path: Path) -> str:
    """SHA-256 of a file, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well.

    Raises:
        TakeoffError: the disk is full or the folder cannot be written; `path` is then as it was.
    """
    with _saying_why_not(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = neighbour(path)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def neighbour(path: Path) -> Path:
    """Where this process writes what is to take the place of a file."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def replace_together(texts: Mapping[Path, str], made: Iterable[Path] = ()) -> None:
    """Write files that belong together: all of them beside their places, which they take only then.

    Args:
        texts: UTF-8 text by path.
        made: paths of files that are there already, where `neighbour` says.

    Raises:
        TakeoffError: the disk is full or a folder cannot be written; every file is then as it was.
    """
    written: list[Path] = []
    try:
        for path, text in texts.items():
            with _saying_why_not(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                written.append(path)
                neighbour(path).write_text(text, encoding="utf-8", newline="\n")
        for path in (*made, *texts):
            with _saying_why_not(path):
                neighbour(path).replace(path)
    finally:
        for path in written:
            with suppress(OSError):
                neighbour(path).unlink()


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder anew: `fill` writes into a temporary one, which then takes its place.

    Raises:
        TakeoffError: the disk is full or the folder cannot be written; `folder` is then as it was.
    """
    with _saying_why_not(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
        old = temporary.with_suffix(".old")
        try:
            temporary.chmod(0o755)
            fill(temporary)
            if folder.exists():
                folder.replace(old)
            temporary.replace(folder)
        finally:
            if old.exists() and not folder.exists():  # stopped between the two moves
                old.replace(folder)
            for rest in (temporary, old):
                shutil.rmtree(rest, ignore_errors=True)


@contextmanager
def alone(lock: Path, what: str) -> Iterator[None]:
    """Keep any other process that does `what` out until the block ends; the kernel frees it of one that dies.

    Args:
        lock: file that stands for the right to do it.
        what: for the message, as in "Another `what` of this project is running".

    Raises:
        TakeoffError: another one is running, or the lock cannot be written.
    """
    with _saying_why_not(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TakeoffError(
                f"Another {what} of this project is running. Wait for its end, then run this again."
            ) from None
        yield


@contextmanager
def _saying_why_not(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TakeoffError(
            f"{path.as_posix()} could not be written: {error.strerror or error}. "
            "What was there before is untouched."
        ) from None


def _missing(path: Path) -> TakeoffError:
    return TakeoffError(f"{path.as_posix()} is missing. Run `dvc repro`, which makes it.")
