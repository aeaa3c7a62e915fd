"""Where predictions are kept: one store, with SQLite or PostgreSQL behind it.

All SQL stands here, once; how a database connects, commits and fails is in `log_sqlite` and `log_postgres`,
of which only the one that is used gets imported. Imports nothing heavy: the packaged service uses it.
"""

import json
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from takeoff.errors import TakeoffError
from takeoff.log_schema import (
    CONTRACTS,
    EARLY_LABELS,
    LABELS,
    PREDICTIONS,
    REFUSALS,
    SCHEMA_INFO,
    SCHEMA_VERSION,
    SHADOWS,
    VIEW,
    Dialect,
    Entry,
    Label,
    Labelled,
    Refused,
    ShadowEntry,
    Table,
    are_plain,
    judge,
    readable_view,
    storable,
    tables,
)

__all__ = [
    "Entry",
    "Label",
    "Labelled",
    "Refused",
    "ShadowEntry",
    "Store",
    "StoreUnavailable",
    "open_store",
    "sqlite_file",
]


SQLITE = "sqlite:///"
PROBE_BYTES = 4096  # a little more than a prediction takes
HOUR_SECONDS = 3600  # in which refusals are counted
POSTGRES = ("postgresql://", "postgres://")


class StoreUnavailable(TakeoffError):  # noqa: N818  # a state that passes, rather than a mistake
    """The database cannot be used now: away, hanging, full or read-only. Holds no address and no password."""


