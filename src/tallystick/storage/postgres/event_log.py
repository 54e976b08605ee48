"""The log of usage events: its rows, and up to which place it is complete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.domain.events import UsageEvent
from tallystick.ports.event_store import StoredEvent
from tallystick.storage.postgres.locks import APPENDING
from tallystick.storage.postgres.statements import statements

if TYPE_CHECKING:
    from tallystick.storage.postgres.database import Connection

_SQL = statements("events")


def complete_upto(connection: Connection) -> int:
    """Return the place up to which every append has ended: no event will turn up before it.

    Places are taken when an append begins and appear when it commits, in any order. Each append
    holds a lock that names a place from which its own come, so that only our appends hold this up,
    not somebody else's long transaction.

    It must be asked before the snapshot is taken in which events are read: in a transaction of its
    own, or in one that is READ COMMITTED by an earlier statement.
    """
    (last,) = connection.execute(_SQL["last_place"]).fetchone() or (0,)
    (first,) = connection.execute(_SQL["first_appending"], {"appending": APPENDING}).fetchone() or (
        None,
    )
    return int(last) if first is None else min(int(last), int(first) - 1)


def stored_event(row: tuple[Any, ...]) -> StoredEvent:
    """Return the event that a row of the log holds."""
    seq, received_at, source, event_id, type_, customer, occurred_at, value, properties = row
    event = UsageEvent(source, event_id, type_, customer, occurred_at, value, properties)
    return StoredEvent(seq, received_at, event)


def corrected_event(row: tuple[Any, ...]) -> StoredEvent:
    """Return the event of a row with three more columns: whether it is history, whether it is
    corrected, and to what.
    """
    is_history, is_corrected, value = row[9:]
    return stored_event(row[:9])._replace(
        is_history=is_history, is_corrected=is_corrected, corrected_value=value
    )
