"""Delays of events in SQLite, counted behind ingest: readers look at the log, and one small write
adds what they found.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from tallystick.domain.events import read_properties
from tallystick.domain.instants import DAY_US
from tallystick.domain.lateness import Delays, delay_ms
from tallystick.domain.meters import Selection
from tallystick.storage.sqlite.statements import statements, write_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from tallystick.domain.periods import Period
    from tallystick.storage.sqlite.database import SqliteDatabase

_SQL = statements("lateness")

_Found = dict[str, Counter[tuple[int, int]]]
"""Events by selection, and then by day and delay."""


class _Stretch(NamedTuple):
    """What is counted next: the events of ``(after, upto]``, for those that stand at ``after``."""

    after: int
    upto: int
    selections: tuple[Selection, ...]


class SqliteLatenessBook:
    """``LatenessBook`` on one SQLite file. Places in its log are in the order of commits."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def tally(self, selections: Sequence[Selection], limit: int) -> int:
        """Count up to ``limit`` further events; return how many were looked at."""
        with self._database.read() as connection:
            stretch = _next_stretch(connection, selections, limit)
            if stretch is None:
                return 0
            found = _counted(connection, stretch)

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

        self._database.write(keep).result()
        return stretch.upto - stretch.after

    def waiting(self, selections: Sequence[Selection]) -> int:
        """Return how many events lie ahead of the selection that is furthest behind."""
        with self._database.read() as connection:
            marks = _marks(connection)
            last_seq = _last_seq(connection)
        stands = [marks.get(selection.definition, 0) for selection in selections]
        return max(last_seq - min(stands, default=last_seq), 0)  # the newest may be archived

    def delays(self, selection: Selection, days: Period) -> Delays:
        """Return the delays of the events that arrived on these days."""
        parameters = (selection.definition, days.start_at, days.end_at)
        with self._database.read() as connection:
            return Counter(dict(connection.execute(_SQL["delays"], parameters).fetchall()))


def _marks(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute(_SQL["marks"]).fetchall())


def _last_seq(connection: sqlite3.Connection) -> int:
    return int(connection.execute(_SQL["last_seq"]).fetchone()[0])


def _next_stretch(
    connection: sqlite3.Connection, selections: Sequence[Selection], limit: int
) -> _Stretch | None:
    """Return what those that are furthest behind count next, at most up to where others stand."""
    marks = _marks(connection)
    stands = {selection: marks.get(selection.definition, 0) for selection in selections}
    ends = [*stands.values(), _last_seq(connection)]
    after = min(ends)
    upto = min((end for end in ends if end > after), default=after)
    if upto == after:
        return None
    behind = tuple(selection for selection, mark in stands.items() if mark == after)
    return _Stretch(after, min(upto, after + limit), behind) if behind else None


def _counted(connection: sqlite3.Connection, stretch: _Stretch) -> _Found:
    plain = {each.event_type: each for each in stretch.selections if each.is_plain}
    found: _Found = {each.definition: Counter() for each in stretch.selections}
    if plain:
        rows: list[Any] = connection.execute(
            _SQL["delays_of_types"], (stretch.after, stretch.upto)
        ).fetchall()
        for event_type, day_at, delay, count in rows:
            if event_type in plain:
                found[plain[event_type].definition][day_at, delay] = count
    for selection in stretch.selections:
        if not selection.is_plain:
            _count_chosen(connection, stretch, selection, found[selection.definition])
    return found


def _count_chosen(
    connection: sqlite3.Connection,
    stretch: _Stretch,
    selection: Selection,
    found: Counter[tuple[int, int]],
) -> None:
    """Count the events whose properties the selection takes."""
    asked = (stretch.after, stretch.upto, selection.event_type)
    for occurred_at, received_at, properties in connection.execute(_SQL["events_of_type"], asked):
        if selection.takes(read_properties(properties)):
            day_at = received_at - received_at % DAY_US
            found[day_at, delay_ms(occurred_at, received_at)] += 1
