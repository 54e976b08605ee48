"""The outbox's rows: a report's columns, and the report that a row holds."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tallystick.domain.periods import Period
from tallystick.domain.quantity import ZERO, plain
from tallystick.domain.reports import EventKey, ReportState, ReportWay, Step, UsageReport
from tallystick.domain.usage_records import RecordAggregation

if TYPE_CHECKING:
    from tallystick.domain.reports import PlannedReport
    from tallystick.ports.outbox import Rearrangement, StandIn, Stray


class SequenceTaken(Exception):
    """Undoes what was being written: another report took the sequence first."""


class StrayChanged(Exception):
    """Undoes what was being written: a report is not as it was read any more."""


def report_columns(report: PlannedReport, now: int) -> dict[str, Any]:
    """Return the columns of a report that is about to be written, by name."""
    return {
        "customer": report.customer,
        "stripe_customer_id": report.stripe_customer_id,
        "meter_key": report.meter_key,
        "period_start_at": report.period.start_at,
        "period_end_at": report.period.end_at,
        "window_start_at": report.window.start_at,
        "window_end_at": report.window.end_at,
        "sequence": report.sequence,
        "quantity": plain(report.quantity),
        "timestamp": report.timestamp,
        "identifier": report.identifier,
        "state": report.state,
        "reason": report.reason,
        "way": report.way,
        "stripe_item_id": report.stripe_item_id,
        "level": None if report.level is None else plain(report.level),
        "record_aggregation": report.record_aggregation,
        "is_increment": report.is_increment,
        "event_source": report.event.source if report.event else None,
        "event_id": report.event.id if report.event else None,
        "cancels": report.cancels,
        "closes_at": report.closes_at,
        "now": now,
    }


def counted_quantity(report: PlannedReport) -> Decimal:
    """Return what a report that is about to be written adds to its period's total."""
    return ZERO if report.state is ReportState.REPLACED else report.quantity


def end_columns(changes: Rearrangement) -> list[dict[str, Any]]:
    """Return the periods of a rearrangement and their ends, by the columns' names."""
    return [
        {
            "customer": changes.customer,
            "meter_key": changes.meter_key,
            "start_at": period.start_at,
            "end_at": period.end_at,
        }
        for period in changes.periods
    ]


def stray_columns(stray: Stray, now: int) -> dict[str, Any]:
    """Return what becomes of a stray, and how it was read."""
    return {
        "id": stray.report.id,
        "state": stray.report.state,
        "maybe_taken": stray.report.maybe_taken,
        "was": stray.report.reason,
        "reason": stray.reason,
        "now": now,
    }


def stand_in_columns(stand_in: StandIn, now: int) -> dict[str, Any]:
    """Return what a stand-in has that no report has that was just planned."""
    return {
        "identifier": stand_in.report.identifier,
        "resolve_at": stand_in.resolve_at,
        "now": now,
    }


def report_of(row: tuple[Any, ...]) -> UsageReport:
    """Return the report that a row of the outbox holds."""
    id_, customer, stripe_customer_id, meter_key = row[:4]
    sequence, quantity, timestamp, identifier, state, reason = row[8:14]
    attempts, maybe_taken, first_attempt_at, way, stripe_item_id = row[14:19]
    level, record_aggregation, closes_at, step = row[19:23]
    planned_at, settled_at, verified_at, is_increment = row[23:27]
    event_source, event_id, cancels = row[27:30]
    return UsageReport(
        id=id_,
        customer=customer,
        stripe_customer_id=stripe_customer_id,
        meter_key=meter_key,
        period=Period(*row[4:6]),
        window=Period(*row[6:8]),
        sequence=sequence,
        quantity=Decimal(quantity),
        timestamp=timestamp,
        identifier=identifier,
        state=ReportState(state),
        reason=reason,
        attempts=attempts,
        maybe_taken=bool(maybe_taken),
        first_attempt_at=first_attempt_at,
        way=ReportWay(way),
        stripe_item_id=stripe_item_id,
        level=None if level is None else Decimal(level),
        record_aggregation=(
            None if record_aggregation is None else RecordAggregation(record_aggregation)
        ),
        closes_at=closes_at,
        step=Step(step),
        planned_at=planned_at,
        settled_at=settled_at,
        verified_at=verified_at,
        is_increment=bool(is_increment),
        event=None if event_id is None else EventKey(event_source, event_id),
        cancels=cancels,
    )
