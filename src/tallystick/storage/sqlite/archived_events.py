"""Events that left a SQLite file for the archive, as its readers need them beside the others.

While a part is being dropped, its events may stand in the database too: whoever reads both tells
events apart by ``seq``.
"""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from heapq import nsmallest
from typing import TYPE_CHECKING, Any

from tallystick.domain.instants import DAY_US, HOUR_US
from tallystick.ports.archive import ArchivedPart, HourKey
from tallystick.storage.sqlite.statements import read_rows, statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tallystick.domain.events import UsageEvent
    from tallystick.ports.archive import Archive
    from tallystick.ports.event_store import StoredEvent

_EVER = {"from_at": -(1 << 62), "to_at": 1 << 62}
_SQL = statements("archive")


class StoreConnection(sqlite3.Connection):
    """A connection that knows where archived events are: opened when they are first needed."""

    archive: Callable[[], Archive]


def archive_of(connection: sqlite3.Connection) -> Archive:
    """Return the archive of the database that a connection is to."""
    assert isinstance(connection, StoreConnection)  # every store's connections are
    return connection.archive()


def archived_hour(connection: sqlite3.Connection, key: HourKey) -> list[StoredEvent]:
    """Return the archived events of an hour, type and customer, with their corrections."""
    parts = _parts(connection, "parts_of_day", (key.hour_at - key.hour_at % DAY_US,))
    if not parts:
        return []
    archive = archive_of(connection)
    return _corrected(connection, [found for part in parts for found in archive.hour(part, key)])


def archived_event(connection: sqlite3.Connection, seq: int) -> StoredEvent | None:
    """Return an archived event, with its correction."""
    archive = archive_of(connection)
    for part in _parts(connection, "parts_around", {"seq": seq}):
        found = archive.find(part, seq)
        if found is not None:
            return _corrected(connection, [found])[0]
    return None


def archived_contents(
    connection: sqlite3.Connection, repeated: Iterable[tuple[int, UsageEvent]]
) -> dict[int, UsageEvent]:
    """Return the archived events at these places, where an event that came again could be equal.

    An equal one is of the same type, customer and hour: whatever is not there is another one.
    """
    by_hour: dict[HourKey, set[int]] = {}
    for seq, event in repeated:
        hour_at = event.occurred_at - event.occurred_at % HOUR_US
        by_hour.setdefault(HourKey(hour_at, event.type, event.customer), set()).add(seq)
    found: dict[int, UsageEvent] = {}
    # by day and customer, as the archive is: each piece of it is read once
    for key in sorted(by_hour, key=lambda key: (key.hour_at // DAY_US, key.customer, key.hour_at)):
        for stored in archived_hour(connection, key):
            if stored.seq in by_hour[key]:
                found[stored.seq] = stored.event
    return found


def archived_events(connection: sqlite3.Connection) -> Iterator[StoredEvent]:
    """Return every event that is in the archive alone: by part, then in the order of ``seq``."""
    corrected = dict(connection.execute(_SQL["corrections"]).fetchall())
    for *fields, dropped_count in connection.execute(_SQL["parts"], _EVER).fetchall():
        part = ArchivedPart(*fields)
        here: set[int] = set()
        if dropped_count < part.event_count:
            bounds = (part.first_seq, part.last_seq)
            here = {seq for (seq,) in connection.execute(_SQL["still_here"], bounds)}
        for stored in archive_of(connection).events(part):
            if stored.seq not in here:
                yield _with_correction(stored, corrected)


def days_under_way(connection: sqlite3.Connection) -> set[int]:
    """Return the archived days of which some events are in the database too."""
    rows = connection.execute(_SQL["parts"], _EVER)
    return {row[0] for row in rows if row[-1] < row[3]}


def archived_rows_of_type(
    connection: sqlite3.Connection, event_type: str, *, only_history: bool = False
) -> Iterator[tuple[int, str, int, Decimal, bytes]]:
    """Return what counts of the archived events of a type: seq, customer, time, what it counts for,
    properties.
    """
    for stored in archived_events(connection):
        event, counts_for = stored.event, stored.counts_for
        if event.type != event_type or counts_for is None:
            continue
        if stored.is_history or not only_history:
            yield stored.seq, event.customer, event.occurred_at, counts_for, event.properties


def archived_after(connection: sqlite3.Connection, after_seq: int, limit: int) -> list[StoredEvent]:
    """Return the first archived events beyond a place, in the order of ``seq``."""
    first: list[StoredEvent] = []
    for part in _parts(connection, "parts_after", (after_seq,)):  # by their first events
        if len(first) == limit and part.first_seq > first[-1].seq:
            break
        events = archive_of(connection).events(part)
        later = [stored for stored in events if stored.seq > after_seq]
        first = nsmallest(limit, [*first, *later], key=lambda stored: stored.seq)
    return first


def _parts(connection: sqlite3.Connection, name: str, parameters: Any) -> list[ArchivedPart]:
    return [ArchivedPart(*row) for row in connection.execute(_SQL[name], parameters)]


def _corrected(connection: sqlite3.Connection, events: list[StoredEvent]) -> list[StoredEvent]:
    seqs = [stored.seq for stored in events]
    corrected = dict(read_rows(connection, _SQL["corrections_of"], seqs, 1))
    return [_with_correction(stored, corrected) for stored in events] if corrected else events


def _with_correction(stored: StoredEvent, corrected: dict[int, str | None]) -> StoredEvent:
    if stored.seq not in corrected:
        return stored
    value = corrected[stored.seq]
    return stored._replace(
        is_corrected=True, corrected_value=None if value is None else Decimal(value)
    )
