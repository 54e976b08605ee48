"""What a check of the invariants reads, from one PostgreSQL snapshot."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tallystick.domain.events import identity_of
from tallystick.ports.outbox import Reported
from tallystick.ports.verification import Cell, ReportedPeriod
from tallystick.storage.postgres.archived_events import archived_events
from tallystick.storage.postgres.day_rollups import faults_of_days
from tallystick.storage.postgres.event_log import corrected_event
from tallystick.storage.postgres.rollups import cell_state, read_selections
from tallystick.storage.postgres.statements import statements
from tallystick.storage.report_rows import report_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tallystick.domain.aggregation import RollupState
    from tallystick.domain.events import UsageEvent
    from tallystick.domain.reports import UsageReport
    from tallystick.ports.event_store import StoredEvent
    from tallystick.storage.postgres.database import Connection, PostgresDatabase

ROWS_AT_ONCE = 2_000
"""Rows that travel at once: everything would not fit into memory."""

_SQL = statements("verification")
_ALL_REPORTS = statements("outbox")["all_reports"]


class PostgresSnapshotReader:
    """``SnapshotReader`` on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    @contextmanager
    def snapshot(self) -> Iterator[_PostgresSnapshot]:
        """Return the present as a snapshot, valid inside the block."""
        with self._database.read() as connection:
            connection.execute(_SQL["read_long"])
            yield _PostgresSnapshot(connection)


class _PostgresSnapshot:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._streams = 0

    def events(self) -> Iterator[StoredEvent]:
        yield from archived_events(self._connection)
        for row in self._streamed(_SQL["all_events"]):
            yield corrected_event(row)

    def places(self, events: Sequence[UsageEvent]) -> list[int | None]:
        identities = [identity_of(event.source, event.id) for event in events]
        asked = [identity.hex() for identity in identities]
        rows = self._connection.execute(_SQL["places_of"], (asked,))
        found = {identity.bytes: int(seq) for identity, seq in rows}
        return [found.get(identity) for identity in identities]

    def faults(self) -> Iterator[str]:
        row = self._connection.execute(_SQL["count_both"]).fetchone()
        assert row is not None
        if row[0] != row[1]:
            yield f"{row[0]} identities are kept for {row[1]} events"
        for (seq,) in self._connection.execute(_SQL["astray"]):
            yield f"event {seq} is kept on another day than its identity says"
        yield from faults_of_days(self._connection, self._streamed)

    def cells(self) -> Iterator[tuple[Cell, RollupState]]:
        by_id = read_selections(self._connection).by_id
        for customer, selection_id, is_history, hour_at, dimension, *state in self._streamed(
            _SQL["all_cells"]
        ):
            selection = by_id[selection_id]
            cell = Cell(hour_at, selection, customer, dimension, is_history)
            yield cell, cell_state(selection.fold, state)

    def reports(self) -> Iterator[UsageReport]:
        for row in self._connection.execute(_ALL_REPORTS, {"customer": None}):
            yield report_of(row)

    def totals(self) -> Iterator[tuple[ReportedPeriod, Reported]]:
        for *key, quantity, next_sequence in self._connection.execute(_SQL["all_totals"]):
            yield ReportedPeriod(*key), Reported(quantity, next_sequence)

    def due(self) -> set[tuple[str, str]]:
        rows: Any = self._connection.execute(_SQL["all_due"])
        return set(rows)

    def _streamed(self, statement: str) -> Iterator[tuple[Any, ...]]:
        """Return a statement's rows, some at a time."""
        self._streams += 1
        with self._connection.cursor(f"stream_{self._streams}") as cursor:
            cursor.itersize = ROWS_AT_ONCE
            yield from cursor.execute(statement)
