"""The invariants, checked on a live database: what must hold at every moment, recounted."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.aggregation import EMPTY, RollupState
from tallystick.domain.instants import format_instant
from tallystick.domain.periods import Period
from tallystick.domain.quantity import ZERO, add_all, agrees, plain
from tallystick.domain.reports import (
    ReportState,
    UsageReport,
    cut_short,
    event_identifier,
    report_identifier,
    shown_in,
    starts_of,
    told_to,
)
from tallystick.domain.usage_records import figure_of, records_of
from tallystick.oversight.recount import MeasuredPeriods, Recount
from tallystick.ports.errors import StripeRefused
from tallystick.ports.outbox import Reported
from tallystick.ports.verification import ReportedPeriod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from decimal import Decimal

    from tallystick.billing.recorded_items import RecordedItems
    from tallystick.domain.meters import MeterSet
    from tallystick.domain.reports import EventKey
    from tallystick.ports.stripe import SummaryReader
    from tallystick.ports.verification import Cell, Snapshot

FINDINGS_MAX = 20
"""Findings named per check; the rest is counted."""

EVENTS_BATCH = 1_000

ReportsByPeriod = dict[tuple[str, str, Period], list[UsageReport]]


class CheckResult(NamedTuple):
    """One invariant: how much was looked at, and what does not hold."""

    name: str
    meaning: str
    checked: int
    failures: int
    findings: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.failures


def check_store(snapshot: Snapshot, meters: MeterSet) -> list[CheckResult]:
    """Return the checks that need nothing but the database."""
    recount = Recount(meters)
    identities = _check_events(snapshot, recount)
    reports = list(snapshot.reports())
    return [
        identities,
        _check_rollups(snapshot, meters, recount.finish()),
        _check_identifiers(reports),
        _check_reported(snapshot, meters, reports),
        _check_totals(snapshot, reports),
    ]


def _check_events(snapshot: Snapshot, recount: Recount) -> CheckResult:
    """Check the identity of every event, and fold all of them into cells on the way."""
    findings: list[str] = []
    checked = 0
    events = snapshot.events()
    while batch := list(islice(events, EVENTS_BATCH)):
        checked += len(batch)
        places = snapshot.places([stored.event for stored in batch])
        for stored, place in zip(batch, places, strict=True):
            if place != stored.seq:
                findings.append(
                    f"event {stored.seq} ({stored.event.source}, {stored.event.id}): its identity "
                    + ("is missing" if place is None else f"belongs to event {place}")
                )
            recount.add(stored)
    findings += snapshot.faults()
    return _result(
        "events_counted_once", "each event is stored once, under its identity", checked, findings
    )


def _check_rollups(
    snapshot: Snapshot, meters: MeterSet, recounted: dict[Cell, RollupState]
) -> CheckResult:
    findings = []
    checked = 0
    for cell, state in snapshot.cells():
        checked += 1
        expected = recounted.pop(cell, EMPTY)
        if state != expected:
            findings.append(
                f"{_shown(cell, meters)}: rollup {_amounts(state)}, recount {_amounts(expected)}"
            )
    findings += [
        f"{_shown(cell, meters)}: no rollup, recount {_amounts(state)}"
        for cell, state in recounted.items()
    ]
    return _result("usage_equals_recount", "rollups equal a recount of events", checked, findings)


def _check_identifiers(reports: Iterable[UsageReport]) -> CheckResult:
    findings = []
    checked = 0
    turns: Counter[tuple[str, str, int, EventKey]] = Counter()
    for report in reports:
        checked += 1
        if report.event is None:
            expected = report_identifier(
                report.stripe_customer_id,
                report.meter_key,
                report.window,
                report.sequence,
                report.quantity,
            )
        else:
            place = (report.customer, report.meter_key, report.period.start_at, report.event)
            expected = event_identifier(
                report.stripe_customer_id,
                report.meter_key,
                report.period,
                report.event,
                turns[place],
            )
            turns[place] += 1
        if report.identifier != expected:
            findings.append(f"report {report.id}: identifier {report.identifier} is not its own")
    return _result(
        "reports_unchanged",
        "each report has the identifier of its quantity or event",
        checked,
        findings,
    )


def _check_totals(snapshot: Snapshot, reports: Iterable[UsageReport]) -> CheckResult:
    """Check the running totals, by which the next differences are made."""
    expected: dict[ReportedPeriod, Reported] = {}
    for report in reports:
        key = ReportedPeriod(report.customer, report.meter_key, report.period.start_at)
        before = expected.get(key, Reported(ZERO, 0))
        counts = report.state is not ReportState.REPLACED
        expected[key] = Reported(
            add_all([before.quantity, report.quantity]) if counts else before.quantity,
            max(before.next_sequence, report.sequence + 1),
        )
    kept = dict(snapshot.totals())
    findings = [
        f"{key.customer}, {key.meter_key}, period from {format_instant(key.period_start_at)}: "
        f"the running total is {_total(kept.get(key))}, reports add up to "
        f"{_total(expected.get(key))}"
        for key in sorted(kept.keys() | expected.keys())
        if kept.get(key) != expected.get(key)
    ]
    return _result(
        "report_totals", "running totals of reports equal their sums", len(kept), findings
    )


def _total(reported: Reported | None) -> str:
    if reported is None:
        return "missing"
    return f"{plain(reported.quantity)} in {reported.next_sequence} reports"


def _check_reported(
    snapshot: Snapshot, meters: MeterSet, reports: Iterable[UsageReport]
) -> CheckResult:
    """Check that reports add up to the events that they cover, unless more is due.

    Events that take each other's quantity back leave nothing to report: then reports cover the
    whole period, and none of them says so.
    """
    due = snapshot.due()
    grouped = reports_by_period(reports)
    covered, whole = MeasuredPeriods(), MeasuredPeriods()
    for (customer, meter_key, period), rows in grouped.items():
        meter = meters.by_key[meter_key]
        upto = max(report.window.end_at for report in rows)
        covered.cover(meter, customer, period, min(period.end_at, upto))
        whole.cover(meter, customer, period, period.end_at)
    for stored in snapshot.events():
        covered.add(stored)
        whole.add(stored)
    findings = []
    for (customer, meter_key, period), rows in grouped.items():
        expected = covered.quantity(meter_key, customer, period)
        reported = add_all(
            report.quantity for report in rows if report.state is not ReportState.REPLACED
        )
        if reported == expected or (customer, meter_key) in due:
            continue
        if reported != whole.quantity(meter_key, customer, period):
            findings.append(
                f"{customer}, {meter_key}, {period}: reported {plain(reported)}, "
                f"measured {plain(expected)} without history"
            )
    return _result(
        "reports_equal_usage",
        "reports add up to the usage they cover, less history",
        len(grouped),
        findings,
    )


def check_stripe(
    reports: Iterable[UsageReport],
    stripe_meter_ids: dict[str, str],
    summaries: SummaryReader,
    recorded: RecordedItems,
    progress: Callable[[], object] = lambda: None,
) -> CheckResult:
    """Check that Stripe's figure of each customer, meter and period is what was delivered to it.

    Usage records are compared for each billing period of their item; where Stripe shows none of
    an item, because it has a price with a meter by now, there is nothing to compare.

    Raises:
        StripeUnreachable
    """
    findings: list[str] = []
    reports = list(reports)
    figures = [
        (key, told_to(None, rows))
        for key, rows in reports_by_period(reports).items()
        if None in items_of(rows)
    ]
    checked = len(figures)
    for (customer, meter_key, period), rows in figures:
        name = f"{customer}, {meter_key}, {period}"
        delivered = _delivered(rows)
        try:
            theirs = summaries.summarized(
                stripe_meter_ids[meter_key], rows[0].stripe_customer_id, period
            )
        except StripeRefused as error:
            findings.append(f"{name}: Stripe does not show it: {error}")
            continue
        if not agrees(delivered, theirs):
            lane = (r for r in reports if (r.customer, r.meter_key) == (customer, meter_key))
            delivered = _figure(shown_in(told_to(None, lane), period))
        findings += _difference(name, theirs, delivered)
        progress()
    for item_id, rows in _by_item(reports).items():
        while rows:
            first, span = rows[0], recorded.cycle(rows[0]).span
            inside = [row for row in rows if row.period.overlaps(span)]
            rows = [row for row in rows if not row.period.overlaps(span)]
            name = f"{first.customer}, {first.meter_key}, {item_id}, {span}"
            try:
                shown = recorded.shown(first)
            except StripeRefused as error:
                findings.append(f"{name}: Stripe does not show it: {error}")
                continue
            if shown is None:
                continue
            checked += 1
            findings += _difference(name, shown.total, shown.figure(_only_delivered(inside)))
            progress()
    return _result(
        "stripe_equals_delivered", "Stripe's totals are what we delivered", checked, findings
    )


def _difference(name: str, theirs: Decimal, delivered: Decimal) -> list[str]:
    if agrees(delivered, theirs):
        return []
    return [f"{name}: Stripe has {plain(theirs)}, delivered {plain(delivered)}"]


def _by_item(reports: Iterable[UsageReport]) -> dict[str, list[UsageReport]]:
    """Return the reports that usage records were made of, those left out that were replaced."""
    found: dict[str, list[UsageReport]] = {}
    for report in reports:
        if report.stripe_item_id is not None and report.state is not ReportState.REPLACED:
            found.setdefault(report.stripe_item_id, []).append(report)
    return found


def reports_by_period(reports: Iterable[UsageReport]) -> ReportsByPeriod:
    """Return the reports grouped by customer, meter and billing period, as it was known last.

    A period that is cut short, by a cancellation or another price, keeps its beginning. One whose
    reports were all replaced is left out: it covers nothing.
    """
    by_start: dict[tuple[str, str], dict[int, list[UsageReport]]] = {}
    for report in reports:
        periods = by_start.setdefault((report.customer, report.meter_key), {})
        periods.setdefault(report.period.start_at, []).append(report)
    found: ReportsByPeriod = {}
    for key, periods in by_start.items():
        starts = starts_of(one for rows in periods.values() for one in rows)
        for start_at, rows in periods.items():
            if start_at in starts:
                found[(*key, cut_short(rows[-1].period, starts))] = rows
    return found


def items_of(rows: Iterable[UsageReport]) -> list[str | None]:
    """Return the items that a period's reports were told to, None for the meter, in their order.

    Those that were replaced do not say: the period may have gone another way than was known.
    """
    counting = (row.stripe_item_id for row in rows if row.state is not ReportState.REPLACED)
    return list(dict.fromkeys(counting))


def _only_delivered(rows: Iterable[UsageReport]) -> list[UsageReport]:
    return [report for report in rows if report.state is ReportState.DELIVERED]


def _delivered(rows: Iterable[UsageReport]) -> Decimal:
    return _figure(_only_delivered(rows))


def _figure(delivered: list[UsageReport]) -> Decimal:
    how = next((report.record_aggregation for report in delivered), None)
    if how is not None:
        return figure_of(how, records_of(delivered))
    return add_all(report.quantity for report in delivered)


def _result(name: str, meaning: str, checked: int, findings: list[str]) -> CheckResult:
    return CheckResult(name, meaning, checked, len(findings), tuple(findings[:FINDINGS_MAX]))


def _shown(cell: Cell, meters: MeterSet) -> str:
    """Name a rollup by the meters that read it; the plain one of a type may have none."""
    event_type = cell.selection.event_type
    keys = [
        meter.key for meter in meters.selecting(event_type) if cell.selection in meter.selections
    ]
    what = f"meter {', '.join(keys)}" if keys else f"events of type {event_type}"
    group = f", group {cell.dimension}" if cell.dimension else ""
    history = ", history" if cell.is_history else ""
    return f"hour {format_instant(cell.hour_at)}, {what}, customer {cell.customer}{group}{history}"


def _amounts(state: RollupState) -> str:
    detail = f" {state.detail}" if state.detail else ""
    return f"count {state.event_count} sum {plain(state.total)}{detail}"
