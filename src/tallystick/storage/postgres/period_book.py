"""Into which billing periods reports were sorted, in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.periods import Period
from tallystick.domain.reports import ReportState
from tallystick.storage.postgres.outbox import (
    add_report,
    count_no_more,
    let_next_go,
    lock_lanes,
)
from tallystick.storage.postgres.statements import statements
from tallystick.storage.report_rows import (
    SequenceTaken,
    StrayChanged,
    end_columns,
    stand_in_columns,
    stray_columns,
)

if TYPE_CHECKING:
    from tallystick.ports.outbox import Rearrangement, Stray
    from tallystick.storage.postgres.database import Connection, PostgresDatabase

_SQL = statements("period_book")


class PostgresPeriodBook:
    """``PeriodBook`` on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def periods(self, customer: str, meter_key: str) -> list[Period]:
        """Return every period that has reports, as the newest of them has it, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(_SQL["periods"], (customer, meter_key))
            return [Period(*row) for row in rows]

    def rearrange(self, changes: Rearrangement, now: int) -> bool:
        """Sort reports anew: strays count no more, and a lease of theirs is lost."""

        def rearrange(connection: Connection) -> None:
            reports = [each.report for each in changes.strays]
            lock_lanes(connection, [*reports, *(each.report for each in changes.stand_ins)])
            connection.cursor().executemany(_SQL["move_end"], end_columns(changes))
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


def _set_aside(connection: Connection, stray: Stray, now: int) -> None:
    report = stray.report
    if not connection.execute(_SQL["set_aside"], stray_columns(stray, now)).rowcount:
        raise StrayChanged
    if report.state is not ReportState.REPLACED:
        count_no_more(connection, report)
    if report.state is ReportState.PENDING:
        let_next_go(connection, report.stripe_customer_id, report.meter_key, now)
