"""What is due, and the outbox, on every backend: the statements are its own, what is done with rows
is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from tallystick.domain.quantity import ZERO
from tallystick.domain.reports import ReportState
from tallystick.ports.outbox import Claim, Depth, Due, Reported
from tallystick.storage.report_rows import SequenceTaken, report_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tallystick.domain.periods import Period
    from tallystick.domain.reports import PlannedReport, UsageReport
    from tallystick.ports.outbox import Outcome, Rearrangement
    from tallystick.storage.database import Database

WAKE_BATCH = 256
"""Reports that wake up with one claim: bounds how long a claim takes after an outage."""


class OutboxSteps(Protocol):
    """The steps that each backend takes in its own way, in a transaction of the caller's.

    A backend's ``outbox`` module has them as functions.
    """

    def notice(self, connection: Any, limit: int) -> int:
        """Mark what the next stored events touch as due; return how many were looked at."""
        ...

    def reported_of(self, row: Sequence[Any]) -> Reported:
        """Return the total that a row holds."""
        ...

    def lock_lanes(
        self, connection: Any, reports: Iterable[PlannedReport | UsageReport | Rearrangement], /
    ) -> None:
        """Have the reports' lanes alone until the transaction ends: nobody else adds to them, or
        ends what stands at their heads. Comes before anything that looks at a lane.
        """
        ...

    def add_report(self, connection: Any, report: PlannedReport, now: int) -> None:
        """Add one report to its lane, which the caller has locked.

        Raises:
            SequenceTaken: its place in the sequence is not the next.
        """
        ...

    def look_again(self, connection: Any, due: Due) -> None:
        """Mark as due anew what is not marked any more as it was read: whoever took it for planned,
        or would, knew nothing of what is being written.
        """
        ...

    def lease(
        self, connection: Any, now: int, lease_until: int, limit: int
    ) -> Iterable[Sequence[Any]]:
        """Lease the next reports that are ready; return them as they were, each with its token."""
        ...

    def end_leases(
        self, connection: Any, outcomes: Sequence[Outcome], now: int
    ) -> set[tuple[int, int]]:
        """Write outcomes; return id and token of the leases that were held."""
        ...

    def plan_anew(self, connection: Any, report: UsageReport) -> None:
        """Count a report no more, and mark its usage due."""
        ...

    def count_no_more(self, connection: Any, report: UsageReport) -> None:
        """Take a report that is replaced out of its period's total."""
        ...

    def let_next_go(
        self, connection: Any, stripe_customer_id: str, meter_key: str, now: int
    ) -> None:
        """Put the oldest report that queues in a lane, which the caller has locked, at its head."""
        ...

    def let_all_go(self, connection: Any, reports: Sequence[UsageReport], now: int) -> None:
        """Do the same in the lanes of reports that have ended."""
        ...


def refuse_another_end(
    connection: Any, known_end: str, customer: str, meter_key: str, period: Period
) -> None:
    """Refuse a report in a period of which another process knows meanwhile that it ended otherwise.

    ``known_end`` is the statement that tells the end.

    Raises:
        SequenceTaken
    """
    row = connection.execute(known_end, (customer, meter_key, period.start_at)).fetchone()
    if row is not None and row[0] != period.end_at:
        raise SequenceTaken


