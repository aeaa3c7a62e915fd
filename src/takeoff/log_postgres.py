"""The prediction log in PostgreSQL, for services on several machines. Gives up a server that hangs."""

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

from takeoff.errors import TakeoffError
from takeoff.log_schema import Dialect, Table
from takeoff.log_store import StoreUnavailable

CONNECT_SECONDS = 2  # for each address of the host; libpq takes no less
STATEMENT_SECONDS = 2.0  # after which the server itself gives a statement up
READ_SECONDS = 60.0  # the same for who reads much and nobody waits for
ANSWER_SECONDS = 2.5  # after which the connection is given up: a server that hangs gives nothing up
IDLE_SECONDS = 10  # in a transaction, after which the server takes the locks of a process that hangs

# Unless the address says otherwise. The network's own silence is noticed by TCP.
DEFAULTS: dict[str, str | int] = {
    "connect_timeout": CONNECT_SECONDS,
    "tcp_user_timeout": int(STATEMENT_SECONDS * 1000),
    "keepalives_idle": 5,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "application_name": "takeoff",
}

# States that are no mistake of this module although they are no failure of the connection: a replica, which
# is read-only; a permission that is missing; a table that was taken away.
PASSING_STATES = {"25006", "42501", "42P01"}

# What an unreachable server is about, by what its message holds. The message itself may hold anything, a
# password included that stands in a place where an address wants none.
REASONS = {
    "timeout expired": "it does not answer",
    "refused": "nothing listens at its address",
    "resolve": "its host is not known",
    "translate host name": "its host is not known",
    "authentication failed": "it refuses the login",
    "does not exist": "it knows no such database or user",
    "too many": "it has too many connections",
    "starting up": "it is starting up",
    "shutting down": "it is shutting down",
}

# Of a value in a line; `concat` shows nothing of a NULL.
SHOWN = {
    "text": "'\"' || replace({}, '\"', '\"\"') || '\"'",
    "real": "({})::text",
    "boolean": "({})::int",
    "instant": "round((({}) * 1e6)::numeric)",
}
CSV_COMMA = ", ',', "


def _line(values: Sequence[tuple[str, str]]) -> str:
    shown = (SHOWN[kind.removesuffix("?")].format(sql) for sql, kind in values)
    return f"concat({CSV_COMMA.join(shown)})"


DIALECT = Dialect(
    kinds={
        "text": "TEXT",
        "real": "DOUBLE PRECISION",
        "boolean": "BOOLEAN",
        "integer": "BIGINT",
        "sequence": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    },
    row_options="",
    member="IN (SELECT json_array_elements_text(?::json))",
    value=lambda place, is_number: f"(p.row::json ->> {place})" + ("::double precision" if is_number else ""),
    instant=lambda seconds: f"to_timestamp({seconds})",
    line=_line,
    lines=lambda sql: f"string_agg({sql}, chr(10) ORDER BY p.seq)",
)


class _Connection(psycopg.Connection[tuple[Any, ...]]):
    """Waits for no answer longer than `answer_seconds`."""

    answer_seconds = ANSWER_SECONDS

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, timeout or self.answer_seconds)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()  # else a transaction would wait as long again to be rolled back
            raise


