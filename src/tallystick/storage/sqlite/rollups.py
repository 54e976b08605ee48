"""Rollups, as the writer keeps them: read once, folded in memory, written once a commit."""

from __future__ import annotations

from decimal import Decimal
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from tallystick.domain.aggregation import (
    EMPTY,
    NotMergeable,
    Point,
    RollupState,
    fold_points,
    merge,
    point_of,
)
from tallystick.domain.events import read_properties
from tallystick.domain.instants import DAY_US, HOUR_US
from tallystick.domain.meters import Selection
from tallystick.domain.quantity import PICO
from tallystick.ports.archive import HourKey
from tallystick.storage.day_rollups import DayKey
from tallystick.storage.details import detail_of, detail_text
from tallystick.storage.selections import Selections, check_range, lacking, taken
from tallystick.storage.sqlite.archived_events import archived_hour, archived_rows_of_type
from tallystick.storage.sqlite.day_rollups import mark_stale
from tallystick.storage.sqlite.event_columns import NO_PLACE
from tallystick.storage.sqlite.statements import read_rows, statements, write_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from tallystick.domain.events import UsageEvent
    from tallystick.domain.meters import Meter
    from tallystick.storage.sqlite.event_columns import EventColumns

CELLS_MAX = 40_000
"""Cells kept in memory: those of the present hour, of as many customers."""

_SQL = statements("rollups")
_CHAIN = _SQL["hour_events"]
_HISTORY_CHAIN = statements("history")["hour_events"]

CellKey = tuple[int, int, str, str]
"""Hour, selection, customer, dimension."""

PlainCell = list[Any]
"""A plain rollup as stored: number, count, whole, pico, the newest event of the hour's chain and
the latest time of one. A list, because it changes with each append; a new one has no number yet."""

_ID, _COUNT, _WHOLE, _PICO, _LAST_SEQ, _LATEST_AT = range(6)

_NEVER = -(1 << 62)

LATEST_UNKNOWN = 1 << 62
"""Stands for the latest time of an hour's events where it is not kept: beyond every period."""


class RollupWriter:
    """Folds appended events into their cells. Only the writer's thread may use it."""

    def __init__(self) -> None:
        self._hours: dict[tuple[int, int], dict[str, PlainCell]] = {}
        self._others: dict[CellKey, RollupState] = {}
        self._count = 0
        self.selections = Selections(())
        self.rolled_day_at: int | None = None
        """The newest day that is rolled up; None: none is."""

    def forget(self) -> None:
        """Drop the cells in memory, which may differ from the database now."""
        self._hours.clear()
        self._others.clear()
        self._count = 0

    def read_selections(self, connection: sqlite3.Connection) -> None:
        """Take the selections that are in force now."""
        self.selections = Selections(connection.execute(_SQL["selections"]))

    def fold(
        self,
        connection: sqlite3.Connection,
        appends: Sequence[EventColumns],
        first_seq: int,
    ) -> Folding:
        """Fold events, stored from ``first_seq`` on, into the cells in memory.

        The caller writes the events and then the cells, or forgets.
        """
        if self._count > CELLS_MAX:
            self.forget()
        folding = Folding(self._hours, self._others, self.selections, self.rolled_day_at)
        for columns in appends:
            folding.add_all(columns, first_seq)
            first_seq += len(columns.keys)
        folding.complete(connection)
        self._count += len(folding.new)
        return folding


