"""The inbox and the meter errors in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.ports.errors import LeaseLost
from tallystick.ports.inbox import (
    ArrivedEvent,
    Brought,
    InboxClaim,
    InboxEvent,
    InboxState,
    MeterError,
)
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from concurrent.futures import Future

    from tallystick.storage.sqlite.database import SqliteDatabase

_SQL = statements("inbox")


class SqliteInbox:
    """``Inbox`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def add(self, event: ArrivedEvent, now: int) -> Future[bool]:
        """Keep an event unless its id is known; the future says whether it was new."""
        row = (*event, now, now)
        return self._database.submit(
            lambda connection: connection.execute(_SQL["add_event"], row).rowcount == 1
        )

    def last_seq(self) -> int:
        """Return the number of the last arrival, 0 before the first."""
        with self._database.read() as connection:
            return int(connection.execute(_SQL["last_seq"]).fetchone()[0])

    def claim(self, now: int, lease_us: int, limit: int) -> list[InboxClaim]:
        """Lease the next events that may be tried; the attempt is counted before this returns."""
        return self._database.write(
            lambda connection: _claim(connection, now, now + lease_us, limit)
        )

    def settle(
        self, claim: InboxClaim, state: InboxState, reason: str | None, now: int, retry_at: int
    ) -> None:
        """Write the outcome of an attempt and end the lease."""
        parameters = {
            "seq": claim.event.seq,
            "token": claim.token,
            "state": state,
            "reason": reason,
            "retry_at": retry_at,
            "now": now,
        }
        changed = self._database.write(
            lambda connection: connection.execute(_SQL["settle"], parameters).rowcount
        )
        if not changed:
            raise LeaseLost(f"event {claim.event.event_id} was taken over by another worker")

    def events(self, state: InboxState | None, limit: int) -> list[InboxEvent]:
        """Return events, newest first."""
        with self._database.read() as connection:
            rows = connection.execute(_SQL["events"], {"state": state, "limit": limit})
            return [_event(row) for row in rows]

    def replay(self, event_ids: Sequence[str], now: int) -> int:
        """Let events be tried again from the beginning; return how many were found."""

        def replay(connection: sqlite3.Connection) -> int:
            return sum(
                connection.execute(_SQL["replay"], (now, event_id)).rowcount
                for event_id in event_ids
            )

        return self._database.write(replay)

    def counts(self) -> dict[str, int]:
        """Return how many events are in each state."""
        with self._database.read() as connection:
            return dict(connection.execute(_SQL["counts"]).fetchall())


class SqliteInboxReader:
    """``InboxReader`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def find(self, event_id: str) -> InboxEvent | None:
        """Return an event."""
        with self._database.read() as connection:
            row = connection.execute(_SQL["find_event"], (event_id,)).fetchone()
        return _event(row) if row else None

    def unknown(self, event_ids: Sequence[str]) -> list[str]:
        """Return those ids that never arrived."""
        with self._database.read() as connection:
            return [
                event_id
                for event_id in event_ids
                if connection.execute(_SQL["is_known"], (event_id,)).fetchone() is None
            ]

    def forget_settled(self, before: int) -> int:
        """Drop settled events that arrived before an instant; return how many."""
        return self._database.write(
            lambda connection: connection.execute(_SQL["forget_settled"], (before,)).rowcount
        )


class SqliteMeterErrors:
    """``MeterErrors`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def keep(self, error: MeterError) -> None:
        """Keep a report; one that is known stays as it is."""
        _, *row = error
        self._database.write(lambda connection: connection.execute(_SQL["keep_meter_error"], row))

    def after(self, seq: int, limit: int) -> list[MeterError]:
        """Return reports from beyond ``seq``, in the order in which they were kept."""
        with self._database.read() as connection:
            rows = connection.execute(_SQL["meter_errors"], (seq, limit))
            return [MeterError(*row) for row in rows]


def _claim(
    connection: sqlite3.Connection, now: int, lease_until: int, limit: int
) -> list[InboxClaim]:
    rows = connection.execute(_SQL["claimable"], {"now": now, "limit": limit}).fetchall()
    claims = []
    for *row, last_token in rows:
        event = _event(tuple(row))
        token = last_token + 1
        connection.execute(
            _SQL["lease"], {"seq": event.seq, "token": token, "lease_until": lease_until}
        )
        claims.append(InboxClaim(event._replace(attempts=event.attempts + 1), token))
    return claims


def _event(row: tuple[Any, ...]) -> InboxEvent:
    seq, event_id, type_, version, is_thin, body, brought, received_at, *rest = row
    state, attempts, reason = rest
    return InboxEvent(
        seq=seq,
        event_id=event_id,
        type=type_,
        api_version=version,
        is_thin=bool(is_thin),
        body=body,
        brought=Brought(brought),
        received_at=received_at,
        state=InboxState(state),
        attempts=attempts,
        reason=reason,
    )
