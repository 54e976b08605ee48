"""Report: turn "measured minus already reported" into rows of the outbox."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import structlog

from tallystick.domain.instants import MINUTE_US
from tallystick.domain.periods import Period
from tallystick.domain.quantity import subtract
from tallystick.domain.reports import ReportState
from tallystick.pipeline.planning import (
    AHEAD_MAX_US,
    START_OF_TIME,
    Draft,
    Plan,
    Usage,
    is_too_early,
)
from tallystick.ports.errors import StripeKeyRefused, StripeRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tallystick.billing.billing_periods import BillingPeriods
    from tallystick.billing.usage_routes import UsageRoute, UsageRouter
    from tallystick.domain.meters import Meter
    from tallystick.domain.reports import PlannedReport
    from tallystick.pipeline.placing import Placer
    from tallystick.pipeline.planning import Planner
    from tallystick.ports.clock import Clock
    from tallystick.ports.directory import CatalogStore, CustomerDirectory
    from tallystick.ports.event_store import UsageReader
    from tallystick.ports.outbox import Due, PeriodBook, ReportBook

NOTICE_BATCH = 50_000
"""Events looked at in one transaction while due usage is marked: bounds how long ingest waits."""

DUE_BATCH = 1_000
"""Due customers and meters read at once."""

PLAN_THREADS = 8
"""Plans made side by side: they share commits, and wait for Stripe together."""

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
    """No subscription item of the customer bills this meter; all of its usage waits."""
    OUTSIDE_PERIODS = "outside_periods"
    """Nothing new to report, and some usage lies in no billing period that is known; it waits."""
    CONFLICT = "conflict"
    """Two items bill the meter in periods that overlap; the usage waits."""
    REFUSED = "refused"
    """Stripe refuses to show the customer's items or test clock, and says why in the log; all of
    its usage waits.
    """
    RACED = "raced"
    """Another process planned it at the same time; it stays due."""


class Reporter:
    """Plans what Stripe is to be told."""

    def __init__(
        self,
        *,
        book: ReportBook,
        period_book: PeriodBook,
        usage: UsageReader,
        catalog: CatalogStore,
        customers: CustomerDirectory,
        router: UsageRouter,
        periods: Callable[[], BillingPeriods],
        planner: Planner,
        placer: Placer,
        clock: Clock,
    ) -> None:
        self._book = book
        self._period_book = period_book
        self._usage = usage
        self._catalog = catalog
        self._customers = customers
        self._router = router
        self._periods = periods
        self._planner = planner
        self._placer = placer
        self._clock = clock
        self._log = structlog.get_logger()

    def run(self, *, at_once: bool = False) -> Counter[DueOutcome]:
        """Plan reports for everything that is due; return how much came to what.

        ``at_once`` does not wait for the batches of meters that report in batches.

        Raises:
            StripeUnreachable, StripeKeyRefused: items or a test clock could not be read; what was
                planned until then stands, and the rest stays due.
        """
        while self._book.notice(NOTICE_BATCH) == NOTICE_BATCH:
            pass
        periods = self._periods()
        outcomes: Counter[DueOutcome] = Counter()
        with ThreadPoolExecutor(PLAN_THREADS, thread_name_prefix="report") as pool:
            for batch in self._batches(at_once=at_once):
                outcomes.update(
                    pool.map(lambda due: self._plan_if_shown(due, periods, at_once=at_once), batch)
                )
        return outcomes

    def _batches(self, *, at_once: bool) -> Iterator[list[Due]]:
        after = None
        now = None if at_once else self._clock.now()
        while batch := self._book.due(after, now, DUE_BATCH):
            yield batch
            after = batch[-1]

    def _plan_if_shown(self, due: Due, known: BillingPeriods, *, at_once: bool) -> DueOutcome:
        """Plan one; what Stripe refuses to show of it holds up no other customer."""
        try:
            return self._plan(due, known, at_once=at_once)
        except StripeKeyRefused:
            raise
        except StripeRefused as error:
            self._log.warning("report.refused", customer=due.customer, error=str(error))
            return DueOutcome.REFUSED

    def _plan(self, due: Due, known: BillingPeriods, *, at_once: bool) -> DueOutcome:
        link = self._customers.find(due.customer)
        if link is None:
            return DueOutcome.UNLINKED
        meter = self._catalog.meters().by_key[due.meter_key]
        now, routes, conflict = self._router.routes(link, meter.key, known)
        if conflict:
            return DueOutcome.CONFLICT
        periods = tuple(route.period for route in routes)
        as_of = now if at_once else batch_end(meter, periods, now)
        usage = Usage(link, meter, now, as_of)
        if not self._placer.place(usage, routes):
            return DueOutcome.RACED
        if not routes:
            return DueOutcome.UNSUBSCRIBED
        plans = self._plans(usage, routes)
        reports = [report for plan in plans for report in plan.reports]
        waiting = self._waiting(usage, periods)
        again_at = self._due_again_at(usage, periods, waiting)
        has_more = any(plan.has_more for plan in plans)
        is_early = any(is_too_early(route, as_of) for route in routes)
        if has_more or is_early or any(plan.waits for plan in plans):
            again_at = self._clock.now()
        recorded = self._book.record(due, reports, self._clock.now(), due_again_at=again_at)
        if not recorded:
            return DueOutcome.RACED
        if has_more:
            return self._plan(due, known, at_once=at_once)
        if not reports and waiting.outside:
            return DueOutcome.OUTSIDE_PERIODS
        return _outcome(reports)

    def _plans(self, usage: Usage, routes: Iterable[UsageRoute]) -> list[Plan]:
        """Plan each route, once what is withheld of it counts no more."""
        while True:
            plans = [self._difference(usage, route) for route in routes]
            withheld = [report for plan in plans for report in plan.withheld]
            if not withheld:
                return plans
            self._planner.plan_again(withheld, self._clock.now())

    def _due_again_at(
        self, usage: Usage, periods: tuple[Period, ...], waiting: _Waiting
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

    def _waiting(self, usage: Usage, periods: tuple[Period, ...]) -> _Waiting:
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

    def _difference(self, usage: Usage, route: UsageRoute) -> Plan:
        """Plan what of the period's usage until now was not reported yet, less history."""
        period = route.period
        as_of = self._as_of(usage, period)
        if as_of <= period.start_at:
            return Plan()
        window = Period(period.start_at, as_of)
        link, meter = usage.link, usage.meter
        usage_and_history = self._usage.usage_and_history(meter, link.customer, window)
        measured = usage_and_history.reportable(meter.aggregation)
        reported = self._book.reported(link.customer, meter.key, period)
        difference = subtract(measured, reported.quantity)
        if not difference:
            return Plan()
        sequence, now = reported.next_sequence, self._clock.now()
        return self._planner.plan(Draft(usage, route, window, difference, sequence, now))

    def _as_of(self, usage: Usage, period: Period) -> int:
        """Return up to which instant the period's usage is told: never less far than before.

        What was told at once in the middle of a batch, or before the clock was set back a little,
        would be taken back else, and told again later; of records that are added nothing can be.
        """
        known = self._period_book.reported_until(usage.link.customer, usage.meter.key, period)
        if known is None or known > usage.now + AHEAD_MAX_US:  # the clock was wrong when it was
            known = usage.as_of
        return min(max(usage.as_of, known), period.end_at)


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