class Folding:
    """The cells that some events change; ``previous`` are, for each event, the place in the log of
    the one before it in its hour's chain.
    """

    def __init__(
        self,
        hours: dict[tuple[int, int], dict[str, PlainCell]],
        others: dict[CellKey, RollupState],
        selections: Selections,
        rolled_day_at: int | None,
    ) -> None:
        self._hours = hours
        self._others = others
        self._selections = selections
        self._rolled_upto = _NEVER if rolled_day_at is None else rolled_day_at + DAY_US
        self._first_place: dict[CellKey, int] = {}
        self._points: dict[CellKey, list[Point]] = {}
        self._out_of_order: set[CellKey] = set()
        self._touched: dict[tuple[int, int], dict[str, PlainCell]] = {}
        self.new: set[CellKey] = set()
        self.previous: list[int] = []

    def add_all(self, columns: EventColumns, first_seq: int) -> None:
        """Add events to their hours' plain cells, as ``merge`` would."""
        previous = self.previous
        before = len(previous)
        previous += [0 if place == NO_PLACE else first_seq + place for place in columns.previous]
        has_others = False
        for hour_sums in columns.hours:
            plain_id, others = self._selections.by_type[hour_sums.type]
            has_others = has_others or bool(others)
            hour = (hour_sums.hour_at, plain_id)
            cells = self._hours.setdefault(hour, {})
            touched = self._touched.setdefault(hour, {})
            for customer, count, whole, pico, first, last, latest_at in hour_sums.rows():
                cell = cells.get(customer)
                if cell is None:
                    cell = [None, count, whole, pico, first_seq + last, latest_at]
                    cells[customer] = cell
                    self._first_place[*hour, customer, ""] = before + first
                else:
                    previous[before + first] = cell[4]
                    cell[1] += count  # the constants cost a lookup each
                    cell[2] += whole
                    if pico:
                        cell[3] += pico
                    cell[4] = first_seq + last
                    if latest_at > cell[5]:
                        cell[5] = latest_at
                touched[customer] = cell
        if has_others:
            for seq, event in enumerate(columns.events(), first_seq):
                self._add_points(event, seq)

    def _add_points(self, event: UsageEvent, seq: int) -> None:
        others = self._selections.by_type[event.type].others
        if not others:
            return
        hour_at = event.occurred_at - event.occurred_at % HOUR_US
        properties = read_properties(event.properties)
        for selection_id, selection in others:
            if selection.takes(properties):
                key = (hour_at, selection_id, event.customer, selection.dimension(properties))
                point = point_of(selection, seq, event.occurred_at, event.value, properties)
                self._points.setdefault(key, []).append(point)

    def complete(self, connection: sqlite3.Connection) -> None:
        """Join the cells that were not in memory to what is stored of them."""
        if self._first_place:
            self._join_stored(connection)
        for key, points in self._points.items():
            state = self._other(connection, key)
            try:
                folded = fold_points(points, self._selections.by_id[key[1]].fold)
                self._others[key] = merge(state, folded)
            except NotMergeable:  # an earlier event of a level: folded anew from all of the hour
                self._out_of_order.add(key)

    def _join_stored(self, connection: sqlite3.Connection) -> None:
        self.new.update(self._first_place)
        for key, stored in _read(connection, list(self._first_place), self._selections):
            cell = self._hours[key[:2]][key[2]]
            cell[_ID] = stored.id
            cell[_COUNT] += stored.state.event_count
            cell[_WHOLE] += stored.state.sum_whole
            cell[_PICO] += stored.state.sum_pico
            cell[_LATEST_AT] = max(cell[_LATEST_AT], stored.latest_at)
            # the first event here follows the last one there
            self.previous[self._first_place[key]] = stored.last_seq
            self.new.discard(key)

    def _other(self, connection: sqlite3.Connection, key: CellKey) -> RollupState:
        state = self._others.get(key)
        if state is None:
            found = dict(_read(connection, [key], self._selections))
            state = self._others[key] = found[key].state if found else EMPTY
            if not found:
                self.new.add(key)
        return state

    def write(self, connection: sqlite3.Connection) -> None:
        """Write the cells in the order of their numbers, which finds most of them side by side, and
        widen the spans of new ones; the events are written by now.

        Raises:
            UsageOverflow: a sum would leave 64 bits; the caller forgets.
        """
        cells = [cell for touched in self._touched.values() for cell in touched.values()]
        for cell in cells:
            if cell[_PICO] >= PICO:
                carry, cell[_PICO] = divmod(cell[_PICO], PICO)
                cell[_WHOLE] += carry
        for extreme in (min, max):
            check_range(extreme(map(itemgetter(_WHOLE), cells)))
        if self._first_place:
            known = [cell for cell in cells if cell[_ID] is not None]
            self._add_new(connection)
        else:
            known = cells
        known.sort()  # by their numbers, no two of which are the same
        write_rows(connection, _SQL["keep_numbered"], list(chain.from_iterable(known)), 6)
        if self._points:
            self._write_others(connection)
        if self.new:
            _widen_spans(connection, self.new)
        if min(self._touched)[0] < self._rolled_upto:
            mark_stale(connection, days_of(self._late()))

    def _add_new(self, connection: sqlite3.Connection) -> None:
        rows: list[Any] = []
        for key in sorted(self._first_place.keys() & self.new):
            cell = self._hours[key[:2]][key[2]]
            rows += (*key[:3], *cell[_COUNT:])
        for hour_at, selection_id, customer, number in read_rows(
            connection, _SQL["add_plain_cells"], rows, 8
        ):
            self._hours[hour_at, selection_id][customer][_ID] = number

    def _late(self) -> Iterator[CellKey]:
        """Return the cells of hours before the end of the newest day that is rolled up."""
        for hour, touched in self._touched.items():
            if hour[0] < self._rolled_upto:
                for customer in touched:
                    yield *hour, customer, ""
        for key in self._points:
            if key[0] < self._rolled_upto:
                yield key

    def _write_others(self, connection: sqlite3.Connection) -> None:
        rows: list[Any] = []
        for key in sorted(self._points):
            if key in self._out_of_order:
                self._others[key] = self._refolded(connection, key)
            rows += cell_row(key, self._others[key], 0)
        keep_cells(connection, rows)

    def _refolded(self, connection: sqlite3.Connection, key: CellKey) -> RollupState:
        hour_at, selection_id, customer, dimension = key
        selection = self._selections.by_id[selection_id]
        plain_id = self._selections.by_type[selection.event_type].plain_id
        last_seq = self._hours[hour_at, plain_id][customer][_LAST_SEQ]
        points = hour_points(connection, (hour_at, customer), last_seq, selection)
        return fold_points(points.get(dimension, ()), selection.fold)


