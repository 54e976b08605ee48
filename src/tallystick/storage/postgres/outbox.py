"""What is due, and the outbox, in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.quantity import ZERO
from tallystick.domain.reports import ReportState
from tallystick.ports.outbox import Claim, Depth, Due, Reported
from tallystick.storage.postgres.event_log import complete_upto
from tallystick.storage.postgres.locks import LANES
from tallystick.storage.postgres.statements import statements
from tallystick.storage.report_rows import (
    SequenceTaken,
    counted_quantity,
    report_columns,
    report_of,
    settled_columns,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tallystick.domain.periods import Period
    from tallystick.domain.reports import PlannedReport, UsageReport
    from tallystick.ports.outbox import Outcome
    from tallystick.storage.postgres.database import Connection, PostgresDatabase

_SQL = statements("outbox")

WAKE_BATCH = 256
"""Reports that wake up with one claim: bounds how long a claim takes after an outage."""


class PostgresReportBook:
    """``ReportBook`` on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def notice(self, limit: int) -> int:
        """Mark what the next stored events touch as due; return how many were looked at."""
        return self._database.write(lambda connection: _notice(connection, limit))

    def due(self, after: Due | None, now: int | None, limit: int) -> list[Due]:
        """Return what is due, in order of customer and meter, from beyond ``after``."""
        parameters = {
            "customer": after.customer if after else "",
            "meter_key": after.meter_key if after else "",
            "now": now,
            "limit": limit,
        }
        with self._database.read() as connection:
            return [Due(*row) for row in connection.execute(_SQL["due"], parameters)]

    def reported(self, customer: str, meter_key: str, period: Period) -> Reported:
        """Return what the reports of the period add up to."""
        key = (customer, meter_key, period.start_at)
        with self._database.read() as connection:
            row = connection.execute(_SQL["reported"], key).fetchone()
        return Reported(*row) if row else Reported(ZERO, 0)

    def record(
        self, due: Due, reports: Sequence[PlannedReport], now: int, *, due_again_at: int | None
    ) -> bool:
        """Write planned reports to the outbox and say when more of this will be due, if so."""

        def record(connection: Connection) -> None:
            lock_lanes(connection, reports)
            for period in {report.period for report in reports}:
                _refuse_another_end(connection, due, period)
            for report in reports:
                add_report(connection, report, now)
            if due_again_at is None:
                connection.execute(_SQL["clear_due"], due)
            else:
                connection.execute(_SQL["sleep_due"], (due_again_at, due.customer, due.meter_key))

        try:
            self._database.write(record)
        except SequenceTaken:
            return False
        return True

    def reports(self, customer: str | None = None) -> list[UsageReport]:
        """Return reports, all or one customer's, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(_SQL["all_reports"], {"customer": customer})
            return [report_of(row) for row in rows]

    def of_period(self, customer: str, meter_key: str, period: Period) -> list[UsageReport]:
        """Return the reports of one customer, meter and billing period, by sequence."""
        key = (customer, meter_key, period.start_at)
        with self._database.read() as connection:
            return [report_of(row) for row in connection.execute(_SQL["reports_of_period"], key)]

    def strays(self, customer: str, meter_key: str) -> list[UsageReport]:
        """Return the reports that Stripe has, or may have, and bills nowhere, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(_SQL["strays"], (customer, meter_key))
            return [report_of(row) for row in rows]


