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
    from tallystick.ports.outbox import Outcome, Rearrangement, StandIn, Stray


_STATES = {each.value: each for each in ReportState}
_WAYS = {each.value: each for each in ReportWay}
_STEPS = {each.value: each for each in Step}

SETTLED_WIDTH = 8
"""How many columns ``settled_columns`` returns."""


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
            "next_sequence": next_sequence,
        }
        for period, next_sequence, *_ in changes.periods
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


def settled_columns(outcome: Outcome, now: int) -> tuple[Any, ...]:
    """Return how a report is known, by id and lease, and what becomes of it."""
    (report, token), settlement = outcome
    state, reason, wake_at, maybe_taken, step = settlement
    settled_at = None if state is ReportState.PENDING else now
    wakes_at = now if wake_at is None else wake_at
    return report.id, token, state, maybe_taken, reason, step, wakes_at, settled_at


def report_of(row: tuple[Any, ...]) -> UsageReport:
    """Return the report that a row of the outbox holds."""
    # by position, not by name, and by a look into a dictionary, not by a call of an enumeration:
    # a hundred reports are read for each request of the stream
    id_, customer, stripe_customer_id, meter_key, *spans = row[:8]
    sequence, quantity, timestamp, identifier, state, reason = row[8:14]
    attempts, maybe_taken, first_attempt_at, way, stripe_item_id = row[14:19]
    level, record_aggregation, closes_at, step = row[19:23]
    planned_at, settled_at, verified_at, is_increment = row[23:27]
    event_source, event_id, cancels = row[27:30]
    return UsageReport(
        id_,
        customer,
        stripe_customer_id,
        meter_key,
        Period(spans[0], spans[1]),
        Period(spans[2], spans[3]),
        sequence,
        Decimal(quantity),
        timestamp,
        identifier,
        _STATES[state],
        reason,
        attempts,
        bool(maybe_taken),
        first_attempt_at,
        _WAYS[way],
        stripe_item_id,
        None if level is None else Decimal(level),
        None if record_aggregation is None else RecordAggregation(record_aggregation),
        bool(is_increment),
        None if event_id is None else EventKey(event_source, event_id),
        cancels,
        closes_at,
        _STEPS[step],
        planned_at,
        settled_at,
        verified_at,
    )
