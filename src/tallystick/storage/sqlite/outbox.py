"""What is due, and the outbox, in SQLite."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tallystick.domain.periods import Period
from tallystick.domain.quantity import add_all, plain
from tallystick.domain.reports import ReportState, UsageReport
from tallystick.ports.errors import LeaseLost
from tallystick.ports.outbox import Claim, Due, Reported
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from tallystick.domain.reports import PlannedReport
    from tallystick.ports.outbox import Settlement
    from tallystick.storage.sqlite.database import SqliteDatabase

_SQL = statements("outbox")


class SqliteReportBook:
    """``ReportBook`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def notice(self, limit: int) -> int:
        """Mark what the next stored events touch as due; return how many were looked at."""
        return self._database.write(lambda connection: _notice(connection, limit)).result()

    def due(self, after: Due | None, limit: int) -> list[Due]:
        """Return what is due, in order of customer and meter, from beyond ``after``."""
        with self._database.read() as connection:
            rows = connection.execute(
                _SQL["due"],
                (after.customer if after else "", after.meter_key if after else "", limit),
            )
            return [Due(*row) for row in rows]

    def reported(self, customer: str, meter_key: str, period: Period) -> Reported:
        """Return what the reports of the period add up to."""
        with self._database.read() as connection:
            rows = connection.execute(
                _SQL["reported"], (customer, meter_key, period.start_at)
            ).fetchall()
        return Reported(
            add_all(Decimal(quantity) for quantity, _ in rows),
            max((sequence for _, sequence in rows), default=-1) + 1,
        )

    def record(
        self, due: Due, reports: Sequence[PlannedReport], now: int, *, still_due: bool
    ) -> bool:
        """Write planned reports to the outbox and say whether more of this will be due."""
        return self._database.write(
            lambda connection: _record(connection, due, reports, now, still_due=still_due)
        ).result()

    def reports(self, customer: str | None = None) -> list[UsageReport]:
        """Return reports, all or one customer's, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(_SQL["all_reports"], {"customer": customer})
            return [stored_report(row) for row in rows]


class SqliteOutbox:
    """``Outbox`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def claim(self, now: int, lease_us: int, limit: int) -> list[Claim]:
        """Lease the next reports that may be tried, one at most per customer and meter."""
        return self._database.write(
            lambda connection: _claim(connection, now, now + lease_us, limit)
        ).result()

    def settle(self, claim: Claim, settlement: Settlement, now: int) -> None:
        """Write the outcome of an attempt and end the lease."""
        parameters = {
            "id": claim.report.id,
            "token": claim.token,
            "state": settlement.state,
            "maybe_taken": settlement.maybe_taken,
            "reason": settlement.reason,
            "retry_at": settlement.retry_at,
            "now": now,
        }
        changed = self._database.write(
            lambda connection: connection.execute(_SQL["settle"], parameters).rowcount
        ).result()
        if not changed:
            raise LeaseLost(f"report {claim.report.identifier} was taken over by another worker")

    def next_attempt_at(self) -> int | None:
        """Return when the next pending report may be tried, or None if none is pending."""
        with self._database.read() as connection:
            (found,) = connection.execute(_SQL["next_attempt_at"]).fetchone()
        return None if found is None else int(found)

    def counts(self) -> dict[str, int]:
        """Return how many reports are in each state."""
        with self._database.read() as connection:
            return dict(connection.execute(_SQL["counts"]).fetchall())


def _notice(connection: sqlite3.Connection, limit: int) -> int:
    (after,) = connection.execute(_SQL["noticed_seq"]).fetchone()
    (last,) = connection.execute(_SQL["last_seq"]).fetchone()
    upto = min(last, after + limit)
    if upto <= after:
        return 0
    connection.execute(_SQL["mark_due"], {"after": after, "upto": upto})
    connection.execute(_SQL["notice_upto"], (upto,))
    return int(upto - after)


def _record(
    connection: sqlite3.Connection,
    due: Due,
    reports: Sequence[PlannedReport],
    now: int,
    *,
    still_due: bool,
) -> bool:
    for report in reports:
        if not _add(connection, report, now):
            return False
    if not still_due:
        connection.execute(_SQL["clear_due"], due)
    return True


def _add(connection: sqlite3.Connection, report: PlannedReport, now: int) -> bool:
    """Add one report unless its place in the sequence is taken or was left behind."""
    key = (report.customer, report.meter_key, report.period.start_at)
    (expected,) = connection.execute(_SQL["next_sequence"], key).fetchone()
    if report.sequence != expected:
        return False
    connection.execute(
        _SQL["add_report"],
        (
            report.customer,
            report.stripe_customer_id,
            report.meter_key,
            report.period.start_at,
            report.period.end_at,
            report.window.start_at,
            report.window.end_at,
            report.sequence,
            plain(report.quantity),
            report.timestamp,
            report.identifier,
            report.state,
            report.reason,
            now,
            now,
        ),
    )
    return True


def _claim(connection: sqlite3.Connection, now: int, lease_until: int, limit: int) -> list[Claim]:
    rows = connection.execute(_SQL["claimable"], {"now": now, "limit": limit}).fetchall()
    claims = []
    for *row, last_token in rows:
        report = stored_report(tuple(row))
        token = last_token + 1
        connection.execute(
            _SQL["lease"],
            {"id": report.id, "token": token, "lease_until": lease_until, "now": now},
        )
        claims.append(Claim(report, token))
    return claims


def stored_report(row: tuple[Any, ...]) -> UsageReport:
    """Return the report that a row of the outbox holds."""
    (
        id_,
        customer,
        stripe_customer_id,
        meter_key,
        period_start_at,
        period_end_at,
        window_start_at,
        window_end_at,
        sequence,
        quantity,
        timestamp,
        identifier,
        state,
        reason,
        attempts,
        maybe_taken,
        first_attempt_at,
    ) = row
    return UsageReport(
        id=id_,
        customer=customer,
        stripe_customer_id=stripe_customer_id,
        meter_key=meter_key,
        period=Period(period_start_at, period_end_at),
        window=Period(window_start_at, window_end_at),
        sequence=sequence,
        quantity=Decimal(quantity),
        timestamp=timestamp,
        identifier=identifier,
        state=ReportState(state),
        reason=reason,
        attempts=attempts,
        maybe_taken=bool(maybe_taken),
        first_attempt_at=first_attempt_at,
    )
