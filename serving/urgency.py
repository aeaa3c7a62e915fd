"""Which threads of a worker go first, where there are more of them than cores."""

import os
import sys
import threading

LEAST = 19  # niceness of work that nobody waits for
LESS = 10  # of work that takes long anyway, and must not hold up what is quick


def lower(niceness: int) -> None:
    """Let this thread go after all that have a lower niceness, unless it goes later already.

    Linux has a niceness per thread; elsewhere nothing changes.
    """
    if sys.platform == "linux":
        own = threading.get_native_id()
        if os.getpriority(os.PRIO_PROCESS, own) < niceness:
            os.setpriority(os.PRIO_PROCESS, own, niceness)
