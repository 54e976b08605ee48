"""Rollups of whole days in PostgreSQL: made from the hours', a few customers in a transaction.

A day is chosen while no append is under way, so that each later one knows of it. What changes its
hours then marks the customer's day as stale, in the same transaction: a rollup that was made beside
such a change is never read.
"""

from __future__ import annotations

from heapq import merge
from itertools import groupby
from typing import TYPE_CHECKING, Any

from tallystick.domain.aggregation import RollupState, merge_all
from tallystick.domain.instants import DAY_US
from tallystick.domain.meters import Fold
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
from tallystick.storage.postgres.locks import ROLLING, SELECTIONS
from tallystick.storage.postgres.rollups import columns, read_selections
from tallystick.storage.postgres.statements import statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tallystick.domain.periods import Period
    from tallystick.storage.postgres.database import Connection, PostgresDatabase

_EVER = {"from_at": -(1 << 62), "to_at": 1 << 62}
_SQL = statements("day_rollups")


class PostgresDayRollups:
    """``DayRollups`` on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def begin(self, ended_by: int) -> int:
        """Choose days that ended by an instant and are not rolled up; return how many."""
        with self._database.read() as connection:
            days = [
                row[0] for row in connection.execute(_SQL["days_to_roll"], (ended_by - DAY_US,))
            ]
            ids = [row[0] for row in connection.execute(_SQL["selection_ids"])]
            chosen: Any = connection.execute(_SQL["chosen"]).fetchall()
        pairs = still_to_roll(days, ids, set(chosen))

        def choose(connection: Connection) -> None:
            connection.execute(_SQL["wait_for_appends"], (SELECTIONS,))
            connection.execute(_SQL["choose"], columns(pairs))

        if pairs:
            self._database.write(choose)
        return len(pairs)

    def step(self) -> int | None:
        """Roll the next customers up; return how many rollups were written, None if it is done."""
        return self._database.write(_step)


def mark_stale(connection: Connection, changed: Iterable[DayKey]) -> None:
    """Have those of these days that are rolled up read by their hours, and rolled up again.

    In the transaction that changes their hours, after it took their cells.
    """
    keys = sorted(set(changed))
    if keys:
        connection.execute(_SQL["mark_stale"], columns(keys))


def rolled_days(connection: Connection, of: dict[str, Any], days: Period) -> list[int]:
    """Return those of the days that usage is read by, of a customer and selection."""
    asked = {**of, "from_at": days.start_at, "to_at": days.end_at}
    return [row[0] for row in connection.execute(_SQL["rolled_of_customer"], asked)]


def part_state(fold: Fold, row: Sequence[Any]) -> RollupState:
    """Return the state that count, whole, pico and detail of a row say; its sum may be large."""
    event_count, whole, pico, detail = row
    carry, pico = divmod(int(pico), PICO)
    return RollupState(int(event_count), int(whole) + carry, pico, detail_of(fold, detail))


def faults_of_days(
    connection: Connection, streamed: Callable[[str], Iterator[tuple[Any, ...]]]
) -> Iterator[str]:
    """Name the rollups of days that are not what their hours come to; ``streamed`` returns the rows
    of a statement, some at a time.
    """
    by_id = read_selections(connection).by_id
    days = ((*row[:2], False, *row[2:]) for row in streamed(_SQL["all_days"]))
    hours = ((*row[:2], True, *row[2:]) for row in streamed(_SQL["all_hours"]))
    both = merge(days, hours, key=lambda row: row[:2])
    for (customer, selection_id), rows in groupby(both, key=lambda row: row[:2]):
        fold = by_id[selection_id].fold
        parts: dict[bool, list[Part]] = {False: [], True: []}
        for _, _, is_hour, at, dimension, *state in rows:
            parts[is_hour].append((at, dimension, part_state(fold, state)))
        of = {"customer": customer, "selection_id": selection_id, **_EVER}
        rolled = {row[0] for row in connection.execute(_SQL["rolled_of_customer"], of)}
        yield from day_faults(customer, by_id[selection_id], parts[False], parts[True], rolled)


def _step(connection: Connection) -> int | None:
    """Go on with the day that is under way, else with those that are stale."""
    connection.execute(_SQL["roll_alone"], (ROLLING,))
    row = connection.execute(_SQL["under_way"]).fetchone()
    if row is not None:
        return _roll_next(connection, *row)
    stale = connection.execute(_SQL["take_stale"], (STALE_AT_ONCE,)).fetchall()
    return _roll(connection, [DayKey(*key) for key in stale]) if stale else None


def _roll_next(connection: Connection, selection_id: int, day_at: int, first: str) -> int:
    """Roll the next customers of a day up, and note how far it is done."""
    rows = connection.execute(
        _SQL["customers_from"], {"first": first, "customers": CUSTOMERS_AT_ONCE + 1}
    )
    customers = [row[0] for row in rows]
    now = customers[:CUSTOMERS_AT_ONCE]
    written = _roll(connection, [DayKey(each, selection_id, day_at) for each in now])
    following = customers[CUSTOMERS_AT_ONCE] if len(customers) > CUSTOMERS_AT_ONCE else None
    connection.execute(_SQL["rolled_upto"], (following, selection_id, day_at))
    return written


def _roll(connection: Connection, keys: Sequence[DayKey]) -> int:
    """Write the rollups of customers' days; return how many."""
    by_id = read_selections(connection).by_id
    sums = [key for key in keys if by_id[key.selection_id].fold is Fold.SUM]
    others = [key for key in keys if by_id[key.selection_id].fold is not Fold.SUM]
    written = 0
    if sums:
        written += connection.execute(_SQL["roll_sums"], columns(sorted(sums))).rowcount
    if others:
        cells = connection.execute(_SQL["hours_of"], columns(sorted(others)))
        rows = []
        for key, hours in groupby(cells, key=lambda cell: cell[:4]):
            fold = by_id[key[1]].fold
            state = merge_all(part_state(fold, hour[4:]) for hour in hours)
            rows.append((*key, *state[:3], detail_text(state.detail)))
        if rows:
            connection.execute(_SQL["keep_days"], columns(rows))
        written += len(rows)
    return written
