"""Plan: which reports tell Stripe of a difference, in the form that its meter or item takes."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from tallystick.domain.instants import MINUTE_US, SECOND_US
from tallystick.domain.meters import StripeFormula
from tallystick.domain.quantity import add_all, subtract
from tallystick.domain.reports import (
    CANCEL_WINDOW_US,
    EventKey,
    ParkReason,
    PlannedReport,
    ReportState,
    ReportWay,
    event_identifier,
    grace_us,
    level_timestamp,
    park_reason,
    report_identifier,
    report_timestamp,
    split_for_stripe,
    timestamp_span,
    told_to,
)
from tallystick.domain.usage_records import (
    RecordAggregation,
    RecordChange,
    plan_changes,
    plan_increments,
    records_of,
)
from tallystick.ports.outbox import Decision

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tallystick.billing.usage_routes import UsageRoute
    from tallystick.domain.meters import Meter
    from tallystick.domain.periods import Period
    from tallystick.domain.reports import UsageReport
    from tallystick.domain.subscriptions import CustomerLink
    from tallystick.ports.counted_events import CountedEvents
    from tallystick.ports.event_store import StoredEvent
    from tallystick.ports.outbox import ReportBook, StuckReports

EVENTS_MAX = 1_000
"""Reports of single events that one plan writes: bounds how long other writers wait for it."""

CANCEL_AFTER_US = 5 * MINUTE_US
"""How long after its delivery a report is first cancelled: Stripe takes meter events in before it
processes them, within seconds."""

AHEAD_MAX_US = 4 * MINUTE_US
"""How far ahead of the customer's clock a level may lie: Stripe takes five minutes."""

BEHIND_US = 10 * SECOND_US
"""How far behind the customer's clock a usage record lies at least: Stripe refuses those of its
future, and our clock may be ahead of its."""

START_OF_TIME = -(1 << 62)

_AT_STRIPE = (ReportState.PENDING, ReportState.DELIVERED)
"""States of reports that Stripe has, or will have."""

_UNTELLABLE = (
    ParkReason.NOT_CANCELLABLE,
    ParkReason.NO_RECORD,
    ParkReason.NO_TIMESTAMP,
    ParkReason.TOO_MANY_DIGITS,
)
"""Why a difference was parked that may be told together with others while its period is open."""

_ONE = Decimal(1)


class Usage(NamedTuple):
    """What is being planned: whose usage, on which clock, and up to which instant."""

    link: CustomerLink
    meter: Meter
    now: int
    as_of: int


class Plan(NamedTuple):
    """Reports to be written; ``waits`` if more is to be planned a little later, and ``has_more`` if
    at once. ``withheld`` are parked ones that are to count no more before anything is planned.
    """

    reports: tuple[PlannedReport, ...] = ()
    waits: bool = False
    has_more: bool = False
    withheld: tuple[UsageReport, ...] = ()


