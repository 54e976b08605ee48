"""Report: turn "measured minus already reported" into rows of the outbox."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.instants import MINUTE_US, SECOND_US
from tallystick.domain.periods import Period
from tallystick.domain.quantity import add_all, exact, subtract
from tallystick.domain.reports import (
    ParkReason,
    PlannedReport,
    ReportState,
    ReportWay,
    grace_us,
    park_reason,
    report_identifier,
    report_timestamp,
    split_for_stripe,
    timestamp_span,
)
from tallystick.domain.usage_records import RecordChange, figure_of, plan_changes, records_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from decimal import Decimal

    from tallystick.billing.billing_periods import BillingPeriods
    from tallystick.billing.usage_routes import UsageRoute, UsageRouter
    from tallystick.domain.meters import Meter
    from tallystick.domain.subscriptions import CustomerLink
    from tallystick.ports.clock import Clock
    from tallystick.ports.directory import CatalogStore, CustomerDirectory
    from tallystick.ports.event_store import UsageReader
    from tallystick.ports.outbox import Due, ReportBook

NOTICE_BATCH = 50_000
"""Events looked at in one transaction while due usage is marked: bounds how long ingest waits."""

DUE_BATCH = 1_000
"""Due customers and meters read at once."""

PLAN_THREADS = 8
"""Plans made side by side: they share commits, and wait for Stripe together."""

_AT_STRIPE = (ReportState.PENDING, ReportState.DELIVERED)
"""States of reports whose usage record stands, or will stand, at Stripe."""

START_OF_TIME = -(1 << 62)
END_OF_TIME = 1 << 62


class _Waiting(NamedTuple):
    """Events that lie ahead of the customer's clock, and events in no known billing period."""

    ahead: int
    outside: int


class DueOutcome(StrEnum):
    """What became of something that was due."""

    REPORTED = "reported"
    """New reports stand in the outbox."""
    PARKED = "parked"
    """The usage is accounted for, but Stripe would not bill it any more."""
    NOTHING_NEW = "nothing_new"
    """All of it is reported, or lies ahead of the customer's clock."""
    UNLINKED = "unlinked"
    """The customer has no Stripe customer yet; the usage waits."""
    UNSUBSCRIBED = "unsubscribed"
    """No subscription item of the customer bills this meter; the usage waits."""
    OUTSIDE_PERIODS = "outside_periods"
    """Nothing new to report, and some usage lies in no billing period that is known; it waits."""
    CONFLICT = "conflict"
    """Two items bill the meter in periods that overlap; the usage waits."""
    RACED = "raced"
    """Another process planned it at the same time; it stays due."""


class _Usage(NamedTuple):
    """What is being planned: whose usage, on which clock, and up to which instant."""

    link: CustomerLink
    meter: Meter
    now: int
    as_of: int


