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
from tallystick.domain.quantity import ZERO, subtract
from tallystick.domain.reports import (
    BILLED_NOWHERE,
    PlannedReport,
    ReportState,
    ReportWay,
    StrayReason,
    event_identifier,
    grace_us,
    park_reason,
    report_identifier,
    told_to,
)
from tallystick.domain.usage_records import RecordAggregation, figure_of, records_of
from tallystick.pipeline.deliver import QUIET_US
from tallystick.ports.outbox import Rearrangement, StandIn, Stray

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from decimal import Decimal

    from tallystick.billing.usage_routes import UsageRoute
    from tallystick.domain.reports import EventKey, UsageReport
    from tallystick.pipeline.planning import Usage
    from tallystick.ports.clock import Clock
    from tallystick.ports.outbox import PeriodBook, ReportBook, SortedPeriod

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
            unsure = [*outdated, *_told_otherwise(known, routes)]
            misplaced = self._misplaced(usage, routes, unsure)
            if not outdated and not misplaced:
                return True
            is_all = len(misplaced) <= STRAYS_MAX
            chosen = misplaced[:STRAYS_MAX]
            changes = Rearrangement(
                customer,
                usage.link.stripe_customer_id,
                meter_key,
                tuple(unsure) if is_all else (),
                tuple(Stray(one.report, _reason(one)) for one in chosen),
                tuple(self._stand_ins(usage, chosen, {one.report.id for one in misplaced})),
            )
            if not self._period_book.rearrange(changes, self._clock.now()):
                return False
            if is_all:
                return True

    def _misplaced(
        self, usage: Usage, routes: Sequence[UsageRoute], periods: Sequence[SortedPeriod]
    ) -> list[_Misplaced]:
        customer, meter_key = usage.link.customer, usage.meter.key
        reports = {one.id: one for one in self._book.strays(customer, meter_key)}
        for period, *_ in periods:
            reports.update(
                (one.id, one) for one in self._book.of_period(customer, meter_key, period)
            )
        found = (_judged(reports[id_], routes) for id_ in sorted(reports))
        misplaced = [one for one in found if one is not None]
        # what stands for a waived one may be the period's newest, by which the others are found
        return sorted(misplaced, key=lambda one: one.report.state is ReportState.WAIVED)

    def _stand_ins(
        self, usage: Usage, misplaced: Sequence[_Misplaced], leaving: Container[int]
    ) -> list[StandIn]:
        """Return what stands for the reports that Stripe counts in another period, or may."""
        shelves: dict[int, _Shelf] = {}
        names: dict[str, str] = {}
        found = []
        for one in misplaced:
            if one.route is None or one.is_taken is False:
                continue
            start_at = one.route.period.start_at
            if start_at not in shelves:
                shelves[start_at] = self._shelf(usage, one.route, leaving)
            shelf, now = shelves[start_at], self._clock.now()
            planned = shelf.stand_in(usage, one, now)
            if planned.cancels is not None:
                planned = replace(planned, cancels=names.get(planned.cancels, planned.cancels))
            names[one.report.identifier] = planned.identifier
            is_to_be_resolved = one.is_taken is None and not one.report.overwrites_itself
            found.append(StandIn(planned, now + QUIET_US if is_to_be_resolved else None))
            emptying = shelf.emptying(usage, one.report, now)
            if emptying is not None:
                found.append(StandIn(emptying))
        return found

    def _shelf(self, usage: Usage, route: UsageRoute, leaving: Container[int]) -> _Shelf:
        customer, meter_key = usage.link.customer, usage.meter.key
        there = self._book.of_period(customer, meter_key, route.period)
        reported = self._book.reported(customer, meter_key, route.period)
        staying = [one for one in there if one.id not in leaving]
        turns = Counter(one.event for one in there if one.event is not None)
        return _Shelf(route, reported.next_sequence, turns, staying)