class PostgresOutbox:
    """``Outbox`` on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def claim(self, now: int, lease_us: int, limit: int) -> list[Claim]:
        """Lease the next reports that may be tried, one at most per customer and meter."""
        return self._database.write(
            lambda connection: _claim(connection, now, now + lease_us, limit)
        )

    def settle(self, outcomes: Sequence[Outcome], now: int) -> list[Claim]:
        """Write outcomes, all in one transaction, and return the claims whose lease was lost."""

        def settle(connection: Connection) -> list[Claim]:
            lock_lanes(connection, (outcome.claim.report for outcome in outcomes))
            return _settle(connection, outcomes, now)

        return self._database.write(settle)

    def next_attempt_at(self) -> int | None:
        """Return when the next pending report may be tried, or None if none is pending."""
        with self._database.read() as connection:
            (found,) = connection.execute(_SQL["next_attempt_at"]).fetchone() or (None,)
        return None if found is None else int(found)

    def counts(self) -> dict[str, int]:
        """Return how many reports are in each state."""
        with self._database.read() as connection:
            return dict(connection.execute(_SQL["counts"]).fetchall())

    def depth(self) -> Depth:
        """Return how much waits, and since when."""
        with self._database.read() as connection:
            pending = connection.execute(_SQL["pending_depth"]).fetchone() or ()
            unverified = connection.execute(_SQL["unverified_depth"]).fetchone() or ()
        return Depth(*pending, *unverified)


def _notice(connection: Connection, limit: int) -> int:
    (after,) = connection.execute(_SQL["noticed_seq"]).fetchone() or (0,)
    complete = complete_upto(connection)
    parameters = {"after": after, "complete": complete, "limit": limit}
    upto, count = connection.execute(_SQL["next_events_end"], parameters).fetchone() or (None, 0)
    if count:
        connection.execute(_SQL["mark_due"], {"after": after, "upto": upto})
        connection.execute(_SQL["notice_upto"], (upto,))
    return int(count)


def lock_lanes(connection: Connection, reports: Iterable[PlannedReport | UsageReport]) -> None:
    """Have the reports' lanes alone until the transaction ends: nobody else adds to them, or ends
    what stands at their heads. Comes before anything that looks at a lane.
    """
    connection.execute(_SQL["lock_lanes"], {**_lanes(reports), "lock": LANES})


def _refuse_another_end(connection: Connection, due: Due, period: Period) -> None:
    """Refuse a plan for a period of which another process knows meanwhile that it ended otherwise.

    Raises:
        SequenceTaken
    """
    key = (due.customer, due.meter_key, period.start_at)
    row = connection.execute(_SQL["known_end"], key).fetchone()
    if row is not None and row[0] != period.end_at:
        raise SequenceTaken


def add_report(connection: Connection, report: PlannedReport, now: int) -> None:
    """Add one report to its lane, which the caller has locked.

    Raises:
        SequenceTaken: its place in the sequence is not the next.
    """
    total = {
        "customer": report.customer,
        "meter_key": report.meter_key,
        "period_start_at": report.period.start_at,
        "quantity": counted_quantity(report),
        "sequence": report.sequence,
    }
    if report.sequence == 0:
        connection.execute(_SQL["begin_total"], total)
    if not connection.execute(_SQL["add_to_total"], total).rowcount:
        raise SequenceTaken
    connection.execute(_SQL["add_report"], report_columns(report, now))


def _claim(connection: Connection, now: int, lease_until: int, limit: int) -> list[Claim]:
    connection.execute(_SQL["wake"], {"now": now, "limit": WAKE_BATCH})
    parameters = {"now": now, "lease_until": lease_until, "limit": limit}
    rows = connection.execute(_SQL["claim"], parameters)
    return [Claim(report_of(row[:-1]), row[-1] + 1) for row in rows]


def _settle(connection: Connection, outcomes: Sequence[Outcome], now: int) -> list[Claim]:
    if not outcomes:
        return []
    columns = zip(*(settled_columns(outcome, now) for outcome in outcomes), strict=True)
    held = set(connection.execute(_SQL["settle"], [list(column) for column in columns]))
    ended: list[UsageReport] = []
    lost: list[Claim] = []
    for claim, settlement in outcomes:
        if (claim.report.id, claim.token) not in held:
            lost.append(claim)
            continue
        if settlement.state is ReportState.REPLACED:
            plan_anew(connection, claim.report)
        if settlement.state is not ReportState.PENDING:
            ended.append(claim.report)
    if ended:
        connection.execute(_SQL["next_in_lane"], {**_lanes(ended), "now": now})
    return lost


def plan_anew(connection: Connection, report: UsageReport) -> None:
    """Count a report no more, and mark its usage due."""
    count_no_more(connection, report)
    connection.execute(_SQL["mark_due_again"], (report.customer, report.meter_key))


def count_no_more(connection: Connection, report: UsageReport) -> None:
    """Take a report that is replaced out of its period's total."""
    parameters = {
        "customer": report.customer,
        "meter_key": report.meter_key,
        "period_start_at": report.period.start_at,
        "quantity": report.quantity,
    }
    connection.execute(_SQL["take_from_total"], parameters)


def let_next_go(connection: Connection, stripe_customer_id: str, meter_key: str, now: int) -> None:
    """Put the oldest report that queues in a lane, which the caller has locked, at its head."""
    lane = {"customers": [stripe_customer_id], "meters": [meter_key]}
    connection.execute(_SQL["next_in_lane"], {**lane, "now": now})


def _lanes(reports: Iterable[PlannedReport | UsageReport]) -> dict[str, list[str]]:
    lanes = {(report.stripe_customer_id, report.meter_key) for report in reports}
    return {"customers": [lane[0] for lane in lanes], "meters": [lane[1] for lane in lanes]}
