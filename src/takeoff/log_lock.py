"""The lock beside SQLite's file, by which writers of several processes wait for each other."""

import fcntl
import os
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from takeoff.log_store import StoreUnavailable


class FileLock:
    """A lock beside the file at `path`, for whoever writes; the kernel frees it when a process is killed.

    To be used as a context, which raises StoreUnavailable where the lock cannot be had. Of contexts within
    each other the one that ends first gives the lock back. Who holds it longer than `seconds` stands still,
    and is given up by those who wait.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self._seconds = seconds
        self._path = path.with_name(f"{path.name}.lock")
        self._descriptor = self._held = self._open()
        self._waiter: _Waiter | None = None
        self._is_held = False

    def __enter__(self) -> None:
        if not self._is_held:
            self._take()
            self._is_held = True

    def __exit__(self, *_: object) -> None:
        if self._is_held:
            self._is_held = False
            fcntl.flock(self._held, fcntl.LOCK_UN)

    def _take(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._held = self._descriptor
        except BlockingIOError:
            self._held = self._wait()
        except OSError as error:  # a network's file system, or closed
            raise unusable(error) from None

    def close(self) -> None:
        """Give the file back."""
        if self._waiter is not None:
            self._waiter.close()
        os.close(self._descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def _wait(self) -> int:
        """The descriptor that has got the lock."""
        if self._waiter is None:
            self._waiter = _Waiter.of(self._descriptor, self._open)
        if not self._waiter.wait(self._seconds):
            raise StoreUnavailable("SQLite cannot be used: another process holds its lock and stands still.")
        return self._waiter.descriptor


class _Waiter:
    """A thread that waits for a lock in place of another, which so can give up.

    The kernel knows no end of such a wait, but wakes at once whoever waits, in their order. Looking again
    and again instead would come too late nearly always where others write and an event loop is busy.
    """

    # Those that still waited when their lock was closed, by the file. The next one goes on with them: else a
    # process that stands still for long would leave a thread behind for every try.
    _left: ClassVar[defaultdict[tuple[int, int], list["_Waiter"]]] = defaultdict(list)

    def __init__(self, descriptor: int, file: tuple[int, int]) -> None:
        self.descriptor, self._file = descriptor, file
        self._asked, self._got = threading.Semaphore(0), threading.Semaphore(0)
        self._mutex = threading.Lock()  # of these
        self._waits = self._wanted = self._ending = False
        threading.Thread(target=self._run, name="log-lock", daemon=True).start()

    @classmethod
    def of(cls, descriptor: int, opened: Callable[[], int]) -> "_Waiter":
        """One for the file of a descriptor, with a descriptor of its own."""
        found = os.fstat(descriptor)
        file = found.st_dev, found.st_ino
        try:
            return cls._left[file].pop()
        except IndexError:
            return cls(opened(), file)

    def wait(self, seconds: float) -> bool:
        """Whether the descriptor has got the lock in this time."""
        with self._mutex:
            self._wanted = True
            if not self._waits:
                self._waits = True
                self._asked.release()
        if self._got.acquire(timeout=seconds):
            return True
        with self._mutex:
            self._wanted = False
            return self._got.acquire(blocking=False)  # at the last moment

    def close(self) -> None:
        """End, or wait on for the next one."""
        with self._mutex:
            if self._waits:
                self._left[self._file].append(self)
                return
            self._ending = True
        self._asked.release()

    def _run(self) -> None:
        while self._asked.acquire() and not self._ending:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)
            with self._mutex:
                self._waits = False
                if self._wanted:
                    self._got.release()
                    continue
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
            try:
                self._left[self._file].remove(self)
                break
            except ValueError:  # it is wanted again, or will be by its lock
                pass
        os.close(self.descriptor)


def unusable(error: OSError) -> StoreUnavailable:
    """What the system says of the file, or of the lock beside it."""
    return StoreUnavailable(f"SQLite's file cannot be used: {error.strerror}.")