class StoredReportBook:
    """``ReportBook`` on one database."""

    def __init__(self, database: Database, steps: OutboxSteps) -> None:
        self._database = database
        self._steps = steps
        self._sql = database.statements("outbox")

    def notice(self, limit: int) -> int:
        """Mark what the next stored events touch as due; return how many were looked at."""
        return self._database.write(lambda connection: self._steps.notice(connection, limit))

    def due(self, after: Due | None, now: int | None, limit: int) -> list[Due]:
        """Return what is due, in order of customer and meter, from beyond ``after``."""
        parameters = {
            "customer": after.customer if after else "",
            "meter_key": after.meter_key if after else "",
            "now": now,
            "limit": limit,
        }
        with self._database.read() as connection:
            return [Due(*row) for row in connection.execute(self._sql["due"], parameters)]

    def reported(self, customer: str, meter_key: str, period: Period) -> Reported:
        """Return what the reports of the period add up to."""
        key = (customer, meter_key, period.start_at)
        with self._database.read() as connection:
            row = connection.execute(self._sql["reported"], key).fetchone()
        return self._steps.reported_of(row) if row else Reported(ZERO, 0)

    def record(
        self, due: Due, reports: Sequence[PlannedReport], now: int, *, due_again_at: int | None
    ) -> bool:
        """Write planned reports to the outbox and say when more of this will be due, if so."""

        def record(connection: Any) -> None:
            self._steps.lock_lanes(connection, reports)
            for period in {report.period for report in reports}:
                refuse_another_end(
                    connection, self._sql["known_end"], due.customer, due.meter_key, period
                )
            for report in reports:
                self._steps.add_report(connection, report, now)
            if reports:
                self._steps.look_again(connection, due)
            if due_again_at is None:
                connection.execute(self._sql["clear_due"], due)
            else:
                connection.execute(self._sql["sleep_due"], (due_again_at, *due))

        try:
            self._database.write(record)
        except SequenceTaken:
            return False
        return True

    def reports(self, customer: str | None = None) -> list[UsageReport]:
        """Return reports, all or one customer's, oldest first."""
        return self._found("all_reports", {"customer": customer})

    def of_period(self, customer: str, meter_key: str, period: Period) -> list[UsageReport]:
        """Return the reports of one customer, meter and billing period, by sequence."""
        return self._found("reports_of_period", (customer, meter_key, period.start_at))

    def strays(self, customer: str, meter_key: str) -> list[UsageReport]:
        """Return the reports that Stripe has, or may have, and bills nowhere, oldest first."""
        return self._found("strays", (customer, meter_key))

    def _found(self, name: str, parameters: object) -> list[UsageReport]:
        with self._database.read() as connection:
            return [report_of(row) for row in connection.execute(self._sql[name], parameters)]


class StoredOutbox:
    """``Outbox`` on one database."""

    def __init__(self, database: Database, steps: OutboxSteps) -> None:
        self._database = database
        self._steps = steps
        self._sql = database.statements("outbox")

    def claim(self, now: int, lease_us: int, limit: int) -> list[Claim]:
        """Lease the next reports that may be tried, one at most per customer and meter."""

        def claim(connection: Any) -> list[Claim]:
            connection.execute(self._sql["wake"], {"now": now, "limit": WAKE_BATCH})
            rows = self._steps.lease(connection, now, now + lease_us, limit)
            return [Claim(report_of(tuple(row[:-1])), row[-1] + 1) for row in rows]

        return self._database.write(claim)

    def settle(self, outcomes: Sequence[Outcome], now: int) -> list[Claim]:
        """Write outcomes, all in one transaction, and return the claims whose lease was lost."""

        def settle(connection: Any) -> list[Claim]:
            self._steps.lock_lanes(connection, (outcome.claim.report for outcome in outcomes))
            held = self._steps.end_leases(connection, outcomes, now)
            ended: list[UsageReport] = []
            lost: list[Claim] = []
            for claim, settlement in outcomes:
                if (claim.report.id, claim.token) not in held:
                    lost.append(claim)
                    continue
                if settlement.state is ReportState.REPLACED:
                    self._steps.plan_anew(connection, claim.report)
                if settlement.state is not ReportState.PENDING:
                    ended.append(claim.report)
            self._steps.let_all_go(connection, ended, now)
            return lost

        return self._database.write(settle) if outcomes else []

    def next_attempt_at(self) -> int | None:
        """Return when the next pending report may be tried, or None if none is pending."""
        with self._database.read() as connection:
            (found,) = connection.execute(self._sql["next_attempt_at"]).fetchone()
        return None if found is None else int(found)

    def counts(self) -> dict[str, int]:
        """Return how many reports are in each state."""
        with self._database.read() as connection:
            return dict(connection.execute(self._sql["counts"]).fetchall())

    def depth(self) -> Depth:
        """Return how much waits, and since when."""
        with self._database.read() as connection:
            pending = connection.execute(self._sql["pending_depth"]).fetchone()
            unverified = connection.execute(self._sql["unverified_depth"]).fetchone()
        return Depth(*pending, *unverified)
