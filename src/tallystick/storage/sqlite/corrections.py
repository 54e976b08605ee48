"""Corrections in SQLite: a row beside the event, and its hour's rollups folded again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.domain.aggregation import fold_points
from tallystick.domain.corrections import Correction, CorrectionStatus
from tallystick.domain.instants import DAY_US, HOUR_US
from tallystick.domain.quantity import plain
from tallystick.storage.day_rollups import DayKey
from tallystick.storage.sqlite.archived_events import archived_event
from tallystick.storage.sqlite.day_rollups import mark_stale
from tallystick.storage.sqlite.history import is_history, refold_history
from tallystick.storage.sqlite.rollups import cell_row, hour_points, keep_cells
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    import sqlite3

    from tallystick.storage.selections import Selections

_SQL = statements("corrections")
_CUSTOMERS = statements("customers")


def correct_event(
    connection: sqlite3.Connection,
    selections: Selections,
    seq: int,
    correction: Correction,
    now: int,
) -> CorrectionStatus:
    """Put a correction in force, and mark the customer's usage as due to be reported.

    Raises:
        UsageOverflow: a sum would leave 64 bits.
    """
    type_, customer, at, counts_for = _event(connection, seq)
    wanted = None if correction.value is None else plain(correction.value)
    if wanted == counts_for:
        return CorrectionStatus.UNCHANGED
    connection.execute(
        _SQL["add_correction"], (seq, wanted, correction.actor, correction.reason, now)
    )
    _fold_hour(connection, selections, type_, customer, at - at % HOUR_US)
    if is_history(connection, seq):
        refold_history(connection, selections, type_, customer, at - at % HOUR_US)
    connection.execute(_CUSTOMERS["next_mark"])
    connection.execute(_CUSTOMERS["mark_customer_due"], (customer,))
    return CorrectionStatus.CORRECTED


def _event(connection: sqlite3.Connection, seq: int) -> tuple[str, str, int, str | None]:
    """Return type, customer, time, and what the event counts for now."""
    row = connection.execute(_SQL["event_to_correct"], (seq,)).fetchone()
    if row is not None:
        type_, customer, at, value, newest, corrected = row
        return type_, customer, at, value if newest is None else corrected
    stored = archived_event(connection, seq)
    assert stored is not None  # an identity is kept for events that are somewhere
    event, counts_for = stored.event, stored.counts_for
    shown = None if counts_for is None else plain(counts_for)
    return event.type, event.customer, event.occurred_at, shown


def _fold_hour(
    connection: sqlite3.Connection,
    selections: Selections,
    event_type: str,
    customer: str,
    hour_at: int,
) -> None:
    """Fold every rollup of a customer's hour and type again: not all folds can give one back."""
    plain_id, others = selections.by_type[event_type]
    (last_seq,) = connection.execute(_SQL["hour_end"], (hour_at, plain_id, customer)).fetchone()
    for selection_id, end in ((plain_id, last_seq), *((other, 0) for other, _ in others)):
        selection = selections.by_id[selection_id]
        points = hour_points(connection, (hour_at, customer), last_seq, selection)
        kept = connection.execute(_SQL["hour_dimensions"], (hour_at, selection_id, customer))
        rows: list[Any] = []
        for (dimension,) in kept.fetchall():
            state = fold_points(points.get(dimension, ()), selection.fold)
            rows += cell_row((hour_at, selection_id, customer, dimension), state, end)
        keep_cells(connection, rows)
        day_at = hour_at - hour_at % DAY_US
        mark_stale(connection, [DayKey(customer, selection_id, day_at)])
