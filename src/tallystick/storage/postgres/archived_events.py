"""Events that left PostgreSQL for the archive, as its readers need them beside the others.

While a part is being dropped, its events may stand in the database too: whoever reads both reads
the database first, and tells events apart by ``seq``.
"""

from __future__ import annotations

from heapq import nsmallest
from typing import TYPE_CHECKING, Any

from tallystick.domain.instants import DAY_US, HOUR_US
from tallystick.ports.archive import ArchivedPart, HourKey
from tallystick.storage.postgres.statements import statements

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from decimal import Decimal

    from tallystick.domain.events import UsageEvent
    from tallystick.ports.event_store import StoredEvent
    from tallystick.storage.postgres.database import Connection

EVER = {"from_at": -(1 << 62), "to_at": 1 << 62}
_SQL = statements("archive")


def archived_hours(connection: Connection, keys: Iterable[HourKey]) -> list[StoredEvent]:
    """Return the archived events of some hours, types and customers, with their corrections."""
    wanted = list(keys)
    parts = _parts_of_days(connection, {key.hour_at - key.hour_at % DAY_US for key in wanted})
    if not parts:
        return []
    archive = connection.archive()
    found = [
        stored
        for part in parts  # each piece of a file is read once
        for key in wanted
        if key.hour_at - key.hour_at % DAY_US == part.day_at
        for stored in archive.hour(part, key)
    ]
    return _corrected(connection, found)


def archived_event(connection: Connection, seq: int, occurred_at: int) -> StoredEvent | None:
    """Return an archived event, with its correction."""
    for part in _parts_of_days(connection, {occurred_at - occurred_at % DAY_US}):
        found = connection.archive().find(part, seq)
        if found is not None:
            return _corrected(connection, [found])[0]
    return None


def archived_contents(
    connection: Connection, repeated: Iterable[tuple[int, UsageEvent]]
) -> dict[int, UsageEvent]:
    """Return the archived events at these places, where an event that came again could be equal.

    An equal one is of the same type, customer and hour: whatever is not there is another one.
    """
    hours: dict[HourKey, None] = {}
    places = set()
    for seq, event in repeated:
        hour_at = event.occurred_at - event.occurred_at % HOUR_US
        hours[HourKey(hour_at, event.type, event.customer)] = None
        places.add(seq)
    found = archived_hours(connection, hours)
    return {stored.seq: stored.event for stored in found if stored.seq in places}


def archived_events(connection: Connection) -> Iterator[StoredEvent]:
    """Return every event that is in the archive alone: by part, then in the order of ``seq``."""
    parts = connection.execute(_SQL["parts"], EVER).fetchall()
    corrected = dict(connection.execute(_SQL["corrections"]).fetchall()) if parts else {}
    for *fields, dropped_count in parts:
        part = ArchivedPart(*fields)
        here: set[int] = set()
        if dropped_count < part.event_count:
            bounds = {"first": part.first_seq, "last": part.last_seq, **day_bounds(part.day_at)}
            here = {seq for (seq,) in connection.execute(_SQL["still_here"], bounds)}
        for stored in connection.archive().events(part):
            if stored.seq not in here:
                yield _with_correction(stored, corrected)


def archived_after(connection: Connection, after_seq: int, limit: int) -> list[StoredEvent]:
    """Return the first archived events beyond a place, in the order of ``seq``."""
    first: list[StoredEvent] = []
    for row in connection.execute(_SQL["parts_after"], (after_seq,)).fetchall():
        part = ArchivedPart(*row)  # by their first events
        if len(first) == limit and part.first_seq > first[-1].seq:
            break
        events = connection.archive().events(part)
        later = [stored for stored in events if stored.seq > after_seq]
        first = nsmallest(limit, [*first, *later], key=lambda stored: stored.seq)
    return first


def day_bounds(day_at: int) -> dict[str, Any]:
    """Return a UTC day as statements name it."""
    return {"from_at": day_at, "to_at": day_at + DAY_US}


def _parts_of_days(connection: Connection, days: set[int]) -> list[ArchivedPart]:
    rows = connection.execute(_SQL["parts_of_days"], (sorted(days),))
    return [ArchivedPart(*row) for row in rows]


def _corrected(connection: Connection, events: list[StoredEvent]) -> list[StoredEvent]:
    if not events:
        return events
    rows = connection.execute(_SQL["corrections_of"], ([stored.seq for stored in events],))
    corrected: dict[int, Decimal | None] = dict(rows.fetchall())
    return [_with_correction(stored, corrected) for stored in events]


def _with_correction(stored: StoredEvent, corrected: dict[int, Decimal | None]) -> StoredEvent:
    if stored.seq not in corrected:
        return stored
    return stored._replace(is_corrected=True, corrected_value=corrected[stored.seq])
