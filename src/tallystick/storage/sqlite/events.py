"""The event log in SQLite."""

from __future__ import annotations

import sqlite3
from concurrent.futures import Future
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from tallystick.domain.corrections import Correction, CorrectionStatus
from tallystick.domain.events import EventStatus, UsageEvent, same_content
from tallystick.ports.errors import UsageOverflow
from tallystick.ports.event_store import StoredEvent
from tallystick.storage.sqlite.archived_events import (
    archived_after,
    archived_contents,
    archived_event,
)
from tallystick.storage.sqlite.corrections import correct_event
from tallystick.storage.sqlite.event_columns import columns_of
from tallystick.storage.sqlite.history import keep_history
from tallystick.storage.sqlite.identities import IdentityIndex, identity_key
from tallystick.storage.sqlite.rollups import RollupWriter
from tallystick.storage.sqlite.statements import read_rows, statements, write_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tallystick.storage.sqlite.database import SqliteDatabase
    from tallystick.storage.sqlite.event_columns import EventColumns

_LOG_COLUMNS = 9
"""Those that differ from event to event."""

_SQL = statements("events")


class SqliteEventStore:
    """``EventStore`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._log = _LogWriter()
        database.on_failed_commit(self._log.forget)

    def append(
        self, events: Sequence[UsageEvent], received_at: int, *, is_history: bool = False
    ) -> Future[list[EventStatus]]:
        """Append events in order, once each, and add them to their selections' rollups."""
        identities = [identity_key(event.source, event.id) for event in events]
        try:
            columns = columns_of(identities, events)
        except UsageOverflow as error:
            refused: Future[list[EventStatus]] = Future()
            refused.set_exception(error)
            return refused
        return self.append_columns(columns, received_at, is_history=is_history)

    def append_columns(
        self, columns: EventColumns, received_at: int, *, is_history: bool
    ) -> Future[list[EventStatus]]:
        """Append events that somebody made columns of already."""
        return self._database.submit_with(
            self._log.append_all, _Append(columns, received_at, is_history)
        )

    def correct(
        self, corrections: Sequence[Correction], now: int
    ) -> Future[list[CorrectionStatus]]:
        """Put corrections in force, in order, and count the usage of their hours again."""
        return self._database.submit(
            lambda connection: self._log.correct(connection, corrections, now)
        )

    def find(self, source: str, event_id: str) -> StoredEvent | None:
        """Return the event known under this identity, with its correction."""
        return self.look_up(source, event_id).result()

    def look_up(self, source: str, event_id: str) -> Future[StoredEvent | None]:
        """Return the same, once the writer, which knows the identities, has found it."""
        identity = identity_key(source, event_id)
        return self._database.submit(lambda connection: self._log.find(connection, identity))

    def scan(self, after_seq: int, limit: int) -> list[StoredEvent]:
        """Return stored events in the order of their ``seq``."""
        with self._database.read() as connection:
            rows = connection.execute(_SQL["scan_events"], (after_seq, limit))
            found = {stored.seq: stored for stored in map(stored_event, rows)}
            for stored in archived_after(connection, after_seq, limit):
                found.setdefault(stored.seq, stored)
        return [found[seq] for seq in sorted(found)[:limit]]

    def count(self) -> int:
        """Return how many events are stored."""
        with self._database.read() as connection:
            return int(connection.execute(_SQL["count_events"]).fetchone()[0])

    def warm_up(self) -> None:
        """Read the identities at the log's end, and the filter: a second or two."""
        self.warming().result()

    def warming(self) -> Future[None]:
        """Do the same, and wait for nothing."""
        return self._database.submit(self._log.refresh)


def stored_event(row: tuple[Any, ...]) -> StoredEvent:
    """Return the event that a row of the log holds."""
    seq, received_at, source, event_id, type_, customer, occurred_at, value, properties = row
    event = UsageEvent(source, event_id, type_, customer, occurred_at, Decimal(value), properties)
    return StoredEvent(seq, received_at, event)


def corrected_event(row: tuple[Any, ...]) -> StoredEvent:
    """Return the event of a row with three more columns: whether it is history, whether it is
    corrected, and to what.
    """
    is_history, is_corrected, value = row[9:]
    return stored_event(row[:9])._replace(
        is_history=bool(is_history),
        is_corrected=bool(is_corrected),
        corrected_value=None if value is None else Decimal(value),
    )


