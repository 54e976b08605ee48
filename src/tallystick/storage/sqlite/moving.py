"""A SQLite file that moves into another database: its rows, read while nobody writes."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from tallystick.domain.events import identity_of
from tallystick.domain.quantity import from_parts
from tallystick.ports.errors import SourceInUse
from tallystick.storage.sqlite.archived_events import archived_events
from tallystick.storage.sqlite.catalog import SqliteCatalogStore
from tallystick.storage.sqlite.database import SqliteDatabase, connect
from tallystick.storage.sqlite.migrations import migrate
from tallystick.storage.sqlite.statements import statements
from tallystick.storage.sqlite.verification import SqliteSnapshotReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tallystick.ports.archive import Archive
    from tallystick.ports.directory import CatalogStore
    from tallystick.ports.moving import Row
    from tallystick.ports.verification import SnapshotReader

_SQL = statements("moving")
_EVENTS = _SQL["usage_events"]


class SqliteSource:
    """``MovingSource`` on one SQLite file."""

    def __init__(self, connection: sqlite3.Connection, fingerprint: str) -> None:
        self._connection = connection
        self._fingerprint = fingerprint

    def fingerprint(self) -> str:
        """Return the file's digest."""
        return self._fingerprint

    def counts(self) -> dict[str, int]:
        """Return how many rows each table has."""
        return dict(self._connection.execute(_SQL["counts"]).fetchall())

    def rows(self, table: str) -> Iterator[Row]:
        """Return a table's rows as the target's columns."""
        if table == "event_identities":
            return self._identities()
        if table == "report_totals":
            return self._totals()
        if table == "usage_rollups":
            return self._rollups()
        return iter(self._connection.execute(_SQL[table]))

    def _identities(self) -> Iterator[Row]:
        """Every event has one, be it in the archive or not."""
        for seq, source, event_id, _, _, occurred_at, *_ in self._connection.execute(_EVENTS):
            yield identity_of(source, event_id).hex(), seq, occurred_at
        for stored in archived_events(self._connection):
            event = stored.event
            yield identity_of(event.source, event.id).hex(), stored.seq, event.occurred_at

    def _totals(self) -> Iterator[Row]:
        for *key, whole, pico, next_sequence in self._connection.execute(_SQL["report_totals"]):
            yield (*key, from_parts(whole, pico), next_sequence)

    def _rollups(self) -> Iterator[Row]:
        yield from self._connection.execute(_SQL["usage_rollups"])
        yield from self._connection.execute(_SQL["history_rollups"])


@contextmanager
def moving_source(
    path: Path, archive: Callable[[], Archive], now: int
) -> Iterator[tuple[SqliteSource, SnapshotReader, CatalogStore]]:
    """Return the file as a source, and for comparing: nobody can write to it inside the block.

    Raises:
        SourceInUse: another process has it open.
    """
    migrate(path, now)
    _refuse_if_open(path)
    with path.open("rb") as file:
        fingerprint = hashlib.file_digest(file, "blake2b").hexdigest()
    database = SqliteDatabase(path, archive)
    try:
        with closing(connect(path)) as guard, database.read() as connection:
            guard.execute("BEGIN IMMEDIATE")  # kept until the end: whoever writes waits in vain
            source = SqliteSource(connection, fingerprint)
            yield source, SqliteSnapshotReader(database), SqliteCatalogStore(database)
            guard.execute("ROLLBACK")
    finally:
        database.close()


def _refuse_if_open(path: Path) -> None:
    """Make sure that this process alone has the file, and that all is in the file itself."""
    with closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.OperationalError as error:
            raise SourceInUse(
                f"another process has {path} open ({error}): stop every server and worker on it, "
                "so that nothing is written that would not move"
            ) from error
