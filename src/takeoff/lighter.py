"""Imports of large libraries without what they load and nobody here needs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# A grammar of international addresses, which jsonschema can do without and takes two seconds to make. Great
# Expectations and nbformat load jsonschema, and neither checks an address.
GRAMMAR = "rfc3987_syntax"


@contextmanager
def without_grammar() -> Iterator[None]:
    """A block in which jsonschema does not find its grammar, unless that was loaded before."""
    if GRAMMAR in sys.modules:
        yield
        return
    sys.modules[GRAMMAR] = None  # type: ignore[assignment]  # Python's own way to say that it is missing
    try:
        yield
    finally:
        del sys.modules[GRAMMAR]
