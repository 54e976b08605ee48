"""Into which billing periods reports were sorted, on every backend: the statements and the steps of
the outbox are its own, what is done with them is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.domain.periods import Period
from tallystick.domain.reports import ReportState
from tallystick.domain.usage_records import RecordAggregation
from tallystick.ports.outbox import SortedPeriod
from tallystick.storage.report_rows import (
    SequenceTaken,
    StrayChanged,
    end_columns,
    stand_in_columns,
    stray_columns,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tallystick.ports.outbox import Rearrangement, Stray
    from tallystick.storage.database import Database
    from tallystick.storage.outbox import OutboxSteps


class StoredPeriodBook:
    """``PeriodBook`` on one database."""

    def __init__(self, database: Database, steps: OutboxSteps) -> None:
        self._database = database
        self._steps = steps
        self._sql = database.statements("period_book")

    def periods(self, customer: str, meter_key: str) -> list[SortedPeriod]:
        """Return every period that has reports, as the newest of them has it, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(self._sql["periods"], (customer, meter_key))
            return [
                SortedPeriod(Period(*span), sequence, item_id, how and RecordAggregation(how))
                for *span, sequence, item_id, how in rows
            ]

    def reported_until(self, customer: str, meter_key: str, period: Period) -> int | None:
        """Return up to which instant the newest report tells of the period, None without any."""
        key = (customer, meter_key, period.start_at)
        with self._database.read() as connection:
            row = connection.execute(self._sql["reported_until"], key).fetchone()
        return int(row[0]) if row else None

    def rearrange(self, changes: Rearrangement, now: int) -> bool:
        """Sort reports anew: strays count no more, and a lease of theirs is lost."""

        def rearrange(connection: Any) -> None:
            strays = (each.report for each in changes.strays)
            stand_ins = (each.report for each in changes.stand_ins)
            self._steps.lock_lanes(connection, [changes, *strays, *stand_ins])
            for period in end_columns(changes):
                _move_end(connection, self._sql, period)
            for stray in changes.strays:
                self._set_aside(connection, stray, now)
            for stand_in in changes.stand_ins:
                self._steps.add_report(connection, stand_in.report, now)
                connection.execute(self._sql["stand_in"], stand_in_columns(stand_in, now))

        try:
            self._database.write(rearrange)
        except (SequenceTaken, StrayChanged):
            return False
        return True

    def _set_aside(self, connection: Any, stray: Stray, now: int) -> None:
        report = stray.report
        columns = stray_columns(stray, now)
        if not connection.execute(self._sql["set_aside"], columns).rowcount:
            raise StrayChanged
        if report.state is not ReportState.REPLACED:
            self._steps.count_no_more(connection, report)
        if report.state is ReportState.PENDING:
            self._steps.let_next_go(connection, report.stripe_customer_id, report.meter_key, now)


def _move_end(connection: Any, sql: Mapping[str, str], period: dict[str, Any]) -> None:
    if connection.execute(sql["has_no_more"], period).fetchone() is None:
        raise SequenceTaken
    connection.execute(sql["move_end"], period)
