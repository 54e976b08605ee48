"""Which events left PostgreSQL for the archive, and the way out and back."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tallystick.domain.instants import DAY_US, HOUR_US, format_instant
from tallystick.domain.periods import Period
from tallystick.domain.quantity import from_parts, plain
from tallystick.ports.archive import ArchivedPart, Corrected, HourKey, HourTotal, LedgerPart
from tallystick.ports.errors import ArchiveTaken
from tallystick.storage.postgres.archived_events import EVER, day_bounds
from tallystick.storage.postgres.event_log import stored_event
from tallystick.storage.postgres.locks import SELECTIONS
from tallystick.storage.postgres.rollups import columns, read_selections
from tallystick.storage.postgres.statements import statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tallystick.ports.event_store import StoredEvent
    from tallystick.storage.postgres.database import Connection, PostgresDatabase

RESTORE_BATCH = 5_000
"""Events put back in one transaction."""

ROWS_AT_ONCE = 2_000
"""Events of a day that travel at once."""

_SQL = statements("archive")
_KEEP_APPENDS_OUT = statements("rollups")["keep_appends_out"]


class PostgresArchiveLedger:
    """``ArchiveLedger`` on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def days(self, before_at: int) -> list[int]:
        """Return the UTC days, over before the instant, that have events in the database."""
        with self._database.read() as connection:
            connection.execute(_SQL["read_long"])
            over = before_at - before_at % DAY_US
            return [day_at for (day_at,) in connection.execute(_SQL["days"], (over,))]

    @contextmanager
    def day(self, day_at: int, *, only_noticed: bool = True) -> Iterator[_PostgresDay]:
        """Return a day, valid inside the block."""
        with self._database.read() as connection:
            connection.execute(_SQL["read_long"])
            yield _PostgresDay(connection, day_at, only_noticed=only_noticed)

    def unsettled(self) -> dict[str, list[Period]]:
        """Return the billing periods that have an unsettled report, by customer."""
        found: dict[str, list[Period]] = {}
        with self._database.read() as connection:
            for customer, start_at, end_at in connection.execute(_SQL["unsettled"]):
                found.setdefault(customer, []).append(Period(start_at, end_at))
        return found

    def parts(self, from_at: int | None = None, to_at: int | None = None) -> list[LedgerPart]:
        """Return the parts of the days in ``[from_at, to_at)``, by day and number."""
        bounds = dict(EVER)
        if from_at is not None:
            bounds["from_at"] = from_at
        if to_at is not None:
            bounds["to_at"] = to_at
        with self._database.read() as connection:
            rows = connection.execute(_SQL["parts"], bounds).fetchall()
        return [LedgerPart(ArchivedPart(*row[:-1]), row[-1]) for row in rows]

    def keep(self, parts: Sequence[ArchivedPart], now: int) -> None:
        """Write down parts; the identities of their events are in their table for ever."""

        def keep(connection: Connection) -> None:
            connection.execute(_KEEP_APPENDS_OUT, (SELECTIONS,))
            for part in parts:
                if not connection.execute(_SQL["add_part"], (*part, now)).rowcount:
                    raise ArchiveTaken(
                        f"another run archived {format_instant(part.day_at)[:10]} meanwhile; "
                        "its file stays unused"
                    )

        self._database.write(keep)

    def drop(self, part: ArchivedPart, seqs: Sequence[int]) -> None:
        """Delete these events of a part, which was written down, from the database."""

        def drop(connection: Connection) -> None:
            _lock_part(connection, part)
            chosen = {"seqs": list(seqs), **day_bounds(part.day_at)}
            dropped = connection.execute(_SQL["drop_events"], chosen).rowcount
            connection.execute(_SQL["count_dropped"], (dropped, part.day_at, part.number))

        self._database.write(drop)

    def restore(self, day_at: int) -> int:
        """Put a day's events back into the database as they were; return how many."""
        parts = [each.part for each in self.parts(day_at, day_at + DAY_US)]
        with self._database.read() as connection:
            archive = connection.archive()
        for part in parts:
            batch: list[StoredEvent] = []
            for stored in archive.events(part):
                batch.append(stored)
                if len(batch) == RESTORE_BATCH:
                    self._put_back(part, batch)
                    batch = []
            self._put_back(part, batch)

        def forget(connection: Connection) -> None:
            connection.execute(_KEEP_APPENDS_OUT, (SELECTIONS,))
            connection.execute(_SQL["forget_day"], (day_at,))

        self._database.write(forget)
        return sum(part.event_count for part in parts)

    def _put_back(self, part: ArchivedPart, batch: Sequence[StoredEvent]) -> None:
        if not batch:
            return
        rows = columns([_row(stored) for stored in batch])

        def put_back(connection: Connection) -> None:
            _lock_part(connection, part)
            back = connection.execute(_SQL["put_back"], rows).rowcount
            connection.execute(_SQL["count_dropped"], (-back, part.day_at, part.number))

        self._database.write(put_back)


class _PostgresDay:
    """``ArchivableDay`` of one snapshot."""

    def __init__(self, connection: Connection, day_at: int, *, only_noticed: bool) -> None:
        self._connection = connection
        self._bounds = day_bounds(day_at)
        self._left_out: set[tuple[int, str, str]] = set()
        if only_noticed:
            rows: Any = connection.execute(_SQL["unnoticed_hours"], self._bounds)
            self._left_out = set(rows)

    def customers(self) -> list[str]:
        hours = self._connection.execute(_SQL["day_customers"], self._bounds)
        return sorted({hour[2] for hour in hours if hour not in self._left_out})

    def events(self, customers: Sequence[str]) -> Iterator[StoredEvent]:
        if not customers:
            return
        chosen = {"customers": list(customers), **self._bounds}
        with self._connection.cursor("day_events") as cursor:
            cursor.itersize = ROWS_AT_ONCE
            for *row, is_history in cursor.execute(_SQL["day_events"], chosen):
                stored = stored_event(tuple(row))._replace(is_history=is_history)
                if _hour_of(stored) not in self._left_out:
                    yield stored

    def rollups(self) -> dict[HourKey, HourTotal]:
        by_id = read_selections(self._connection).by_id
        return {
            HourKey(hour_at, by_id[selection_id].event_type, customer): HourTotal(
                count, from_parts(whole, pico)
            )
            for hour_at, selection_id, customer, count, whole, pico in self._connection.execute(
                _SQL["day_cells"], self._bounds
            )
            if by_id[selection_id].is_plain
        }

    def corrected(self) -> Corrected:
        return dict(self._connection.execute(_SQL["corrections"]).fetchall())


def _hour_of(stored: StoredEvent) -> tuple[int, str, str]:
    event = stored.event
    return event.occurred_at - event.occurred_at % HOUR_US, event.type, event.customer


def _lock_part(connection: Connection, part: ArchivedPart) -> None:
    """Take a part that is still written down; one run at a time moves its events."""
    if connection.execute(_SQL["lock_part"], (part.day_at, part.number)).fetchone() is None:
        raise ArchiveTaken(
            f"{format_instant(part.day_at)[:10]} was restored meanwhile; nothing was changed"
        )


def _row(stored: StoredEvent) -> tuple[Any, ...]:
    event = stored.event
    return (
        stored.seq,
        event.source,
        event.id,
        event.type,
        event.customer,
        event.occurred_at,
        stored.received_at,
        plain(event.value),
        event.properties,
        stored.is_history,
    )