class _LogWriter:
    """Appends to the log, with what it remembers between commits; the writer's thread alone."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Drop what is in memory: a commit failed, and it may be ahead of the database."""
        self._identities = IdentityIndex()
        self._rollups = RollupWriter()
        self._data_version = -1
        self._catalog_version = -1

    def append_all(
        self, connection: sqlite3.Connection, appends: Sequence[_Append]
    ) -> list[list[EventStatus]]:
        """Append what several requests bring, as one where nothing is repeated or history."""
        self.refresh(connection)
        try:
            if len(appends) > 1 and not any(append.is_history for append in appends):
                keys = [key for append in appends for key in append.columns.keys]
                if self._claimed_all(connection, keys):
                    self._store(connection, appends, keys)
                    return [[EventStatus.ACCEPTED] * len(each.columns.keys) for each in appends]
            return [self._append(connection, append) for append in appends]
        except sqlite3.Error:
            self.forget()
            raise

    def _append(self, connection: sqlite3.Connection, append: _Append) -> list[EventStatus]:
        columns = append.columns
        known = self._identities.claim(connection, columns.keys)
        if not known and len(set(columns.keys)) == len(columns.keys):
            statuses = [EventStatus.ACCEPTED] * len(columns.keys)
        else:
            events = list(columns.events())
            statuses = _judged(connection, events, columns.keys, known)
            new = [number for number, status in enumerate(statuses) if status == "accepted"]
            columns = columns_of(
                [columns.keys[number] for number in new], [events[number] for number in new]
            )
            self._identities.claim(connection, columns.keys)
        self._store(connection, [append._replace(columns=columns)], columns.keys)
        return statuses

    def _claimed_all(self, connection: sqlite3.Connection, keys: list[bytes]) -> bool:
        """Claim places for the keys; tell whether none is known and none comes twice. If not, each
        of their events is claimed again, at its own place or an earlier one.
        """
        return len(set(keys)) == len(keys) and not self._identities.claim(connection, keys)

    def find(self, connection: sqlite3.Connection, identity: bytes) -> StoredEvent | None:
        self.refresh(connection)
        seq = self._identities.find(connection, [identity]).get(identity)
        if seq is None:
            return None
        row = connection.execute(_SQL["event_at"], (seq,)).fetchone()
        return corrected_event(row) if row else archived_event(connection, seq)

    def correct(
        self, connection: sqlite3.Connection, corrections: Sequence[Correction], now: int
    ) -> list[CorrectionStatus]:
        self.refresh(connection)
        self._rollups.forget()  # their hours are folded beside what it remembers
        identities = [identity_key(each.source, each.id) for each in corrections]
        places = self._identities.find(connection, identities)
        return [
            correct_event(connection, self._rollups.selections, places[identity], each, now)
            if identity in places
            else CorrectionStatus.NOT_FOUND
            for identity, each in zip(identities, corrections, strict=True)
        ]

    def refresh(self, connection: sqlite3.Connection) -> None:
        """Take in what other connections committed since the last append."""
        (data_version,) = connection.execute("PRAGMA data_version").fetchone()
        if data_version != self._data_version:
            self._data_version = data_version
            self._identities.load(connection)
            self._rollups.forget()
        catalog_version, self._rollups.rolled_day_at = connection.execute(
            _SQL["in_force"]
        ).fetchone()
        if catalog_version != self._catalog_version:
            self._catalog_version = catalog_version
            self._rollups.read_selections(connection)

    def _store(
        self, connection: sqlite3.Connection, appends: Sequence[_Append], keys: Sequence[bytes]
    ) -> None:
        """Store events that are all new, and have these keys; history comes alone."""
        if keys:
            first_seq = self._identities.last_seq + 1
            try:
                folding = self._rollups.fold(
                    connection, [each.columns for each in appends], first_seq
                )
                _write_log(connection, appends, first_seq, folding.previous)
                folding.write(connection)
                if appends[0].is_history:
                    events = list(appends[0].columns.events())
                    keep_history(connection, self._rollups.selections, events, first_seq)
            except UsageOverflow:
                self._rollups.forget()  # it is ahead of what is stored now
                raise
            self._identities.add(keys)
        self._identities.merge_some(connection, len(keys))


class _Append(NamedTuple):
    """The events of one request."""

    columns: EventColumns
    received_at: int
    is_history: bool


def _write_log(
    connection: sqlite3.Connection,
    appends: Sequence[_Append],
    first_seq: int,
    previous: list[int],
) -> None:
    """Insert events, with the place of the one before each in its hour's chain."""
    place = 0
    for columns, received_at, _ in appends:
        count = len(columns.keys)
        rows: list[Any] = [None] * (count * _LOG_COLUMNS)
        for number, column in enumerate(
            (
                range(first_seq + place, first_seq + place + count),
                previous[place : place + count],
                columns.of_each(columns.sources),
                columns.ids,
                columns.of_each(columns.types),
                columns.customers,
                columns.times,
                columns.values,
                columns.properties,
            )
        ):
            rows[number::_LOG_COLUMNS] = column
        write_rows(connection, _SQL["append_events"], rows, _LOG_COLUMNS, (received_at,))
        place += count


def _judged(
    connection: sqlite3.Connection,
    events: Sequence[UsageEvent],
    identities: Sequence[bytes],
    known: dict[bytes, int],
) -> list[EventStatus]:
    """Return what becomes of each event, where some are known or come twice."""
    rows = read_rows(connection, _SQL["events_at"], list(known.values()), 1)
    stored = {found.seq: found.event for found in map(stored_event, rows)}
    first: dict[bytes, UsageEvent | None] = {
        identity: stored.get(seq) for identity, seq in known.items()
    }
    if None in first.values():
        _add_archived(connection, first, zip(identities, events, strict=True), known)
    statuses = []
    for event, identity in zip(events, identities, strict=True):
        earlier = first.setdefault(identity, event)
        if earlier is event:
            statuses.append(EventStatus.ACCEPTED)
        elif earlier is not None and same_content(earlier, event):
            statuses.append(EventStatus.DUPLICATE)
        else:
            statuses.append(EventStatus.CONFLICT)
    return statuses


def _add_archived(
    connection: sqlite3.Connection,
    first: dict[bytes, UsageEvent | None],
    events: Iterable[tuple[bytes, UsageEvent]],
    known: dict[bytes, int],
) -> None:
    """Put archived events in their places; one that stays None differs from all that came now."""
    repeated = [
        (identity, event)
        for identity, event in events
        if identity in known and first[identity] is None
    ]
    found = archived_contents(
        connection, [(known[identity], event) for identity, event in repeated]
    )
    for identity, _ in repeated:
        first[identity] = found.get(known[identity])
