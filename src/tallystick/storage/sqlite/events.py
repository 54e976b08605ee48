"""The event log in SQLite."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tallystick.domain.aggregation import EMPTY, RollupState, merge, state_of
from tallystick.domain.events import EventStatus, UsageEvent, content_of, identity_of
from tallystick.domain.periods import hour_of
from tallystick.domain.quantity import plain
from tallystick.ports.event_store import StoredEvent
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from concurrent.futures import Future

    from tallystick.ports.event_store import MeteredEvent
    from tallystick.storage.sqlite.database import SqliteDatabase

_SQL = statements("events")


class SqliteEventStore:
    """``EventStore`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def append(
        self, entries: Sequence[MeteredEvent], received_at: int
    ) -> Future[list[EventStatus]]:
        """Append events in order, once each, and add them to their meters' rollups."""
        digests = [
            (identity_of(entry.event.source, entry.event.id), content_of(entry.event))
            for entry in entries
        ]
        return self._database.write(
            lambda connection: _append(connection, entries, digests, received_at)
        )

    def scan(self, after_seq: int, limit: int) -> list[StoredEvent]:
        """Return stored events in the order of their ``seq``."""
        with self._database.read() as connection:
            rows = connection.execute(_SQL["scan_events"], (after_seq, limit))
            return [stored_event(row) for row in rows]

    def count(self) -> int:
        """Return how many events are stored."""
        with self._database.read() as connection:
            return int(connection.execute(_SQL["count_events"]).fetchone()[0])


def stored_event(row: tuple[Any, ...]) -> StoredEvent:
    """Return the event that a row of the log holds."""
    seq, received_at, source, event_id, type_, customer, occurred_at, value, properties = row
    event = UsageEvent(source, event_id, type_, customer, occurred_at, Decimal(value), properties)
    return StoredEvent(seq, received_at, event)


def _append(
    connection: sqlite3.Connection,
    entries: Sequence[MeteredEvent],
    digests: Sequence[tuple[bytes, bytes]],
    received_at: int,
) -> list[EventStatus]:
    statuses = [_claim(connection, identity, content) for identity, content in digests]
    new = [
        entry
        for entry, status in zip(entries, statuses, strict=True)
        if status is EventStatus.ACCEPTED
    ]
    if new:
        _store(connection, [entry.event for entry in new], received_at)
        _roll_up(connection, new)
    return statuses


def _claim(connection: sqlite3.Connection, identity: bytes, content: bytes) -> EventStatus:
    if connection.execute(_SQL["claim_identity"], (identity, content)).rowcount:
        return EventStatus.ACCEPTED
    stored = connection.execute(_SQL["content_of_identity"], (identity,)).fetchone()[0]
    return EventStatus.DUPLICATE if stored == content else EventStatus.CONFLICT


def _store(connection: sqlite3.Connection, events: Sequence[UsageEvent], received_at: int) -> None:
    first_seq = connection.execute(_SQL["last_seq"]).fetchone()[0] + 1
    connection.executemany(
        _SQL["append_event"],
        [
            (
                seq,
                event.source,
                event.id,
                event.type,
                event.customer,
                event.occurred_at,
                received_at,
                plain(event.value),
                event.properties,
            )
            for seq, event in enumerate(events, first_seq)
        ],
    )


def _roll_up(connection: sqlite3.Connection, entries: Sequence[MeteredEvent]) -> None:
    meter_ids = dict(connection.execute(_SQL["meter_ids"]))
    cells: dict[tuple[int, int, str], RollupState] = {}
    for event, meters in entries:
        state = state_of(event.value)
        for meter in meters:
            cell = (hour_of(event.occurred_at), meter_ids[meter.key], event.customer)
            cells[cell] = merge(cells.get(cell, EMPTY), state)
    connection.executemany(
        _SQL["add_to_rollup"], [(*cell, *state) for cell, state in cells.items()]
    )