class _Shelf:
    """A period that reports are put into."""

    def __init__(
        self,
        route: UsageRoute,
        sequence: int,
        turns: Counter[EventKey],
        staying: Sequence[UsageReport],
    ) -> None:
        self._route = route
        self._period = route.period
        self._how = route.record_aggregation or RecordAggregation.LAST_DURING_PERIOD
        self._sequence = sequence
        self._turns = turns
        told = told_to(route.stripe_item_id, staying)
        self._records = records_of(one for one in told if one.state in _THERE)

    def stand_in(self, usage: Usage, misplaced: _Misplaced, now: int) -> PlannedReport:
        """Return the report that stands for another one here."""
        report, route = misplaced.report, self._route
        state = ReportState.DELIVERED if misplaced.is_taken else ReportState.PENDING
        if report.state is ReportState.WAIVED:  # nobody was told, and nobody shall be
            told: dict[str, Any] = {"way": route.way, "stripe_item_id": route.stripe_item_id}
            told |= {"level": None, "record_aggregation": None, "is_increment": False}
            return self._planned(usage, report, now, state=ReportState.WAIVED, **told)
        if report.level is None:
            return self._planned(usage, report, now, state=state)
        quantity = self._set(report, report.level)
        how = self._how
        return self._planned(
            usage, report, now, state=state, quantity=quantity, record_aggregation=how
        )

    def emptying(self, usage: Usage, report: UsageReport, now: int) -> PlannedReport | None:
        """Return the report that takes a record back which stands here for its item's sake alone.

        It lies in the item's cycle, at a time when the item had another price. Stripe shows it, and
        whether it bills it is not documented.
        """
        is_inside = report.timestamp * SECOND_US in self._period
        is_told = report.state is not ReportState.WAIVED and report.overwrites_itself
        if is_inside or not is_told:
            return None
        quantity = self._set(report, ZERO)
        reason = park_reason(self._route.open_period, usage.now, report.way)
        state = ReportState.PARKED if reason else ReportState.PENDING
        rest: dict[str, Any] = {"state": state, "reason": reason, "quantity": quantity}
        return self._planned(usage, report, now, level=ZERO, record_aggregation=self._how, **rest)

    def _set(self, report: UsageReport, level: Decimal) -> Decimal:
        """Set a level at a report's second; return by how much the figure changes."""
        before = figure_of(self._how, self._records)
        self._records[report.timestamp] = level
        return subtract(figure_of(self._how, self._records), before)

    def _planned(self, usage: Usage, report: UsageReport, now: int, **rest: Any) -> PlannedReport:
        """Return a report once more, next in this period's sequence, with fields of its own."""
        period = self._period
        window = Period(period.start_at, max(period.start_at + 1, min(usage.now, period.end_at)))
        fields: dict[str, Any] = {
            **{name: getattr(report, name) for name in PlannedReport.__dataclass_fields__},
            "period": period,
            "window": window,
            "sequence": self._sequence,
            "reason": None,
            "closes_at": now + self._route.open_period.end_at + grace_us(report.way) - usage.now,
            **rest,
        }
        if report.event is not None:
            fields["identifier"] = self._named(report, report.event)
        else:
            fields["identifier"] = report_identifier(
                report.stripe_customer_id,
                report.meter_key,
                window,
                self._sequence,
                fields["quantity"],
            )
        self._sequence += 1
        return PlannedReport(**fields)

    def _named(self, report: UsageReport, event: EventKey) -> str:
        turn = self._turns[event]
        self._turns[event] += 1
        return event_identifier(
            report.stripe_customer_id, report.meter_key, self._period, event, turn
        )


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
    for one in known:
        start_at, end_at = one.period.start_at, one.period.end_at
        by_now = ends.get(start_at, start_at + 1)
        if by_now != end_at and end_at > first:
            found.append(one._replace(period=Period(start_at, by_now)))
    return found


def _told_otherwise(
    known: Sequence[SortedPeriod], routes: Sequence[UsageRoute]
) -> list[SortedPeriod]:
    """Return the periods, ended as known, whose usage goes to another item or the meter by now, or
    to the same item at a price that adds up its records in another way.
    """
    by_now = {route.period: route for route in routes}
    found = []
    for one in known:
        route = by_now.get(one.period)
        is_item = route is not None and route.stripe_item_id is not None
        if route is None or (
            route.stripe_item_id == one.stripe_item_id
            and (not is_item or route.record_aggregation == one.record_aggregation)
        ):
            continue
        found.append(one)
    return found


def _judged(report: UsageReport, routes: Sequence[UsageRoute]) -> _Misplaced | None:
    """Return a report with the route that it belongs to, None where it is right as it is."""
    is_stray = report.reason in BILLED_NOWHERE
    if report.state is ReportState.REPLACED and not is_stray:
        return None
    at = report.timestamp * SECOND_US
    is_taken = _is_taken(report)
    if report.state in _NEVER_SENT:
        same = next((one for one in routes if one.period.start_at == report.period.start_at), None)
        if same is not None:
            return _judged_in_place(report, same)
        at = report.window.end_at - 1
    route = next((one for one in routes if _is_of(report, one) and at in one.period), None)
    if route is None and report.way is ReportWay.USAGE_RECORDS and is_taken is not False:
        # a record that Stripe took is the item's, which has all of its cycle; it is emptied with
        # those of the newest price, which Stripe surely takes
        own = (one for one in reversed(routes) if _is_of(report, one) and _has(one, at))
        route = next(own, None)
        if route is None:
            return None  # nothing is known of such an item: it is left where it is
    if route is None:
        return None if is_stray else _Misplaced(report, None, is_taken)
    is_home = route.period.start_at == report.period.start_at and not is_stray
    if report.way is ReportWay.USAGE_RECORDS:
        is_home = is_home and route.record_aggregation == report.record_aggregation
    return None if is_home else _Misplaced(report, route, is_taken)


def _judged_in_place(report: UsageReport, route: UsageRoute) -> _Misplaced | None:
    """Judge a report that Stripe was never told, in the period that it was made for.

    Why it was parked may be no reason where the usage goes now, so that it is planned again.
    """
    if report.stripe_item_id == route.stripe_item_id:
        return None
    is_waived = report.state is ReportState.WAIVED
    return _Misplaced(report, route, True) if is_waived else _Misplaced(report, None, False)


def _has(route: UsageRoute, at: int) -> bool:
    return route.cycle is not None and at in route.cycle


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
