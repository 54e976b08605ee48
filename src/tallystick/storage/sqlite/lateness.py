"""Delays of events in SQLite, counted behind ingest: readers look at the log, and one small write
adds what they found.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tallystick.storage.lateness_stretches import counted, furthest_behind, next_stretch
from tallystick.storage.sqlite.statements import statements, write_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from tallystick.domain.lateness import Delays
    from tallystick.domain.meters import Selection
    from tallystick.domain.periods import Period
    from tallystick.storage.sqlite.database import SqliteDatabase

_SQL = statements("lateness")


class SqliteLatenessBook:
    """``LatenessBook`` on one SQLite file. Places in its log are in the order of commits."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def tally(self, selections: Sequence[Selection], limit: int) -> int:
        """Count up to ``limit`` further events; return how many were looked at."""
        with self._database.read() as connection:
            stretch = next_stretch(_marks(connection), _last_seq(connection), selections, limit)
            if stretch is None:
                return 0
            span = stretch[:2]
            found = counted(
                stretch,
                lambda: connection.execute(_SQL["delays_of_types"], span).fetchall(),
                lambda type_: connection.execute(_SQL["events_of_type"], (*span, type_)),
            )

        def keep(connection: sqlite3.Connection) -> None:
            marks = _marks(connection)
            for selection in stretch.selections:
                text = selection.definition
                if marks.get(text, 0) != stretch.after:
                    continue  # another process has counted them meanwhile
                rows = [
                    part
                    for (day_at, delay), count in found[text].items()
                    for part in (text, day_at, delay, count)
                ]
                write_rows(connection, _SQL["add_delays"], rows, 4)
                connection.execute(_SQL["keep_mark"], (text, stretch.upto))

        self._database.write(keep)
        return stretch.upto - stretch.after

    def waiting(self, selections: Sequence[Selection]) -> int:
        """Return how many events lie ahead of the selection that is furthest behind."""
        with self._database.read() as connection:
            return furthest_behind(_marks(connection), _last_seq(connection), selections)

    def delays(self, selection: Selection, days: Period) -> Delays:
        """Return the delays of the events that arrived on these days."""
        parameters = (selection.definition, days.start_at, days.end_at)
        with self._database.read() as connection:
            return Counter(dict(connection.execute(_SQL["delays"], parameters).fetchall()))


def _marks(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute(_SQL["marks"]).fetchall())


def _last_seq(connection: sqlite3.Connection) -> int:
    return int(connection.execute(_SQL["last_seq"]).fetchone()[0])
