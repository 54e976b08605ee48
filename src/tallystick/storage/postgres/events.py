"""The event store in PostgreSQL: several servers append to one log at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.events import EventStatus, UsageEvent, identity_of, same_content
from tallystick.domain.instants import DAY_US, HOUR_US
from tallystick.domain.quantity import plain
from tallystick.storage.postgres.archived_events import (
    archived_after,
    archived_contents,
    archived_event,
)
from tallystick.storage.postgres.corrections import correct_events
from tallystick.storage.postgres.day_rollups import mark_stale
from tallystick.storage.postgres.event_log import complete_upto, corrected_event, stored_event
from tallystick.storage.postgres.locks import APPENDING, SELECTIONS
from tallystick.storage.postgres.partitions import make_partitions
from tallystick.storage.postgres.rollups import Folding, columns, read_selections
from tallystick.storage.postgres.statements import statements
from tallystick.storage.selections import Selections

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from tallystick.domain.corrections import Correction, CorrectionStatus
    from tallystick.ports.event_store import StoredEvent
    from tallystick.storage.postgres.database import Connection, PostgresDatabase

_SQL = statements("events")
_DAYS_SQL = statements("day_rollups")


class _Known(NamedTuple):
    """The selections that were read last, and the newest among them."""

    newest_id: int
    selections: Selections


class PostgresEventStore:
    """``EventStore`` on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._known = _Known(-1, Selections(()))
        self._partitioned_hour = -1
        self._days: set[int] = set()

    def append(
        self, events: Sequence[UsageEvent], received_at: int, *, is_history: bool = False
    ) -> Future[list[EventStatus]]:
        """Append events in order, once each, and add them to their selections' rollups."""
        identities = [identity_of(event.source, event.id).hex() for event in events]
        days = {event.occurred_at - event.occurred_at % DAY_US for event in events}

        def append(connection: Connection) -> list[EventStatus]:
            statuses = self._append(
                connection, events, identities, received_at, is_history=is_history
            )
            if days - self._days:
                connection.execute(_DAYS_SQL["note_days"], (sorted(days - self._days),))
            return statuses

        def remember(appended: Future[list[EventStatus]]) -> None:
            if not appended.cancelled() and appended.exception() is None:
                self._days.update(days)

        hour = received_at // HOUR_US
        if hour != self._partitioned_hour:
            self._partitioned_hour = hour
            make_partitions(self._database, received_at)
        future = self._database.submit(append)
        future.add_done_callback(remember)
        return future

    def correct(
        self, corrections: Sequence[Correction], now: int
    ) -> Future[list[CorrectionStatus]]:
        """Put corrections in force, in order, and count the usage of their hours again."""

        def correct(connection: Connection) -> list[CorrectionStatus]:
            with connection.pipeline():
                connection.execute(_SQL["begin_append"], _LOCKS)
                in_force = connection.execute(_SQL["in_force"])
            newest_id, _ = in_force.fetchone() or (0, None)
            selections = self._selections(connection, newest_id)
            return correct_events(connection, selections, corrections, now)

        return self._database.submit(correct)

    def find(self, source: str, event_id: str) -> StoredEvent | None:
        """Return the event known under this identity, with its correction."""
        with self._database.read() as connection:
            row = connection.execute(
                _SQL["event_known"], (identity_of(source, event_id).hex(),)
            ).fetchone()
            if row is None:
                return None
            if row[1] is None:
                return archived_event(connection, row[0], row[6])
        return corrected_event(row)

    def scan(self, after_seq: int, limit: int) -> list[StoredEvent]:
        """Return stored events in the order of their ``seq``, as far as none can turn up between
        them later.
        """
        with self._database.read() as connection:
            upto = complete_upto(connection)
        with self._database.read() as connection:
            rows = connection.execute(_SQL["scan_events"], (after_seq, upto, limit))
            found = {stored.seq: stored for stored in map(stored_event, rows)}
            for stored in archived_after(connection, after_seq, limit):
                found.setdefault(stored.seq, stored)
        return [found[seq] for seq in sorted(found)[:limit]]

    def count(self) -> int:
        """Return how many events are stored."""
        with self._database.read() as connection:
            (count,) = connection.execute(_SQL["count_events"]).fetchone() or (0,)
        return int(count)

    def warm_up(self) -> None:
        """Read nothing: which identities are known is the database's to remember."""

    def _append(
        self,
        connection: Connection,
        events: Sequence[UsageEvent],
        identities: Sequence[str],
        received_at: int,
        *,
        is_history: bool,
    ) -> list[EventStatus]:
        with connection.pipeline():
            connection.execute(_SQL["begin_append"], _LOCKS)
            taken = connection.execute(_SQL["take_places"], (len(events),))
            in_force = connection.execute(_SQL["in_force"])
        (seqs,) = taken.fetchone() or ([],)
        newest_id, rolled_day_at = in_force.fetchone() or (0, None)
        selections = self._selections(connection, newest_id)
        new = _add_identities(connection, events, identities, seqs)
        if len(new) == len(events):
            statuses = [EventStatus.ACCEPTED] * len(events)
        else:
            statuses = _judged(connection, events, identities, seqs, new)
        folding = Folding(selections, is_history=is_history)
        fresh = [(event, seq) for event, seq in zip(events, seqs, strict=True) if seq in new]
        if fresh:
            _add_events(connection, fresh, received_at, is_history=is_history)
            folding.add(*zip(*fresh, strict=True))
            folding.write(connection)
            if rolled_day_at is not None:
                mark_stale(connection, folding.days_before(rolled_day_at + DAY_US))
        return statuses

    def _selections(self, connection: Connection, newest_id: int) -> Selections:
        """Return the selections in force; none is opened before this transaction ends."""
        if newest_id != self._known.newest_id:
            self._known = _Known(newest_id, read_selections(connection))
        return self._known.selections


