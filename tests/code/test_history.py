"""Where a rollback goes: to a version that served before, never to another."""

import getpass
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from takeoff.errors import TakeoffError
from takeoff.history import Record, champions, plan_rollback, record


def release(version: str, before: str | None = None) -> Record:
    return record("release", "better", version, before, {})


def refusal(champion: str | None) -> Record:
    return record("refusal", "a floor is missed", champion, champion, {})


def rollback(history: list[Record], champion: str, wanted: str | None = None) -> Record:
    return record("rollback", "worse live", plan_rollback(history, champion, wanted).champion, champion, {})


@st.composite
def pasts(draw: st.DrawFn) -> list[Record]:
    """Histories as they come about: releases of any version, refusals, rollbacks where one is possible."""
    history: list[Record] = []
    champion: str | None = None
    for step in draw(st.lists(st.sampled_from(["release", "refusal", "back", "to"]), max_size=12)):
        if step == "release":
            history.append(release(draw(st.sampled_from("12345")), champion))
        elif step == "refusal" or champion is None:
            history.append(refusal(champion))
        else:
            wanted = draw(st.sampled_from("12345")) if step == "to" else None
            try:
                history.append(rollback(history, champion, wanted))
            except TakeoffError:
                continue
        champion = history[-1].champion
    return history


@given(history=pasts(), wanted=st.none() | st.sampled_from(["1", "2", "3", "4", "5", "6", "", "x"]))
def test_a_rollback_never_goes_to_a_version_that_did_not_serve_before(
    history: list[Record], wanted: str | None
) -> None:
    champion = history[-1].champion if history else None
    served = {each.champion for each in history if each.action != "refusal"}
    try:
        move = plan_rollback(history, champion, wanted)
    except TakeoffError:
        return

    assert move.champion in served - {champion}
    assert wanted in (None, "", move.champion)
    assert move.previous is None or move.previous in served - {move.champion}


@given(history=pasts())
def test_going_back_again_and_again_ends_at_the_first_version_and_visits_none_twice(
    history: list[Record],
) -> None:
    champion = history[-1].champion if history else None
    visited = [champion]
    for _ in range(len(history)):  # more than there are versions
        with suppress(TakeoffError):
            history = [*history, rollback(history, str(visited[-1]))]
            visited.append(history[-1].champion)

    assert len(set(visited)) == len(visited)
    assert champion is None or visited[-1] == champions(history)[0]


def test_without_a_wish_it_goes_to_the_version_that_served_before_the_champion() -> None:
    history = [release("1"), release("2", "1"), refusal("2"), release("3", "2")]

    assert plan_rollback(history, "3", None) == ("2", "1")


def test_a_wished_version_that_served_is_taken_however_long_ago() -> None:
    history = [release("1"), release("2", "1"), release("3", "2")]

    assert plan_rollback(history, "3", "1") == ("1", None)


def test_a_version_that_was_refused_is_never_gone_to() -> None:
    history = [release("1"), record("refusal", "worse", "1", "1", {"candidate": "2"}), release("3", "1")]

    with pytest.raises(TakeoffError, match=r"Version 2 has never been champion.*Versions that have: 1\."):
        plan_rollback(history, "3", "2")


def test_a_refusal_makes_no_version_one_that_served_even_if_someone_had_moved_the_alias_to_it() -> None:
    history = [release("1"), release("2", "1"), refusal("7")]

    assert champions(history) == ["1", "2"]


def test_the_champion_itself_is_no_place_to_go_back_to() -> None:
    with pytest.raises(TakeoffError, match="Version 2 is the champion already"):
        plan_rollback([release("1"), release("2", "1")], "2", "2")


def test_the_first_version_has_nothing_to_go_back_to() -> None:
    with pytest.raises(TakeoffError, match="No version served before version 1"):
        plan_rollback([release("1")], "1", None)


def test_at_the_first_version_the_later_ones_are_offered() -> None:
    history = [release("1"), release("2", "1")]
    history.append(rollback(history, "2"))

    with pytest.raises(TakeoffError, match=r"Versions that served since: 2; choose with --to"):
        plan_rollback(history, "1", None)


def test_without_a_champion_there_is_nothing_to_roll_back() -> None:
    with pytest.raises(TakeoffError, match="no champion yet"):
        plan_rollback([], None, None)


def test_a_record_says_who_when_what_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKEOFF_USER", "on call")

    found = record("rollback", "alarm", "1", "2", {"candidate": "rule"})

    assert (found.action, found.why, found.champion, found.before) == ("rollback", "alarm", "1", "2")
    assert found.who == "on call"
    assert found.when.endswith("+00:00")
    assert found.numbers == {"candidate": "rule"}


def test_without_being_told_a_record_takes_the_users_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAKEOFF_USER", raising=False)

    assert record("release", "", "1", None, {}).who == getpass.getuser()
