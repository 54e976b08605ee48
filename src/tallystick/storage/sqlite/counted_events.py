"""The usage events behind a quantity, in SQLite: found along the chains of their hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.events import read_properties
from tallystick.domain.instants import DAY_US
from tallystick.domain.meters import Selection
from tallystick.domain.periods import hour_of
from tallystick.ports.archive import HourKey
from tallystick.storage.sqlite.archived_events import archived_hour
from tallystick.storage.sqlite.events import corrected_event
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from tallystick.domain.meters import Meter
    from tallystick.domain.periods import Period
    from tallystick.ports.event_store import StoredEvent
    from tallystick.storage.sqlite.database import SqliteDatabase

_SQL = statements("counted_events")
_USAGE_SQL = statements("usage")
_EVENT_AT = statements("events")["event_at"]


class SqliteCountedEvents:
    """``CountedEvents`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def counted(self, meter: Meter, customer: str, period: Period) -> list[StoredEvent]:
        """Return the events of the period that count for the meter, oldest first."""
        selection = meter.selection
        with self._database.read() as connection:
            found = [
                stored
                for stored in _stored(connection, selection, customer, period)
                if stored.counts_for is not None
                and selection.takes(read_properties(stored.event.properties))
            ]
        return sorted(found, key=lambda stored: (stored.event.occurred_at, stored.seq))


def _stored(
    connection: sqlite3.Connection, selection: Selection, customer: str, period: Period
) -> Iterator[StoredEvent]:
    """Yield every event of the selection's type that lies in the period."""
    plain = Selection(selection.event_type).definition
    row = connection.execute(_USAGE_SQL["selection_id"], (plain,)).fetchone()
    span = connection.execute(_USAGE_SQL["span"], (customer, row[0] if row else 0)).fetchone()
    if span is None:
        return
    hours = {
        "from_at": max(hour_of(period.start_at), span[0]),
        "to_at": min(period.end_at, span[1] + DAY_US),
        "selection_id": row[0],
        "customer": customer,
    }
    if hours["from_at"] >= hours["to_at"]:
        return
    for hour_at, last_seq in connection.execute(_SQL["hour_ends"], hours).fetchall():
        key = HourKey(hour_at, selection.event_type, customer)
        found = {stored.seq: stored for stored in archived_hour(connection, key)}
        for (seq,) in connection.execute(_SQL["hour_seqs"], {"last_seq": last_seq}).fetchall():
            found[seq] = corrected_event(connection.execute(_EVENT_AT, (seq,)).fetchone())
        yield from (stored for stored in found.values() if stored.event.occurred_at in period)
