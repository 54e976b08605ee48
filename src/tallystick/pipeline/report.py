"""Report: turn "measured minus already reported" into rows of the outbox."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.aggregation import quantity_of
from tallystick.domain.periods import Period
from tallystick.domain.quantity import subtract
from tallystick.domain.reports import (
    ParkReason,
    PlannedReport,
    ReportState,
    park_reason,
    report_identifier,
    report_timestamp,
    split_for_stripe,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from decimal import Decimal

    from tallystick.billing.billing_periods import BillingPeriods
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


class Reporter:
    """Plans what Stripe is to be told."""

    def __init__(  # noqa: PLR0917 - its collaborators, each needed
        self,
        book: ReportBook,
        usage: UsageReader,
        catalog: CatalogStore,
        customers: CustomerDirectory,
        periods: Callable[[], BillingPeriods],
        clock: Clock,
    ) -> None:
        self._book = book
        self._usage = usage
        self._catalog = catalog
        self._customers = customers
        self._periods = periods
        self._clock = clock

    def run(self) -> Counter[DueOutcome]:
        """Plan reports for everything that is due; return how much came to what.

        Raises:
            StripeUnreachable, StripeRefused: items or a test clock could not be read; what was
                planned until then stands, and the rest stays due.
        """
        while self._book.notice(NOTICE_BATCH) == NOTICE_BATCH:
            pass
        periods = self._periods()
        outcomes: Counter[DueOutcome] = Counter()
        with ThreadPoolExecutor(PLAN_THREADS, thread_name_prefix="report") as pool:
            for batch in self._batches():
                outcomes.update(pool.map(lambda due: self._plan(due, periods), batch))
        return outcomes

    def _batches(self) -> Iterator[list[Due]]:
        after = None
        while batch := self._book.due(after, DUE_BATCH):
            yield batch
            after = batch[-1]

    def _plan(self, due: Due, billing_periods: BillingPeriods) -> DueOutcome:
        link = self._customers.find(due.customer)
        if link is None:
            return DueOutcome.UNLINKED
        meter = self._catalog.meters().by_key[due.meter_key]
        now, periods, conflict = billing_periods.of_meter(link, meter.key)
        if conflict:
            return DueOutcome.CONFLICT
        if not periods:
            return DueOutcome.UNSUBSCRIBED
        reports = [
            report for period in periods for report in self._difference(link, meter, period, now)
        ]
        waiting = self._waiting(meter, due.customer, periods, now)
        recorded = self._book.record(due, reports, self._clock.now(), still_due=any(waiting))
        if not recorded:
            return DueOutcome.RACED
        if not reports and waiting.outside:
            return DueOutcome.OUTSIDE_PERIODS
        return _outcome(reports)

    def _waiting(
        self, meter: Meter, customer: str, periods: tuple[Period, ...], now: int
    ) -> _Waiting:
        """Return how many events no report can be made of yet."""

        def count(period: Period) -> int:
            return self._usage.usage(meter, customer, period).event_count

        covered = sum(
            count(Period(period.start_at, min(now, period.end_at)))
            for period in periods
            if period.start_at < now
        )
        ahead = count(Period(now, END_OF_TIME))
        return _Waiting(ahead, count(Period(START_OF_TIME, now)) - covered)

    def _difference(
        self, link: CustomerLink, meter: Meter, period: Period, now: int
    ) -> list[PlannedReport]:
        """Return what of the period's usage until now was not reported yet."""
        as_of = min(now, period.end_at)
        if as_of <= period.start_at:
            return []
        window = Period(period.start_at, as_of)
        measured = quantity_of(self._usage.usage(meter, link.customer, window), meter.aggregation)
        reported = self._book.reported(link.customer, meter.key, period)
        difference = subtract(measured, reported.quantity)
        if not difference:
            return []
        return [
            _planned(link, meter, (period, window), (reported.next_sequence + part, quantity), now)
            for part, quantity in enumerate(split_for_stripe(difference))
        ]


def _planned(
    link: CustomerLink,
    meter: Meter,
    periods: tuple[Period, Period],
    numbered: tuple[int, Decimal],
    now: int,
) -> PlannedReport:
    period, window = periods
    sequence, quantity = numbered
    timestamp = report_timestamp(period, window.end_at, now)
    reason = park_reason(period, now)
    if timestamp is None and reason is None:
        reason = ParkReason.NO_TIMESTAMP
    return PlannedReport(
        customer=link.customer,
        stripe_customer_id=link.stripe_customer_id,
        meter_key=meter.key,
        period=period,
        window=window,
        sequence=sequence,
        quantity=quantity,
        timestamp=timestamp or 0,
        identifier=report_identifier(
            link.stripe_customer_id, meter.key, window, sequence, quantity
        ),
        state=ReportState.PARKED if reason else ReportState.PENDING,
        reason=reason,
    )


def _outcome(reports: list[PlannedReport]) -> DueOutcome:
    if not reports:
        return DueOutcome.NOTHING_NEW
    if any(report.state is ReportState.PENDING for report in reports):
        return DueOutcome.REPORTED
    return DueOutcome.PARKED
