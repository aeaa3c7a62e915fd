"""Work in a copy of this process, beside what it goes on with: Python itself uses one processor."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from tempfile import TemporaryFile
from typing import IO


@contextmanager
def forked(work: Callable[[], bytes]) -> Iterator[Callable[[], bytes]]:
    """A block beside which work is done, in a process that has all that this one has, its libraries too.

    Yields:
        Waits for the work and gives what it made. Where it came to no good end, or on a system on which a
        process that has threads can't be copied, it is done here, and raises what it raises.
    """
    if sys.platform != "linux":
        yield work
        return
    with TemporaryFile() as file:
        process = get_context("fork").Process(target=_write, args=(work, file), daemon=True)
        process.start()

        def result() -> bytes:
            process.join()
            if process.exitcode != 0:
                return work()
            file.seek(0)
            return file.read()

        try:
            yield result
        finally:
            process.kill()
            process.join()


def _write(work: Callable[[], bytes], file: IO[bytes]) -> None:
    file.write(work())
    file.flush()