class Draft(NamedTuple):
    """A difference, and what its reports share; ``planned_at`` is on our clock."""

    usage: Usage
    route: UsageRoute
    window: Period
    difference: Decimal
    sequence: int
    planned_at: int

    @property
    def reason(self) -> ParkReason | None:
        """Why Stripe would not bill any of it any more, if so."""
        return park_reason(self.route.open_period, self.usage.now, self.route.way)

    def whole(self, reason: ParkReason | None = None) -> Plan:
        """Return one report of the whole difference, parked if there is a reason."""
        return Plan((self.report(0, self.difference, reason=reason),))

    def report(
        self,
        place: int,
        quantity: Decimal,
        *,
        timestamp: int | None = None,
        reason: ParkReason | None = None,
        **rest: Any,
    ) -> PlannedReport:
        """Return the report at a place of the plan; ``rest`` are fields of its own."""
        link, meter, now, _ = self.usage
        period = self.route.period
        way = rest.pop("way", self.route.way)
        open_period = self.route.open_period
        reason = park_reason(open_period, now, way) or reason
        if timestamp is None:
            timestamp = report_timestamp(period, self.window.end_at, now)
        if timestamp is None and reason is None:
            reason = ParkReason.NO_TIMESTAMP
        sequence = self.sequence + place
        fields: dict[str, Any] = {
            "identifier": report_identifier(
                link.stripe_customer_id, meter.key, self.window, sequence, quantity
            ),
            "closes_at": self.planned_at + open_period.end_at + grace_us(way) - now,
            "stripe_item_id": self.route.stripe_item_id,
            "record_aggregation": self.route.record_aggregation,
            **rest,
        }
        return PlannedReport(
            customer=link.customer,
            stripe_customer_id=link.stripe_customer_id,
            meter_key=meter.key,
            period=period,
            window=self.window,
            sequence=sequence,
            quantity=quantity,
            timestamp=timestamp or 0,
            state=ReportState.PARKED if reason else ReportState.PENDING,
            reason=reason,
            way=way,
            **fields,
        )

    def cancellation(self, place: int, report: UsageReport) -> PlannedReport:
        """Return the report that takes another one back, if Stripe still lets it.

        It goes to the adjustment endpoint, however the other one went, and carries the same second:
        Stripe's total of that minute then tells whether it arrived.
        """
        until = None
        if report.first_attempt_at is not None:
            until = report.first_attempt_at + CANCEL_WINDOW_US
        taken_back = self.report(
            place,
            subtract(Decimal(0), report.quantity),
            timestamp=report.timestamp,
            reason=_too_old_to_cancel(until, self.planned_at),
            cancels=report.identifier,
            way=ReportWay.METER_EVENTS,
        )
        if until is None or until >= taken_back.closes_at:
            return taken_back
        return taken_back.closing_at(until)


class Planner:
    """Makes plans of differences, from what was reported before."""

    def __init__(self, book: ReportBook, counted: CountedEvents, stuck: StuckReports) -> None:
        self._book = book
        self._counted = counted
        self._stuck = stuck

    def plan(self, draft: Draft) -> Plan:
        """Return the reports that bring Stripe's figure to the measured one.

        What could not be told by itself is planned again with the next difference: a count that
        cannot be taken back is one event less to be told, once more is used.
        """
        if draft.reason is not None:
            return draft.whole()
        is_recorded = draft.route.way is ReportWay.USAGE_RECORDS
        formula = draft.usage.meter.formula
        if formula is StripeFormula.SUM and not is_recorded:
            return self._plan_difference(draft)
        reports = self._reports(draft)
        withheld = tuple(
            one for one in reports if one.state is ReportState.PARKED and one.reason in _UNTELLABLE
        )
        if withheld:
            return Plan(withheld=withheld)
        if is_recorded:
            return _plan_records(draft, reports)
        if formula is StripeFormula.COUNT:
            return self._plan_events(draft, reports)
        return _plan_level(draft, reports)

    def plan_again(self, withheld: Iterable[UsageReport], now: int) -> None:
        """Let parked reports count no more: the next difference is told together with theirs."""
        decision = Decision("tallystick", "planned again with later usage", now)
        for report in withheld:
            self._stuck.replace(report, None, decision)

    def _reports(self, draft: Draft) -> list[UsageReport]:
        """Return the period's reports that Stripe's figure of the route is made of."""
        reports = self._book.of_period(
            draft.usage.link.customer, draft.usage.meter.key, draft.route.period
        )
        return told_to(draft.route.stripe_item_id, reports)

    def _plan_difference(self, draft: Draft) -> Plan:
        """Return the difference in parts that Stripe takes, or the cancellation that it is."""
        if draft.difference < 0:
            same = _same_quantity(draft, self._reports(draft))
            if same is not None:
                return Plan((draft.cancellation(0, same),))
        parts = split_for_stripe(draft.difference)
        return Plan(tuple(draft.report(place, part) for place, part in enumerate(parts)))

    def _plan_events(self, draft: Draft, reports: list[UsageReport]) -> Plan:
        """Return one report for each event that is new, or a cancellation for each that is gone.

        Where some are new and others gone, they stand for each other: only the number counts.
        """
        events = [
            stored
            for stored in self._counted.counted(
                draft.usage.meter, draft.usage.link.customer, draft.window
            )
            if not stored.is_history
        ]
        if draft.difference < 0:
            return _plan_cancellations(draft, reports, events)
        return _plan_new_events(draft, reports, events)


