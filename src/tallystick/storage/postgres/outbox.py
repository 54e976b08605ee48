"""The steps of the outbox that PostgreSQL takes in its own way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.ports.outbox import Reported
from tallystick.storage.postgres.event_log import complete_upto
from tallystick.storage.postgres.locks import LANES
from tallystick.storage.postgres.statements import statements
from tallystick.storage.report_rows import (
    SequenceTaken,
    counted_quantity,
    report_columns,
    settled_columns,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tallystick.domain.reports import PlannedReport, UsageReport
    from tallystick.ports.outbox import Due, Outcome, Rearrangement
    from tallystick.storage.postgres.database import Connection

_SQL = statements("outbox")


def notice(connection: Connection, limit: int) -> int:
    """Mark what the next stored events touch as due; return how many were looked at."""
    (after,) = connection.execute(_SQL["noticed_seq"]).fetchone() or (0,)
    complete = complete_upto(connection)
    parameters = {"after": after, "complete": complete, "limit": limit}
    upto, count = connection.execute(_SQL["next_events_end"], parameters).fetchone() or (None, 0)
    if count:
        connection.execute(_SQL["mark_due"], {"after": after, "upto": upto})
        connection.execute(_SQL["notice_upto"], (upto,))
    return int(count)


def reported_of(row: Sequence[Any]) -> Reported:
    """Return the total that a row holds."""
    return Reported(*row)


def lock_lanes(
    connection: Connection, reports: Iterable[PlannedReport | UsageReport | Rearrangement]
) -> None:
    """Have the reports' lanes alone until the transaction ends: nobody else adds to them, or ends
    what stands at their heads. Comes before anything that looks at a lane.
    """
    connection.execute(_SQL["lock_lanes"], {**_lanes(reports), "lock": LANES})


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


def look_again(connection: Connection, due: Due) -> None:
    """Mark as due anew what is not marked any more as it was read."""
    connection.execute(_SQL["look_again"], due._asdict())


def lease(
    connection: Connection, now: int, lease_until: int, limit: int
) -> Iterable[tuple[Any, ...]]:
    """Lease the next reports that are ready; return them as they were, each with its token."""
    parameters = {"now": now, "lease_until": lease_until, "limit": limit}
    return connection.execute(_SQL["claim"], parameters)


def end_leases(
    connection: Connection, outcomes: Sequence[Outcome], now: int
) -> set[tuple[int, int]]:
    """Write outcomes; return id and token of the leases that were held."""
    columns = zip(*(settled_columns(outcome, now) for outcome in outcomes), strict=True)
    rows = connection.execute(_SQL["settle"], [list(column) for column in columns])
    return {(id_, token) for id_, token in rows}


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


def let_all_go(connection: Connection, reports: Sequence[UsageReport], now: int) -> None:
    """Do the same in the lanes of reports that have ended."""
    if reports:
        connection.execute(_SQL["next_in_lane"], {**_lanes(reports), "now": now})


def _lanes(
    reports: Iterable[PlannedReport | UsageReport | Rearrangement],
) -> dict[str, list[str]]:
    lanes = {(report.stripe_customer_id, report.meter_key) for report in reports}
    return {"customers": [lane[0] for lane in lanes], "meters": [lane[1] for lane in lanes]}
