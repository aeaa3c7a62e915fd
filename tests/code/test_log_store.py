"""The prediction log's store, on real SQLite files and a real PostgreSQL server."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from takeoff import log_schema, log_sqlite
from takeoff.errors import TakeoffError
from takeoff.log_changes import count_refusals
from takeoff.log_schema import LABELS, PREDICTIONS, REFUSALS, SHADOWS, distinct_names, judge, storable
from takeoff.log_store import Entry, Label, Refused, ShadowEntry, Store, StoreUnavailable, open_store
from tests.log_entries import (
    CONTRACT,
    PROJECT,
    ROW,
    ask,
    entries,
    ids,
    ids_in,
    label,
    open_log,
    python_environment,
    refused_in,
    shadow,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)  # NUL and half surrogate pairs too
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
SAME_FOLDER = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a log that does not exist yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path.as_posix()}/a folder/log.db"
    return str(request.getfixturevalue("postgres").new_log())


@pytest.mark.parametrize(
    ("table", "row"),
    [(PREDICTIONS, Entry), (SHADOWS, ShadowEntry), (LABELS, Label), (REFUSALS, Refused)],
    ids=lambda each: "table",
)
def test_a_table_has_the_columns_of_its_rows_in_their_order(table: log_schema.Table, row: Any) -> None:
    assert tuple(table.columns) == row._fields


def test_what_was_inserted_is_what_another_client_sees(store: Store, url: str) -> None:
    given = entries(3, row_id="LH 400", row_time=1372714200.25, review=True)

    store.insert(given, [shadow(given[0])])

    assert [Entry(*row[1:]) for row in ask(url, "SELECT * FROM predictions ORDER BY seq")] == given
    assert [ShadowEntry(*row) for row in ask(url, "SELECT * FROM shadow_predictions")] == [shadow(given[0])]


@SAME_FOLDER
@given(
    text=ANY_TEXT, value=ANY_TEXT, number=st.floats(allow_nan=False, allow_infinity=False), raw=st.booleans()
)
@example(text="\0", value="\0", number=5e-324, raw=False)
@example(text="plain", value="\0", number=1.5, raw=False)
@example(text="\ud800 x", value="\udc00", number=-0.0, raw=False)
@example(text="'\"\\u0000%s?", value="\\u0000", number=1e308, raw=True)
def test_any_text_and_number_goes_in_and_comes_back(
    store: Store, url: str, text: str, value: str, number: float, raw: bool
) -> None:
    row = json.dumps([value, number, None], ensure_ascii=not raw)
    [given] = entries(1, row=row, row_id=text, probability=number)

    store.insert([given])

    [(row_id, probability, kept)] = ask(
        url, f"SELECT row_id, probability, row FROM predictions WHERE id = '{given.id}'"
    )
    assert row_id == storable(text)
    assert probability == number
    assert json.loads(kept) == [storable(value), number, None]


@given(text=ANY_TEXT)
def test_only_what_no_database_holds_is_replaced(text: str) -> None:
    bad = {"\0", *(letter for letter in text if "\ud800" <= letter <= "\udfff")}

    kept = storable(text)

    assert not bad & set(kept)
    if not bad & set(text):
        assert kept == text


@pytest.mark.parametrize("given", [(), ("id", None), ("time", None), ("id", "time", None)])
def test_what_only_some_rows_bring_is_kept_for_those(
    store: Store, url: str, given: tuple[str | None, ...]
) -> None:
    own = {None: {}, "id": {"row_id": "an id"}, "time": {"row_time": 1.5}}
    group = [each for kind in given for each in entries(1, review=kind == "id", **own[kind])]

    store.insert(group)

    kept = ask(url, "SELECT id, row_id, row_time, review FROM predictions")
    assert sorted(kept) == sorted((each.id, each.row_id, each.row_time, each.review) for each in group)


@pytest.mark.parametrize(
    "rows",
    [1, 3 * log_sqlite.ROWS_A_STATEMENT + 1, log_sqlite.MANY_ROWS, log_sqlite.MANY_ROWS + 65],
)
def test_the_same_again_is_passed_over(store: Store, url: str, rows: int) -> None:
    given = entries(rows)
    given_shadows = [shadow(each) for each in given]
    store.insert(given)

    store.insert([*given, *entries(1)], given_shadows)
    store.insert([], given_shadows)

    assert store.count() == rows + 1
    assert ask(url, "SELECT count(*) FROM shadow_predictions") == [(rows,)]


def test_a_row_that_is_refused_leaves_nothing_of_its_transaction(store: Store) -> None:
    given = entries(2)
    bad: Any = given[1]._replace(decision=None)

    with pytest.raises(Exception, match="decision") as refusal:
        store.insert([given[0], bad], [shadow(given[0])], [label(given[0])])

    assert not isinstance(refusal.value, StoreUnavailable)
    assert store.count() == 0
    store.insert(given)  # and the store goes on
    assert store.count() == 2


def test_a_label_is_stored_once_and_corrected_by_another(store: Store, url: str) -> None:
    [given] = entries(1)
    store.insert([given])

    said = [store.insert(labels=[label(given, place)])[0].outcome for place in (0, 0, 1, 1)]

    assert said == ["stored", "repeated", "changed", "repeated"]
    assert ask(url, "SELECT label FROM labels") == [(CONTRACT.target.classes[1],)]


def test_a_label_may_come_before_its_prediction(store: Store, url: str) -> None:
    [early, late] = entries(2)
    store.insert([late])

    known = [each.known for each in store.insert(labels=[label(early), label(late)])]
    store.insert([early])

    assert known == [False, True]
    assert [each.known for each in store.insert(labels=[label(early)])] == [True]
    assert ask(url, f"SELECT label FROM readable WHERE prediction_id = '{early.id}'") == [
        (CONTRACT.target.classes[0],)
    ]


def test_a_prediction_of_the_same_transaction_is_known(store: Store) -> None:
    [given] = entries(1)

    assert [each.known for each in store.insert([given], labels=[label(given)])] == [True]


def test_a_label_that_was_late_does_not_take_a_correction_back(store: Store, url: str) -> None:
    [given] = entries(1)
    store.insert([given], labels=[label(given, 1, at=200.0)])

    said = store.insert(labels=[label(given, 0, at=100.0)])

    assert said[0].outcome == "repeated"
    assert ask(url, "SELECT label FROM labels") == [(CONTRACT.target.classes[1],)]


LABELS_OF_FEW = st.lists(
    st.builds(Label, st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from([1.0, 2.0, 3.0])),
    max_size=8,
)


@given(labels=LABELS_OF_FEW, cut=st.integers(0, 8))
def test_labels_in_two_transactions_end_as_in_one(labels: list[Label], cut: int) -> None:
    together, written = judge(labels, [])
    first, kept = judge(labels[:cut], [])
    second, added = judge(labels[cut:], kept)

    after = {each.prediction_id: each for each in [*kept, *added]}
    assert [*first, *second] == together
    assert after == {each.prediction_id: each for each in written}
    assert together.count("stored") == len(after)


def test_too_old_a_prediction_leaves_with_its_shadow_and_label(store: Store, url: str) -> None:
    old, new = entries(3, time=1000.0), entries(2, time=3000.0)
    store.insert(old + new, [shadow(each) for each in old + new], [label(each) for each in old + new])

    removed = store.remove_old(older_than=2000.0, most_rows=100, at_most=100)

    assert removed == len(old)
    for column, table in (("id", "predictions"), ("prediction_id", "shadow_predictions, labels")):
        for name in table.split(", "):
            assert {each for (each,) in ask(url, f"SELECT {column} FROM {name}")} == set(ids(new))


def test_the_oldest_leave_a_log_that_is_too_long(store: Store, url: str) -> None:
    given = entries(10)
    store.insert(given)

    store.remove_old(older_than=0.0, most_rows=4, at_most=100)

    assert ids_in(url) == ids(given[-4:])
    assert store.remove_old(older_than=0.0, most_rows=4, at_most=100) == 0


def test_no_more_is_removed_at_once_than_was_asked(store: Store) -> None:
    store.insert(entries(10, time=1000.0))

    removed = [store.remove_old(older_than=2000.0, most_rows=100, at_most=4) for _ in range(4)]

    assert removed == [4, 4, 2, 0]


def test_an_old_label_without_prediction_leaves_and_a_new_one_waits(store: Store, url: str) -> None:
    old, new = entries(2)
    store.insert(labels=[label(old, at=1000.0), label(new, at=3000.0)])

    store.remove_old(older_than=2000.0, most_rows=100, at_most=100)

    assert ask(url, "SELECT prediction_id FROM labels") == [(new.id,)]


def test_of_labels_without_prediction_the_first_leave_when_there_are_too_many(store: Store, url: str) -> None:
    given = entries(10)
    store.insert(labels=[label(each, at=3000.0) for each in given])
    store.insert(given[:1])

    removed = [store.remove_old(older_than=2000.0, most_rows=4, at_most=4) for _ in range(3)]

    assert removed == [3, 2, 0]  # that of the first has its prediction by now
    left = {given[0].id, *ids(given[6:])}
    assert {each for (each,) in ask(url, "SELECT prediction_id FROM labels")} == left
    assert ask(url, "SELECT count(*) FROM early_labels") == [(4,)]


def test_a_prediction_that_leaves_takes_along_that_its_label_came_early(store: Store, url: str) -> None:
    given = entries(3, time=1000.0)
    store.insert(labels=[label(each, at=900.0) for each in given])
    store.insert(given)

    store.remove_old(older_than=2000.0, most_rows=100, at_most=100)

    for table in ("labels", "early_labels"):
        assert ask(url, f"SELECT count(*) FROM {table}") == [(0,)]


def test_labels_without_prediction_leave_when_all_old_predictions_have(store: Store, url: str) -> None:
    [orphan, *old] = entries(7, time=1000.0)
    store.insert(old, labels=[label(each, at=1500.0) for each in (orphan, *old)])

    removed = [store.remove_old(older_than=2000.0, most_rows=100, at_most=4) for _ in range(4)]

    assert removed == [4, 2, 1, 0]
    assert ask(url, "SELECT count(*) FROM labels") == [(0,)]


def test_what_was_refused_is_added_up_by_its_reason(store: Store, url: str) -> None:
    store.write_refusals([Refused(3600, 3600, "busy", "a", 2), Refused(3600, 0, "invalid_rows", "a", 1)])
    store.write_refusals([Refused(3600, 3600, "busy", "b", 5), Refused(7200, 7200, "busy", "a", 4)])

    assert refused_in(url) == {"busy": 11, "invalid_rows": 1}


def test_what_a_process_counts_on_takes_the_place_of_what_it_wrote(store: Store, url: str) -> None:
    for count in (2, 2, 3):
        store.write_refusals([Refused(3600, 3600, "busy", "a", count)])

    assert refused_in(url) == {"busy": 3}


def test_an_old_log_gets_the_table_of_what_was_refused(store: Store, url: str) -> None:
    store._db.query("DROP TABLE refusals")
    assert count_refusals(url).empty

    again = open_log(url)
    again.write_refusals([Refused(3600, 3600, "busy", "a", 1)])
    again.close()

    assert refused_in(url) == {"busy": 1}


def test_hours_that_are_over_leave_and_one_that_is_not_stays(store: Store, url: str) -> None:
    row_hours = [10**9, 0, 0]  # whatever time the rows were of
    hours = [0, 3600, 7200]
    store.write_refusals(
        [Refused(hour, of_rows, "busy", "a", 1) for hour, of_rows in zip(hours, row_hours, strict=True)]
    )

    store.remove_old(older_than=7500.0, most_rows=1000, at_most=10)

    assert ask(url, "SELECT hour FROM refusals ORDER BY hour") == [(7200,)]


def test_people_read_each_column_by_its_name(store: Store, url: str) -> None:
    [given] = entries(1, time=1372714200.25, row_time=0.0)
    truth = label(given)._replace(known_at=3600.0)
    store.insert([given], labels=[truth])

    names = ", ".join(f'"{name}"' for name in CONTRACT.columns)
    [values] = ask(url, f"SELECT {names} FROM readable")
    [told] = ask(url, "SELECT prediction_id, label, review FROM readable")
    [times] = ask(url, "SELECT answered_at, row_time, label_known_at FROM readable")

    assert list(values) == ROW
    assert [told[0], told[1], bool(told[2])] == [given.id, truth.label, False]
    assert [str(each)[:19].replace("T", " ") for each in times] == [
        "2013-07-01 21:30:00",
        "1970-01-01 00:00:00",
        "1970-01-01 01:00:00",
    ]


def test_people_see_the_rows_of_the_contract_that_serves(store: Store, url: str) -> None:
    store.insert(entries(1))
    other = open_store(url, ["only"], "another")
    other.insert(entries(2, contract="another", row='["value"]'))
    other.close()

    assert ask(url, 'SELECT "only" FROM readable') == [("value",), ("value",)]
    open_log(url).close()
    assert len(ask(url, "SELECT * FROM readable")) == 1
    assert {each for (each,) in ask(url, "SELECT hash FROM contracts")} == {CONTRACT.hash, "another"}


def test_a_column_may_be_called_anything(url: str) -> None:
    names = ["label", 'a "b"', "ü; --", "100%s", "?", "x" * 80, "x" * 80 + "y", "Case", "case", "", "it's"]
    store = open_store(url, names, "o'dd")
    store.insert(entries(1, contract="o'dd", row=json.dumps(names)))

    [row] = ask(url, "SELECT * FROM readable")

    assert list(row[-len(names) :]) == names
    store.close()


@given(names=st.lists(st.text(max_size=70) | st.sampled_from(["a", "A", "a_2", "x" * 70]), max_size=8))
def test_names_in_a_view_are_never_the_same(names: list[str]) -> None:
    made = distinct_names(names)

    assert len({each.casefold() for each in made}) == len(names)
    assert all(0 < len(each.encode()) <= log_schema.LONGEST_NAME for each in made)


def test_a_log_of_a_newer_version_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("takeoff.log_store.SCHEMA_VERSION", log_schema.SCHEMA_VERSION + 1)
    open_log(url).close()
    monkeypatch.undo()

    with pytest.raises(TakeoffError, match="newer version") as refusal:
        open_log(url)

    assert not isinstance(refusal.value, StoreUnavailable)


@pytest.mark.parametrize(
    "wrong", ["sqlite:///", "mysql://u:s3cret@h/d", "s3cret", "postgresql://u:s3cret@[/d"]
)
def test_what_is_no_address_is_refused_without_being_repeated(wrong: str) -> None:
    with pytest.raises(TakeoffError, match="address") as refusal:
        open_log(wrong)

    assert not isinstance(refusal.value, StoreUnavailable)
    assert "s3cret" not in str(refusal.value)


def test_a_log_may_be_made_by_many_at_once(url: str) -> None:
    together = Barrier(8)

    def make() -> None:
        together.wait()
        open_log(url).close()

    with ThreadPoolExecutor(together.parties) as makers:
        made = [makers.submit(make) for _ in range(together.parties)]

    assert [each.exception() for each in made] == [None] * together.parties


def test_many_processes_make_and_fill_one_log_at_once(url: str) -> None:
    script = (
        "import sys; from tests.log_entries import entries, open_log\n"
        "store = open_log(sys.argv[1])\n"
        "for _ in range(100): store.insert(entries(3))\n"
    )
    command = [sys.executable, "-c", script, url]
    writers = [subprocess.Popen(command, env=python_environment(), cwd=PROJECT) for _ in range(3)]

    assert [each.wait() for each in writers] == [0, 0, 0]
    assert len(set(ids_in(url))) == 3 * 100 * 3
