"""A PostgreSQL database that another one moves into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.ports.errors import StoreUnusable, TargetInUse
from tallystick.storage.postgres.partitions import make_partitions
from tallystick.storage.postgres.statements import statements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.ports.moving import Row
    from tallystick.storage.postgres.database import Connection, PostgresDatabase

_SQL = statements("moving")
_NUMBERED = (
    "advance_places",
    "advance_marks",
    "advance_api_keys",
    "advance_meters",
    "advance_applied_catalogs",
    "advance_event_corrections",
    "advance_usage_reports",
    "advance_report_decisions",
    "advance_inbox_events",
    "advance_meter_errors",
)
"""What gives numbers that the rows which moved have taken already."""


class PostgresTarget:
    """``MovingTarget`` on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def begin(self, fingerprint: str, now: int) -> bool:
        """Make ready for a source; return whether some of it is here."""
        make_partitions(self._database, now).result()  # before there are events for them

        def begin(connection: Connection) -> bool:
            state = connection.execute(_SQL["state"]).fetchone()
            if state is None:
                if (connection.execute(_SQL["is_filled"]).fetchone() or (True,))[0]:
                    raise TargetInUse("the target has data of its own; an empty database is needed")
                connection.execute(_SQL["begin"], (fingerprint, now))
                connection.execute(_SQL["clear"])
                return False
            if state[0] != fingerprint:
                raise TargetInUse(
                    "the target has a part of another database, or of an earlier state of this "
                    "one, which was written to since; begin again with an empty database"
                )
            if state[1] is not None:
                raise TargetInUse("everything was moved already; the target is in use by now")
            return True

        return self._database.write(begin)

    def copied(self, table: str) -> int:
        """Return how many of a table's rows are here."""
        with self._database.read() as connection:
            row = connection.execute(_SQL["copied"], (table,)).fetchone()
        return int(row[0]) if row else 0

    def add(self, table: str, rows: Sequence[Row]) -> None:
        """Write the next rows of a table, all or none."""

        def add(connection: Connection) -> None:
            with connection.cursor().copy(_SQL[table]) as copy:
                for row in rows:
                    copy.write_row(row)
            connection.execute(_SQL["note_copied"], (table, len(rows)))

        self._database.write(add)

    def finish(self, now: int) -> None:
        """Let numbers go on behind those that moved, and open the database for use."""

        def finish(connection: Connection) -> None:
            for name in _NUMBERED:
                connection.execute(_SQL[name])
            connection.execute(_SQL["note_days"])  # which get rollups of their own later
            connection.execute(_SQL["finish"], (now,))

        self._database.write(finish)


def refuse_unfinished(database: PostgresDatabase) -> None:
    """Make sure that no other database is half moved into this one.

    Raises:
        StoreUnusable: one is.
    """
    with database.read() as connection:
        (is_unfinished,) = connection.execute(_SQL["is_unfinished"]).fetchone() or (False,)
    if is_unfinished:
        raise StoreUnusable(
            "another database is being moved into this one; `tallystick migrate-database` goes on "
            "where it was stopped, and nobody may use it before"
        )
