"""What is PostgreSQL's own in the prediction log: a server that is away, hangs, or is another."""

import socket

import psycopg
import pytest

from takeoff.errors import TakeoffError
from takeoff.log_store import StoreUnavailable
from tests.log_entries import entries, open_log, shadow
from tests.postgres import PASSWORD, Server


def test_a_database_that_cannot_hold_all_texts_is_refused(postgres: Server) -> None:
    url = postgres.new_database("western", "ENCODING 'LATIN1' TEMPLATE template0")

    with pytest.raises(TakeoffError, match="LATIN1"):
        open_log(url)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("se%2Fcr", "another"),
        ("%40", "@"),
        ("127.0.0.1", "nowhere.invalid"),
        ("/log", "/nothing"),
        ("takeoff:", "nobody:"),
        ("/log", "/log?options=-c%20nothing%3Dset"),
    ],
)
def test_an_address_that_leads_nowhere_is_a_state_and_tells_no_password(
    postgres: Server, right: str, wrong: str
) -> None:
    with pytest.raises(TakeoffError) as failure:
        open_log(postgres.address().replace(right, wrong))

    told = f"{failure.value!r} {failure.value.__cause__!r}"
    assert failure.value.__suppress_context__
    assert not [part for part in (PASSWORD, "cr@t", "t:1", "cr%40t", "another") if part in told]


def test_a_server_that_is_gone_is_a_state(postgres: Server) -> None:
    url = postgres.new_log()
    store = open_log(url)
    postgres.stop("immediate")

    with pytest.raises(StoreUnavailable):
        store.insert(entries(1))
    with pytest.raises(StoreUnavailable):
        open_log(url)
    store.close()


def test_a_server_that_hangs_is_given_up(postgres: Server) -> None:
    url = postgres.new_log()
    store = open_log(url)
    [given] = entries(1)

    with postgres.hanging(), pytest.raises(StoreUnavailable, match="does not answer"):
        store.insert([given], [shadow(given)])

    store.close()


def test_a_port_that_takes_calls_and_never_answers_is_given_up(postgres: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = postgres.address().replace(str(postgres.port), str(silent.getsockname()[1]))

        with pytest.raises(StoreUnavailable, match="does not answer"):
            open_log(url)


def test_a_table_that_was_taken_away_is_a_state_and_made_again(postgres: Server) -> None:
    url = postgres.new_log()
    store = open_log(url)
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE predictions CASCADE")

    with pytest.raises(StoreUnavailable):
        store.insert(entries(1))

    store.close()
    again = open_log(url)
    again.insert(entries(1))
    assert again.count() == 1
    again.close()
