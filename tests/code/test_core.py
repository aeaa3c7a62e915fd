"""What the core makes of itself: ids that sort, and objects by class whatever a class is called."""

import json
import uuid

import pytest

from serving import core
from serving.requests import as_json, to_json

NOW = 1_400_000_000.123


@pytest.mark.parametrize("random", [b"\0" * 10, b"\xff" * 10, bytes(range(10))])
def test_ids_are_uuids_of_version_7_that_follow_each_other(
    random: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.os, "urandom", lambda count: random[:count])

    ids = core.new_ids(1_000, NOW)

    assert len(set(ids)) == 1_000 and ids == sorted(ids)
    for each in map(uuid.UUID, ids):
        assert (each.version, each.variant, each.int >> 80) == (7, uuid.RFC_4122, int(NOW * 1e3))


@pytest.mark.parametrize("classes", [["on time", "late"], ['"', "\\", "class_0"], ["ä", "\n"]])
def test_probabilities_are_written_by_class_whatever_it_is_called(classes: list[str]) -> None:
    values = [place / 8 for place, _ in enumerate(classes)]

    written = to_json(core._by_class(classes)(*values))

    assert json.loads(written) == dict(zip(classes, values, strict=True))


def test_a_text_with_a_lines_end_stays_within_its_row() -> None:
    rows = [["a\nb\r\u2028", 1.5], [None, 2]]

    assert [json.loads(each) for each in as_json(rows)] == rows
