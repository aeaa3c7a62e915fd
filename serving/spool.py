"""Where answers wait on disk while the log's database is away: files of JSON lines, synced to the disk.

Each process writes a file of its own and holds a lock on it, which the kernel frees when the process ends,
however it ends. Who drains takes the files that nobody holds, so each is drained by exactly one.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from math import inf
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from takeoff.errors import TakeoffError
from takeoff.log_store import Entry, Label, ShadowEntry, Store, StoreUnavailable

SUFFIX = ".jsonl"
ASIDE_SUFFIX = ".aside"  # lines that could not be read or stored, for a person to look at
KINDS: dict[str, type[Entry] | type[ShadowEntry] | type[Label]] = {
    "prediction": Entry,
    "shadow": ShadowEntry,
    "label": Label,
}
PROBE_BYTES = 4096  # a little more than a prediction takes
SEGMENT_BYTES = 16 * 2**20  # a file that is larger is followed by another
DRAINED_ROWS = 500  # in one transaction
OTHERS_SECONDS = 1.0  # how long the size of other processes' files is taken to be the same


class SpoolUnavailable(TakeoffError):  # noqa: N818  # a state that passes, rather than a mistake
    """The spool is full, or its disk can't be written."""


class Group(NamedTuple):
    """What is written, committed and drained together."""

    entries: Sequence[Entry] = ()
    shadows: Sequence[ShadowEntry] = ()
    labels: Sequence[Label] = ()

    @property
    def rows(self) -> int:
        """Rows of all kinds."""
        return len(self.entries) + len(self.shadows) + len(self.labels)


