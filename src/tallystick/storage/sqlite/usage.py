"""Measured usage in SQLite: whole hours from rollups, ragged ends from the events."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tallystick.domain.aggregation import EMPTY, RollupState, merge, merge_all, state_of
from tallystick.domain.instants import HOUR_US
from tallystick.domain.periods import Period, cut_at_hours, hour_of
from tallystick.ports.event_store import UsageCell
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from tallystick.domain.meters import Meter
    from tallystick.storage.sqlite.database import SqliteDatabase

_SQL = statements("usage")


class SqliteUsageReader:
    """``UsageReader`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def usage(self, meter: Meter, customer: str, period: Period) -> RollupState:
        """Return the state of all stored events of the meter and customer in the period."""
        return merge_all(cell.state for cell in self.hours(meter, customer, period))

    def hours(self, meter: Meter, customer: str, period: Period) -> list[UsageCell]:
        """Return the same by UTC hour, hours without events left out, oldest first."""
        with self._database.read() as connection:
            known = _clamped(connection, customer, period)
            if known is None:
                return []
            cut = cut_at_hours(known)
            cells = [cell for end in cut.ends for cell in _folded(connection, meter, customer, end)]
            if cut.whole_hours:
                cells += _stored(connection, meter, customer, cut.whole_hours)
        return sorted(cells)

    def customers(self, prefix: str = "") -> Iterator[str]:
        """Return every customer that has usage, in order."""
        last = prefix
        while True:
            with self._database.read() as connection:
                (found,) = connection.execute(_SQL["next_customer"], (last,)).fetchone()
            if found is None or not found.startswith(prefix):
                return
            yield found
            last = found


def _clamped(connection: sqlite3.Connection, customer: str, period: Period) -> Period | None:
    """Return the part of the period in which the customer has any events.

    It spares the seeks of empty hours, which are most where a period is asked for by its years.
    """
    first_at, last_at = connection.execute(_SQL["usage_span"], {"customer": customer}).fetchone()
    if first_at is None:
        return None
    start_at, end_at = max(period.start_at, first_at), min(period.end_at, last_at + 1)
    if start_at >= end_at:
        return None
    # widened back to whole hours where the period allows it: rollups serve those
    return Period(
        max(period.start_at, hour_of(start_at)), min(period.end_at, -(-end_at // HOUR_US) * HOUR_US)
    )


def _stored(
    connection: sqlite3.Connection, meter: Meter, customer: str, hours: Period
) -> list[UsageCell]:
    (meter_id,) = connection.execute(_SQL["meter_id"], (meter.key,)).fetchone()
    rows = connection.execute(
        _SQL["hour_cells"],
        {
            "from_at": hours.start_at,
            "to_at": hours.end_at,
            "meter_id": meter_id,
            "customer": customer,
        },
    )
    return [UsageCell(hour_at, RollupState(*state)) for hour_at, *state in rows]


def _folded(
    connection: sqlite3.Connection, meter: Meter, customer: str, part: Period
) -> list[UsageCell]:
    rows = connection.execute(
        _SQL["values_between"],
        {
            "customer": customer,
            "from_at": part.start_at,
            "to_at": part.end_at,
            "type": meter.event_type,
        },
    )
    by_hour: dict[int, RollupState] = {}
    for occurred_at, value in rows:
        hour_at = hour_of(occurred_at)
        by_hour[hour_at] = merge(by_hour.get(hour_at, EMPTY), state_of(Decimal(value)))
    return [UsageCell(hour_at, state) for hour_at, state in by_hour.items()]
