"""The prediction log read as frames, from real SQLite files and a real PostgreSQL server."""

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pandas as pd
import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from takeoff import log_lines, log_read, log_rows
from takeoff.contract import Column, Contract
from takeoff.errors import TakeoffError
from takeoff.log_read import OTHER_CLASSES, UNKNOWN_CONTRACT, Chunk, overview, read_chunks
from takeoff.log_rows import parse_arrays, parse_rows
from takeoff.log_schema import SCHEMA_VERSION
from takeoff.log_store import Store, open_store
from takeoff.split import Period
from tests.log_entries import CONTRACT, ROW, entries, ids, label, open_log, shadow

CLASSES = list(CONTRACT.target.classes)
NUMBER, TEXT = CONTRACT.numbers[0], CONTRACT.categories[0]
NOON = 1_372_680_000.0  # 2013-07-01, 12:00 UTC


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a log that does not exist yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path.as_posix()}/a folder #1?/log.db"
    return str(request.getfixturevalue("postgres").new_log())


def read(url: str, period: Period | None = None, rows: int = 100_000) -> Chunk:
    """The log in one chunk."""
    [chunk] = read_chunks(url, CONTRACT, period, rows)
    return chunk


def ids_of(url: str, period: Period | None = None) -> list[str]:
    """Ids of the predictions in a period, in the order in which they are read."""
    return [id_ for chunk in read_chunks(url, CONTRACT, period) for id_ in chunk.answers["prediction_id"]]


def row(**changes: object) -> str:
    """The contract's example row with other values, as the service writes it."""
    values = dict(zip(CONTRACT.columns, ROW, strict=True)) | changes
    return to_json(list(values.values())).decode()


def execute(url: str, sql: str) -> None:
    """Change a log behind the project's back."""
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            connection.execute(sql)
        return
    with psycopg.connect(url) as postgres:
        postgres.execute(sql.encode())


def test_all_that_was_logged_is_read(store: Store, url: str) -> None:
    [given] = entries(
        1,
        time=NOON + 0.125,
        row_time=NOON + 7200.25,
        row=row(**{NUMBER: 1.1, TEXT: "XY"}),
        probabilities="[0.30000001192092896,0.699999988079071]",
        decision=CLASSES[1],
        review=True,
        latency_ms=12.345678,
        row_id="LH 400",
    )
    store.insert([given], [shadow(given)], [label(given, 1, NOON + 9000.5)._replace(known_at=NOON + 8000)])

    chunk = read(url)

    assert list(chunk.rows.columns) == list(CONTRACT.columns)
    assert chunk.rows[NUMBER].tolist() == [np.float32(1.1)]
    assert chunk.rows[TEXT].tolist() == ["XY"]
    assert chunk.answers.loc[0].to_dict() == {
        "prediction_id": given.id,
        "window_time": pd.Timestamp("2013-07-01 14:00:00.25", tz="UTC"),
        "time": pd.Timestamp("2013-07-01 12:00:00.125", tz="UTC"),
        "model_version": "1",
        "contract": CONTRACT.hash,
        "decision": CLASSES[1],
        "review": True,
        "latency_ms": np.float32(12.345678),
        "label": CLASSES[1],
        "label_time": pd.Timestamp("2013-07-01 14:30:00.5", tz="UTC"),
        "known_at": pd.Timestamp("2013-07-01 14:13:20", tz="UTC"),
        "row_id": "LH 400",
    }
    assert chunk.probabilities.tolist() == [[np.float32(0.3), np.float32(0.7)]]
    assert chunk.shadow.tolist() == [[0.5, 0.5]]
    assert chunk.shadow_versions.tolist() == ["challenger"]


