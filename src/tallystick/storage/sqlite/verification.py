"""What a check of the invariants reads, from one SQLite snapshot."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tallystick.domain.aggregation import RollupState
from tallystick.ports.verification import Cell
from tallystick.storage.sqlite.events import stored_event
from tallystick.storage.sqlite.outbox import stored_report
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from tallystick.domain.reports import UsageReport
    from tallystick.ports.event_store import StoredEvent
    from tallystick.storage.sqlite.database import SqliteDatabase

_SQL = statements("verification")
_ALL_REPORTS = statements("outbox")["all_reports"]


class SqliteSnapshotReader:
    """``SnapshotReader`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    @contextmanager
    def snapshot(self) -> Iterator[_SqliteSnapshot]:
        """Return the present as a snapshot, valid inside the block."""
        with self._database.read() as connection:
            yield _SqliteSnapshot(connection)


class _SqliteSnapshot:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def events(self) -> Iterator[StoredEvent]:
        for row in self._connection.execute(_SQL["all_events"]):
            yield stored_event(row)

    def contents(self, identities: list[bytes]) -> list[bytes | None]:
        found = [
            self._connection.execute(_SQL["content_of_identity"], (identity,)).fetchone()
            for identity in identities
        ]
        return [row[0] if row else None for row in found]

    def identity_count(self) -> int:
        return int(self._connection.execute(_SQL["count_identities"]).fetchone()[0])

    def cells(self) -> Iterator[tuple[Cell, RollupState]]:
        for hour_at, meter_key, customer, *state in self._connection.execute(_SQL["all_cells"]):
            yield Cell(hour_at, meter_key, customer), RollupState(*state)

    def reports(self) -> Iterator[UsageReport]:
        for row in self._connection.execute(_ALL_REPORTS, {"customer": None}):
            yield stored_report(row)

    def due(self) -> set[tuple[str, str]]:
        return set(self._connection.execute(_SQL["all_due"]))