def is_too_early(route: UsageRoute, as_of: int) -> bool:
    """Tell whether no second of the period's may carry a usage record yet.

    Records lie surely in the past and outside the minute in which the period began: Stripe refuses
    some of that minute (seen by users, who add minutes to a new subscription's first record).
    """
    span = timestamp_span(route.period, START_OF_TIME)
    return (
        route.way is ReportWay.USAGE_RECORDS
        and span is not None
        and route.period.start_at < as_of <= span[0] * SECOND_US + BEHIND_US
    )


def _too_old_to_cancel(until: int | None, now: int) -> ParkReason | None:
    return ParkReason.NOT_CANCELLABLE if until is not None and until <= now else None


def _same_quantity(draft: Draft, reports: list[UsageReport]) -> UsageReport | None:
    """Return the newest report that the negative difference takes back as a whole.

    One that was tried to be cancelled once is left: Stripe refused, or nobody knows.
    """
    tried = {one.cancels for one in reports}
    latest = draft.planned_at - CANCEL_AFTER_US
    return next(
        (
            one
            for one in reversed(reports)
            if one.state is ReportState.DELIVERED
            and one.quantity == -draft.difference
            and one.settled_at is not None
            and one.settled_at <= latest
            and one.first_attempt_at is not None
            and draft.planned_at < one.first_attempt_at + CANCEL_WINDOW_US
            and one.identifier not in tried
        ),
        None,
    )


def _plan_new_events(draft: Draft, reports: list[UsageReport], events: list[StoredEvent]) -> Plan:
    turns: dict[EventKey, int] = {}
    told: set[EventKey] = set()
    taken_back = {one.cancels for one in reports if one.state is not ReportState.REPLACED}
    for one in reports:
        if one.event is not None:
            turns[one.event] = turns.get(one.event, 0) + 1
            if one.state is not ReportState.REPLACED and one.identifier not in taken_back:
                told.add(one.event)
    keys = [(EventKey(each.event.source, each.event.id), each) for each in events]
    wanted = int(draft.difference)
    new = [(key, each) for key, each in keys if key not in told][:wanted]
    planned = [
        _event_report(draft, place, (key, turns.get(key, 0)), each.event.occurred_at)
        for place, (key, each) in enumerate(new[:EVENTS_MAX])
    ]
    if len(new) > EVENTS_MAX:
        return Plan(tuple(planned), has_more=True)
    return _with_rest(draft, planned, ParkReason.NO_RECORD)


def _event_report(
    draft: Draft, place: int, event: tuple[EventKey, int], occurred_at: int
) -> PlannedReport:
    link, meter, now, _ = draft.usage
    return draft.report(
        place,
        _ONE,
        timestamp=report_timestamp(draft.route.period, occurred_at + SECOND_US, now),
        event=event[0],
        identifier=event_identifier(link.stripe_customer_id, meter.key, draft.route.period, *event),
    )


def _plan_cancellations(
    draft: Draft, reports: list[UsageReport], events: list[StoredEvent]
) -> Plan:
    """Cancel the reports of events that count no more, the newest first: they have the longest."""
    counting = {EventKey(each.event.source, each.event.id) for each in events}
    tried = {one.cancels for one in reports}
    gone = [
        one
        for one in reversed(reports)
        if one.event is not None
        and one.event not in counting
        and one.state in _AT_STRIPE
        and one.identifier not in tried
    ]
    wanted = int(-draft.difference)
    planned = [
        draft.cancellation(place, one) for place, one in enumerate(gone[:wanted][:EVENTS_MAX])
    ]
    if len(gone[:wanted]) > EVENTS_MAX:
        return Plan(tuple(planned), has_more=True)
    return _with_rest(draft, planned, ParkReason.NOT_CANCELLABLE)


