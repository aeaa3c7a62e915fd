"""The journal of a replay: what it knows after a stop, however the stop came."""

import heapq
import json
from collections import Counter
from pathlib import Path

import pytest

from monitoring.journal import Journal, Waiting
from monitoring.stream import ticks

SETTINGS = {"start": "2013-08-01"}
HOUR = 3600.0


def waiting(*known: float) -> list[Waiting]:
    return [Waiting(each, f"id-{each:g}", "late") for each in known]


def one_tick(path: Path, *, ended: bool = True) -> None:
    with Journal(path, SETTINGS) as journal:
        journal.begin(0.0)
        if ended:
            journal.end(0.0, HOUR, waiting(9.0, 7.0), 0, Counter(answered=2))


def test_a_stopped_replay_knows_where_it_was_and_what_waits(tmp_path: Path) -> None:
    one_tick(tmp_path / "j")

    with Journal(tmp_path / "j", SETTINGS) as journal:
        assert (journal.position, journal.doubt, journal.counts["answered"]) == (HOUR, None, 2)
        assert heapq.nsmallest(2, journal.waiting) == sorted(waiting(9.0, 7.0))


def test_labels_that_were_sent_wait_no_more(tmp_path: Path) -> None:
    one_tick(tmp_path / "j")
    with Journal(tmp_path / "j", SETTINGS) as journal:
        journal.end(HOUR, 2 * HOUR, [], 1, Counter(labelled=1))

    with Journal(tmp_path / "j", SETTINGS) as journal:
        assert journal.waiting == waiting(9.0)


def test_a_tick_that_did_not_end_is_in_doubt(tmp_path: Path) -> None:
    one_tick(tmp_path / "j", ended=False)

    with Journal(tmp_path / "j", SETTINGS) as journal:
        assert journal.doubt is not None
        assert journal.doubt.tick == 0.0


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_that_was_cut_off_is_as_if_it_had_not_been(tmp_path: Path, cut: int) -> None:
    one_tick(tmp_path / "j")
    whole = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(whole[: -1 - cut])

    with Journal(tmp_path / "j", SETTINGS) as journal:
        assert journal.doubt is not None
        journal.end(0.0, HOUR, waiting(9.0), 0, Counter(answered=1))

    with Journal(tmp_path / "j", SETTINGS) as journal:
        assert (journal.position, journal.counts["answered"]) == (HOUR, 1)


def test_another_replay_begins_anew_but_still_owes_the_labels_of_the_last(tmp_path: Path) -> None:
    one_tick(tmp_path / "j")

    with Journal(tmp_path / "j", {"start": "2013-09-01"}) as journal:
        assert (journal.position, journal.counts) == (None, Counter())
        assert sorted(journal.waiting) == waiting(7.0, 9.0)


def test_a_restart_owes_nothing(tmp_path: Path) -> None:
    one_tick(tmp_path / "j")

    with Journal(tmp_path / "j", SETTINGS, restart=True) as journal:
        assert (journal.position, journal.waiting) == (None, [])


def test_every_line_is_on_disk_when_it_is_said(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", SETTINGS) as journal:
        journal.begin(0.0)

        assert json.loads((tmp_path / "j").read_text().splitlines()[-1])["begin"] == 0.0


def test_ticks_leave_no_gap_and_no_row_out() -> None:
    times = [10.0, HOUR, HOUR, 5 * HOUR + 1]

    found = list(ticks(times, HOUR, 0.0, 7 * HOUR))  # type: ignore[arg-type]

    assert [each.start for each in found] == [HOUR * i for i in range(7)]
    assert [place for each in found for place in each.rows] == [0, 1, 2, 3]
