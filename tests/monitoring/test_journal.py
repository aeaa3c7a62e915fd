"""The journal of a replay: what it knows after a stop, however the stop came."""

import heapq
import json
from collections import Counter
from pathlib import Path

import pytest

from monitoring.journal import Journal, Waiting
from monitoring.stream import ticks
from takeoff.errors import TakeoffError

SETTINGS = {"start": "2013-08-01"}
HOUR = 3600.0


def waiting(*known: float) -> list[Waiting]:
    return [Waiting(each, f"id-{each:g}", "late") for each in known]


def one_tick(path: Path, *, ended: bool = True) -> None:
    with Journal(path, SETTINGS) as journal:
        journal.begin(0.0, HOUR)
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
        assert (journal.position, journal.doubt.until) == (None, HOUR)


def test_a_tick_that_was_stopped_twice_is_in_doubt_since_the_first_time(tmp_path: Path) -> None:
    one_tick(tmp_path / "j", ended=False)
    with Journal(tmp_path / "j", SETTINGS) as journal:
        first = journal.doubt
        journal.begin(0.0, HOUR)

    with Journal(tmp_path / "j", SETTINGS) as journal:
        assert journal.doubt == first


def test_the_rest_of_a_stopped_tick_is_in_doubt_when_the_replay_goes_on_in_shorter_ones(
    tmp_path: Path,
) -> None:
    one_tick(tmp_path / "j", ended=False)

    with Journal(tmp_path / "j", SETTINGS) as journal:
        first, minute = journal.doubt, 60.0
        journal.begin(0.0, minute)
        journal.end(0.0, minute, [], 0, Counter())

        assert journal.doubt == first
        journal.begin(minute, HOUR)
        journal.end(minute, HOUR, [], 0, Counter())
        assert journal.doubt is None


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


def test_a_second_replay_with_the_same_journal_is_refused_while_the_first_runs(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", SETTINGS) as journal:
        with pytest.raises(TakeoffError, match="Another replay is running"):
            Journal(tmp_path / "j", SETTINGS)
        journal.finish()

    with Journal(tmp_path / "j", SETTINGS) as journal:
        assert journal.done


def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("my notes")

    with pytest.raises(TakeoffError, match="is no journal"):
        Journal(tmp_path / "notes.txt", SETTINGS, restart=True)

    assert (tmp_path / "notes.txt").read_text() == "my notes"


def test_a_disk_that_fills_ends_the_replay_plainly(tmp_path: Path) -> None:
    with (
        pytest.raises(TakeoffError, match="No space left"),
        Journal(tmp_path / "j", SETTINGS) as journal,
    ):
        journal._file.close()
        journal._file = Path("/dev/full").open("w")  # noqa: SIM115  # the journal closes it
        journal.begin(0.0, HOUR)


def test_every_line_is_on_disk_when_it_is_said(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", SETTINGS) as journal:
        journal.begin(0.0, HOUR)

        assert json.loads((tmp_path / "j").read_text().splitlines()[-1])["begin"] == 0.0


def test_ticks_leave_no_gap_and_no_row_out() -> None:
    times = [10.0, HOUR, HOUR, 5 * HOUR + 1]

    found = list(ticks(times, HOUR, 0.0, 7 * HOUR))  # type: ignore[arg-type]

    assert [each.start for each in found] == [HOUR * i for i in range(7)]
    assert [place for each in found for place in each.rows] == [0, 1, 2, 3]