_LOCKS = {"selections": SELECTIONS, "appending": APPENDING}


def _add_identities(
    connection: Connection,
    events: Sequence[UsageEvent],
    identities: Sequence[str],
    seqs: Sequence[int],
) -> set[int]:
    """Write the identities that are new; return the places that their events have.

    Waits for appends of other servers that write one of them at this moment.
    """
    first: dict[str, tuple[str, int, int]] = {}
    for event, identity, seq in zip(events, identities, seqs, strict=True):
        first.setdefault(identity, (identity, seq, event.occurred_at))
    rows = connection.execute(_SQL["add_identities"], columns(sorted(first.values())))
    return {seq for (seq,) in rows}


def _judged(
    connection: Connection,
    events: Sequence[UsageEvent],
    identities: Sequence[str],
    seqs: Sequence[int],
    new: set[int],
) -> list[EventStatus]:
    """Return what becomes of each event, where some are known or come twice."""
    repeated: dict[str, list[UsageEvent]] = {}
    for event, identity, seq in zip(events, identities, seqs, strict=True):
        if seq not in new:
            repeated.setdefault(identity, []).append(event)
    known = _known_events(connection, repeated)
    statuses = []
    for event, identity, seq in zip(events, identities, seqs, strict=True):
        if seq in new:
            known[identity] = event
            statuses.append(EventStatus.ACCEPTED)
        elif identity in known and same_content(known[identity], event):
            statuses.append(EventStatus.DUPLICATE)
        else:
            statuses.append(EventStatus.CONFLICT)
    return statuses


def _known_events(
    connection: Connection, repeated: Mapping[str, Sequence[UsageEvent]]
) -> dict[str, UsageEvent]:
    """Return the stored events under these identities, as far as one that came could be equal."""
    known: dict[str, UsageEvent] = {}
    archived: dict[int, str] = {}
    for identity, place, *fields in connection.execute(_SQL["events_known"], (list(repeated),)):
        if fields[0] is None:
            archived[place] = identity.hex
        else:
            known[identity.hex] = stored_event((place, *fields)).event
    if archived:
        came = [(place, event) for place, each in archived.items() for event in repeated[each]]
        for place, event in archived_contents(connection, came).items():
            known[archived[place]] = event
    return known


def _add_events(
    connection: Connection,
    rows: Sequence[tuple[UsageEvent, int]],
    received_at: int,
    *,
    is_history: bool,
) -> None:
    fields = [
        (
            seq,
            event.source,
            event.id,
            event.type,
            event.customer,
            event.occurred_at,
            plain(event.value),
            event.properties,
        )
        for event, seq in rows
    ]
    connection.execute(_SQL["add_events"], (received_at, is_history, *columns(fields)))