class Database(Protocol):
    """What the store needs of a database. Every call may raise StoreUnavailable."""

    dialect: Dialect

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing of what happens inside; durable when it ends."""

    def turn(self) -> AbstractContextManager[None]:
        """A block that begins once no other process writes, where only one can. Whoever writes waits for
        that anyway; in the block the first to write need not, and lets others go on when it has."""

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement with `?` for values; its rows, if it has any."""

    def add(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows, passing over those whose key is there. Outside a transaction it is one, durable."""

    def lock(self, name: str) -> None:
        """Inside a transaction: wait until no other one holds this lock, and hold it until the end."""

    def check(self) -> None:
        """Raise StoreUnavailable if it can be seen at once, without asking a server, that it is gone."""

    def give_back(self) -> None:
        """Return some of the disk that removed rows have left, if the database keeps it."""

    def close(self) -> None:
        """End the connection; may be called twice."""


class Store:
    """A prediction log in a database. Used by one thread at a time."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def turn(self) -> AbstractContextManager[None]:
        """A block that begins once it is this store's turn to write, for what comes till then to go along.

        The turn ends with the first thing that is written. Nothing needs the block in order to be written.

        Raises:
            StoreUnavailable: the turn does not come.
        """
        return self._db.turn()

    def insert(
        self,
        entries: Sequence[Entry] = (),
        shadows: Sequence[ShadowEntry] = (),
        labels: Sequence[Label] = (),
    ) -> list[Labelled]:
        """Add all of it in one transaction, which is durable when this returns.

        What is there already is passed over, so that the same may be inserted again after a connection
        was lost in the middle of a commit. Text that a database cannot hold (NUL, half of a surrogate
        pair) becomes U+FFFD.

        Returns:
            For each label whether it was stored, and whether its prediction is in the log.

        Raises:
            StoreUnavailable: nothing was added, or (after a lost connection) it is unknown.
        """
        if not are_plain(entries):
            entries = [each if are_plain((each,)) else each.cleaned() for each in entries]
        if not shadows and not labels:  # nearly always: one statement, which is a transaction of its own
            if entries:
                self._db.add(PREDICTIONS, entries)
            return []
        labels = [
            each._replace(prediction_id=storable(each.prediction_id), label=storable(each.label))
            for each in labels
        ]
        with self._db.transaction():
            if entries:
                self._db.add(PREDICTIONS, entries)
            if shadows:
                self._db.add(SHADOWS, shadows)
            return self._label(labels) if labels else []

    def write_refusals(self, refusals: Sequence[Refused]) -> None:
        """Write how much was refused, in place of what the same process wrote before of the hour.

        Raises:
            StoreUnavailable: nothing was written, or (after a lost connection) it is unknown; write it again.
        """
        names = ", ".join(REFUSALS.columns)
        with self._db.transaction():
            for each in refusals:
                self._db.query(
                    f"INSERT INTO refusals ({names}) VALUES (?, ?, ?, ?, ?) "
                    f"ON CONFLICT ({REFUSALS.key}) DO UPDATE SET count = excluded.count",
                    *each,
                )

    def remove_old(self, older_than: float, most_rows: int, at_most: int) -> int:
        """Remove the oldest predictions with their shadows and labels, a small number at a time.

        With them go hours that are over of what was refused, which is little.

        Oldest is what came into the log first; what a spool brought later leaves later.

        Args:
            older_than: unix seconds; what was answered before goes, as do older labels without prediction.
            most_rows: about as many predictions stay (exactly, unless numbers of rows were left out), and as
                many labels that came before their prediction.
            at_most: predictions, or labels without one, that are looked at by this call.

        Returns:
            Predictions, or labels without one, that were removed: 0 when nothing is left to do.
        """
        removed = 0
        with self._db.transaction():
            self._db.lock("retention")
            oldest = self._db.query("SELECT seq, id, time FROM predictions ORDER BY seq LIMIT ?", at_most)
            if oldest:
                [(newest,)] = self._db.query("SELECT max(seq) FROM predictions")
                ids = [id_ for seq, id_, time in oldest if seq <= newest - most_rows or time < older_than]
                self._remove("predictions", "id", ids)
                self._remove("shadow_predictions", "prediction_id", ids)
                self._remove_labels(ids)
                removed += len(ids)
            if not removed:  # before, nearly all old labels still have their predictions
                removed += self._remove_orphans(older_than, most_rows, at_most)
            self._db.query("DELETE FROM refusals WHERE hour < ?", older_than - HOUR_SECONDS)
        if removed:
            self._db.give_back()
        return removed

    def check(self) -> None:
        """Raise StoreUnavailable if the connection is known to be gone; takes microseconds."""
        self._db.check()

    def probe(self) -> None:
        """Write something and take it back: opening a log needs less of its disk than a row does.

        Raises:
            StoreUnavailable: nothing can be written now.
        """
        with self._db.transaction():
            self._db.add(SCHEMA_INFO, [("probe", "0" * PROBE_BYTES)])
            self._db.query("DELETE FROM schema_info WHERE name = ?", "probe")

    def count(self) -> int:
        """Predictions in the log; reads all of an index, so seconds for millions."""
        [(rows,)] = self._db.query("SELECT count(*) FROM predictions")
        return int(rows)

    def close(self) -> None:
        """End the connection; may be called twice."""
        self._db.close()

    def _label(self, labels: Sequence[Label]) -> list[Labelled]:
        self._db.lock(
            "labels"
        )  # else two that label the same could both find nothing, or wait for each other
        ids = [each.prediction_id for each in labels]
        found = self._db.query(
            "SELECT prediction_id, label, time, known_at FROM labels "
            f"WHERE prediction_id {self._db.dialect.member}",
            json.dumps(ids),
        )
        outcomes, written = judge(labels, [Label._make(row) for row in found])
        if written:
            self._remove("labels", "prediction_id", [each.prediction_id for each in written])
            self._db.add(LABELS, written)
        known = self._predicted(ids)
        if early := [(each.prediction_id,) for each in written if each.prediction_id not in known]:
            self._db.add(EARLY_LABELS, early)
        return [
            Labelled(outcome, each.prediction_id in known)
            for outcome, each in zip(outcomes, labels, strict=True)
        ]

    def _remove_orphans(self, older_than: float, most_rows: int, at_most: int) -> int:
        """Remove labels that too many others came after, or else that are too old, and have no prediction.

        Looks at no more than `at_most`: should so many old ones have a prediction, it is because that is not
        old enough yet, and they leave with it.
        """
        too_many: list[str] = []
        if first := self._db.query(
            "SELECT seq, prediction_id FROM early_labels ORDER BY seq LIMIT ?", at_most
        ):
            [(newest,)] = self._db.query("SELECT max(seq) FROM early_labels")
            too_many = [id_ for seq, id_ in first if seq <= newest - most_rows]
        looked_at = too_many or [
            id_
            for (id_,) in self._db.query(
                "SELECT prediction_id FROM labels WHERE time < ? ORDER BY time LIMIT ?", older_than, at_most
            )
        ]
        if not looked_at:
            return 0
        known = self._predicted(looked_at)
        orphans = [id_ for id_ in looked_at if id_ not in known]
        self._remove_labels(orphans)
        self._remove("early_labels", "prediction_id", too_many)  # a prediction has come for the others
        return len(orphans) or len(too_many)

    def _predicted(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids whose predictions are in the log."""
        member = self._db.dialect.member
        found = self._db.query(f"SELECT id FROM predictions WHERE id {member}", json.dumps(list(ids)))
        return {id_ for (id_,) in found}

    def _remove_labels(self, ids: Sequence[str]) -> None:
        self._remove("labels", "prediction_id", ids)
        self._remove("early_labels", "prediction_id", ids)

    def _remove(self, table: str, key: str, values: Sequence[str]) -> None:
        if values:
            self._db.query(
                f"DELETE FROM {table} WHERE {key} {self._db.dialect.member}", json.dumps(list(values))
            )


def open_store(url: str, columns: Sequence[str], contract_hash: str, numbers: Collection[str] = ()) -> Store:
    """Connect to the prediction log at `url`, and make its tables where there are none.

    Args:
        url: sqlite:///FILE or postgresql://...
        columns: the contract's columns, in the order in which a row's values are kept.
        contract_hash: under which these columns are remembered.
        numbers: those of the columns that hold numbers, for the view `readable`.

    Raises:
        StoreUnavailable: it cannot be used now.
        TakeoffError: the address is none, or a newer version of this project made the tables.
    """
    database = _connect(url)
    try:
        _prepare(database, columns, contract_hash, numbers)
    except BaseException:
        database.close()
        raise
    return Store(database)


def sqlite_file(url: str) -> Path | None:
    """The file behind the address of a prediction log; None where a PostgreSQL server is.

    Raises:
        TakeoffError: the address is none. It is not repeated: there may be a password in it.
    """
    file = url.removeprefix(SQLITE)
    if url.startswith(SQLITE) and file:
        return Path(file)
    if url.startswith(POSTGRES):
        return None
    raise TakeoffError(
        "This is no address of a prediction log (TAKEOFF_LOG_URL): it must be sqlite:///FILE or "
        "postgresql://USER:PASSWORD@HOST/DATABASE."
    )


def _connect(url: str) -> Database:
    if (file := sqlite_file(url)) is not None:
        from takeoff.log_sqlite import SqliteDatabase

        return SqliteDatabase(file)
    from takeoff.log_postgres import PostgresDatabase

    return PostgresDatabase(url)


def _prepare(
    database: Database, columns: Sequence[str], contract_hash: str, numbers: Collection[str]
) -> None:
    """Make or check the tables; remember the contract; point the view at it."""
    with database.transaction():
        database.lock("schema")
        for statement in tables(database.dialect, [SCHEMA_INFO]):
            database.query(statement)
        info = dict(database.query("SELECT name, value FROM schema_info"))
        version = int(info.get("version", SCHEMA_VERSION))
        if version > SCHEMA_VERSION:
            raise TakeoffError(
                f"The prediction log was made by a newer version of this project (its schema is {version}, "
                f"this one knows {SCHEMA_VERSION}). Deploy that version, or use another log."
            )
        for statement in tables(
            database.dialect, [PREDICTIONS, SHADOWS, LABELS, EARLY_LABELS, REFUSALS, CONTRACTS]
        ):
            database.query(statement)
        database.add(SCHEMA_INFO, [("version", str(SCHEMA_VERSION))])
        database.add(CONTRACTS, [(contract_hash, json.dumps(list(columns)))])
        view = readable_view(database.dialect, columns, contract_hash, numbers)
        if info.get("view") != view:
            database.query(f"DROP VIEW IF EXISTS {VIEW}")
            database.query(view)
            database.query("DELETE FROM schema_info WHERE name = ?", "view")
            database.add(SCHEMA_INFO, [("view", view)])
