"""Rollups in PostgreSQL: several servers write them at once, each cell's lock held by one.

What is only added up is added by the database, whatever it is by then. What else a selection
remembers is read under the cell's lock, merged here and written back. Every transaction takes the
latter cells first, then the former, each in the order of their key: so none waits for another that
waits for it.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from tallystick.domain.aggregation import (
    NotMergeable,
    Point,
    RollupState,
    fold_points,
    merge,
    point_of,
)
from tallystick.domain.events import read_properties
from tallystick.domain.instants import DAY_US, HOUR_US
from tallystick.domain.meters import Fold, Selection
from tallystick.domain.periods import Period, hour_of
from tallystick.domain.quantity import PICO, to_parts
from tallystick.ports.archive import HourKey
from tallystick.storage.day_rollups import DayKey
from tallystick.storage.details import detail_of, detail_text
from tallystick.storage.postgres.archived_events import archived_events, archived_hours
from tallystick.storage.postgres.locks import SELECTIONS
from tallystick.storage.postgres.statements import statements
from tallystick.storage.selections import Selections, check_range, lacking, taken

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tallystick.domain.events import UsageEvent
    from tallystick.domain.meters import Meter
    from tallystick.storage.postgres.database import Connection

_SQL = statements("rollups")


class CellKey(NamedTuple):
    """Which rollup, in the order of the table's key."""

    customer: str
    selection_id: int
    is_history: bool
    hour_at: int
    dimension: str


class Folding:
    """What new events add to cells: sums, and points of what is not only added up."""

    def __init__(self, selections: Selections, *, is_history: bool) -> None:
        self._selections = selections
        self._is_history = is_history
        self._sums: dict[CellKey, list[int]] = {}
        self._points: dict[CellKey, list[Point]] = {}

    def add(self, events: Sequence[UsageEvent], seqs: Sequence[int]) -> None:
        """Add events with their places in the log."""
        for event, seq in zip(events, seqs, strict=True):
            at = event.occurred_at
            whole, pico = to_parts(event.value)
            plain_id, others = self._selections.by_type[event.type]
            key = CellKey(event.customer, plain_id, False, at - at % HOUR_US, "")
            self._add_sum(key, whole, pico)
            if others:
                self._add_others(event, seq, key, others)

    def _add_others(
        self,
        event: UsageEvent,
        seq: int,
        plain: CellKey,
        others: Iterable[tuple[int, Selection]],
    ) -> None:
        properties = read_properties(event.properties)
        for selection_id, selection in others:
            if selection.takes(properties):
                key = plain._replace(
                    selection_id=selection_id, dimension=selection.dimension(properties)
                )
                point = point_of(selection, seq, event.occurred_at, event.value, properties)
                if selection.fold is Fold.SUM:
                    self._add_sum(key, *to_parts(event.value))
                else:
                    self._points.setdefault(key, []).append(point)
                    if self._is_history and not selection.group_by:
                        history = key._replace(is_history=True)
                        self._points.setdefault(history, []).append(point)

    def _add_sum(self, key: CellKey, whole: int, pico: int) -> None:
        sums = self._sums.get(key)
        if sums is None:
            sums = self._sums[key] = [0, 0, 0]
        sums[0] += 1
        sums[1] += whole
        sums[2] += pico

    def write(self, connection: Connection) -> None:
        """Bring the cells up to date; the events are written by now.

        Raises:
            UsageOverflow: a sum would leave 64 bits.
        """
        if self._points:
            self._merge(connection)
        if self._is_history:
            self._add_history_sums()
        rows = []
        for key, (count, whole, pico) in sorted(self._sums.items()):
            carry, rest = divmod(pico, PICO)
            check_range(whole + carry)
            rows.append((*key, count, whole + carry, rest))
        if rows:
            connection.execute(_SQL["add_to_cells"], columns(rows))

    def days_before(self, at: int) -> Iterator[DayKey]:
        """Return the days of cells of hours before an instant; history is not kept by days."""
        for key in chain(self._sums, self._points):
            if key.hour_at < at and not key.is_history:
                day_at = key.hour_at - key.hour_at % DAY_US
                yield DayKey(key.customer, key.selection_id, day_at)

    def _add_history_sums(self) -> None:
        """History is kept once more by itself, but not by groups: Stripe is not told of them."""
        for key, sums in list(self._sums.items()):
            if not self._selections.by_id[key.selection_id].group_by:
                self._sums[key._replace(is_history=True)] = sums

    def _merge(self, connection: Connection) -> None:
        known = lock_cells(connection, self._points, self._selections)
        merged = {}
        for key, points in self._points.items():
            fold = self._selections.by_id[key.selection_id].fold
            try:
                merged[key] = merge(known[key], fold_points(points, fold))
            except NotMergeable:  # a level's event before others of the hour
                merged[key] = refolded(connection, self._selections, key)
        keep_cells(connection, merged)


