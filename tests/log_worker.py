"""A process that answers as fast as it can and says what it has answered, until it is killed.

python -m tests.log_worker URL SPOOL_FOLDER
"""

import asyncio
import sys
from pathlib import Path

from serving.prediction_log import PredictionLog
from serving.spool import Spool
from tests.log_entries import EVERYTHING, ROOM, entries, open_log

CLIENTS = 16


async def client(log: PredictionLog) -> None:
    """Send the next when there is an answer."""
    while True:
        [entry] = entries(1)
        await log.submit([entry])
        print(entry.id, flush=True)


async def main() -> None:
    """All clients at once."""
    url, spool_folder = sys.argv[1:]
    log = PredictionLog(lambda: open_log(url), Spool(Path(spool_folder), ROOM), EVERYTHING)
    await asyncio.gather(*(client(log) for _ in range(CLIENTS)))


if __name__ == "__main__":
    asyncio.run(main())
