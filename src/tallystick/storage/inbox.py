"""The inbox and the meter errors on every backend: the statements are its own, what is done with
rows is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.ports.errors import LeaseLost
from tallystick.ports.inbox import Brought, InboxClaim, InboxEvent, InboxState, MeterError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from tallystick.ports.inbox import ArrivedEvent
    from tallystick.storage.database import Database


class StoredInbox:
    """``Inbox`` on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = database.statements("inbox")

    def add(self, event: ArrivedEvent, now: int) -> Future[bool]:
        """Keep an event unless its id is known; the future says whether it was new."""
        row = (*event, now, now)
        return self._database.submit(
            lambda connection: bool(connection.execute(self._sql["add_event"], row).rowcount)
        )

    def last_seq(self) -> int:
        """Return the number of the last arrival, 0 before the first."""
        with self._database.read() as connection:
            return int(connection.execute(self._sql["last_seq"]).fetchone()[0])

    def claim(self, now: int, lease_us: int, limit: int) -> list[InboxClaim]:
        """Lease the next events that may be tried; the attempt is counted before this returns."""
        parameters = {"now": now, "lease_until": now + lease_us, "limit": limit}
        rows: list[Any] = self._database.write(
            lambda connection: connection.execute(self._sql["claim"], parameters).fetchall()
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
            lambda connection: connection.execute(self._sql["settle"], parameters).rowcount
        )
        if not changed:
            raise LeaseLost(f"event {claim.event.event_id} was taken over by another worker")

    def events(self, state: InboxState | None, limit: int) -> list[InboxEvent]:
        """Return events, newest first."""
        with self._database.read() as connection:
            rows = connection.execute(self._sql["events"], {"state": state, "limit": limit})
            return [_event(row) for row in rows]

    def replay(self, event_ids: Sequence[str], now: int) -> int:
        """Let events be tried again from the beginning; return how many were found."""
        parameters = (now, self._database.array(event_ids))
        return self._database.write(
            lambda connection: int(connection.execute(self._sql["replay"], parameters).rowcount)
        )

    def counts(self) -> dict[str, int]:
        """Return how many events are in each state."""
        with self._database.read() as connection:
            return dict(connection.execute(self._sql["counts"]).fetchall())


class StoredInboxReader:
    """``InboxReader`` on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = database.statements("inbox")

    def find(self, event_id: str) -> InboxEvent | None:
        """Return an event."""
        with self._database.read() as connection:
            row = connection.execute(self._sql["find_event"], (event_id,)).fetchone()
        return _event(row) if row else None

    def unknown(self, event_ids: Sequence[str]) -> list[str]:
        """Return those ids that never arrived."""
        parameters = (self._database.array(event_ids),)
        with self._database.read() as connection:
            known = {row[0] for row in connection.execute(self._sql["known"], parameters)}
        return [event_id for event_id in event_ids if event_id not in known]

    def forget_settled(self, before: int) -> int:
        """Drop settled events that arrived before an instant; return how many."""
        return self._database.write(
            lambda connection: int(
                connection.execute(self._sql["forget_settled"], (before,)).rowcount
            )
        )


class StoredMeterErrors:
    """``MeterErrors`` on a database where one transaction writes at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = database.statements("inbox")

    def keep(self, error: MeterError) -> None:
        """Keep a report; one that is known stays as it is."""
        _, *row = error

        def keep(connection: Any) -> None:
            self._wait_for_others(connection)
            connection.execute(self._sql["keep_meter_error"], row)

        self._database.write(keep)

    def _wait_for_others(self, connection: Any) -> None:
        """See to it that nobody else keeps reports until the transaction ends: whoever reads from
        beyond a number must never meet a smaller one later.
        """

    def after(self, seq: int, limit: int) -> list[MeterError]:
        """Return reports from beyond ``seq``, in the order in which they were kept."""
        with self._database.read() as connection:
            rows = connection.execute(self._sql["meter_errors"], (seq, limit))
            return [MeterError(*row) for row in rows]


def _event(row: Sequence[Any]) -> InboxEvent:
    event = InboxEvent(*row)
    return event._replace(
        is_thin=bool(event.is_thin), brought=Brought(event.brought), state=InboxState(event.state)
    )
