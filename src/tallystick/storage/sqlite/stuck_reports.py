"""Delivered reports that are not confirmed, and those that only a person moves on, in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.reports import ReportState
from tallystick.ports.outbox import Decision
from tallystick.storage.report_rows import SequenceTaken, report_of
from tallystick.storage.sqlite.outbox import add_report, count_no_more, let_next_go, plan_anew
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from tallystick.domain.reports import PlannedReport, UsageReport
    from tallystick.ports.outbox import StuckFilter
    from tallystick.storage.sqlite.database import SqliteDatabase

_SQL = statements("stuck_reports")


class SqliteConfirmations:
    """``Confirmations`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def next_unverified(self, now: int) -> UsageReport | None:
        """Return a delivered report whose period is to be looked at now, if there is one."""
        with self._database.read() as connection:
            row = connection.execute(_SQL["next_unverified"], (now,)).fetchone()
        return report_of(row) if row else None

    def verify(self, reports: Sequence[UsageReport], now: int) -> None:
        """Write down that Stripe counts the reports."""
        rows = [(now, report.id) for report in reports]
        self._database.write(lambda connection: connection.executemany(_SQL["verify"], rows))

    def look_again(self, reports: Sequence[UsageReport], at: int) -> None:
        """Put off the reports until then."""
        rows = [(at, report.id) for report in reports]
        self._database.write(lambda connection: connection.executemany(_SQL["look_again"], rows))

    def reject(self, identifier: str, reason: str, now: int) -> bool:
        """Mark a report dead that Stripe took and did not count; False if there is no such one."""

        def reject(connection: sqlite3.Connection) -> bool:
            row = connection.execute(_SQL["rejectable"], (identifier,)).fetchone()
            if row is None:
                return False
            report_id, stripe_customer_id, meter_key = row
            connection.execute(_SQL["reject"], {"id": report_id, "reason": reason, "now": now})
            let_next_go(connection, stripe_customer_id, meter_key, now)
            return True

        return self._database.write(reject)

    def errors_read(self) -> int:
        """Return up to which ``seq`` Stripe's error reports were matched with ours."""
        with self._database.read() as connection:
            return int(connection.execute(_SQL["errors_read"]).fetchone()[0])

    def mark_errors_read(self, seq: int) -> None:
        """Write down that they were, up to ``seq``."""
        self._database.write(
            lambda connection: connection.execute(_SQL["mark_errors_read"], (seq,))
        )


class SqliteStuckReports:
    """``StuckReports`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def find(self, chosen: StuckFilter, after_id: int, limit: int) -> list[UsageReport]:
        """Return stuck reports in the order of their ids, from beyond ``after_id``."""
        parameters = {**chosen._asdict(), "after_id": after_id, "limit": limit}
        with self._database.read() as connection:
            return [report_of(row) for row in connection.execute(_SQL["find_stuck"], parameters)]

    def count(self, chosen: StuckFilter) -> int:
        """Return how many there are."""
        with self._database.read() as connection:
            (found,) = connection.execute(_SQL["count_stuck"], chosen._asdict()).fetchone()
        return int(found)

    def get(self, report_id: int) -> UsageReport | None:
        """Return a report in whatever state."""
        with self._database.read() as connection:
            row = connection.execute(_SQL["report_by_id"], (report_id,)).fetchone()
        return report_of(row) if row else None

    def replace(
        self, report: UsageReport, planned: PlannedReport | None, decision: Decision
    ) -> bool:
        """Put a new report in the place of a stuck one; without one, mark its usage due again."""

        def replace(connection: sqlite3.Connection) -> bool:
            if not _close(connection, report.id, ReportState.REPLACED, decision):
                return False
            if planned is None:
                plan_anew(connection, report)
                return True
            count_no_more(connection, report)
            add_report(connection, planned, decision.at)
            return True

        try:
            return self._database.write(replace)
        except SequenceTaken:
            return False

    def close(self, report: UsageReport, state: ReportState, decision: Decision) -> bool:
        """End a stuck report as delivered or waived; False if it is stuck no more."""
        return self._database.write(
            lambda connection: _close(connection, report.id, state, decision)
        )

    def decisions(self, report_id: int) -> list[tuple[str, Decision]]:
        """Return what was decided about a report, oldest first, each with the action's name."""
        with self._database.read() as connection:
            rows = connection.execute(_SQL["decisions"], (report_id,)).fetchall()
        return [(action, Decision(*decided)) for action, *decided in rows]


def _close(
    connection: sqlite3.Connection, report_id: int, state: ReportState, decision: Decision
) -> bool:
    changed = connection.execute(
        _SQL["close_stuck"], {"id": report_id, "state": state, "now": decision.at}
    ).rowcount
    if changed:
        connection.execute(
            _SQL["add_decision"], (report_id, state, decision.actor, decision.reason, decision.at)
        )
    return bool(changed)
