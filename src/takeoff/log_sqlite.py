"""The prediction log in SQLite: one file in WAL mode, for the processes of one machine."""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

from takeoff.errors import TakeoffError
from takeoff.log_lock import FileLock, unusable
from takeoff.log_schema import Dialect, Table
from takeoff.log_store import StoreUnavailable

BUSY_SECONDS = 2.0  # wait for whoever writes: a person's SQL client, or a process that stands still
ROWS_A_STATEMENT = 64  # at 12 values a row within 999, a limit of older SQLites
MANY_ROWS = 1000  # in a statement where there are as many, and where SQLite takes as many values
CHECKPOINT_ROWS = 2000  # rows, about 4 MB of WAL, after which it is moved into the file
MOST_WAL_PAGES = 16_000  # from which a commit moves it itself, should nobody else
SPARE_SHARE = 0.1  # free pages that stay in the file, since new rows will want them
PAGES_GIVEN_BACK = 500  # at once: the log stands still for so long

CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"  # what it can, without waiting for anybody

# The failures that are the caller's or this module's own mistake.
MISTAKES = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_RANGE,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG,
}

# Of a value in a line: its format, where %w doubles the quotes in a text and %s leaves nothing of a NULL, and
# its expression.
SHOWN = {
    "text": ('"%w"', "{}"),
    "text?": ("%s", "'\"' || replace({}, '\"', '\"\"') || '\"'"),
    "real": ("%.9g", "{}"),
    "boolean": ("%d", "{}"),
    "instant": ("%s", "CAST(round(({}) * 1e6) AS INTEGER)"),
    "instant?": ("%s", "CAST(round(({}) * 1e6) AS INTEGER)"),
}


def _line(values: Sequence[tuple[str, str]]) -> str:
    formats = ",".join(SHOWN[kind][0] for _, kind in values)
    return f"printf('{formats}', {', '.join(SHOWN[kind][1].format(sql) for sql, kind in values)})"


DIALECT = Dialect(
    kinds={
        "text": "TEXT",
        "real": "REAL",
        "boolean": "INTEGER",
        "integer": "INTEGER",
        "sequence": "INTEGER PRIMARY KEY",
    },
    row_options=" WITHOUT ROWID",
    member="IN (SELECT value FROM json_each(?))",
    value=lambda place, is_number: f"json_extract(p.row, '$[{place}]')",
    instant=lambda seconds: f"strftime('%Y-%m-%dT%H:%M:%fZ', {seconds}, 'unixepoch')",
    line=_line,
    lines=lambda sql: f"group_concat({sql}, char(10))",  # rows are visited in the order of their number
)