def test_a_chunk_has_the_same_types_whatever_is_missing(store: Store, url: str) -> None:
    full, empty = entries(2, row_id="a", row_time=NOON)
    nothing = json.dumps([None] * len(ROW), separators=(",", ":"))
    store.insert([full], [shadow(full)], [label(full)._replace(known_at=NOON)])
    store.insert([empty._replace(row=nothing, row_id=None, row_time=None)])

    with_all, without = read_chunks(url, CONTRACT, rows=1)

    for chunk in (with_all, without):
        assert {str(kind) for kind in chunk.rows[CONTRACT.numbers].dtypes} == {"float32"}
        assert {str(kind) for kind in chunk.rows[CONTRACT.categories].dtypes} == {"category"}
        assert chunk.answers.dtypes.astype(str).to_dict() == {
            "prediction_id": "str",
            "window_time": "datetime64[us, UTC]",
            "time": "datetime64[us, UTC]",
            "model_version": "category",
            "contract": "category",
            "decision": "category",
            "review": "bool",
            "latency_ms": "float32",
            "label": "category",
            "label_time": "datetime64[us, UTC]",
            "known_at": "datetime64[us, UTC]",
            "row_id": "str",
        }
        assert list(chunk.answers["label"].cat.categories) == CLASSES
        assert str(chunk.shadow_versions.dtype) == "category"
        assert chunk.probabilities.dtype == chunk.shadow.dtype == np.float32
    assert without.rows.isna().all(axis=None)
    assert without.answers[["label", "label_time", "known_at", "row_id"]].isna().all(axis=None)
    assert np.isnan(without.shadow).all()
    assert without.shadow_versions.isna().all()


def test_a_row_without_a_time_of_its_own_has_that_of_its_answer(store: Store, url: str) -> None:
    store.insert(entries(1, time=NOON))

    assert read(url).answers["window_time"].tolist() == [pd.Timestamp("2013-07-01 12:00", tz="UTC")]


def test_a_period_holds_its_start_and_not_its_end(store: Store, url: str) -> None:
    start, end = pd.Timestamp("2013-07-01 12:00", tz="UTC"), pd.Timestamp("2013-07-01 13:00", tz="UTC")
    given = [
        *entries(1, time=NOON, row_time=NOON - 1e-3),
        *entries(1, time=NOON - 9999, row_time=NOON),
        *entries(1, time=NOON + 3599.999),
        *entries(1, time=NOON, row_time=NOON + 3600),
    ]
    store.insert(given)

    assert ids_of(url, Period(start, end)) == ids(given[1:3])


def test_chunks_are_no_larger_than_wanted_and_in_the_order_in_which_rows_came(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_lines, "ROWS_A_QUERY", 4)
    given = [each._replace(row_time=NOON + 3600 * (place % 3 == 0)) for place, each in enumerate(entries(30))]
    store.insert(given)
    period = Period(pd.Timestamp(NOON, unit="s", tz="UTC"), pd.Timestamp(NOON + 1, unit="s", tz="UTC"))

    chunks = list(read_chunks(url, CONTRACT, period, rows=7))

    assert [len(each.rows) for each in chunks] == [5, 5, 6, 4]  # of queries that found 2 or 3
    assert [list(each.rows.index) for each in chunks] == [list(range(len(each.rows))) for each in chunks]
    found = [id_ for each in chunks for id_ in each.answers["prediction_id"]]
    assert found == [each.id for each in given if each.row_time == NOON]


def test_an_empty_log_and_an_empty_period_give_no_chunk(store: Store, url: str) -> None:
    period = Period(pd.Timestamp("2013-07-01", tz="UTC"), pd.Timestamp("2013-07-02", tz="UTC"))
    assert list(read_chunks(url, CONTRACT)) == []

    store.insert(entries(1, row_time=NOON + 86400))

    assert list(read_chunks(url, CONTRACT, period)) == []


def test_a_label_counts_whether_it_came_before_its_prediction_after_it_or_twice(
    store: Store, url: str
) -> None:
    early, late, twice, never = entries(4)
    store.insert(labels=[label(early, 1)])
    store.insert([early, late, twice, never])
    store.insert(labels=[label(late, 0), label(twice, 0, NOON)])
    store.insert(labels=[label(twice, 1, NOON + 60), label(twice, 1, NOON + 90)])

    found = read(url).answers.set_index("prediction_id")["label"]

    assert found[ids([early, late, twice])].tolist() == [CLASSES[1], CLASSES[0], CLASSES[1]]
    assert pd.isna(found[never.id])