class Segment:
    """A file whose lock this process holds: it writes there, or drains it."""

    def __init__(self, path: Path, descriptor: int, rows: int, size: int) -> None:
        self.path, self.rows, self.size = path, rows, size
        self._descriptor = descriptor
        self._stored_bytes = 0
        self._given: list[bytes] = []

    def append(self, lines: bytes, rows: int) -> None:
        """Write whole lines; they are on the disk when this returns.

        Raises:
            OSError: they are not, and what was written of them has been taken back if that was possible.
        """
        try:
            view = memoryview(lines)
            while view:
                view = view[os.write(self._descriptor, view) :]
            os.fdatasync(self._descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(lines)
        self.rows += rows

    def groups(self, most_rows: int) -> Iterator[Group]:
        """Its rows that are not stored yet, at most so many at once; say `stored` before asking for the next.

        Lines that make no sense go to a file aside. A last line without an end was being written when its
        process was killed: it was never answered.
        """
        with self.path.open("rb") as file:
            file.seek(self._stored_bytes)
            while lines := [line for line in islice(file, most_rows) if line.endswith(b"\n")]:
                self._given = lines
                rows = [(line, _parse(line)) for line in lines]
                if senseless := [line for line, row in rows if row is None]:
                    self.put_aside(senseless)
                yield _group(row for _, row in rows if row is not None)

    def stored(self) -> None:
        """The group that was given last is safe elsewhere, and is not given again."""
        self._stored_bytes += sum(map(len, self._given))
        self.rows -= len(self._given)

    def put_aside(self, lines: Iterable[bytes]) -> None:
        """Keep lines for a person to look at, in a file beside this one."""
        with self.path.with_suffix(ASIDE_SUFFIX).open("ab") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """Delete the file, once its rows are safe elsewhere, and let go of its lock."""
        self.path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Let go of the lock, so that another process may drain what is there."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Spool:
    """A folder of segments. One thread writes; another may drain.

    Args:
        folder: where they are; it is made.
        most_bytes: of all files in it, those of other processes included.

    Raises:
        TakeoffError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder, self._most_bytes = folder, most_bytes
        self._lock = Lock()  # between the writer and the drainer
        self._open: Segment | None = None
        self._held: list[Segment] = []  # full ones, and those of dead processes
        self._others = (0, -inf)  # bytes in the folder that are not ours, and when that was measured
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(error.strerror) from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _unusable("no permission to write there")

    @property
    def rows(self) -> int:
        """Rows that wait in files which this process holds."""
        # Without the lock, which is held while a disk is slow: whoever only looks must not wait for that.
        return sum(each.rows for each in self._ours())

    def append(self, group: Group) -> None:
        """Write a group; it is on the disk when this returns.

        Raises:
            SpoolUnavailable: it is not.
        """
        lines = b"".join(to_lines(group))
        with self._lock:
            try:
                if self._size() + len(lines) > self._most_bytes:
                    raise SpoolUnavailable("The spool is full.")
                if self._open is None or self._open.size >= SEGMENT_BYTES:
                    self._seal()
                    self._open = _create(self._folder)
                self._open.append(lines, group.rows)
            except OSError as error:
                # What a disk says after it failed once is not to be relied on: go on in a new file.
                self._seal()
                raise SpoolUnavailable(f"The spool cannot be written: {error.strerror}.") from None

    def probe(self) -> None:
        """Write something and take it back.

        Raises:
            SpoolUnavailable: no row could be kept now.
        """
        probe = self._folder / f"{os.getpid()}.probe"
        with self._lock:
            try:
                if self._size() + PROBE_BYTES > self._most_bytes:
                    raise SpoolUnavailable("The spool is full.")
                try:
                    with probe.open("wb") as file:
                        file.write(bytes(PROBE_BYTES))
                        file.flush()
                        os.fsync(file.fileno())
                finally:
                    probe.unlink(missing_ok=True)
            except OSError as error:
                raise SpoolUnavailable(f"The spool cannot be written: {error.strerror}.") from None

    def adopt(self) -> int:
        """Take over the files of processes that have ended; the rows that wait in all that are held then."""
        with self._lock:
            ours = {each.path for each in self._ours()}
            for path in sorted(self._folder.glob(f"*{SUFFIX}")):
                if path not in ours and (segment := _take(path)) is not None:
                    self._held.append(segment)
        return self.rows

    def full_segments(self) -> list[Segment]:
        """Files to drain, the oldest first; the one that is being written is closed for it."""
        with self._lock:
            self._seal()
            return sorted(self._held, key=lambda each: each.path)

    def remove(self, segment: Segment) -> None:
        """Delete a drained file."""
        with self._lock:
            self._held.remove(segment)
            segment.remove()

    def close(self) -> None:
        """Let go of all files: what is in them waits for the next process. May be called twice."""
        with self._lock:
            self._seal()
            for segment in self._held:
                segment.release()
            self._held = []

    def _ours(self) -> list[Segment]:
        is_open = self._open
        return self._held + ([is_open] if is_open else [])

    def _seal(self) -> None:
        if self._open is not None:
            if self._open.rows:
                self._held.append(self._open)
            else:
                self._open.remove()
            self._open = None

    def _size(self) -> int:
        own = {each.path: each.size for each in self._ours()}
        others, measured = self._others
        if time.monotonic() - measured > OTHERS_SECONDS:
            others = 0
            for path in self._folder.iterdir():
                with suppress(OSError):  # drained meanwhile
                    others += 0 if path in own else path.stat().st_size
            self._others = (others, time.monotonic())
        return sum(own.values()) + others


def drain(spool: Spool, store: Store, go_on: Callable[[int], bool]) -> None:
    """Move all that waits into the database.

    Args:
        spool: what waits.
        store: the database.
        go_on: told after each transaction how many rows it moved; says whether to go on.

    Raises:
        StoreUnavailable: the database is away again; what it has got is not moved again by this process.
        OSError: the disk of the spool fails.
    """
    for segment in spool.full_segments():
        for group in segment.groups(DRAINED_ROWS):
            _insert_what_can_be(group, segment, store)
            segment.stored()
            if not go_on(group.rows):
                return
        spool.remove(segment)


def _insert_what_can_be(group: Group, segment: Segment, store: Store) -> None:
    """Insert a group; rows that the database refuses for what they are go to a file aside."""
    try:
        store.insert(*group)
    except StoreUnavailable:
        raise
    except Exception:
        singles = [Group(entries=[each]) for each in group.entries]
        singles += [Group(shadows=[each]) for each in group.shadows]
        singles += [Group(labels=[each]) for each in group.labels]
        if len(singles) == 1:
            segment.put_aside(to_lines(group))
            return
        for single in singles:
            _insert_what_can_be(single, segment, store)


def _create(folder: Path) -> Segment:
    """A new file, whose name sorts by time; it gets that name once it is locked, so that nobody adopts it."""
    path = folder / f"{time.time_ns():020d}-{os.getpid()}{SUFFIX}"
    unlocked = path.with_suffix(".new")
    descriptor = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unlocked.rename(path)
        _sync_folder(folder)
    except OSError:
        os.close(descriptor)
        raise
    return Segment(path, descriptor, rows=0, size=0)


def _take(path: Path) -> Segment | None:
    """The file, locked; None where another process holds it, or has just drained it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with path.open("rb") as file:  # by its name, which is gone where another has just drained it
            rows = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(2**20), b""))
        return Segment(path, descriptor, rows, os.fstat(descriptor).st_size)
    except OSError:
        pass
    os.close(descriptor)
    return None


def _sync_folder(folder: Path) -> None:
    """Make the folder remember a new file: a synced file without a name is lost with the power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def to_lines(group: Group) -> Iterator[bytes]:
    """A group as JSON lines: an array of the kind and the values."""
    for kind, rows in zip(KINDS, group, strict=True):
        for row in rows:
            yield json.dumps([kind, *row]).encode() + b"\n"


def _parse(line: bytes) -> tuple[str, Any] | None:
    try:
        kind, *values = json.loads(line)
        return kind, KINDS[kind](*values)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _group(rows: Iterable[tuple[str, Any]]) -> Group:
    parts: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    for kind, row in rows:
        parts[kind].append(row)
    return Group(*parts.values())


def _unusable(reason: str | None) -> TakeoffError:
    return TakeoffError(
        f"The spool's folder cannot be used: {reason}. Set TAKEOFF_SPOOL_DIR to a folder that may be written."
    )