class SqliteDatabase:
    """One connection to the file; its folder is made. See `takeoff.log_store.Database`.

    Writers of several processes wait for each other at a lock beside the file: who waits there is woken at
    once, where SQLite's own waiting sleeps and looks again.

    SQLite goes on writing into a file that was deleted or moved, where nobody finds it. So after each commit
    the file is looked for at its place, which takes microseconds.
    """

    dialect = DIALECT

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path, BUSY_SECONDS)
        except OSError as error:
            raise _translated(error) from None
        self._path = str(path.absolute())
        try:
            self._connection: sqlite3.Connection | None = _connect(path, self._lock)
            self._file = _identity(self._path)
            self._most_values = self._connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        except BaseException as error:
            self._lock.close()
            if isinstance(error, sqlite3.Error):
                raise _translated(error) from None
            raise
        self._checkpointer = _Checkpointer(path)
        self._added = 0  # rows of the transaction

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See `Database.transaction`."""
        with self._lock:
            self._execute("BEGIN IMMEDIATE")
            self._added = 0
            try:
                yield
                self._execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk rolls back by itself
                    self._opened().execute("ROLLBACK")
                raise
        self.check()
        self._checkpointer.count(self._added)

    def turn(self) -> FileLock:
        """See `Database.turn`."""
        return self._lock

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """See `Database.query`."""
        return self._execute(sql, values)

    def add(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """See `Database.add`."""
        many = min(MANY_ROWS, self._most_values // len(table.columns))
        if self._opened().in_transaction:
            self._added += len(rows)
            for part in _parts(rows, many):
                self._execute(*_insertion(table, part))
        elif len(rows) > ROWS_A_STATEMENT and len(rows) != many:
            with self.transaction():
                self.add(table, rows)
        else:
            # One statement is a transaction of its own, in which Python's lock is let go but once: taken back
            # many times from a busy event loop, that lock would cost more than the disk.
            sql, values = _insertion(table, rows)
            with self._lock:
                self._execute(sql, values)
            self.check()
            self._checkpointer.count(len(rows))

    def lock(self, name: str) -> None:
        """Nothing to do: a transaction here is alone anyway."""

    def check(self) -> None:
        """See `Database.check`."""
        connection = self._opened()
        if (found := _identity(self._path)) is not None and found == self._file:
            return
        with suppress(sqlite3.Error):  # so that a file that was moved has all that was answered before
            connection.execute(CHECKPOINT).fetchall()
        raise StoreUnavailable("SQLite's file cannot be used: it was deleted or moved.")

    def give_back(self) -> None:
        """See `Database.give_back`."""
        [(pages,)], [(free,)] = self._execute("PRAGMA page_count"), self._execute("PRAGMA freelist_count")
        if (spare := free - int(SPARE_SHARE * pages)) > 0:
            with self._lock:
                try:  # as a script, since one step of this statement gives back one page
                    self._opened().executescript(f"PRAGMA incremental_vacuum({min(spare, PAGES_GIVEN_BACK)})")
                except sqlite3.Error as error:
                    raise _translated(error) from None

    def close(self) -> None:
        """See `Database.close`."""
        self._checkpointer.close()
        if self._connection is not None:
            with suppress(sqlite3.Error):  # the last one out moves the WAL into the file, if it can
                self._connection.close()
            self._connection = None
            self._lock.close()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreUnavailable("The prediction log is closed.")
        return self._connection

    def _execute(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._opened().execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise _translated(error) from None


class SqliteReader:
    """A connection that reads the file and cannot change it. See `takeoff.log_read.Reader`.

    Raises:
        TakeoffError: there is no such file.
    """

    dialect = DIALECT

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise TakeoffError(
                f"There is no prediction log at {path.as_posix()}. The service makes it when it starts; "
                f"check the address (TAKEOFF_LOG_URL), or start the service with it."
            )
        try:
            self._connection = sqlite3.connect(
                f"file:{quote(str(path.absolute()))}?mode=ro",
                uri=True,
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise _translated(error) from None

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """See `Reader.query`."""
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise _translated(error) from None

    def has_table(self, name: str) -> bool:
        """See `Reader.has_table`."""
        return bool(self.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", name))

    def close(self) -> None:
        """See `Reader.close`."""
        self._connection.close()


class _Checkpointer:
    """Moves the WAL into the file beside the writers, which a commit would otherwise do and wait for.

    While others write, nearly all of it is moved. Then they wait until the short rest is, after which the
    next commit begins the WAL anew: without that it would grow as long as anybody writes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = 0
        self._wanted = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None

    def count(self, rows: int) -> None:
        """Rows that were written."""
        self._rows += rows
        if self._rows >= CHECKPOINT_ROWS:
            self._rows = 0
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log-checkpoint", daemon=True)
                self._thread.start()
            self._wanted.set()

    def close(self) -> None:
        """End, after what is under way. May be called twice."""
        self._closing = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while self._wanted.wait() and not self._closing:
            self._wanted.clear()
            # Whatever goes wrong here goes wrong for the writer too, which says so.
            with suppress(OSError, sqlite3.Error, StoreUnavailable):
                self._move()

    def _move(self) -> None:
        lock = FileLock(self._path, BUSY_SECONDS)
        try:
            with closing(sqlite3.connect(self._path, timeout=BUSY_SECONDS)) as connection:
                connection.execute(CHECKPOINT).fetchall()
                with lock:
                    connection.execute(CHECKPOINT).fetchall()
        finally:
            lock.close()


def _identity(path: str) -> tuple[int, int] | None:
    """What tells the file at a path from any other; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116  # for every commit, so without making a Path
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _connect(path: Path, lock: FileLock) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        with lock:  # two that make the file at once must not meet half-way
            # Only a file without tables takes it.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
        # The WAL is on the disk when a commit returns.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {MOST_WAL_PAGES}")
        # After a rush the WAL shrinks again; else it stays, since writing over it is faster than growing it.
        connection.execute(f"PRAGMA journal_size_limit = {MOST_WAL_PAGES * 4096}")
    except BaseException:
        connection.close()
        raise
    return connection


def _parts(rows: Sequence[tuple[Any, ...]], many: int) -> Iterator[Sequence[tuple[Any, ...]]]:
    """Rows in parts of a length for which there is a statement."""
    long = len(rows) // many * many
    for start in range(0, long, many):
        yield rows[start : start + many]
    for start in range(long, len(rows), ROWS_A_STATEMENT):
        yield rows[start : start + ROWS_A_STATEMENT]


def _insertion(table: Table, rows: Sequence[tuple[Any, ...]]) -> tuple[str, tuple[Any, ...]]:
    """A statement that adds rows, and its values.

    For a value that is no text, int or float Python's driver looks for a way to adapt it, which takes several
    times as long as to hand it over. So truths go as ints, and columns without any value are left out.
    """
    columns = {
        name: tuple(map(int, values)) if kind == "boolean" else values
        for (name, kind), values in zip(table.columns.items(), zip(*rows, strict=True), strict=True)
        if not kind.endswith("?") or values.count(None) < len(values)
    }
    values = tuple(chain.from_iterable(zip(*columns.values(), strict=True)))
    return _insertion_sql(table.name, tuple(columns), len(rows)), values


@lru_cache(maxsize=4 * ROWS_A_STATEMENT)
def _insertion_sql(table: str, columns: tuple[str, ...], rows: int) -> str:
    row = f"({', '.join('?' * len(columns))})"
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * rows)} ON CONFLICT DO NOTHING"
    )


def _translated(error: OSError | sqlite3.Error) -> Exception:
    """What cannot be helped by the caller as StoreUnavailable; a mistake as it is."""
    if isinstance(error, OSError):
        return unusable(error)
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)  # none: Python's own complaint
    if code & 0xFF in MISTAKES:
        return error
    return StoreUnavailable(f"SQLite cannot be used: {error} ({error.sqlite_errorname}).")