def test_of_several_challengers_the_last_by_name_is_read_and_a_failed_one_is_told(
    store: Store, url: str
) -> None:
    several, failed = entries(2)
    last, *others = "network-2d0e41b7a9c3", "network-1f0e41b7a9c3", "logistic-ff0e41b7a9c3"
    answers = [shadow(several)._replace(model_version=version) for version in (last, *others)]
    answers[0] = answers[0]._replace(probabilities="[0.1, 0.9]")
    error = shadow(failed)._replace(
        model_version=others[0], probability=None, probabilities=None, decision=None, error="MemoryError"
    )
    store.insert([several, failed], [*answers, error])

    chunk = read(url)

    assert chunk.answers["prediction_id"].tolist() == ids([several, failed])
    assert chunk.shadow_versions.tolist() == [last, others[0]]
    assert chunk.shadow[0].tolist() == [np.float32(0.1), np.float32(0.9)]
    assert np.isnan(chunk.shadow[1]).all()


@pytest.mark.parametrize(
    "text", ['a "quoted" one', "comma, space", "comma,none", "null", "", " ", "Zürich 東京", "a\nb\\c", "]"]
)
def test_any_text_in_a_category_is_read_as_it_was_sent(store: Store, url: str, text: str) -> None:
    given = [*entries(1, row=row()), *entries(1, row=row(**{TEXT: text}), row_id=text or None)]
    store.insert([*given, *entries(1, row=row(**{TEXT: None}))])

    chunk = read(url)

    found = chunk.rows[TEXT].tolist()
    assert found[1] == text
    assert pd.isna(found[2])
    assert chunk.rows[NUMBER].tolist() == [ROW[list(CONTRACT.columns).index(NUMBER)]] * 3
    assert chunk.answers["row_id"].dropna().tolist() == ([text] if text else [])


def test_a_row_with_spaces_between_its_values_is_read_the_same(store: Store, url: str) -> None:
    store.insert([*entries(1, row=json.dumps(ROW)), *entries(1, row=row())])

    for found in read(url).rows.itertuples(index=False):
        sent = zip(ROW, CONTRACT.columns.values(), strict=True)
        assert list(found) == [np.float32(value) if column.is_number else value for value, column in sent]


VALUES = st.tuples(
    *(
        st.none() | (st.floats(allow_nan=False, width=32) if column.is_number else st.text(max_size=8))
        for column in CONTRACT.columns.values()
    )
)


@settings(deadline=None, max_examples=40)
@given(rows=st.lists(VALUES, min_size=1, max_size=3))
@example(rows=[(None,) * len(ROW)])
def test_a_row_as_csv_is_the_row_as_json(rows: list[tuple[object, ...]]) -> None:
    texts = [to_json(list(values), inf_nan_mode="null").decode() for values in rows]
    as_csv = [text for text in texts if log_rows._is_csv(text)]
    names = tuple(CONTRACT.columns)
    used = pd.Series([CONTRACT.hash] * len(texts), dtype="category")

    frame = parse_rows("\n".join(texts), used, {CONTRACT.hash: names}, CONTRACT)

    for place, text in enumerate(texts):
        for (name, column), found, sent in zip(
            CONTRACT.columns.items(), frame.loc[place], json.loads(text), strict=True
        ):
            if sent is None:
                assert pd.isna(found), name
            else:
                assert found == (np.float32(sent) if column.is_number else sent), name
    if as_csv:
        quick, sure = (
            log_rows._from_csv("\n".join(as_csv), names, CONTRACT),
            log_rows._from_json("\n".join(as_csv), names, CONTRACT),
        )
        pd.testing.assert_frame_equal(
            *(each.to_pandas().astype(dict.fromkeys(CONTRACT.categories, "str")) for each in (quick, sure))
        )