def _with_rest(draft: Draft, planned: list[PlannedReport], reason: ParkReason) -> Plan:
    """Return the plan; what of the difference it leaves out is parked."""
    rest = subtract(draft.difference, add_all(one.quantity for one in planned))
    if rest:
        planned.append(draft.report(len(planned), rest, reason=reason))
    return Plan(tuple(planned))


def _plan_level(draft: Draft, reports: list[UsageReport]) -> Plan:
    """Return a report of the whole figure, at a second after those of all others."""
    level = _goal(draft, reports, (ReportState.PARKED, ReportState.WAIVED))
    if len(split_for_stripe(level)) > 1:
        return draft.whole(ParkReason.TOO_MANY_DIGITS)
    told = [
        one.timestamp
        for one in reports
        if one.state is not ReportState.PARKED
        and one.timestamp * SECOND_US in draft.route.period  # as it is by now
    ]
    now = draft.usage.now
    timestamp = level_timestamp(
        draft.route.period, draft.window.end_at, now, max(told, default=None)
    )
    if timestamp is None:
        return draft.whole(ParkReason.NO_TIMESTAMP)
    if timestamp * SECOND_US > now + AHEAD_MAX_US:
        return Plan(waits=True)
    report = draft.report(
        0,
        draft.difference,
        timestamp=timestamp,
        level=level,
        record_aggregation=RecordAggregation.LAST_DURING_PERIOD,
    )
    return Plan((report,))


def _plan_records(draft: Draft, reports: list[UsageReport]) -> Plan:
    """Return the usage records to set or to add to; what no record can show is parked."""
    how = draft.route.record_aggregation
    assert how is not None  # a legacy item has one
    if is_too_early(draft.route, draft.window.end_at):
        return Plan(waits=True)
    span = timestamp_span(draft.route.period, START_OF_TIME)
    if span is None:
        return draft.whole(ParkReason.NO_TIMESTAMP)
    withheld: tuple[ReportState, ...] = (ReportState.PARKED, ReportState.WAIVED)
    if how is RecordAggregation.SUM:  # those may have arrived, and would add to what is set now
        withheld = (*withheld, ReportState.UNRESOLVED)
    goal = _goal(draft, reports, withheld)
    records = records_of(one for one in reports if one.state in _AT_STRIPE)
    latest = (min(draft.window.end_at, draft.usage.now - BEHIND_US) - 1) // SECOND_US
    change = plan_increments if draft.route.is_increment else plan_changes
    changes = change(how, goal, records, (span[0], min(span[1], latest)))
    if not changes:
        return draft.whole(ParkReason.NO_RECORD)
    quantities = [each.difference for each in changes]
    # a report that died may be told by these too: together they are the difference all the same
    quantities[-1] = subtract(draft.difference, add_all(quantities[:-1]))
    return Plan(
        tuple(
            _record_report(draft, place, each, quantity)
            for place, (each, quantity) in enumerate(zip(changes, quantities, strict=True))
        )
    )


def _record_report(
    draft: Draft, place: int, change: RecordChange, quantity: Decimal
) -> PlannedReport:
    return draft.report(
        place,
        quantity,
        timestamp=change.timestamp,
        level=change.level,
        is_increment=draft.route.is_increment,
    )


def _goal(
    draft: Draft, reports: Iterable[UsageReport], withheld: tuple[ReportState, ...]
) -> Decimal:
    """Return the figure that Stripe shall have: what it is told of what is measured."""
    left_out = (*withheld, ReportState.REPLACED)
    told = (one.quantity for one in reports if one.state not in left_out)
    return add_all([draft.difference, *told])
