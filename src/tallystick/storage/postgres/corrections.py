"""Corrections in PostgreSQL: rows beside the events, and their hours' rollups folded again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tallystick.domain.corrections import Correction, CorrectionStatus
from tallystick.domain.events import identity_of
from tallystick.domain.instants import DAY_US, HOUR_US
from tallystick.domain.meters import Fold
from tallystick.storage.day_rollups import DayKey
from tallystick.storage.postgres.archived_events import archived_event
from tallystick.storage.postgres.day_rollups import mark_stale
from tallystick.storage.postgres.rollups import CellKey, columns, keep_cells, refolded
from tallystick.storage.postgres.statements import statements

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

    from tallystick.storage.postgres.database import Connection
    from tallystick.storage.selections import Selections

_SQL = statements("corrections")
_CUSTOMERS = statements("customers")


class _Event(NamedTuple):
    seq: int
    occurred_at: int
    type: str
    customer: str
    value: Decimal

    @property
    def hour_at(self) -> int:
        return self.occurred_at - self.occurred_at % HOUR_US


def correct_events(
    connection: Connection,
    selections: Selections,
    corrections: Sequence[Correction],
    now: int,
) -> list[CorrectionStatus]:
    """Put corrections in force, and mark their customers' usage as due to be reported.

    Raises:
        UsageOverflow: a sum would leave 64 bits.
    """
    identities = [identity_of(each.source, each.id).hex() for each in corrections]
    rows = connection.execute(_SQL["places_of"], (identities,))
    events = {identity.hex: _found(connection, fields) for identity, *fields in rows.fetchall()}
    cells = _lock(connection, selections, events.values())
    statuses = []
    corrected = []
    for identity, each in zip(identities, corrections, strict=True):
        event = events.get(identity)
        if event is None:
            statuses.append(CorrectionStatus.NOT_FOUND)
        elif _correct(connection, event, each, now):
            statuses.append(CorrectionStatus.CORRECTED)
            corrected.append(event)
        else:
            statuses.append(CorrectionStatus.UNCHANGED)
    _fold_again(connection, selections, corrected, cells)
    for customer in sorted({event.customer for event in corrected}):
        connection.execute(_CUSTOMERS["mark_customer_due"], {"customer": customer})
    return statuses


def _found(connection: Connection, fields: list[Any]) -> _Event:
    seq, occurred_at, type_, *_ = fields
    if type_ is not None:
        return _Event(*fields)
    stored = archived_event(connection, seq, occurred_at)
    assert stored is not None  # an identity is kept for events that are somewhere
    event = stored.event
    return _Event(seq, occurred_at, event.type, event.customer, event.value)


def _correct(connection: Connection, event: _Event, correction: Correction, now: int) -> bool:
    newest = connection.execute(_SQL["newest_correction"], (event.seq,)).fetchone()
    counts_for = event.value if newest is None else newest[1]
    if correction.value == counts_for:
        return False
    connection.execute(
        _SQL["add_correction"],
        (event.seq, correction.value, correction.actor, correction.reason, now),
    )
    return True


def _lock(
    connection: Connection, selections: Selections, events: Iterable[_Event]
) -> list[CellKey]:
    """Take the cells of the events' hours, in the order in which appends take them."""
    merged: set[tuple[str, int, int]] = set()
    added: set[tuple[str, int, int]] = set()
    for event in events:
        plain_id, others = selections.by_type[event.type]
        added.add((event.customer, plain_id, event.hour_at))
        for selection_id, selection in others:
            group = added if selection.fold is Fold.SUM else merged
            group.add((event.customer, selection_id, event.hour_at))
    locked: list[CellKey] = []
    for group in (merged, added):
        if group:
            rows: Any = connection.execute(_SQL["lock_hours"], columns(sorted(group)))
            locked += [CellKey(*row) for row in rows]
    return locked


def _fold_again(
    connection: Connection,
    selections: Selections,
    corrected: Sequence[_Event],
    cells: Sequence[CellKey],
) -> None:
    """Fold every rollup of the events' hours again: not all folds can give one back."""
    hours = {(event.customer, event.type, event.hour_at) for event in corrected}
    touched = [
        key
        for key in cells
        if (key.customer, selections.by_id[key.selection_id].event_type, key.hour_at) in hours
    ]
    keep_cells(connection, {key: refolded(connection, selections, key) for key in touched})
    mark_stale(
        connection,
        (
            DayKey(key.customer, key.selection_id, key.hour_at - key.hour_at % DAY_US)
            for key in touched
            if not key.is_history
        ),
    )
