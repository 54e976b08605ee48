"""Which events left a SQLite file for the archive, and the way out and back."""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_left
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tallystick.domain.instants import DAY_US, HOUR_US, format_instant
from tallystick.domain.periods import Period
from tallystick.domain.quantity import from_parts, plain
from tallystick.ports.archive import (
    ArchivedPart,
    Corrected,
    HourKey,
    HourTotal,
    LedgerPart,
)
from tallystick.ports.errors import ArchiveTaken
from tallystick.storage.selections import Selections
from tallystick.storage.sqlite.archived_events import archive_of
from tallystick.storage.sqlite.events import stored_event
from tallystick.storage.sqlite.identities import merge_upto
from tallystick.storage.sqlite.statements import statements, write_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tallystick.ports.event_store import StoredEvent
    from tallystick.storage.sqlite.database import SqliteDatabase

IDENTITIES_BATCH = 20_000
"""Identities merged in one transaction: bounds how long ingest waits."""

RESTORE_BATCH = 5_000
"""Events put back in one transaction."""

_COLUMNS = 10
_FIRST_AT = -(1 << 62)
_LAST_AT = 1 << 62
_SQL = statements("archive")


class SqliteArchiveLedger:
    """``ArchiveLedger`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def days(self, before_at: int) -> list[int]:
        """Return the UTC days, over before the instant, that have events in the database."""
        days: list[int] = []
        day_at = _FIRST_AT
        with self._database.read() as connection:
            while True:
                (hour_at,) = connection.execute(_SQL["next_hour"], (day_at,)).fetchone()
                if hour_at is None or hour_at - hour_at % DAY_US + DAY_US > before_at:
                    return days
                day_at = hour_at - hour_at % DAY_US
                (has_events,) = connection.execute(
                    _SQL["day_has_events"], _day_bounds(day_at)
                ).fetchone()
                if has_events:
                    days.append(day_at)
                day_at += DAY_US

    @contextmanager
    def day(self, day_at: int, *, only_noticed: bool = True) -> Iterator[_SqliteDay]:
        """Return a day, valid inside the block."""
        with self._database.read() as connection:
            yield _SqliteDay(connection, day_at, only_noticed=only_noticed)

    def unsettled(self) -> dict[str, list[Period]]:
        """Return the billing periods that have an unsettled report, by customer."""
        found: dict[str, list[Period]] = {}
        with self._database.read() as connection:
            for customer, start_at, end_at in connection.execute(_SQL["unsettled"]):
                found.setdefault(customer, []).append(Period(start_at, end_at))
        return found

    def parts(self, from_at: int | None = None, to_at: int | None = None) -> list[LedgerPart]:
        """Return the parts of the days in ``[from_at, to_at)``, by day and number."""
        bounds = {
            "from_at": _FIRST_AT if from_at is None else from_at,
            "to_at": _LAST_AT if to_at is None else to_at,
        }
        with self._database.read() as connection:
            rows = connection.execute(_SQL["parts"], bounds).fetchall()
        return [LedgerPart(ArchivedPart(*row[:-1]), row[-1]) for row in rows]

    def keep(self, parts: Sequence[ArchivedPart], now: int) -> None:
        """Write down parts, after the identities of their events are in the table."""
        last_seq = max(part.last_seq for part in parts)
        while self._database.write(
            lambda connection: merge_upto(connection, last_seq, IDENTITIES_BATCH)
        ):
            pass

        def keep(connection: sqlite3.Connection) -> None:
            for part in parts:
                try:
                    connection.execute(_SQL["add_part"], (*part, now))
                except sqlite3.IntegrityError:
                    raise ArchiveTaken(
                        f"another run archived {format_instant(part.day_at)[:10]} meanwhile; "
                        "its file stays unused"
                    ) from None

        self._database.write(keep)

    def drop(self, part: ArchivedPart, seqs: Sequence[int]) -> None:
        """Delete these events of a part, which was written down, from the database."""

        def drop(connection: sqlite3.Connection) -> None:
            dropped = connection.execute(_SQL["drop_events"], (json.dumps(list(seqs)),)).rowcount
            _count_dropped(connection, part, dropped)

        self._database.write(drop)

    def restore(self, day_at: int) -> int:
        """Put a day's events back into the database as they were; return how many.

        All parts are forgotten at once: an hour may lie in several, and its chain is whole then.
        """
        parts = [each.part for each in self.parts(day_at, day_at + DAY_US)]
        with self._database.read() as connection:
            archive = archive_of(connection)
        places: dict[HourKey, list[int]] = {}
        for part in parts:
            for stored in archive.events(part):
                places.setdefault(_hour_key(stored), []).append(stored.seq)
        for each in places.values():
            each.sort()
        for part in parts:
            rows: list[Any] = []
            for stored in archive.events(part):
                rows += _row(stored, places[_hour_key(stored)])
                if len(rows) == RESTORE_BATCH * _COLUMNS:
                    self._put_back(part, rows)
                    rows = []
            if rows:
                self._put_back(part, rows)
        self._database.write(lambda connection: connection.execute(_SQL["forget_day"], (day_at,)))
        return sum(part.event_count for part in parts)

    def _put_back(self, part: ArchivedPart, rows: list[Any]) -> None:
        def put_back(connection: sqlite3.Connection) -> None:
            before = connection.total_changes
            write_rows(connection, _SQL["put_back"], rows, _COLUMNS)
            _count_dropped(connection, part, before - connection.total_changes)

        self._database.write(put_back)


class _SqliteDay:
    """``ArchivableDay`` of one snapshot. An hour's chain ends where its older events left."""

    def __init__(self, connection: sqlite3.Connection, day_at: int, *, only_noticed: bool) -> None:
        self._connection = connection
        self._day_at = day_at
        by_id = Selections(connection.execute(_SQL["selections"])).by_id
        (upto,) = connection.execute(_SQL["looked_upto"]).fetchone()
        self._ends: dict[str, list[int]] = {}
        self._rollups: dict[HourKey, HourTotal] = {}
        for (
            customer,
            selection_id,
            hour_at,
            count,
            whole,
            pico,
            last_seq,
            is_here,
        ) in connection.execute(_SQL["day_cells"], _day_bounds(day_at)):
            key = HourKey(hour_at, by_id[selection_id].event_type, customer)
            self._rollups[key] = HourTotal(count, from_parts(whole, pico))
            if is_here and (last_seq <= upto or not only_noticed):
                self._ends.setdefault(customer, []).append(last_seq)

    def customers(self) -> list[str]:
        return sorted(self._ends)

    def events(self, customers: Sequence[str]) -> Iterator[StoredEvent]:
        for customer in customers:
            ends = json.dumps(self._ends.get(customer, []))
            for *row, is_history in self._connection.execute(_SQL["chained_events"], (ends,)):
                yield stored_event(tuple(row))._replace(is_history=bool(is_history))

    def rollups(self) -> dict[HourKey, HourTotal]:
        return self._rollups

    def corrected(self) -> Corrected:
        return {
            seq: None if value is None else Decimal(value)
            for seq, value in self._connection.execute(_SQL["corrections"])
        }


def _day_bounds(day_at: int) -> dict[str, int]:
    return {"from_at": day_at, "to_at": day_at + DAY_US}


def _count_dropped(connection: sqlite3.Connection, part: ArchivedPart, count: int) -> None:
    """Count events as deleted, of a part that is still written down."""
    changed = connection.execute(_SQL["count_dropped"], (count, part.day_at, part.number)).rowcount
    if not changed:
        raise ArchiveTaken(
            f"{format_instant(part.day_at)[:10]} was restored meanwhile; nothing was changed"
        )


def _hour_key(stored: StoredEvent) -> HourKey:
    event = stored.event
    return HourKey(event.occurred_at - event.occurred_at % HOUR_US, event.type, event.customer)


def _row(stored: StoredEvent, places: Sequence[int]) -> tuple[Any, ...]:
    """Return an event's columns; ``places`` are those of its hour's events, in order."""
    at = bisect_left(places, stored.seq)
    event = stored.event
    return (
        stored.seq,
        places[at - 1] if at else 0,
        event.source,
        event.id,
        event.type,
        event.customer,
        event.occurred_at,
        stored.received_at,
        plain(event.value),
        event.properties,
    )
