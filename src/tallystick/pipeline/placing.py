"""Place: sort reports into the billing periods that hold their timestamps, once these are known.

A subscription may end, and an item get another price, before we hear of it. What was reported
meanwhile has a time at which no period of the meter is, or another one: Stripe bills it nowhere, or
there. Such a report counts no more where it was made for, so that its usage is planned again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from tallystick.domain.instants import SECOND_US
from tallystick.domain.periods import Period
from tallystick.domain.quantity import subtract
from tallystick.domain.reports import (
    BILLED_NOWHERE,
    PlannedReport,
    ReportState,
    ReportWay,
    StrayReason,
    event_identifier,
    grace_us,
    report_identifier,
)
from tallystick.domain.usage_records import RecordAggregation, figure_of, records_of
from tallystick.pipeline.deliver import QUIET_US
from tallystick.ports.outbox import Rearrangement, SortedPeriod, StandIn, Stray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.billing.usage_routes import UsageRoute
    from tallystick.domain.reports import EventKey, UsageReport
    from tallystick.pipeline.planning import Usage
    from tallystick.ports.clock import Clock
    from tallystick.ports.outbox import PeriodBook, ReportBook

STRAYS_MAX = 1_000
"""Reports sorted anew in one transaction: bounds how long other writers wait for it."""

_NEVER_SENT = (ReportState.PARKED, ReportState.WAIVED)
_THERE = (ReportState.PENDING, ReportState.DELIVERED)


class _Misplaced(NamedTuple):
    """A report that counts where it does not belong, and the route that it belongs to, if any."""

    report: UsageReport
    route: UsageRoute | None
    is_taken: bool | None
    """Whether Stripe has it; None where nobody knows."""


class Placer:
    """Sorts the reports of one customer and meter at a time."""

    def __init__(self, book: ReportBook, period_book: PeriodBook, clock: Clock) -> None:
        self._book = book
        self._period_book = period_book
        self._clock = clock

    def place(self, usage: Usage, routes: Sequence[UsageRoute]) -> bool:
        """Sort what does not lie where the routes say by now; False if another process was faster.

        Where nothing has changed, which is nearly always, this reads the periods alone.
        """
        customer, meter_key = usage.link.customer, usage.meter.key
        while True:
            known = self._period_book.periods(customer, meter_key)
            outdated = _outdated(known, routes, usage.now)
            misplaced = self._misplaced(usage, routes, outdated)
            if not outdated and not misplaced:
                return True
            is_all = len(misplaced) <= STRAYS_MAX
            chosen = misplaced[:STRAYS_MAX]
            changes = Rearrangement(
                customer,
                usage.link.stripe_customer_id,
                meter_key,
                tuple(outdated) if is_all else (),
                tuple(Stray(one.report, _reason(one)) for one in chosen),
                tuple(self._stand_ins(usage, chosen)),
            )
            if not self._period_book.rearrange(changes, self._clock.now()):
                return False
            if is_all:
                return True

    def _misplaced(
        self, usage: Usage, routes: Sequence[UsageRoute], outdated: Sequence[SortedPeriod]
    ) -> list[_Misplaced]:
        customer, meter_key = usage.link.customer, usage.meter.key
        reports = {one.id: one for one in self._book.strays(customer, meter_key)}
        for period, _ in outdated:
            reports.update(
                (one.id, one) for one in self._book.of_period(customer, meter_key, period)
            )
        found = (_judged(reports[id_], routes) for id_ in sorted(reports))
        return [one for one in found if one is not None]

    def _stand_ins(self, usage: Usage, misplaced: Sequence[_Misplaced]) -> list[StandIn]:
        """Return what stands for the reports that Stripe counts in another period, or may."""
        shelves: dict[int, _Shelf] = {}
        names: dict[str, str] = {}
        found = []
        for one in misplaced:
            if one.route is None or one.is_taken is False:
                continue
            period = one.route.period
            if period.start_at not in shelves:
                shelves[period.start_at] = self._shelf(usage, period)
            planned = shelves[period.start_at].stand_in(usage, one, self._clock.now())
            if planned.cancels is not None:
                planned = replace(planned, cancels=names.get(planned.cancels, planned.cancels))
            names[one.report.identifier] = planned.identifier
            is_to_be_resolved = one.is_taken is None and not one.report.overwrites_itself
            resolve_at = self._clock.now() + QUIET_US if is_to_be_resolved else None
            found.append(StandIn(planned, resolve_at))
        return found

    def _shelf(self, usage: Usage, period: Period) -> _Shelf:
        customer, meter_key = usage.link.customer, usage.meter.key
        reports = self._book.of_period(customer, meter_key, period)
        reported = self._book.reported(customer, meter_key, period)
        return _Shelf(period, reported.next_sequence, reports)


class _Shelf:
    """A period that reports are put into."""

    def __init__(self, period: Period, sequence: int, reports: Sequence[UsageReport]) -> None:
        self._period = period
        self._sequence = sequence
        self._turns = Counter(one.event for one in reports if one.event is not None)
        self._records = records_of(one for one in reports if one.state in _THERE)

    def stand_in(self, usage: Usage, misplaced: _Misplaced, now: int) -> PlannedReport:
        """Return the report that stands for another one here."""
        report, period = misplaced.report, self._period
        window = Period(period.start_at, max(period.start_at + 1, min(usage.as_of, period.end_at)))
        quantity = report.quantity
        if report.level is not None:
            how = report.record_aggregation or RecordAggregation.LAST_DURING_PERIOD
            before = figure_of(how, self._records)
            self._records[report.timestamp] = report.level
            quantity = subtract(figure_of(how, self._records), before)
        identifier = report_identifier(
            report.stripe_customer_id, report.meter_key, window, self._sequence, quantity
        )
        if report.event is not None:
            identifier = self._named(report, report.event)
        state = ReportState.DELIVERED if misplaced.is_taken else ReportState.PENDING
        if report.state is ReportState.WAIVED:
            state = ReportState.WAIVED
        planned = _planned(
            report,
            period=period,
            window=window,
            sequence=self._sequence,
            quantity=quantity,
            identifier=identifier,
            state=state,
            reason=None,
            closes_at=now + period.end_at + grace_us(report.way) - usage.now,
        )
        self._sequence += 1
        return planned

    def _named(self, report: UsageReport, event: EventKey) -> str:
        turn = self._turns[event]
        self._turns[event] += 1
        return event_identifier(
            report.stripe_customer_id, report.meter_key, self._period, event, turn
        )


def _planned(report: UsageReport, **rest: Any) -> PlannedReport:
    """Return a report once more, with fields of its own."""
    kept = {
        name: getattr(report, name)
        for name in PlannedReport.__dataclass_fields__
        if name not in rest
    }
    return PlannedReport(**kept, **rest)


def _outdated(
    known: Sequence[SortedPeriod], routes: Sequence[UsageRoute], now: int
) -> list[SortedPeriod]:
    """Return the known periods that ended at another instant, with the end that they have by now.

    One that never was, because another one began at another instant, is left with its first
    microsecond. What ended before the first route, or by now where there is none, is left as it is:
    nothing is known of that time.
    """
    ends = {route.period.start_at: route.period.end_at for route in routes}
    first = min(ends, default=now)
    found = []
    for period, next_sequence in known:
        end_at = ends.get(period.start_at, period.start_at + 1)
        if end_at != period.end_at and period.end_at > first:
            found.append(SortedPeriod(Period(period.start_at, end_at), next_sequence))
    return found


def _judged(report: UsageReport, routes: Sequence[UsageRoute]) -> _Misplaced | None:
    """Return a report with the route that it belongs to, None where it is right as it is."""
    is_stray = report.reason in BILLED_NOWHERE
    if report.state is ReportState.REPLACED and not is_stray:
        return None
    at = report.timestamp * SECOND_US
    if report.state in _NEVER_SENT:
        if any(route.period.start_at == report.period.start_at for route in routes):
            return None
        at = report.window.end_at - 1
    route = next((one for one in routes if _is_of(report, one) and at in one.period), None)
    is_taken = _is_taken(report)
    if route is None:
        # a record that Stripe took is the item's, whatever became of it
        stays = is_stray or (report.way is ReportWay.USAGE_RECORDS and is_taken is not False)
        return None if stays else _Misplaced(report, None, is_taken)
    is_home = route.period.start_at == report.period.start_at and not is_stray
    return None if is_home else _Misplaced(report, route, is_taken)


def _is_of(report: UsageReport, route: UsageRoute) -> bool:
    """Tell whether a route's usage is told as the report was: to its item, or to the meter."""
    if report.way is ReportWay.USAGE_RECORDS:
        return report.stripe_item_id == route.stripe_item_id
    return route.way is not ReportWay.USAGE_RECORDS


def _is_taken(report: UsageReport) -> bool | None:
    """Tell whether Stripe has a report, or whether it was waived; None where nobody knows."""
    if report.state is ReportState.PENDING:
        return None if report.maybe_taken else False
    if report.state is ReportState.UNRESOLVED or report.reason == StrayReason.UNKNOWN:
        return None
    counts = (ReportState.DELIVERED, ReportState.WAIVED, ReportState.REPLACED)
    return report.state in counts


def _reason(misplaced: _Misplaced) -> StrayReason:
    if misplaced.is_taken is False:
        return StrayReason.NOT_TAKEN
    if misplaced.route is not None:
        return StrayReason.MOVED
    if misplaced.report.state is ReportState.WAIVED:
        return StrayReason.NOT_TAKEN
    return StrayReason.UNKNOWN if misplaced.is_taken is None else StrayReason.TAKEN
