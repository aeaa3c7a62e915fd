"""A candidate enters params.yaml, and nothing else of the file changes."""

import string
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from takeoff.errors import TakeoffError
from takeoff.params import PARAMS_FILE, known_candidates
from takeoff.promotion.params_entry import entered, line_of
from tests.conftest import PROJECT
from tests.promotable import only_added

REAL = (PROJECT / PARAMS_FILE).read_text(encoding="utf-8")

words = st.text(alphabet=string.ascii_letters + string.digits + " #:,[]{}'\"\\\n\t-é—\u2028", max_size=12)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), words)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=4)
keys = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
names = keys.map(lambda key: f"new_{key}")


def enter(text: str, name: str = "new", upkeep: float = 5, **changes: Any) -> str:
    return entered(text, name, changes, {"depth": "how deep"}, upkeep, "money")


@settings(max_examples=15, deadline=None)
@given(name=names, entry=st.dictionaries(keys, values, max_size=4), comment=words)
def test_whatever_its_settings_are_they_are_read_back_and_no_other_line_changes(
    name: str, entry: dict[str, Any], comment: str
) -> None:
    after = entered(REAL, name, entry, dict.fromkeys(entry, comment), 12.5, comment)

    expected = yaml.safe_load(REAL)
    expected["compete"].append(name)
    expected["candidates"][name] = {"upkeep": 12.5, "settings": entry}
    assert yaml.safe_load(after) == expected
    assert only_added(REAL, after)
    assert len(after.splitlines()) - len(REAL.splitlines()) == 4 + len(entry)  # one line each


@settings(max_examples=100, deadline=None)
@given(value=values)
@example("0E0")  # a number to one of them
@example("0o7")
@example("2013-01-01")
@example("\u2028")
def test_a_value_stands_on_one_line_and_reads_the_same_in_both_versions_of_yaml(value: Any) -> None:
    line = f"key: {line_of(value)}  # comment\n"

    assert len(line.splitlines()) == 1
    assert yaml.safe_load(line) == {"key": value}
    assert YAML(typ="safe", pure=True).load(line) == {"key": value}  # what DVC reads with


@pytest.mark.parametrize(
    "text",
    [
        "compete: [a]\ncandidates:\n  a:\n    upkeep: 1\n    settings: {}\n",
        "compete: [a,]  # all\ncandidates:\n  a:\n    upkeep: 1\n    settings: {}\nafter: 1\n",
        "compete: [\n  a,  # first\n]\ncandidates:\n  a:\n    upkeep: 1\n    settings:\n      b: |\n"
        "        two\n        lines\n\n\n# next\nafter: 1\n",
        "candidates:\n  a:\n    upkeep: 1\n    settings:\n      b: [1,\n        2]  # two lines\n    # of a\n"
        "# of what follows\ncompete:\n- a  # first\n# end\n",
        "compete:\n  - a\ncandidates:\n    a:\n        settings: {}\n        upkeep: 1",
        "compete:\r\n  - a\r\ncandidates:\r\n  a:\r\n    upkeep: 1\r\n    settings: {}\r\n\r\nafter: 1\r\n",
    ],
    ids=["flow list", "trailing comma", "text block", "no indent", "no line end", "windows"],
)
def test_every_layout_is_kept(text: str) -> None:
    after = enter(text, depth=3)

    found = yaml.safe_load(after)
    assert found["compete"] == ["a", "new"]
    assert found["candidates"]["new"] == {"upkeep": 5, "settings": {"depth": 3}}
    kept = [line.replace(", new", "") for line in after.splitlines()]
    assert only_added("\n".join(text.splitlines()) + "\n", "\n".join(kept) + "\n")
    assert ("\r\n" in text) == ("\r\n" in after) and after.count("\r\n") in (0, after.count("\n"))


def test_each_key_carries_what_its_author_said_of_it() -> None:
    assert "      depth: 3  # how deep\n" in enter(REAL, depth=3)


def test_entering_again_changes_nothing() -> None:
    once = enter(REAL, depth=3)

    assert enter(once, depth=3) == once


def test_comments_that_people_wrote_stay_as_long_as_the_values_do() -> None:
    once = enter(REAL, depth=3).replace("# how deep", "# never above 5, says Ada")

    assert enter(once, depth=3) == once


def test_other_settings_replace_the_old_ones_and_leave_the_upkeep_with_its_comment() -> None:
    once = enter(REAL, depth=3).replace("upkeep: 5  # money", "upkeep: 5  # as agreed in May")

    again = enter(once, width=1)

    assert again == once.replace("      depth: 3  # how deep\n", "      width: 1\n")


def test_a_new_upkeep_leaves_everything_else() -> None:
    once = enter(REAL, depth=3)

    assert enter(once, upkeep=6, depth=3) == once.replace("upkeep: 5  # money", "upkeep: 6  # money")


def test_the_first_of_several_candidates_is_replaced_in_its_place() -> None:
    first = known_candidates()[0]
    before = yaml.safe_load(REAL)

    after = yaml.safe_load(enter(REAL, first, depth=3))

    assert list(after["candidates"]) == list(before["candidates"])
    assert after["compete"] == before["compete"]


@pytest.mark.parametrize(
    "text",
    [
        "compete: [a]\ncandidates: {a: {upkeep: 1, settings: {}}}\n",
        "all: &all\n  a: {upkeep: 1, settings: {}}\ncompete: [a]\ncandidates: *all\n",
    ],
    ids=["braces", "anchor"],
)
def test_a_layout_that_would_have_to_change_is_refused(text: str) -> None:
    with pytest.raises(TakeoffError, match="Write 'candidates' as a block, one key a line"):
        enter(text, depth=3)