@given(st.lists(st.none() | st.lists(st.floats(0, 1, width=32), min_size=1, max_size=3), min_size=1))
def test_an_array_of_another_size_is_missing_and_leaves_the_others(arrays: list[list[float] | None]) -> None:
    found = parse_arrays("\n".join(to_json(each).decode() if each else "" for each in arrays), 2)

    expected = [each if each and len(each) == 2 else [np.nan, np.nan] for each in arrays]
    np.testing.assert_array_equal(found, np.array(expected, dtype=np.float32))


def other_contract(kept: list[str]) -> Contract:
    """A contract that shares these columns, and has one that ours does not know."""
    columns: dict[str, Column] = {name: CONTRACT.columns[name] for name in kept}
    columns["gone"] = Column(about="what another contract had", type="category", example="x")
    return CONTRACT.model_copy(update={"columns": columns})


def test_a_row_of_another_contract_has_the_columns_that_both_know(store: Store, url: str) -> None:
    other = other_contract([TEXT, NUMBER])
    open_store(url, list(other.columns), other.hash).close()
    theirs = entries(1, contract=other.hash, row='["QQ",3.5,"x"]')
    store.insert([*entries(1, row=row()), *theirs, *(entries(1, row=row(**{NUMBER: n}))[0] for n in (1, 2))])

    chunk = read(url)

    first = ROW[list(CONTRACT.columns).index(TEXT)]
    assert chunk.rows[TEXT].tolist() == [first, "QQ", first, first]
    assert chunk.rows[NUMBER].tolist()[1:] == [3.5, 1, 2]
    assert chunk.rows.loc[1].notna().sum() == 2
    assert chunk.rows.loc[[0, 2, 3]].notna().all(axis=None)
    assert overview(url, CONTRACT).contracts == {CONTRACT.hash: 3, other.hash: 1}


def test_a_column_that_held_texts_in_another_contract_is_missing_as_a_number(store: Store, url: str) -> None:
    other = other_contract([NUMBER])
    open_store(url, list(other.columns), other.hash).close()
    store.insert(entries(1, contract=other.hash, row='["seven","x"]'))

    assert read(url).rows[NUMBER].isna().all()


def test_rows_that_cannot_be_read_are_left_out_and_counted(store: Store, url: str) -> None:
    good = entries(1)
    unknown = hashlib.sha256(b"another").hexdigest()[:16]
    other = other_contract([NUMBER])
    open_store(url, list(other.columns), other.hash).close()
    store.insert(
        [
            *entries(1, contract=other.hash, row='[1,"x"]', probabilities="[0.1,0.2,0.7]"),
            *good,
            *entries(1, contract=other.hash, row='[1,"x"]', decision="neither"),
            *entries(1, contract=unknown, row="[1]"),
        ]
    )

    assert ids_of(url) == ids(good)
    assert overview(url, CONTRACT).left_out == {OTHER_CLASSES: 2, UNKNOWN_CONTRACT: 1}
    assert overview(url, CONTRACT).rows == 4


def test_the_overview_counts_all(store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_read, "ROWS_A_QUERY", 2)
    first, *others = entries(4, time=NOON + 60)
    last, without = entries(2, time=NOON, model_version="2")
    store.insert([first, *others, last._replace(row_time=NOON + 100)])
    store.insert(labels=[label(first), label(last), label(without)])

    found = overview(url, CONTRACT)

    assert found.rows == 5
    assert found.model_versions == {"1": 4, "2": 1}
    assert found.first == pd.Timestamp("2013-07-01 12:01", tz="UTC")
    assert found.last == pd.Timestamp("2013-07-01 12:01:40", tz="UTC")
    assert (found.labels, found.labels_without_prediction) == (3, 1)
    assert found.left_out == {}


def test_the_overview_of_an_empty_log_has_no_times(store: Store, url: str) -> None:
    found = overview(url, CONTRACT)

    assert (found.rows, found.first, found.last, found.labels) == (0, None, None, 0)


