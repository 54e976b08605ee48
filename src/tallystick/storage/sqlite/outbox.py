"""The steps of the outbox that SQLite takes in its own way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tallystick.domain.quantity import ZERO, from_parts, subtract, to_parts
from tallystick.ports.outbox import Reported
from tallystick.storage.report_rows import (
    SETTLED_WIDTH,
    SequenceTaken,
    counted_quantity,
    report_columns,
    settled_columns,
)
from tallystick.storage.sqlite.statements import read_rows, statements, write_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from tallystick.domain.reports import PlannedReport, UsageReport
    from tallystick.ports.outbox import Due, Outcome, Rearrangement

_SQL = statements("outbox")


def notice(connection: sqlite3.Connection, limit: int) -> int:
    """Mark what the next stored events touch as due; return how many were looked at."""
    (after,) = connection.execute(_SQL["noticed_seq"]).fetchone()
    (last,) = connection.execute(_SQL["last_seq"]).fetchone()
    upto = min(last, after + limit)
    if upto <= after:
        return 0
    connection.execute(_SQL["mark_due"], {"after": after, "upto": upto})
    connection.execute(_SQL["notice_upto"], (upto,))
    return int(upto - after)


def reported_of(row: Sequence[Any]) -> Reported:
    """Return the total that a row holds."""
    whole, pico, next_sequence = row
    return Reported(from_parts(whole, pico), next_sequence)


def lock_lanes(
    _connection: sqlite3.Connection, _reports: Iterable[PlannedReport | UsageReport | Rearrangement]
) -> None:
    """Do nothing: whoever writes to the file has all of it alone."""


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


def look_again(connection: sqlite3.Connection, due: Due) -> None:
    """Mark as due anew what is not marked any more as it was read."""
    if connection.execute(_SQL["is_marked"], due).fetchone() is None:
        connection.execute(_SQL["next_mark"])
        connection.execute(_SQL["mark_due_again"], due[:2])


def lease(
    connection: sqlite3.Connection, now: int, lease_until: int, limit: int
) -> list[tuple[Any, ...]]:
    """Lease the next reports that are ready; return them as they were, each with its token."""
    rows = connection.execute(_SQL["claimable"], {"limit": limit}).fetchall()
    ids = json.dumps([row[0] for row in rows])
    connection.execute(_SQL["lease"], {"ids": ids, "lease_until": lease_until, "now": now})
    return rows


def end_leases(
    connection: sqlite3.Connection, outcomes: Sequence[Outcome], now: int
) -> set[tuple[int, int]]:
    """Write outcomes; return id and token of the leases that were held."""
    flat = [value for outcome in outcomes for value in settled_columns(outcome, now)]
    return {
        (id_, token) for id_, token in read_rows(connection, _SQL["settle"], flat, SETTLED_WIDTH)
    }


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


def let_all_go(connection: sqlite3.Connection, reports: Sequence[UsageReport], now: int) -> None:
    """Do the same in the lanes of reports that have ended."""
    lanes: list[str | int] = []
    for report in reports:
        lanes += (report.stripe_customer_id, report.meter_key, now)
    write_rows(connection, _SQL["next_in_lane"], lanes, 3)
