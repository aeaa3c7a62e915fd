"""Change values in the text of ``params.yaml``; comments, order and layout stay."""

import yaml

from takeoff.errors import TakeoffError
from takeoff.params import PARAMS_FILE


def replaced(text: str, key: str, value: str) -> str:
    """The text with another value under a key.

    Args:
        text: of the file.
        key: dotted, like ``window.end``.
        value: as YAML writes it, on one line.

    Raises:
        TakeoffError: there is no such key.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for name in key.split("."):
        children = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((child for own, child in children if own.value == name), None)
    if node is None:
        raise TakeoffError(f"{PARAMS_FILE} has no '{key}', so that can't be changed.")
    begin, end = _place(node)
    # A block of items may stand right under its key; what is on one line has to be further in.
    indent = "  " if isinstance(node, yaml.SequenceNode) and not node.flow_style else ""
    return f"{text[:begin]}{indent}{value}{text[end:]}"


def _place(node: yaml.Node) -> tuple[int, int]:
    """Where a value stands, in characters; a block ends with its last item, not where the next key starts."""
    last = node
    while isinstance(last, yaml.SequenceNode) and not last.flow_style and last.value:
        last = last.value[-1]
    return node.start_mark.index, last.end_mark.index
