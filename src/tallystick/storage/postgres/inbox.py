"""The inbox and the meter errors in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.ports.errors import LeaseLost
from tallystick.ports.inbox import Brought, InboxClaim, InboxEvent, InboxState, MeterError
from tallystick.storage.postgres.locks import METER_ERRORS
from tallystick.storage.postgres.statements import statements

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from tallystick.ports.inbox import ArrivedEvent
    from tallystick.storage.postgres.database import Connection, PostgresDatabase

_SQL = statements("inbox")


class PostgresInbox:
    """``Inbox`` on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
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
            (found,) = connection.execute(_SQL["last_seq"]).fetchone() or (0,)
        return int(found)

    def claim(self, now: int, lease_us: int, limit: int) -> list[InboxClaim]:
        """Lease the next events that may be tried; the attempt is counted before this returns."""
        parameters = {"now": now, "lease_until": now + lease_us, "limit": limit}
        rows = self._database.write(
            lambda connection: connection.execute(_SQL["claim"], parameters).fetchall()
        )
        rows.sort(key=lambda row: (row[12], row[0]))  # when they might be tried, then as they came
        return [InboxClaim(_event(row[:11]), row[11]) for row in rows]

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
        parameters = (now, list(event_ids))
        return self._database.write(
            lambda connection: connection.execute(_SQL["replay"], parameters).rowcount
        )

    def counts(self) -> dict[str, int]:
        """Return how many events are in each state."""
        with self._database.read() as connection:
            return dict(connection.execute(_SQL["counts"]).fetchall())


class PostgresInboxReader:
    """``InboxReader`` on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def find(self, event_id: str) -> InboxEvent | None:
        """Return an event."""
        with self._database.read() as connection:
            row = connection.execute(_SQL["find_event"], (event_id,)).fetchone()
        return _event(row) if row else None

    def unknown(self, event_ids: Sequence[str]) -> list[str]:
        """Return those ids that never arrived."""
        with self._database.read() as connection:
            rows = connection.execute(_SQL["known"], (list(event_ids),)).fetchall()
        known = {event_id for (event_id,) in rows}
        return [event_id for event_id in event_ids if event_id not in known]

    def forget_settled(self, before: int) -> int:
        """Drop settled events that arrived before an instant; return how many."""
        return self._database.write(
            lambda connection: connection.execute(_SQL["forget_settled"], (before,)).rowcount
        )


class PostgresMeterErrors:
    """``MeterErrors`` on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def keep(self, error: MeterError) -> None:
        """Keep a report; one that is known stays as it is.

        One at a time, so that whoever reads from beyond a number never meets a smaller one later.
        """
        _, *row = error

        def keep(connection: Connection) -> None:
            connection.execute(_SQL["lock"], (METER_ERRORS,))
            connection.execute(_SQL["keep_meter_error"], row)

        self._database.write(keep)

    def after(self, seq: int, limit: int) -> list[MeterError]:
        """Return reports from beyond ``seq``, in the order in which they were kept."""
        with self._database.read() as connection:
            rows = connection.execute(_SQL["meter_errors"], (seq, limit))
            return [MeterError(*row) for row in rows]


def _event(row: tuple[Any, ...]) -> InboxEvent:
    event = InboxEvent(*row)
    return event._replace(brought=Brought(event.brought), state=InboxState(event.state))