class Reporter:
    """Plans what Stripe is to be told."""

    def __init__(  # noqa: PLR0917 - its collaborators, each needed
        self,
        book: ReportBook,
        usage: UsageReader,
        catalog: CatalogStore,
        customers: CustomerDirectory,
        router: UsageRouter,
        periods: Callable[[], BillingPeriods],
        clock: Clock,
    ) -> None:
        self._book = book
        self._usage = usage
        self._catalog = catalog
        self._customers = customers
        self._router = router
        self._periods = periods
        self._clock = clock

    def run(self, *, at_once: bool = False) -> Counter[DueOutcome]:
        """Plan reports for everything that is due; return how much came to what.

        ``at_once`` does not wait for the batches of meters that report in batches.

        Raises:
            StripeUnreachable, StripeRefused: items or a test clock could not be read; what was
                planned until then stands, and the rest stays due.
        """
        while self._book.notice(NOTICE_BATCH) == NOTICE_BATCH:
            pass
        periods = self._periods()
        outcomes: Counter[DueOutcome] = Counter()
        with ThreadPoolExecutor(PLAN_THREADS, thread_name_prefix="report") as pool:
            for batch in self._batches(at_once=at_once):
                outcomes.update(
                    pool.map(lambda due: self._plan(due, periods, at_once=at_once), batch)
                )
        return outcomes

    def _batches(self, *, at_once: bool) -> Iterator[list[Due]]:
        after = None
        now = None if at_once else self._clock.now()
        while batch := self._book.due(after, now, DUE_BATCH):
            yield batch
            after = batch[-1]

    def _plan(self, due: Due, known: BillingPeriods, *, at_once: bool) -> DueOutcome:
        link = self._customers.find(due.customer)
        if link is None:
            return DueOutcome.UNLINKED
        meter = self._catalog.meters().by_key[due.meter_key]
        now, routes, conflict = self._router.routes(link, meter.key, known)
        if conflict:
            return DueOutcome.CONFLICT
        if not routes:
            return DueOutcome.UNSUBSCRIBED
        periods = tuple(route.period for route in routes)
        as_of = now if at_once else batch_end(meter, periods, now)
        usage = _Usage(link, meter, now, as_of)
        reports = [report for route in routes for report in self._difference(usage, route)]
        waiting = self._waiting(usage, periods)
        again_at = self._due_again_at(usage, periods, waiting)
        if any(_is_too_early(route, as_of) for route in routes):
            again_at = self._clock.now()
        recorded = self._book.record(due, reports, self._clock.now(), due_again_at=again_at)
        if not recorded:
            return DueOutcome.RACED
        if not reports and waiting.outside:
            return DueOutcome.OUTSIDE_PERIODS
        return _outcome(reports)

    def _due_again_at(
        self, usage: _Usage, periods: tuple[Period, ...], waiting: _Waiting
    ) -> int | None:
        """Return when to look again, on our clock: at the batch's end, or at once, or not at all.

        A test clock moves when it is told to, so that its customers are looked at each time.
        """
        if not any(waiting):
            return None
        minutes = usage.meter.report_every_minutes
        if minutes is None or waiting.outside or usage.link.test_clock_id is not None:
            return self._clock.now()
        batch_us = minutes * MINUTE_US
        ends = [period.end_at for period in periods if period.end_at > usage.now]
        return min([usage.now // batch_us * batch_us + batch_us, *ends])

    def _waiting(self, usage: _Usage, periods: tuple[Period, ...]) -> _Waiting:
        """Return how many events no report can be made of yet; of history none ever is."""

        def count(period: Period) -> int:
            return self._usage.usage_and_history(
                usage.meter, usage.link.customer, period
            ).live_count

        covered = sum(
            count(Period(period.start_at, min(usage.now, period.end_at)))
            for period in periods
            if period.start_at < usage.now
        )
        ahead = count(Period(usage.as_of, END_OF_TIME))
        return _Waiting(ahead, count(Period(START_OF_TIME, usage.now)) - covered)

    def _difference(self, usage: _Usage, route: UsageRoute) -> list[PlannedReport]:
        """Return what of the period's usage until now was not reported yet, less history."""
        period = route.period
        as_of = min(usage.as_of, period.end_at)
        if as_of <= period.start_at:
            return []
        window = Period(period.start_at, as_of)
        link, meter = usage.link, usage.meter
        measured = self._usage.usage_and_history(meter, link.customer, window)
        reported = self._book.reported(link.customer, meter.key, period)
        difference = subtract(measured.reportable(meter.aggregation), reported.quantity)
        if not difference:
            return []
        draft = _Draft(usage, route, window, self._clock.now())
        if route.way is ReportWay.USAGE_RECORDS:
            return self._records(draft, difference, reported.next_sequence)
        return [
            draft.report(reported.next_sequence + part, quantity)
            for part, quantity in enumerate(split_for_stripe(difference))
        ]

    def _records(self, draft: _Draft, difference: Decimal, sequence: int) -> list[PlannedReport]:
        """Return the usage records to set, and what no record can show as parked."""
        link, meter, now, _ = draft.usage
        how = draft.route.record_aggregation
        assert how is not None  # a legacy item has one
        if park_reason(draft.route.period, now, draft.route.way):
            return [draft.report(sequence, difference)]
        if _is_too_early(draft.route, draft.window.end_at):
            return []
        reports = self._book.of_period(link.customer, meter.key, draft.route.period)
        records = records_of(one for one in reports if one.state in _AT_STRIPE)
        span = timestamp_span(draft.route.period, START_OF_TIME)
        latest = (draft.window.end_at - 1) // SECOND_US
        with exact():
            goal = figure_of(how, records) + difference
        changes = plan_changes(how, goal, records, (span[0], min(span[1], latest))) if span else []
        planned = [
            draft.report(sequence + number, change.difference, change)
            for number, change in enumerate(changes)
        ]
        rest = subtract(difference, add_all(change.difference for change in changes))
        if rest:
            planned.append(draft.report(sequence + len(planned), rest, ParkReason.NO_RECORD))
        return planned


class _Draft(NamedTuple):
    """What the reports of one difference share; ``planned_at`` is on our clock."""

    usage: _Usage
    route: UsageRoute
    window: Period
    planned_at: int

    def report(
        self, sequence: int, quantity: Decimal, how: RecordChange | ParkReason | None = None
    ) -> PlannedReport:
        """Return one report; a usage record's says what is set, a parked one's why."""
        link, meter, now, _ = self.usage
        period, way = self.route.period, self.route.way
        change = how if isinstance(how, RecordChange) else None
        reason = park_reason(period, now, way) or (how if isinstance(how, ParkReason) else None)
        timestamp = (
            change.timestamp if change else report_timestamp(period, self.window.end_at, now)
        )
        if timestamp is None and reason is None:
            reason = ParkReason.NO_TIMESTAMP
        return PlannedReport(
            customer=link.customer,
            stripe_customer_id=link.stripe_customer_id,
            meter_key=meter.key,
            period=period,
            window=self.window,
            sequence=sequence,
            quantity=quantity,
            timestamp=timestamp or 0,
            identifier=report_identifier(
                link.stripe_customer_id, meter.key, self.window, sequence, quantity
            ),
            state=ReportState.PARKED if reason else ReportState.PENDING,
            reason=reason,
            closes_at=self.planned_at + period.end_at + grace_us(way) - now,
            way=way,
            stripe_item_id=self.route.stripe_item_id,
            level=change.level if change else None,
            record_aggregation=self.route.record_aggregation,
        )


def _is_too_early(route: UsageRoute, as_of: int) -> bool:
    """Tell whether no second of the period's may carry a usage record yet.

    Records lie in the past and outside the minute in which the period began: Stripe refuses some of
    that minute (seen by users, who add minutes to a new subscription's first record).
    """
    span = timestamp_span(route.period, START_OF_TIME)
    return (
        route.way is ReportWay.USAGE_RECORDS
        and span is not None
        and route.period.start_at < as_of <= span[0] * SECOND_US
    )


def batch_end(meter: Meter, periods: tuple[Period, ...], now: int) -> int:
    """Return up to which instant usage is reported now: the end of the last whole batch.

    Batches are counted from midnight UTC. A period that is over is reported to its end at once.
    """
    if meter.report_every_minutes is None:
        return now
    batch_us = meter.report_every_minutes * MINUTE_US
    ends = [period.end_at for period in periods if period.end_at <= now]
    return max([now // batch_us * batch_us, *ends])


def _outcome(reports: list[PlannedReport]) -> DueOutcome:
    if not reports:
        return DueOutcome.NOTHING_NEW
    if any(report.state is ReportState.PENDING for report in reports):
        return DueOutcome.REPORTED
    return DueOutcome.PARKED
