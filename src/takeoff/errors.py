"""The one kind of failure that is expected: its text is all that a person gets to see."""


class TakeoffError(Exception):
    """Says what happened, what was expected and what to do next, in words for a person."""
