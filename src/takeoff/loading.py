"""Loading large libraries."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """A block that imports: without collections, which would find nothing, and walk all of it many times.

    What is loaded stays as long as the process, so later collections pass over it too.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
