"""What the disk takes for what every commit waits for."""

import os
import tempfile
import time
from pathlib import Path

BLOCK = os.urandom(4096)


def fdatasync_ms(folder: Path, times: int) -> list[float]:
    """Milliseconds of each of `times` appends of 4 KB that are synced to the disk of a folder."""
    took = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(times):
            started = time.perf_counter()
            file.write(BLOCK)
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - started) * 1e3)
    return took
