"""Resolve before resend: Stripe's own totals say which attempts arrived."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tallystick.domain.instants import MINUTE_US, from_seconds
from tallystick.domain.periods import Period
from tallystick.domain.quantity import add_all, plain
from tallystick.domain.reports import (
    ParkReason,
    ReportState,
    ReportWay,
    Step,
    StrayReason,
    cut_short,
    park_reason,
    starts_of,
    told_to,
)
from tallystick.domain.resolution import tell_arrived
from tallystick.domain.usage_records import figure_of, records_of
from tallystick.ports.errors import StripeRefused, StripeUnreachable
from tallystick.ports.outbox import Settlement

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallystick.billing.recorded_items import RecordedItems
    from tallystick.domain.reports import UsageReport
    from tallystick.domain.subscriptions import CustomerLink
    from tallystick.ports.clock import Clock
    from tallystick.ports.directory import CatalogStore, CustomerDirectory
    from tallystick.ports.outbox import ReportBook
    from tallystick.ports.stripe import SummaryReader

_ON_THE_WAY = (ReportState.PENDING, ReportState.UNRESOLVED)


class Resolver:
    """Tells what became of attempts whose answer was lost, and what is too late to be sent."""

    def __init__(
        self,
        *,
        book: ReportBook,
        catalog: CatalogStore,
        customers: CustomerDirectory,
        summaries: SummaryReader,
        recorded: RecordedItems,
        now_of: Callable[[CustomerLink], int],
        clock: Clock,
    ) -> None:
        self._book = book
        self._catalog = catalog
        self._customers = customers
        self._summaries = summaries
        self._recorded = recorded
        self._now_of = now_of
        self._clock = clock

    def too_late(self, report: UsageReport) -> ParkReason | None:
        """Return why Stripe would not bill the report any more, if so.

        By our clock first; a customer on a test clock is only late when that clock says so. Usage
        records are late once their item takes none, whatever was known when they were planned.
        """
        now, period = self._clock.now(), report.period
        is_record = report.way is ReportWay.USAGE_RECORDS
        if is_record:
            period = replace(period, end_at=self._recorded.taken_until(report))
        elif now < report.closes_at:
            return None
        link = self._customers.find(report.customer)
        if link is None or link.test_clock_id is None:
            closed = ParkReason.NOT_CANCELLABLE if report.cancels else ParkReason.PERIOD_CLOSED
            return park_reason(period, now, report.way) or (None if is_record else closed)
        try:
            return park_reason(period, self._now_of(link), report.way)
        except (StripeUnreachable, StripeRefused):
            return None  # unknown: Stripe will say so itself

    def settle(self, report: UsageReport, retry_at: int) -> Settlement:
        """Return what becomes of a report whose outcome is unknown.

        Delivered if it arrived; to be sent once more, or parked where that is too late, if not; for
        a person to decide where the totals allow both. Asked again at ``retry_at`` where Stripe
        does not say now.
        """
        try:
            has_arrived = self._has_arrived(report)
        except (StripeUnreachable, StripeRefused) as error:
            if isinstance(error, StripeRefused) and self.too_late(report):
                # as of an item that has another price by now: nobody but a person can find out
                return Settlement(ReportState.UNRESOLVED, f"not_shown: {error}", maybe_taken=True)
            return Settlement(
                ReportState.PENDING, str(error), retry_at, maybe_taken=True, step=Step.RESOLVE
            )
        if isinstance(has_arrived, str):
            return Settlement(ReportState.UNRESOLVED, f"ambiguous: {has_arrived}", maybe_taken=True)
        if has_arrived:
            return Settlement(ReportState.DELIVERED)
        reason = self.too_late(report)
        if reason is not None:
            return given_up(reason)
        return Settlement(ReportState.PENDING, "not_arrived", step=Step.SEND_FRESH)

    def _has_arrived(self, report: UsageReport) -> bool | str:
        """Return whether it did, or in words why that cannot be told."""
        period = self._book.of_period(report.customer, report.meter_key, report.period)
        siblings = told_to(report.stripe_item_id, period)
        if report.level is not None:
            return self._is_recorded(report, siblings)
        minute = report.timestamp // 60
        return self._is_summarized(
            report, [one for one in siblings if one.timestamp // 60 == minute]
        )

    def _is_summarized(self, report: UsageReport, siblings: list[UsageReport]) -> bool | str:
        """Compare with Stripe's total of the minute that holds the report's timestamp."""
        start_at = from_seconds(report.timestamp) // MINUTE_US * MINUTE_US
        theirs = self._summaries.summarized(
            self._catalog.stripe_meter_ids()[report.meter_key],
            report.stripe_customer_id,
            Period(start_at, start_at + MINUTE_US),
        )
        strays = self._book.strays(report.customer, report.meter_key)
        aside = [one for one in strays if one.timestamp // 60 == report.timestamp // 60]
        certain = add_all(
            one.quantity
            for one in (*siblings, *aside)
            if one.state is ReportState.DELIVERED or one.reason == StrayReason.TAKEN
        )
        uncertain = {
            one.id: one.quantity
            for one in siblings
            if one.state in _ON_THE_WAY and (one.maybe_taken or one.id == report.id)
        }
        uncertain |= {one.id: one.quantity for one in aside if one.reason == StrayReason.UNKNOWN}
        arrived = tell_arrived(uncertain, certain, theirs)
        if arrived is None:
            return f"Stripe has {plain(theirs)} in that minute, {plain(certain)} is accounted for"
        return report.id in arrived

    def _is_recorded(self, report: UsageReport, siblings: list[UsageReport]) -> bool | str:
        """Compare with Stripe's figure of the period, with the level and without it."""
        assert report.record_aggregation is not None  # whatever sets a level has them
        how = report.record_aggregation
        if report.stripe_item_id is not None:
            shown = self._recorded.shown(report)
            if shown is None or not shown.holds(report):
                raise StripeRefused("Stripe shows no usage records of that time of the item")
            theirs, how = shown.total, shown.how
            siblings = [one for one in shown.told(self._book, report) if shown.holds(one)]
        else:
            theirs = self._summaries.summarized(
                self._catalog.stripe_meter_ids()[report.meter_key],
                report.stripe_customer_id,
                last_known_period(self._book, report),
            )
        delivered = [one for one in siblings if one.state is ReportState.DELIVERED]
        without = figure_of(how, records_of(delivered))
        figure = figure_of(how, records_of([*delivered, report]))
        if theirs == figure:
            return True
        if theirs == without:
            return False
        return f"Stripe has {plain(theirs)}, neither {plain(without)} nor {plain(figure)}"


def last_known_period(book: ReportBook, report: UsageReport) -> Period:
    """Return a report's period as it is by now: it may have been cut short since."""
    siblings = [one for one in book.reports(report.customer) if one.meter_key == report.meter_key]
    newest = [one for one in siblings if one.period.start_at == report.period.start_at][-1]
    return cut_short(newest.period, starts_of(siblings))


def given_up(reason: ParkReason) -> Settlement:
    """Return what becomes of a report that surely did not arrive and may be sent no more.

    What a cancellation would have taken back, another report may, as long as the period is open.
    """
    if reason is ParkReason.NOT_CANCELLABLE:
        return Settlement(ReportState.REPLACED, reason)
    return Settlement(ReportState.PARKED, reason)
