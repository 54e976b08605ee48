"""Rollups of whole days in SQLite: made from the hours', a few customers in a transaction."""

from __future__ import annotations

from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

from tallystick.domain.aggregation import RollupState, merge_all
from tallystick.domain.instants import DAY_US
from tallystick.domain.meters import Fold
from tallystick.domain.periods import Period
from tallystick.domain.quantity import PICO
from tallystick.storage.day_rollups import (
    CUSTOMERS_AT_ONCE,
    STALE_AT_ONCE,
    DayKey,
    Part,
    day_faults,
    still_to_roll,
)
from tallystick.storage.details import detail_of, detail_text
from tallystick.storage.selections import Selections
from tallystick.storage.sqlite.statements import statements, write_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from tallystick.storage.sqlite.database import SqliteDatabase

_HALF_BITS = 32
_FIRST_AT = -(1 << 62)
_LAST_CUSTOMER = b""
"""Beyond every customer: SQLite puts any bytes behind any text."""

_SQL = statements("day_rollups")
_HOUR_CELLS = statements("usage")["hour_cells"]


class SqliteDayRollups:
    """``DayRollups`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def begin(self, ended_by: int) -> int:
        """Choose days that ended by an instant and are not rolled up; return how many."""
        with self._database.read() as connection:
            ids = [row[0] for row in connection.execute(_SQL["selection_ids"])]
            chosen = set(connection.execute(_SQL["chosen"]).fetchall())
            pairs = still_to_roll(_days_with_usage(connection, ended_by), ids, chosen)
        if pairs:
            flat = list(chain.from_iterable(pairs))
            self._database.write(lambda connection: write_rows(connection, _SQL["choose"], flat, 2))
        return len(pairs)

    def step(self) -> int | None:
        """Roll the next customers up; return how many rollups were written, None if it is done."""
        return self._database.write(_step)


def mark_stale(connection: sqlite3.Connection, changed: Iterable[DayKey]) -> None:
    """Have those of these days that are rolled up read by their hours, and rolled up again.

    In the transaction that changes their hours.
    """
    write_rows(connection, _SQL["mark_stale"], list(chain.from_iterable(changed)), 3)


def rolled_days(connection: sqlite3.Connection, of: dict[str, Any], days: Period) -> list[int]:
    """Return those of the days that usage is read by, of a customer and selection."""
    asked = {**of, "from_at": days.start_at, "to_at": days.end_at}
    return [row[0] for row in connection.execute(_SQL["rolled_of_customer"], asked)]


def day_parts(
    connection: sqlite3.Connection, of: dict[str, Any], days: Period, fold: Fold
) -> list[Part]:
    """Return the rollups of days, of a customer and selection."""
    asked = {**of, "from_at": days.start_at, "to_at": days.end_at}
    rows = connection.execute(_SQL["day_cells"], asked)
    return [(row[0], row[1], _state(fold, row[2:])) for row in rows]


def days_total(connection: sqlite3.Connection, of: dict[str, Any], days: Period) -> RollupState:
    """Return what days come to, where nothing but sums is kept."""
    asked = {**of, "from_at": days.start_at, "to_at": days.end_at}
    return _state(Fold.SUM, (*connection.execute(_SQL["days_total"], asked).fetchone(), None))


def latest_day(
    connection: sqlite3.Connection, of: dict[str, Any], days: Period, fold: Fold
) -> RollupState | None:
    """Return the last of some days that has events."""
    asked = {**of, "from_at": days.start_at, "to_at": days.end_at}
    row = connection.execute(_SQL["latest_day_before"], asked).fetchone()
    return _state(fold, row) if row else None


def faults_of_days(connection: sqlite3.Connection) -> Iterator[str]:
    """Name the rollups of days that are not what their hours come to."""
    by_id = Selections(connection.execute(_SQL["selections"])).by_id
    for customer, selection_id, first_at, last_at in connection.execute(_SQL["rolled_customers"]):
        of = {"customer": customer, "selection_id": selection_id}
        span = Period(first_at, last_at + DAY_US)
        rolled = set(rolled_days(connection, of, span))
        if not rolled:
            continue
        fold = by_id[selection_id].fold
        hours = [
            (row[0], row[1], RollupState(row[2], row[3], row[4], detail_of(fold, row[5])))
            for row in connection.execute(
                _HOUR_CELLS, {**of, "from_at": span.start_at, "to_at": span.end_at}
            )
        ]
        days = day_parts(connection, of, span, fold)
        yield from day_faults(customer, by_id[selection_id], days, hours, rolled)


def _days_with_usage(connection: sqlite3.Connection, ended_by: int) -> Iterator[int]:
    day_at = _FIRST_AT
    while True:
        (hour_at,) = connection.execute(_SQL["next_hour"], (day_at,)).fetchone()
        if hour_at is None or hour_at - hour_at % DAY_US + DAY_US > ended_by:
            return
        day_at = hour_at - hour_at % DAY_US
        yield day_at
        day_at += DAY_US


def _step(connection: sqlite3.Connection) -> int | None:
    """Go on with the day that is under way, else with those that are stale."""
    row = connection.execute(_SQL["under_way"]).fetchone()
    if row is not None:
        return _roll_next(connection, *row)
    stale = connection.execute(_SQL["stale"], (STALE_AT_ONCE,)).fetchall()
    if not stale:
        return None
    folds = _folds(connection)
    written = 0
    for key in map(DayKey._make, stale):
        written += _roll(connection, key, key.customer, folds[key.selection_id])
        connection.execute(_SQL["not_stale"], key)
    return written


def _roll_next(
    connection: sqlite3.Connection, selection_id: int, day_at: int, first_customer: str
) -> int:
    """Roll the next customers of a day up, and note how far it is done."""
    place: dict[str, Any] = {"selection_id": selection_id, "day_at": day_at}
    (last,) = connection.execute(
        _SQL["last_customer"],
        {**place, "first_customer": first_customer, "customers": CUSTOMERS_AT_ONCE},
    ).fetchone()
    fold = _folds(connection)[selection_id]
    key = DayKey(first_customer, selection_id, day_at)
    written = _roll(connection, key, _LAST_CUSTOMER if last is None else last, fold)
    after = None
    if last is not None:
        (after,) = connection.execute(
            _SQL["customer_after"], {**place, "last_customer": last}
        ).fetchone()
    connection.execute(_SQL["rolled_upto"], (after, selection_id, day_at))
    return written


def _roll(connection: sqlite3.Connection, first: DayKey, last: str | bytes, fold: Fold) -> int:
    """Write a day's rollups of customers from one to another; return how many."""
    wanted = {
        "first_customer": first.customer,
        "last_customer": last,
        "selection_id": first.selection_id,
        "day_at": first.day_at,
    }
    if fold is Fold.SUM:
        before = connection.total_changes
        connection.execute(_SQL["roll_sums"], wanted)
        return connection.total_changes - before
    rows: list[Any] = []
    cells = connection.execute(_SQL["hours_of"], wanted).fetchall()
    for (customer, dimension), hours in groupby(cells, key=lambda cell: cell[:2]):
        state = merge_all(
            RollupState(hour[2], hour[3], hour[4], detail_of(fold, hour[5])) for hour in hours
        )
        rows += (customer, first.selection_id, first.day_at, dimension, *_columns(state))
    write_rows(connection, _SQL["keep_days"], rows, _COLUMNS)
    return len(rows) // _COLUMNS


def _folds(connection: sqlite3.Connection) -> dict[int, Fold]:
    rows = connection.execute(_SQL["selections"])
    return {id_: selection.fold for id_, selection in Selections(rows).by_id.items()}


_COLUMNS = 9


def _columns(state: RollupState) -> tuple[int, int, int, int, str | None]:
    high, low = divmod(state.sum_whole, 1 << _HALF_BITS)
    return (state.event_count, high, low, state.sum_pico, detail_text(state.detail))


def _state(fold: Fold, row: tuple[Any, ...]) -> RollupState:
    event_count, high, low, pico, detail = row
    carry, pico = divmod(pico, PICO)
    whole = (high << _HALF_BITS) + low + carry
    return RollupState(event_count, whole, pico, detail_of(fold, detail))
