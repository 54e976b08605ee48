"""What Stripe shows of a legacy item: one figure of the usage records of a whole billing period.

A record is its item's, whatever price the item had at its time. The stretches of a billing period
in which an item had one legacy price after another, or the same one again, are reported each by
itself; Stripe adds up the records of all of them as the price says that the item has by now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.instants import SECOND_US
from tallystick.domain.periods import Period
from tallystick.domain.subscriptions import records_taken_until
from tallystick.domain.usage_records import figure_of, records_of
from tallystick.ports.errors import StripeRefused

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from tallystick.domain.reports import UsageReport
    from tallystick.domain.subscriptions import SubscriptionItem
    from tallystick.domain.usage_records import RecordAggregation
    from tallystick.ports.directory import CatalogStore, CustomerDirectory, RecordPrices
    from tallystick.ports.outbox import ReportBook
    from tallystick.ports.stripe import SummaryReader


class ItemCycle(NamedTuple):
    """One billing period of an item, and the stretches of it in which usage records told of a
    meter.

    ``how`` is None where Stripe shows no figure that we could make too: the item has, or had in
    the end, a price with a meter, or one that no catalog names. ``is_over`` tells that the item is
    known in a later one.
    """

    span: Period
    is_over: bool
    how: RecordAggregation | None
    stretches: tuple[tuple[str, Period], ...]


class ShownRecords(NamedTuple):
    """Stripe's figure of an item, and of which records it is made: those at seconds in ``span``."""

    total: Decimal
    how: RecordAggregation
    span: Period
    cycle: ItemCycle

    def holds(self, report: UsageReport) -> bool:
        """Tell whether the figure is made of the record that a report sets, among others."""
        return report.timestamp * SECOND_US in self.span

    def figure(self, reports: Iterable[UsageReport]) -> Decimal:
        """Return the figure that the records of reports, in their order, would have."""
        return figure_of(self.how, records_of(one for one in reports if self.holds(one)))

    def told(self, book: ReportBook, report: UsageReport) -> list[UsageReport]:
        """Return the reports of the billing period that were told to a report's item, by id."""
        own = (report.meter_key, report.period)
        found = {
            one.id: one
            for meter_key, period in (*self.cycle.stretches, own)
            for one in book.of_period(report.customer, meter_key, period)
            if one.stripe_item_id == report.stripe_item_id
        }
        return [found[id_] for id_ in sorted(found)]


class RecordedItems:
    """Compares an item's usage records with what the mirror knows of the item; thread-safe."""

    def __init__(
        self,
        customers: CustomerDirectory,
        catalog: CatalogStore,
        prices: RecordPrices,
        summaries: SummaryReader,
    ) -> None:
        self._customers = customers
        self._catalog = catalog
        self._prices = prices
        self._summaries = summaries

    def cycle(self, report: UsageReport) -> ItemCycle:
        """Return the billing period that a record lies in; its own where nothing else is known."""
        items = self._items(report)
        at = report.period.start_at
        newest = max((one for one in items if at in one.cycle), key=_by_time, default=None)
        if newest is None:
            own = ((report.meter_key, report.period),)
            return ItemCycle(report.period, False, report.record_aggregation, own)
        found = [one for one in items if one.cycle == newest.cycle and one.stripe_meter_id is None]
        stretches, hows = [], {}
        for meter_key in self._catalog.meters().by_key:
            aggregations = self._prices.record_aggregations(meter_key)
            hows.update(aggregations)
            stretches += [
                (meter_key, one.period) for one in found if one.stripe_price_id in aggregations
            ]
        is_over = any(one.cycle.start_at >= newest.cycle.end_at for one in items)
        how = hows.get(newest.stripe_price_id)
        return ItemCycle(newest.cycle, is_over, how, tuple(stretches))

    def taken_until(self, report: UsageReport) -> int:
        """Return until when Stripe takes records of a report's period, as is known by now."""
        items = self._items(report)
        own = next((one for one in items if one.period.start_at == report.period.start_at), None)
        return report.period.end_at if own is None else records_taken_until(items, own)

    def shown(self, report: UsageReport) -> ShownRecords | None:
        """Return Stripe's figure of the billing period that a report lies in.

        None where Stripe shows none, as of an item that has a price with a meter by now. Of a
        billing period that is invoiced, it may be made of what was after a change of prices alone.

        Raises:
            StripeUnreachable, StripeRefused
        """
        cycle = self.cycle(report)
        if cycle.how is None or report.stripe_item_id is None:
            return None
        newest_period = max(period for _, period in cycle.stretches)
        try:
            recorded = self._summaries.recorded(report.stripe_item_id, newest_period)
        except StripeRefused:
            newest = max(self._items(report), key=_by_time, default=None)
            if newest is None or newest.stripe_meter_id is None:
                raise
            return None
        if recorded is None or (cycle.is_over and recorded.since is None):
            return None  # no invoice shows it
        since = max(cycle.span.start_at, recorded.since or cycle.span.start_at)
        return ShownRecords(recorded.total, cycle.how, Period(since, cycle.span.end_at), cycle)

    def _items(self, report: UsageReport) -> list[SubscriptionItem]:
        items, _ = self._customers.items(report.stripe_customer_id)
        return [one for one in items if one.stripe_item_id == report.stripe_item_id]


def _by_time(item: SubscriptionItem) -> Period:
    return item.period