def test_a_log_can_be_read_while_it_is_written(store: Store, url: str) -> None:
    before = entries(200)
    store.insert(before)
    stop, written, failures = Event(), list[str](), list[Exception]()

    def write() -> None:
        own = open_log(url)
        try:
            while not stop.is_set():
                batch = entries(20)
                own.insert(batch, labels=[label(each) for each in batch])
                written.extend(ids(batch))
        except Exception as error:
            failures.append(error)
        finally:
            own.close()

    writer = Thread(target=write)
    writer.start()
    try:
        found = []
        while len(written) < 200 and not failures:
            found.append((len(written), ids_of(url)))
    finally:
        stop.set()
        writer.join()

    assert not failures
    everything = ids(before) + written
    for known, seen in found:
        assert seen == everything[: len(seen)]
        assert len(seen) >= 200 + known


def test_rows_that_come_while_it_is_read_are_left_for_the_next_time(store: Store, url: str) -> None:
    store.insert(before := entries(6))
    chunks = read_chunks(url, CONTRACT, rows=2)
    found = [next(chunks)]

    store.insert(entries(6))
    found += chunks

    assert [id_ for each in found for id_ in each.answers["prediction_id"]] == ids(before)


def test_of_long_rows_fewer_are_put_together_at_once(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.insert(before := entries(9))
    most = 3 * max(len(each.row) for each in before)
    monkeypatch.setattr(log_lines, "CHARACTERS_A_QUERY", most)
    reader = log_read.open_reader(url)
    query, longest = reader.query, 0

    def watched(sql: str, *values: float) -> list[tuple[object, ...]]:
        nonlocal longest
        found = query(sql, *values)
        texts = [each for row in found for each in row if isinstance(each, str)]
        longest = max([longest, *map(len, texts)])
        return found

    monkeypatch.setattr(reader, "query", watched)
    with closing(reader):
        [lines] = log_read._fetch(reader, ["review"], None, 100)

    assert lines.count == len(before)
    assert longest <= most + len("\n\n")


def test_reading_changes_nothing_and_can_change_nothing(store: Store, url: str) -> None:
    store.insert(entries(1))
    reader = log_read.open_reader(url)

    with pytest.raises((TakeoffError, sqlite3.Error, psycopg.Error), match=r"(?i)read-?only"):
        reader.query("DELETE FROM predictions")

    reader.close()
    assert len(ids_of(url)) == 1


def test_a_reader_that_stands_still_keeps_no_wal_from_starting_anew(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    with closing(open_log(url)) as store:
        store.insert(entries(10))
        chunks = read_chunks(url, CONTRACT, rows=2)
        next(chunks)
        store.insert(entries(10))
        with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
            [(busy, _, _)] = connection.execute("PRAGMA wal_checkpoint(RESTART)")
        chunks.close()

    assert busy == 0


def test_a_log_that_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(TakeoffError, match="There is no prediction log"):
        list(read_chunks(f"sqlite:///{tmp_path}/none.db", CONTRACT))

    assert list(tmp_path.iterdir()) == []


def test_a_database_without_a_log_is_said(url: str, tmp_path: Path) -> None:
    if url.startswith("sqlite"):
        (tmp_path / "a folder #1?").mkdir()
        execute(url, "CREATE TABLE other (value TEXT)")

    with pytest.raises(TakeoffError, match="is no prediction log"):
        overview(url, CONTRACT)


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_text("something else, and long enough to have a header " * 10)

    with pytest.raises(TakeoffError, match="not a database"):
        list(read_chunks(f"sqlite:///{tmp_path}/log.db", CONTRACT))


def test_a_log_of_a_newer_version_is_refused(store: Store, url: str) -> None:
    execute(url, f"UPDATE schema_info SET value = '{SCHEMA_VERSION + 1}' WHERE name = 'version'")

    with pytest.raises(TakeoffError, match="newer version"):
        list(read_chunks(url, CONTRACT))


@pytest.mark.parametrize(
    ("damaged", "said"),
    [("[1]", "a row has 1 values"), (json.dumps(ROW, indent=1), "a row has a line's end")],
)
def test_a_damaged_row_is_said(store: Store, url: str, damaged: str, said: str) -> None:
    store.insert([*entries(1), *entries(1, row=damaged)])

    with pytest.raises(TakeoffError, match=said):
        list(read_chunks(url, CONTRACT))
