"""Delays of events in PostgreSQL, counted behind ingest: readers look at the log as far as it is
complete, and one small write adds what they found.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tallystick.storage.lateness_stretches import counted, furthest_behind, next_stretch
from tallystick.storage.postgres.event_log import complete_upto
from tallystick.storage.postgres.locks import LATENESS
from tallystick.storage.postgres.statements import statements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.domain.lateness import Delays
    from tallystick.domain.meters import Selection
    from tallystick.domain.periods import Period
    from tallystick.storage.postgres.database import Connection, PostgresDatabase

_SQL = statements("lateness")


class PostgresLatenessBook:
    """``LatenessBook`` on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def tally(self, selections: Sequence[Selection], limit: int) -> int:
        """Count up to ``limit`` further events; return how many places were looked at."""
        complete = self._complete_upto()
        with self._database.read() as connection:
            stretch = next_stretch(_marks(connection), complete, selections, limit)
            if stretch is None:
                return 0
            span = stretch[:2]

            def of_types() -> list[Any]:
                return connection.execute(_SQL["delays_of_types"], span).fetchall()

            def of_type(event_type: str) -> list[Any]:
                return connection.execute(_SQL["events_of_type"], (*span, event_type)).fetchall()

            found = counted(stretch, of_types, of_type)

        def keep(connection: Connection) -> None:
            connection.execute(_SQL["lock"], (LATENESS,))
            marks = _marks(connection)
            for selection in stretch.selections:
                text = selection.definition
                if marks.get(text, 0) != stretch.after:
                    continue  # another process has counted them meanwhile
                delays = found[text]
                parameters = {
                    "selection": text,
                    "days": [day_at for day_at, _ in delays],
                    "delays": [delay for _, delay in delays],
                    "counts": list(delays.values()),
                }
                connection.execute(_SQL["add_delays"], parameters)
                connection.execute(_SQL["keep_mark"], (text, stretch.upto))

        self._database.write(keep)
        return stretch.upto - stretch.after

    def waiting(self, selections: Sequence[Selection]) -> int:
        """Return how many places lie ahead of the selection that is furthest behind."""
        complete = self._complete_upto()
        with self._database.read() as connection:
            return furthest_behind(_marks(connection), complete, selections)

    def delays(self, selection: Selection, days: Period) -> Delays:
        """Return the delays of the events that arrived on these days."""
        parameters = (selection.definition, days.start_at, days.end_at)
        with self._database.read() as connection:
            return Counter(dict(connection.execute(_SQL["delays"], parameters).fetchall()))

    def _complete_upto(self) -> int:
        """Ask before the snapshot in which events are read."""
        with self._database.read() as connection:
            return complete_upto(connection)


def _marks(connection: Connection) -> dict[str, int]:
    return dict(connection.execute(_SQL["marks"]).fetchall())
