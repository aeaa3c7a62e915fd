"""The text of ``params.yaml`` with one more candidate in it; comments, order and layout of the rest stay."""

from collections.abc import Mapping
from typing import Any

import yaml

from takeoff.errors import TakeoffError
from takeoff.params import PARAMS_FILE

STEP = 2  # spaces that a level of the file is further in, where no line of it shows

NUMERIC = frozenset("0123456789.+-")  # how a number may start; YAML 1.1 and 1.2 disagree on what is one

Found = tuple[yaml.Node, yaml.Node]  # a key and its value


def entered(
    text: str,
    name: str,
    settings: Mapping[str, Any],
    comments: Mapping[str, str],
    upkeep: float,
    upkeep_comment: str,
) -> str:
    """The text with the candidate under ``candidates`` and at the end of ``compete``.

    An entry that says the same already stays as it is, comments and all; in one that says something else the
    line of its upkeep stays where the number does.

    Args:
        text: of the file.
        settings: what JSON can hold, by key.
        comments: one for each key, where there is one.
        upkeep: money a year.

    Raises:
        TakeoffError: the file is laid out in a way that can't be extended without touching the rest.
    """
    before = _loaded(text)
    after = _competing(_entry(text, name, settings, comments, upkeep, upkeep_comment), name)
    expected = {
        **before,
        "candidates": {**before["candidates"], name: {"upkeep": upkeep, "settings": dict(settings)}},
        "compete": [each for each in before["compete"] if each != name or name in before["compete"]],
    }
    if name not in before["compete"]:
        expected["compete"].append(name)
    try:
        found = yaml.safe_load(after)
    except yaml.YAMLError:
        found = None
    if found != expected:
        raise _laid_out_otherwise()
    return after


def line_of(value: Any) -> str:
    """A value as YAML writes it on one line, so that YAML 1.1 and 1.2 read the same.

    Raises:
        TakeoffError: YAML has no plain form for it.
    """
    try:
        written = yaml.dump(
            [value],
            Dumper=_OneLineDumper,
            default_flow_style=True,
            width=float("inf"),
            allow_unicode=True,
            sort_keys=False,
        )
    except yaml.YAMLError:
        raise TakeoffError(
            f"A setting of type {type(value).__name__} can't stand in {PARAMS_FILE}: use numbers, text, "
            "true or false, and lists or mappings of these."
        ) from None
    return written.strip()[1:-1]