class PostgresDatabase:
    """One connection. See `takeoff.log_store.Database`.

    Raises:
        TakeoffError: the address is none, or the database has another encoding than UTF-8.
    """

    dialect = DIALECT

    def __init__(self, url: str) -> None:
        try:
            given = psycopg.conninfo.conninfo_to_dict(url)
            address = psycopg.conninfo.make_conninfo(
                url, **{name: value for name, value in DEFAULTS.items() if name not in given}
            )
        except psycopg.Error:
            raise TakeoffError(
                "The address of the prediction log is none that PostgreSQL knows. It is like "
                "postgresql://USER:PASSWORD@HOST:PORT/DATABASE; a special character in one of these is "
                "written as %40 for @, %2F for /, %3A for :."
            ) from None
        try:
            self._connection = _Connection.connect(address, autocommit=True)
        except psycopg.Error as error:
            raise _translated(error) from None
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See `Database.transaction`."""
        try:
            with self._connection.transaction():
                yield
        except psycopg.Error as error:
            raise _translated(error) from None

    def turn(self) -> AbstractContextManager[None]:
        """See `Database.turn`. Here all write at the same time."""
        return nullcontext()

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """See `Database.query`."""
        try:
            # Without values nothing in the statement stands for one: a column's name may hold a %.
            if not values:
                cursor = self._connection.execute(sql.encode())
            else:
                cursor = self._connection.execute(sql.replace("?", "%s").encode(), values)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise _translated(error) from None

    def add(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """See `Database.add`."""
        # As one value: a statement with a value for each cell would take a trip for each row, or a plan
        # for each number of rows.
        content = json.dumps([dict(zip(table.columns, row, strict=True)) for row in rows])
        self.query(_insertion(table.name, tuple(table.columns.items())), content)

    def lock(self, name: str) -> None:
        """See `Database.lock`."""
        self.query("SELECT pg_advisory_xact_lock(hashtext(?))", f"takeoff {name}")

    def check(self) -> None:
        """See `Database.check`."""
        if self._connection.closed:
            raise StoreUnavailable("PostgreSQL cannot be used: the connection is gone.")

    def give_back(self) -> None:
        """Nothing to do: the server's autovacuum makes room for new rows."""

    def close(self) -> None:
        """See `Database.close`."""
        self._connection.close()

    def _set_up(self) -> None:
        [(encoding,)] = self.query("SHOW server_encoding")
        if encoding != "UTF8":
            raise TakeoffError(
                f"The database of the prediction log holds text as {encoding}, which cannot hold all "
                f"that a caller may send. Make one: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
            )
        # Not in the address: a connection pool in front of the server would refuse it there.
        for name, value in (
            ("statement_timeout", f"{STATEMENT_SECONDS * 1000:.0f}"),
            ("idle_in_transaction_session_timeout", f"{IDLE_SECONDS * 1000}"),
        ):
            self.query("SELECT set_config(?, ?, false)", name, value)
        # An answered prediction must outlive the server's crash, whatever is the default there.
        self.query(
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') = 'off'"
        )


class PostgresReader(PostgresDatabase):
    """A connection that reads and cannot change anything. See `takeoff.log_read.Reader`."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        try:
            self._connection.answer_seconds = READ_SECONDS + ANSWER_SECONDS - STATEMENT_SECONDS
            for name, value in (
                ("statement_timeout", f"{READ_SECONDS * 1000:.0f}"),
                ("default_transaction_read_only", "on"),
                # A range of predictions is joined by their keys. Without statistics on a table that grows,
                # the server would rather read all labels for each range.
                ("enable_hashjoin", "off"),
                ("enable_mergejoin", "off"),
            ):
                self.query("SELECT set_config(?, ?, false)", name, value)
        except BaseException:
            self.close()
            raise

    def has_table(self, name: str) -> bool:
        """See `Reader.has_table`."""
        [(found,)] = self.query("SELECT to_regclass(?)::text", name)
        return found is not None


@lru_cache
def _insertion(table: str, columns: tuple[tuple[str, str], ...]) -> str:
    names = ", ".join(name for name, _ in columns)
    typed = ", ".join(f"{name} {DIALECT.kinds[kind.removesuffix('?')]}" for name, kind in columns)
    return (
        f"INSERT INTO {table} ({names}) SELECT {names} FROM json_to_recordset(?::json) AS given({typed}) "
        f"ON CONFLICT DO NOTHING"
    )


def _translated(error: psycopg.Error) -> Exception:
    """What cannot be helped by the caller as StoreUnavailable; a mistake as it is."""
    passing = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | psycopg.InternalError)
    if not passing and error.sqlstate not in PASSING_STATES:
        return error
    message = str(error)
    reason = next((words for part, words in REASONS.items() if part in message), None)
    kind = f"{type(error).__name__.strip('_')}{f' {error.sqlstate}' if error.sqlstate else ''}"
    return StoreUnavailable(f"PostgreSQL cannot be used: {reason or 'it failed'} ({kind}).")
