"""Usage of linked customers that lies in no known billing period: it waits for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tallystick.billing.linking import ALL_TIME
from tallystick.domain.money import Money
from tallystick.domain.periods import Period
from tallystick.domain.quantity import ZERO
from tallystick.domain.rating.charges import rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from decimal import Decimal

    from tallystick.domain.meters import Meter
    from tallystick.domain.rating.prices import Price
    from tallystick.domain.subscriptions import CustomerLink, SubscriptionItem
    from tallystick.ports.directory import CatalogStore, CustomerDirectory, RecordPrices
    from tallystick.ports.event_store import UsageReader
    from tallystick.ports.outbox import Due, ReportBook

DUE_BATCH = 1_000
"""Due customers and meters read at once."""


class UnbilledUsage(NamedTuple):
    """Usage of one customer and meter in a span that no billing period covers.

    ``at_stake`` is what it would cost at the price that the customer had nearest to it; None where
    the customer never had a price of the meter that our catalog knows.
    """

    customer: str
    meter_key: str
    span: Period
    events: int
    quantity: Decimal
    at_stake: Money | None


class UnbilledUsages:
    """Finds it, as the mirror knows the periods: nothing is asked anew at Stripe."""

    def __init__(
        self,
        book: ReportBook,
        usage: UsageReader,
        catalog: CatalogStore,
        customers: CustomerDirectory,
        record_prices: RecordPrices,
    ) -> None:
        self._book = book
        self._usage = usage
        self._catalog = catalog
        self._customers = customers
        self._record_prices = record_prices

    def find(self, meter_key: str | None = None) -> Iterator[UnbilledUsage]:
        """Yield it in the order of customers, meters and time; of one meter only if it is named.

        What waits for a period stays due, so that only what is due is looked at.
        """
        meters = self._catalog.meters().by_key
        for due in self._due():
            link = self._customers.find(due.customer)
            if link is not None and meter_key in {None, due.meter_key}:
                yield from self._of(link, meters[due.meter_key])

    def _due(self) -> Iterator[Due]:
        after = None
        while batch := self._book.due(after, None, DUE_BATCH):
            yield from batch
            after = batch[-1]

    def _of(self, link: CustomerLink, meter: Meter) -> Iterator[UnbilledUsage]:
        items = self._items(link, meter)
        for span in uncovered(item.period for item in items):
            used = self._usage.usage_and_history(meter, link.customer, span)
            if not used.live_count:
                continue
            quantity = used.reportable(meter.aggregation)
            price = self._price(items, span)
            charge = None if price is None else rate(price, max(quantity, ZERO))
            at_stake = None if charge is None else Money(charge.amount_minor, charge.currency)
            yield UnbilledUsage(link.customer, meter.key, span, used.live_count, quantity, at_stake)

    def _items(self, link: CustomerLink, meter: Meter) -> list[SubscriptionItem]:
        """Return the items that bill or billed the meter, oldest first."""
        items, _ = self._customers.items(link.stripe_customer_id)
        stripe_meter_id = self._catalog.stripe_meter_ids().get(meter.key)
        records = self._record_prices.record_aggregations(meter.key)
        return [
            item
            for item in items
            if item.stripe_price_id in records
            or (item.stripe_meter_id is not None and item.stripe_meter_id == stripe_meter_id)
        ]

    def _price(self, items: list[SubscriptionItem], span: Period) -> Price | None:
        """Return the price of the period before, or of the one after."""
        earlier = [item for item in items if item.period.end_at <= span.start_at]
        nearest = earlier[-1:] or items[:1]
        return self._catalog.price(nearest[0].stripe_price_id) if nearest else None


def uncovered(periods: Iterable[Period]) -> Iterator[Period]:
    """Yield the spans of time that no period covers, oldest first."""
    start_at = ALL_TIME.start_at
    for period in sorted(periods):
        if period.start_at > start_at:
            yield Period(start_at, period.start_at)
        start_at = max(start_at, period.end_at)
    yield Period(start_at, ALL_TIME.end_at)
