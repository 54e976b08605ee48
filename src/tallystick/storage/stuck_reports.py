"""Delivered reports that are not confirmed, and those that only a person moves on, on every
backend: the statements are its own, what is done with rows is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.domain.reports import ReportState
from tallystick.ports.outbox import Decision
from tallystick.storage.outbox import refuse_another_end
from tallystick.storage.report_rows import SequenceTaken, report_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.domain.reports import PlannedReport, UsageReport
    from tallystick.ports.outbox import StuckFilter
    from tallystick.storage.database import Database
    from tallystick.storage.outbox import OutboxSteps


class StoredConfirmations:
    """``Confirmations`` on one database."""

    def __init__(self, database: Database, steps: OutboxSteps) -> None:
        self._database = database
        self._steps = steps
        self._sql = database.statements("stuck_reports")

    def next_unverified(self, now: int) -> UsageReport | None:
        """Return a delivered report whose period is to be looked at now, if there is one."""
        with self._database.read() as connection:
            row = connection.execute(self._sql["next_unverified"], (now,)).fetchone()
        return report_of(row) if row else None

    def verify(self, reports: Sequence[UsageReport], now: int) -> None:
        """Write down that Stripe counts the reports."""
        self._write_all("verify", reports, now)

    def look_again(self, reports: Sequence[UsageReport], at: int) -> None:
        """Put off the reports until then."""
        self._write_all("look_again", reports, at)

    def leave(self, reports: Sequence[UsageReport], reason: str) -> None:
        """Look for the reports no more."""
        self._write_all("leave", reports, reason)

    def _write_all(self, name: str, reports: Sequence[UsageReport], value: int | str) -> None:
        parameters = (value, self._database.array([report.id for report in reports]))
        self._database.write(lambda connection: connection.execute(self._sql[name], parameters))

    def reject(self, identifier: str, reason: str, now: int) -> bool:
        """Mark a report dead that Stripe took and did not count; False if there is no such one."""
        parameters = {"identifier": identifier, "reason": reason, "now": now}

        def reject(connection: Any) -> bool:
            row = connection.execute(self._sql["report_of_identifier"], (identifier,)).fetchone()
            if row is None:
                return False
            report = report_of(row)
            self._steps.lock_lanes(connection, [report])
            if not connection.execute(self._sql["reject"], parameters).rowcount:
                return False
            self._steps.let_all_go(connection, [report], now)
            return True

        return self._database.write(reject)

    def errors_read(self) -> int:
        """Return up to which ``seq`` Stripe's error reports were matched with ours."""
        with self._database.read() as connection:
            return int(connection.execute(self._sql["errors_read"]).fetchone()[0])

    def mark_errors_read(self, seq: int) -> None:
        """Write down that they were, up to ``seq``."""
        self._database.write(
            lambda connection: connection.execute(self._sql["mark_errors_read"], (seq,))
        )


class StoredStuckReports:
    """``StuckReports`` on one database."""

    def __init__(self, database: Database, steps: OutboxSteps) -> None:
        self._database = database
        self._steps = steps
        self._sql = database.statements("stuck_reports")
        self._known_end = database.statements("outbox")["known_end"]

    def find(self, chosen: StuckFilter, after_id: int, limit: int) -> list[UsageReport]:
        """Return stuck reports in the order of their ids, from beyond ``after_id``."""
        parameters = {**chosen._asdict(), "after_id": after_id, "limit": limit}
        with self._database.read() as connection:
            rows = connection.execute(self._sql["find_stuck"], parameters)
            return [report_of(row) for row in rows]

    def count(self, chosen: StuckFilter) -> int:
        """Return how many there are."""
        with self._database.read() as connection:
            row = connection.execute(self._sql["count_stuck"], chosen._asdict()).fetchone()
        return int(row[0])

    def get(self, report_id: int) -> UsageReport | None:
        """Return a report in whatever state."""
        with self._database.read() as connection:
            row = connection.execute(self._sql["report_by_id"], (report_id,)).fetchone()
        return report_of(row) if row else None

    def replace(
        self, report: UsageReport, planned: PlannedReport | None, decision: Decision
    ) -> bool:
        """Put a new report in the place of a stuck one; without one, mark its usage due again."""

        def replace(connection: Any) -> bool:
            self._steps.lock_lanes(connection, [planned] if planned else [])
            if not self._close(connection, report.id, ReportState.REPLACED, decision):
                return False
            if planned is None:
                self._steps.plan_anew(connection, report)
                return True
            refuse_another_end(
                connection, self._known_end, planned.customer, planned.meter_key, planned.period
            )
            self._steps.count_no_more(connection, report)
            self._steps.add_report(connection, planned, decision.at)
            return True

        try:
            return self._database.write(replace)
        except SequenceTaken:
            return False

    def close(self, report: UsageReport, state: ReportState, decision: Decision) -> bool:
        """End a stuck report as delivered or waived; False if it is stuck no more."""
        return self._database.write(
            lambda connection: self._close(connection, report.id, state, decision)
        )

    def _close(
        self, connection: Any, report_id: int, state: ReportState, decision: Decision
    ) -> bool:
        parameters = {"id": report_id, "state": state, "now": decision.at}
        if not connection.execute(self._sql["close_stuck"], parameters).rowcount:
            return False
        row = (report_id, state, decision.actor, decision.reason, decision.at)
        connection.execute(self._sql["add_decision"], row)
        return True

    def decisions(self, report_id: int) -> list[tuple[str, Decision]]:
        """Return what was decided about a report, oldest first, each with the action's name."""
        with self._database.read() as connection:
            rows = connection.execute(self._sql["decisions"], (report_id,)).fetchall()
        return [(action, Decision(*decided)) for action, *decided in rows]