def _read(
    connection: sqlite3.Connection, keys: list[CellKey], selections: Selections
) -> Iterator[tuple[CellKey, _Stored]]:
    """Return those of the cells that are stored."""
    keys.sort()
    flat = list(chain.from_iterable(keys))
    for row in read_rows(connection, _SQL["cells_of"], flat, 4):
        fold = selections.by_id[row[1]].fold
        state = RollupState(row[4], row[5], row[6], detail_of(fold, row[7]))
        yield row[:4], _Stored(row[10], state, row[8], row[9])


class _Stored(NamedTuple):
    """A rollup of any kind as it is stored."""

    id: int
    state: RollupState
    last_seq: int
    latest_at: int


def keep_cells(connection: sqlite3.Connection, rows: list[Any]) -> None:
    """Write cells of any kind, which may be new: rows of ``cell_row``, one after another."""
    write_rows(connection, _SQL["keep_cells"], rows, 10)


def days_of(keys: Iterable[CellKey]) -> list[DayKey]:
    """Return the days of cells, each once."""
    days = {DayKey(key[2], key[1], key[0] - key[0] % DAY_US) for key in keys}
    return sorted(days)


def _widen_spans(connection: sqlite3.Connection, keys: Iterable[CellKey]) -> None:
    rows = [part for day in days_of(keys) for part in (*day, day.day_at)]
    write_rows(connection, _SQL["widen_spans"], rows, 4)


def hour_points(
    connection: sqlite3.Connection,
    hour: tuple[int, str],
    last_seq: int,
    selection: Selection,
    *,
    only_history: bool = False,
) -> dict[str, list[Point]]:
    """Return a selection's events of an hour and customer by dimension: along the chain that ends
    so, and the archived ones.
    """
    chained = connection.execute(_HISTORY_CHAIN if only_history else _CHAIN, (last_seq,)).fetchall()
    hour_at, customer = hour
    archived = archived_hour(connection, HourKey(hour_at, selection.event_type, customer))
    known = {row[0] for row in chained} if archived else ()
    chained += [
        (stored.seq, stored.event.occurred_at, stored.counts_for, stored.event.properties)
        for stored in archived
        if stored.counts_for is not None
        and stored.seq not in known
        and (stored.is_history or not only_history)
    ]
    by_dimension: dict[str, list[Point]] = {}
    for dimension, point in taken(selection, chained):
        by_dimension.setdefault(dimension, []).append(point)
    return by_dimension


def cell_row(key: CellKey, state: RollupState, last_seq: int) -> tuple[Any, ...]:
    """Return the columns of a cell.

    Raises:
        UsageOverflow: its sum would leave 64 bits.
    """
    check_range(state.sum_whole)
    return (*key, *state[:3], detail_text(state.detail), last_seq, LATEST_UNKNOWN)


def open_selections(
    connection: sqlite3.Connection, meters: Sequence[Meter]
) -> list[tuple[int, Selection]]:
    """Make the selections of meters that have none yet, with rollups of what was stored before;
    return them.
    """
    opened = []
    known = [text for _, text in connection.execute(_SQL["selections"])]
    for selection in lacking(meters, known):
        row = connection.execute(_SQL["add_selection"], (selection.definition,)).fetchone()
        opened.append((row[0], selection))
        if not selection.is_plain:  # no event is stored before its type's plain selection
            _fold_stored(connection, row[0], selection)
    return opened


def _fold_stored(connection: sqlite3.Connection, selection_id: int, selection: Selection) -> None:
    points: dict[CellKey, list[Point]] = {}
    for seq, customer, at, value, raw in chain(
        connection.execute(_SQL["events_of_type"], (selection.event_type,)),
        archived_rows_of_type(connection, selection.event_type),
    ):
        properties = read_properties(raw)
        if selection.takes(properties):
            key = (at - at % HOUR_US, selection_id, customer, selection.dimension(properties))
            point = point_of(selection, seq, at, Decimal(value), properties)
            points.setdefault(key, []).append(point)
    rows: list[Any] = []
    for key, found in sorted(points.items()):
        rows += cell_row(key, fold_points(found, selection.fold), 0)
    keep_cells(connection, rows)
    _widen_spans(connection, points)
