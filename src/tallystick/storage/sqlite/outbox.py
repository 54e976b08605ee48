"""What is due, and the outbox, in SQLite."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tallystick.domain.quantity import ZERO, from_parts, subtract, to_parts
from tallystick.domain.reports import ReportState
from tallystick.ports.outbox import Claim, Depth, Due, Reported
from tallystick.storage.report_rows import (
    SETTLED_WIDTH,
    SequenceTaken,
    counted_quantity,
    report_columns,
    report_of,
    settled_columns,
)
from tallystick.storage.sqlite.statements import read_rows, statements, write_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from tallystick.domain.periods import Period
    from tallystick.domain.reports import PlannedReport, UsageReport
    from tallystick.ports.outbox import Outcome
    from tallystick.storage.sqlite.database import SqliteDatabase

_SQL = statements("outbox")

WAKE_BATCH = 256
"""Reports that wake up with one claim: bounds how long a claim takes after an outage."""


class SqliteReportBook:
    """``ReportBook`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
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
        with self._database.read() as connection:
            row = connection.execute(
                _SQL["reported"], (customer, meter_key, period.start_at)
            ).fetchone()
        return Reported(from_parts(*row[:2]), row[2]) if row else Reported(ZERO, 0)

    def record(
        self, due: Due, reports: Sequence[PlannedReport], now: int, *, due_again_at: int | None
    ) -> bool:
        """Write planned reports to the outbox and say when more of this will be due, if so."""

        def record(connection: sqlite3.Connection) -> None:
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
        with self._database.read() as connection:
            rows = connection.execute(
                _SQL["reports_of_period"], (customer, meter_key, period.start_at)
            )
            return [report_of(row) for row in rows]

    def strays(self, customer: str, meter_key: str) -> list[UsageReport]:
        """Return the reports that Stripe has, or may have, and bills nowhere, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(_SQL["strays"], (customer, meter_key))
            return [report_of(row) for row in rows]


class SqliteOutbox:
    """``Outbox`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def claim(self, now: int, lease_us: int, limit: int) -> list[Claim]:
        """Lease the next reports that may be tried, one at most per customer and meter."""
        return self._database.write(
            lambda connection: _claim(connection, now, now + lease_us, limit)
        )

    def settle(self, outcomes: Sequence[Outcome], now: int) -> list[Claim]:
        """Write outcomes, all in one transaction, and return the claims whose lease was lost."""
        return self._database.write(lambda connection: _settle(connection, outcomes, now))

    def next_attempt_at(self) -> int | None:
        """Return when the next pending report may be tried, or None if none is pending."""
        with self._database.read() as connection:
            (found,) = connection.execute(_SQL["next_attempt_at"]).fetchone()
        return None if found is None else int(found)

    def counts(self) -> dict[str, int]:
        """Return how many reports are in each state."""
        with self._database.read() as connection:
            return dict(connection.execute(_SQL["counts"]).fetchall())

    def depth(self) -> Depth:
        """Return how much waits, and since when."""
        with self._database.read() as connection:
            pending = connection.execute(_SQL["pending_depth"]).fetchone()
            unverified = connection.execute(_SQL["unverified_depth"]).fetchone()
        return Depth(*pending, *unverified)


def _notice(connection: sqlite3.Connection, limit: int) -> int:
    (after,) = connection.execute(_SQL["noticed_seq"]).fetchone()
    (last,) = connection.execute(_SQL["last_seq"]).fetchone()
    upto = min(last, after + limit)
    if upto <= after:
        return 0
    connection.execute(_SQL["mark_due"], {"after": after, "upto": upto})
    connection.execute(_SQL["notice_upto"], (upto,))
    return int(upto - after)


def _refuse_another_end(connection: sqlite3.Connection, due: Due, period: Period) -> None:
    """Refuse a plan for a period of which another process knows meanwhile that it ended otherwise.

    Raises:
        SequenceTaken
    """
    key = (due.customer, due.meter_key, period.start_at)
    row = connection.execute(_SQL["known_end"], key).fetchone()
    if row is not None and row[0] != period.end_at:
        raise SequenceTaken


def add_report(connection: sqlite3.Connection, report: PlannedReport, now: int) -> None:
    """Add one report.

    Raises:
        SequenceTaken: its place in the sequence is not the next.
    """
    whole, pico = to_parts(counted_quantity(report))
    total = {
        "customer": report.customer,
        "meter_key": report.meter_key,
        "period_start_at": report.period.start_at,
        "whole": whole,
        "pico": pico,
        "sequence": report.sequence,
    }
    if not connection.execute(_SQL["add_to_total"], total).rowcount:
        raise SequenceTaken
    connection.execute(_SQL["add_report"], report_columns(report, now))


def _claim(connection: sqlite3.Connection, now: int, lease_until: int, limit: int) -> list[Claim]:
    connection.execute(_SQL["wake"], {"now": now, "limit": WAKE_BATCH})
    rows = connection.execute(_SQL["claimable"], {"limit": limit}).fetchall()
    claims = [Claim(report_of(row[:-1]), row[-1] + 1) for row in rows]
    ids = json.dumps([claim.report.id for claim in claims])
    connection.execute(_SQL["lease"], {"ids": ids, "lease_until": lease_until, "now": now})
    return claims


def _settle(connection: sqlite3.Connection, outcomes: Sequence[Outcome], now: int) -> list[Claim]:
    flat = [value for outcome in outcomes for value in settled_columns(outcome, now)]
    held = set(read_rows(connection, _SQL["settle"], flat, SETTLED_WIDTH))
    lanes: list[str | int] = []
    lost: list[Claim] = []
    for claim, settlement in outcomes:
        report = claim.report
        if (report.id, claim.token) not in held:
            lost.append(claim)
            continue
        if settlement.state is ReportState.REPLACED:
            plan_anew(connection, report)
        if settlement.state is not ReportState.PENDING:
            lanes += (report.stripe_customer_id, report.meter_key, now)
    write_rows(connection, _SQL["next_in_lane"], lanes, 3)
    return lost


def plan_anew(connection: sqlite3.Connection, report: UsageReport) -> None:
    """Count a report no more, and mark its usage due."""
    count_no_more(connection, report)
    connection.execute(_SQL["next_mark"])  # whoever plans it now must not clear this
    connection.execute(_SQL["mark_due_again"], (report.customer, report.meter_key))


def count_no_more(connection: sqlite3.Connection, report: UsageReport) -> None:
    """Take a report that is replaced out of its period's total."""
    whole, pico = to_parts(subtract(ZERO, report.quantity))
    parameters = {
        "customer": report.customer,
        "meter_key": report.meter_key,
        "period_start_at": report.period.start_at,
        "whole": whole,
        "pico": pico,
    }
    connection.execute(_SQL["take_from_total"], parameters)


def let_next_go(
    connection: sqlite3.Connection, stripe_customer_id: str, meter_key: str, now: int
) -> None:
    """Put the oldest report that queues for the customer and meter at the head of its lane."""
    write_rows(connection, _SQL["next_in_lane"], (stripe_customer_id, meter_key, now), 3)