class _OneLineDumper(yaml.SafeDumper):
    """Quotes text with line breaks, which would go over several lines, and what may be a number."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _quoted(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    breaks = value != "" and value.splitlines() != [value]
    numeric = value[:1] in NUMERIC
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", value, style='"' if breaks else "'" if numeric else None
    )


_OneLineDumper.add_representer(str, _quoted)


def _loaded(text: str) -> dict[str, Any]:
    content = yaml.safe_load(text)
    if not isinstance(content, dict):
        raise TakeoffError(f"{PARAMS_FILE} must be a mapping of keys to values, but holds something else.")
    return content


def _entry(
    text: str,
    name: str,
    settings: Mapping[str, Any],
    comments: Mapping[str, str],
    upkeep: float,
    upkeep_comment: str,
) -> str:
    known = _loaded(text)["candidates"].get(name)
    if known == {"upkeep": upkeep, "settings": settings} and list(known["settings"]) == list(settings):
        return text
    candidates = _found(yaml.compose(text, Loader=yaml.SafeLoader), "candidates")
    if candidates is None or not _is_block(candidates[1]):
        raise _laid_out_otherwise()
    own = _found(candidates[1], name)
    newline = "\r\n" if "\r\n" in text else "\n"
    upkeep_line = f"upkeep: {line_of(upkeep)}{_comment(upkeep_comment)}"
    if own is not None:
        begin, end = _line_start(text, own[0].start_mark.index), _after(text, _end(own))
        if known["upkeep"] == upkeep and (kept := _kept_line(text, own)) is not None:
            upkeep_line = kept
    else:
        begin = end = _past_comments(text, _after(text, _end(candidates)), _indent(candidates[1]))
    lines = _lines(name, settings, comments, upkeep_line, _indent(candidates[1]), _step(candidates[1]))
    block = "".join(f"{line}{newline}" for line in lines)
    return _joined(text[:begin], block, text[end:], newline)


def _lines(
    name: str,
    settings: Mapping[str, Any],
    comments: Mapping[str, str],
    upkeep_line: str,
    indent: int,
    step: int,
) -> list[str]:
    inner, innermost = " " * (indent + step), " " * (indent + 2 * step)
    keys = [
        f"{innermost}{line_of(key)}: {line_of(value)}{_comment(comments.get(key, ''))}"
        for key, value in settings.items()
    ]
    return [
        f"{' ' * indent}{name}:",
        f"{inner}{upkeep_line}",
        f"{inner}settings:" if keys else f"{inner}settings: {{}}",
        *keys,
    ]


def _competing(text: str, name: str) -> str:
    compete = _found(yaml.compose(text, Loader=yaml.SafeLoader), "compete")
    if compete is None or not isinstance(compete[1], yaml.SequenceNode):
        raise TakeoffError(f"{PARAMS_FILE}: 'compete' must be a list of candidates.")
    items = compete[1].value
    if name in [item.value for item in items]:
        return text
    newline = "\r\n" if "\r\n" in text else "\n"
    if compete[1].flow_style:
        end = items[-1].end_mark.index
        return f"{text[:end]}, {name}{text[end:]}"
    indent = compete[1].start_mark.column
    end = _past_comments(text, _after(text, _end(compete)), max(indent, 1))
    return _joined(text[:end], f"{' ' * indent}- {name}{newline}", text[end:], newline)


def _found(node: yaml.Node | None, key: str) -> Found | None:
    children = node.value if isinstance(node, yaml.MappingNode) else []
    return next((child for child in children if child[0].value == key), None)


def _is_block(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode) and not node.flow_style and bool(node.value)


def _indent(block: yaml.Node) -> int:
    """Spaces in front of the keys of a block."""
    return int(block.value[0][0].start_mark.column)


def _step(candidates: yaml.Node) -> int:
    """Spaces that what is under a candidate is further in than its name."""
    inner = next((value for _, value in candidates.value if _is_block(value)), None)
    return STEP if inner is None else _indent(inner) - _indent(candidates)


def _end(found: Found) -> int:
    """Where a value ends; that of a block is where its last item does, not where the next key starts."""
    key, node = found
    while not getattr(node, "flow_style", True) and node.value:
        last = node.value[-1]
        key, node = last if isinstance(node, yaml.MappingNode) else (last, last)
    # What an alias stands for lies elsewhere: then the key's own line counts.
    return int(max(key.end_mark.index, node.end_mark.index))


def _line_start(text: str, place: int) -> int:
    return text.rfind("\n", 0, place) + 1


def _after(text: str, place: int) -> int:
    """Behind the line that ends a value; the mark of a text block may be lines below it."""
    end = text.find("\n", len(text[:place].rstrip()))
    return len(text) if end < 0 else end + 1


def _past_comments(text: str, place: int, indent: int) -> int:
    """Behind the comment lines that follow, as long as they are as far in as what they belong to."""
    while place < len(text):
        end = text.find("\n", place) + 1 or len(text)
        line = text[place:end]
        if not line.lstrip(" ").startswith("#") or len(line) - len(line.lstrip(" ")) < indent:
            break
        place = end
    return place


def _kept_line(text: str, own: Found) -> str | None:
    """The upkeep as it stands, with its comment."""
    upkeep = _found(own[1], "upkeep")
    if upkeep is None or not _is_block(own[1]):
        return None
    return text[upkeep[0].start_mark.index : _after(text, _end(upkeep))].rstrip()


def _comment(words: str) -> str:
    plain = " ".join("".join(each if each.isprintable() else " " for each in words).split())
    return f"  # {plain}" if plain else ""


def _joined(before: str, block: str, after: str, newline: str) -> str:
    between = newline if before and not before.endswith("\n") else ""
    return f"{before}{between}{block}{after}"


def _laid_out_otherwise() -> TakeoffError:
    return TakeoffError(
        f"{PARAMS_FILE} is laid out in a way that can't be extended without touching the rest (braces or "
        "anchors around the candidates). Write 'candidates' as a block, one key a line, and promote again."
    )
