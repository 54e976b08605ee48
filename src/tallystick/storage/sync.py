"""How far the mirror was synced, on every backend: the statements are its own, what is done with
rows is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.ports.mirror import ObjectKind, SyncState, SyncStep

if TYPE_CHECKING:
    from tallystick.storage.database import Database


class StoredSyncLedger:
    """``SyncLedger`` on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = database.statements("mirror")

    def state(self) -> SyncState:
        """Return where the mirror stands."""
        with self._database.read() as connection:
            return SyncState(*connection.execute(self._sql["sync_state"]).fetchone())

    def begin(self, newest_event: str | None, calls_max: int, now: int) -> None:
        """Begin a full sync, or give the one that is under way another limit."""
        parameters = {"newest_event": newest_event, "calls_max": calls_max, "now": now}

        def begin(connection: Any) -> None:
            (began_at,) = connection.execute(self._sql["sync_to_begin"]).fetchone()
            if began_at is not None:
                connection.execute(self._sql["allow_calls"], (calls_max,))
                return
            connection.execute(self._sql["begin_sync"], parameters)
            connection.execute(self._sql["forget_steps"])
            connection.cursor().executemany(self._sql["add_step"], list(enumerate(ObjectKind)))

        self._database.write(begin)

    def steps(self) -> list[SyncStep]:
        """Return the steps of the sync that is under way, or of the last one, in their order."""
        with self._database.read() as connection:
            rows = connection.execute(self._sql["steps"]).fetchall()
        return [
            SyncStep(ObjectKind(kind), after, bool(is_done), objects, calls)
            for kind, after, is_done, objects, calls in rows
        ]

    def advance(self, step: SyncStep) -> None:
        """Write down how far a step has come."""
        row = (step.after, step.is_done, step.objects, step.calls, step.kind)
        self._database.write(lambda connection: connection.execute(self._sql["advance"], row))

    def finish(self, newest_event: str | None, now: int, *, is_full: bool) -> None:
        """Write down that a full sync or a sweep has ended."""
        parameters = {"newest_event": newest_event, "now": now}
        statement = self._sql["finish_sync"] if is_full else self._sql["finish_sweep"]
        self._database.write(lambda connection: connection.execute(statement, parameters))

    def customer_read_at(self, stripe_customer_id: str) -> int | None:
        """Return when all of a customer's subscriptions were read last."""
        with self._database.read() as connection:
            row = connection.execute(
                self._sql["customer_read_at"], (stripe_customer_id,)
            ).fetchone()
        return None if row is None else int(row[0])

    def customer_read(self, stripe_customer_id: str, at: int) -> None:
        """Write down that all of a customer's subscriptions were read."""
        row = (stripe_customer_id, at)
        self._database.write(lambda connection: connection.execute(self._sql["customer_read"], row))
