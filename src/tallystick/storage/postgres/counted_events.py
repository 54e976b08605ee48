"""The usage events behind a quantity, in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.events import read_properties
from tallystick.domain.instants import HOUR_US
from tallystick.domain.periods import hour_of
from tallystick.ports.archive import HourKey
from tallystick.storage.postgres.archived_events import archived_hours
from tallystick.storage.postgres.event_log import corrected_event
from tallystick.storage.postgres.statements import statements

if TYPE_CHECKING:
    from tallystick.domain.meters import Meter
    from tallystick.domain.periods import Period
    from tallystick.ports.event_store import StoredEvent
    from tallystick.storage.postgres.database import PostgresDatabase

_SQL = statements("counted_events")


class PostgresCountedEvents:
    """``CountedEvents`` on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def counted(self, meter: Meter, customer: str, period: Period) -> list[StoredEvent]:
        """Return the events of the period that count for the meter, oldest first."""
        wanted = {
            "customer": customer,
            "type": meter.event_type,
            "from_at": period.start_at,
            "to_at": period.end_at,
        }
        hours = range(hour_of(period.start_at), period.end_at, HOUR_US)
        with self._database.read() as connection:
            rows = connection.execute(_SQL["counted"], wanted)
            stored = {found.seq: found for found in map(corrected_event, rows)}
            keys = [HourKey(hour_at, meter.event_type, customer) for hour_at in hours]
            for found in archived_hours(connection, keys):
                if found.event.occurred_at in period:
                    stored.setdefault(found.seq, found)
        counted = [
            found
            for found in stored.values()
            if found.counts_for is not None
            and meter.selection.takes(read_properties(found.event.properties))
        ]
        return sorted(counted, key=lambda found: (found.event.occurred_at, found.seq))