def lock_cells(
    connection: Connection, keys: Iterable[CellKey], selections: Selections
) -> dict[CellKey, RollupState]:
    """Take cells for this transaction and return them as they are; new ones are empty."""
    wanted = columns(sorted(keys))
    connection.execute(_SQL["lock_cells"], wanted)
    return {
        CellKey(*row[:5]): cell_state(selections.by_id[row[1]].fold, row[5:])
        for row in connection.execute(_SQL["cells_of"], wanted)
    }


def keep_cells(connection: Connection, cells: Mapping[CellKey, RollupState]) -> None:
    """Write cells as they are now.

    Raises:
        UsageOverflow: a sum would leave 64 bits.
    """
    rows = []
    for key, state in sorted(cells.items(), key=lambda cell: cell[0]):
        check_range(state.sum_whole)
        rows.append((*key, *state[:3], detail_text(state.detail)))
    if rows:
        connection.execute(_SQL["keep_cells"], columns(rows))


def refolded(connection: Connection, selections: Selections, key: CellKey) -> RollupState:
    """Return a cell folded from its events."""
    selection = selections.by_id[key.selection_id]
    groups = hour_points(
        connection,
        selection,
        key.customer,
        Period(key.hour_at, key.hour_at + HOUR_US),
        is_history=key.is_history,
    )
    return fold_points(groups.get(key.dimension, ()), selection.fold)


def hour_points(
    connection: Connection,
    selection: Selection,
    customer: str,
    part: Period,
    *,
    is_history: bool,
) -> dict[str, list[Point]]:
    """Return a selection's events of one customer in a part of one or two hours, by dimension, the
    archived ones included; history alone if ``is_history``.
    """
    wanted = {
        "type": selection.event_type,
        "customer": customer,
        "from_at": part.start_at,
        "to_at": part.end_at,
        "is_history": is_history,
    }
    rows = connection.execute(_SQL["hour_events"], wanted).fetchall()
    hours = range(hour_of(part.start_at), part.end_at, HOUR_US)
    archived = archived_hours(
        connection, [HourKey(hour_at, selection.event_type, customer) for hour_at in hours]
    )
    known = {row[0] for row in rows} if archived else ()
    rows += [
        (stored.seq, stored.event.occurred_at, stored.counts_for, stored.event.properties)
        for stored in archived
        if stored.event.occurred_at in part
        and stored.counts_for is not None
        and stored.seq not in known
        and (stored.is_history or not is_history)
    ]
    by_dimension: dict[str, list[Point]] = {}
    for dimension, point in taken(selection, rows):
        by_dimension.setdefault(dimension, []).append(point)
    return by_dimension


def cell_state(fold: Fold, row: Sequence[Any]) -> RollupState:
    """Return the state that count, whole, pico and detail of a row say."""
    event_count, sum_whole, sum_pico, detail = row
    return RollupState(event_count, sum_whole, sum_pico, detail_of(fold, detail))


def columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Return rows as one array a column, which is how they travel."""
    return [list(column) for column in zip(*rows, strict=True)]


def read_selections(connection: Connection) -> Selections:
    """Return the selections that are in force now."""
    return Selections(connection.execute(_SQL["selections"]))


def open_selections(connection: Connection, meters: Sequence[Meter]) -> None:
    """Make the selections of meters that have none yet, with rollups of what was stored before.

    Appends and corrections wait until the transaction ends, so that none is left out.
    """
    connection.execute(_SQL["fold_in_peace"])
    connection.execute(_SQL["keep_appends_out"], (SELECTIONS,))
    known = [text for _, text in connection.execute(_SQL["selections"])]
    for selection in lacking(meters, known):
        row = connection.execute(_SQL["add_selection"], (selection.definition,)).fetchone()
        assert row is not None
        if not selection.is_plain:  # no event is stored before its type's plain selection
            _fold_stored(connection, row[0], selection)


def _archived_of_type(connection: Connection, event_type: str) -> Iterator[tuple[Any, ...]]:
    for stored in archived_events(connection):
        event = stored.event
        if event.type == event_type and stored.counts_for is not None:
            yield (
                stored.seq,
                event.occurred_at,
                stored.counts_for,
                event.properties,
                event.customer,
                stored.is_history,
            )


def _fold_stored(connection: Connection, selection_id: int, selection: Selection) -> None:
    points: dict[CellKey, list[Point]] = {}
    rows = connection.execute(_SQL["events_of_type"], (selection.event_type,)).fetchall()
    rows += _archived_of_type(connection, selection.event_type)
    for row in rows:
        for dimension, point in taken(selection, (row[:4],)):
            customer, is_history = row[4:]
            key = CellKey(customer, selection_id, False, point.at - point.at % HOUR_US, dimension)
            points.setdefault(key, []).append(point)
            if is_history and not selection.group_by:
                points.setdefault(key._replace(is_history=True), []).append(point)
    folded = {key: fold_points(found, selection.fold) for key, found in points.items()}
    keep_cells(connection, folded)
