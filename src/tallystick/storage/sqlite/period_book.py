"""Into which billing periods reports were sorted, in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.domain.periods import Period
from tallystick.domain.reports import ReportState
from tallystick.ports.outbox import SortedPeriod
from tallystick.storage.report_rows import (
    SequenceTaken,
    StrayChanged,
    end_columns,
    stand_in_columns,
    stray_columns,
)
from tallystick.storage.sqlite.outbox import add_report, count_no_more, let_next_go
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    import sqlite3

    from tallystick.ports.outbox import Rearrangement, Stray
    from tallystick.storage.sqlite.database import SqliteDatabase

_SQL = statements("period_book")


class SqlitePeriodBook:
    """``PeriodBook`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def periods(self, customer: str, meter_key: str) -> list[SortedPeriod]:
        """Return every period that has reports, as the newest of them has it, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(_SQL["periods"], (customer, meter_key))
            return [SortedPeriod(Period(*row[:2]), row[2]) for row in rows]

    def rearrange(self, changes: Rearrangement, now: int) -> bool:
        """Sort reports anew: strays count no more, and a lease of theirs is lost."""

        def rearrange(connection: sqlite3.Connection) -> None:
            for period in end_columns(changes):
                _move_end(connection, period)
            for stray in changes.strays:
                _set_aside(connection, stray, now)
            for stand_in in changes.stand_ins:
                add_report(connection, stand_in.report, now)
                connection.execute(_SQL["stand_in"], stand_in_columns(stand_in, now))

        try:
            self._database.write(rearrange)
        except (SequenceTaken, StrayChanged):
            return False
        return True


def _move_end(connection: sqlite3.Connection, period: dict[str, Any]) -> None:
    if connection.execute(_SQL["has_no_more"], period).fetchone() is None:
        raise SequenceTaken
    connection.execute(_SQL["move_end"], period)


def _set_aside(connection: sqlite3.Connection, stray: Stray, now: int) -> None:
    report = stray.report
    if not connection.execute(_SQL["set_aside"], stray_columns(stray, now)).rowcount:
        raise StrayChanged
    if report.state is not ReportState.REPLACED:
        count_no_more(connection, report)
    if report.state is ReportState.PENDING:
        let_next_go(connection, report.stripe_customer_id, report.meter_key, now)
