"""History in SQLite: which events are, and their rollups beside those of all events."""

from __future__ import annotations

from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any

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
from tallystick.storage.details import detail_of, detail_text
from tallystick.storage.selections import check_range
from tallystick.storage.sqlite.archived_events import archived_rows_of_type
from tallystick.storage.sqlite.rollups import hour_points
from tallystick.storage.sqlite.statements import read_rows, statements, write_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tallystick.domain.events import UsageEvent
    from tallystick.domain.meters import Selection
    from tallystick.storage.selections import Selections

_SQL = statements("history")

HistoryKey = tuple[int, int, str]
"""Hour, selection, customer: history is not kept by groups, which Stripe is not told."""


def keep_history(
    connection: sqlite3.Connection,
    selections: Selections,
    events: Sequence[UsageEvent],
    first_seq: int,
) -> None:
    """Write down that events, stored from ``first_seq`` on, are history, and fold them.

    Raises:
        UsageOverflow: a sum would leave 64 bits.
    """
    write_rows(connection, _SQL["mark_history"], list(range(first_seq, first_seq + len(events))), 1)
    points: dict[HistoryKey, list[Point]] = {}
    for seq, event in enumerate(events, first_seq):
        properties = read_properties(event.properties)
        for id_, selection in _ungrouped(selections, event.type):
            if selection.takes(properties):
                key = (event.occurred_at - event.occurred_at % HOUR_US, id_, event.customer)
                point = point_of(selection, seq, event.occurred_at, event.value, properties)
                points.setdefault(key, []).append(point)
    known = dict(_read(connection, points, selections.by_id))
    folded: dict[HistoryKey, RollupState] = {}
    for key, found in points.items():
        folded[key] = fold_points(found, selections.by_id[key[1]].fold)
        if key in known:
            try:
                folded[key] = merge(known[key], folded[key])
            except NotMergeable:
                folded[key] = _refolded(connection, selections, key)
    _write(connection, folded)


def refold_history(
    connection: sqlite3.Connection,
    selections: Selections,
    event_type: str,
    customer: str,
    hour_at: int,
) -> None:
    """Fold a customer's hour of history again, after one of its events was corrected."""
    wanted = [(hour_at, id_, customer) for id_, _ in _ungrouped(selections, event_type)]
    known = dict(_read(connection, wanted, selections.by_id))
    _write(connection, {key: _refolded(connection, selections, key) for key in known})


def open_history(connection: sqlite3.Connection, opened: Iterable[tuple[int, Selection]]) -> None:
    """Fold the history that was stored before selections were opened."""
    for selection_id, selection in opened:
        if selection.group_by:
            continue
        points: dict[HistoryKey, list[Point]] = {}
        for seq, customer, at, value, raw in chain(
            connection.execute(_SQL["events_of_type"], (selection.event_type,)),
            archived_rows_of_type(connection, selection.event_type, only_history=True),
        ):
            properties = read_properties(raw)
            if selection.takes(properties):
                point = point_of(selection, seq, at, Decimal(value), properties)
                key = (at - at % HOUR_US, selection_id, customer)
                points.setdefault(key, []).append(point)
        _write(
            connection, {key: fold_points(found, selection.fold) for key, found in points.items()}
        )


def is_history(connection: sqlite3.Connection, seq: int) -> bool:
    """Tell whether an event is."""
    return bool(connection.execute(_SQL["is_history"], (seq,)).fetchone()[0])


def history_cells(
    connection: sqlite3.Connection, by_id: Mapping[int, Selection]
) -> Iterator[tuple[HistoryKey, RollupState]]:
    """Return every rollup of history."""
    for hour_at, id_, customer, count, whole, pico, detail in connection.execute(_SQL["all_cells"]):
        state = RollupState(count, whole, pico, detail_of(by_id[id_].fold, detail))
        yield (hour_at, id_, customer), state


def _ungrouped(selections: Selections, event_type: str) -> Iterator[tuple[int, Selection]]:
    plain_id, others = selections.by_type[event_type]
    yield plain_id, selections.by_id[plain_id]
    for id_, selection in others:
        if not selection.group_by:
            yield id_, selection


def _read(
    connection: sqlite3.Connection,
    keys: Iterable[HistoryKey],
    by_id: Mapping[int, Selection],
) -> Iterator[tuple[HistoryKey, RollupState]]:
    flat = list(chain.from_iterable(sorted(keys)))
    for row in read_rows(connection, _SQL["cells_of"], flat, 3):
        yield row[:3], RollupState(row[3], row[4], row[5], detail_of(by_id[row[1]].fold, row[6]))


def _refolded(
    connection: sqlite3.Connection, selections: Selections, key: HistoryKey
) -> RollupState:
    """Return an hour's state, folded from its events."""
    hour_at, id_, customer = key
    selection = selections.by_id[id_]
    plain_id = selections.by_type[selection.event_type].plain_id
    (last_seq,) = connection.execute(_SQL["hour_end"], (hour_at, plain_id, customer)).fetchone()
    groups = hour_points(connection, (hour_at, customer), last_seq, selection, only_history=True)
    return fold_points(chain.from_iterable(groups.values()), selection.fold)


def _write(connection: sqlite3.Connection, cells: Mapping[HistoryKey, RollupState]) -> None:
    rows: list[Any] = []
    for key, state in sorted(cells.items(), key=lambda cell: cell[0]):
        check_range(state.sum_whole)
        rows += (*key, *state[:3], detail_text(state.detail))
    write_rows(connection, _SQL["keep_cells"], rows, 7)
    days = sorted({(key[2], key[1], key[0] - key[0] % DAY_US) for key in cells})
    spans = [part for day in days for part in (*day, day[2])]
    write_rows(connection, _SQL["widen_spans"], spans, 4)
