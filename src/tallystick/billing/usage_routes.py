"""Which way a customer's usage of a meter goes to Stripe, billing period by billing period."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tallystick.domain.json_types import prepare
from tallystick.domain.reports import ReportWay
from tallystick.domain.subscriptions import records_taken_until
from tallystick.ports.mirror import ObjectKind

if TYPE_CHECKING:
    from tallystick.billing.billing_periods import BillingPeriods
    from tallystick.domain.periods import Period
    from tallystick.domain.subscriptions import CustomerLink
    from tallystick.domain.usage_records import RecordAggregation
    from tallystick.ports.directory import CustomerDirectory, RecordPrices
    from tallystick.ports.mirror import Mirror


class UsageRoute(NamedTuple):
    """One billing period and its way; a legacy item is named, and how its records add up.

    ``cycle`` is the billing period that Stripe names for the item: it takes records of all of it,
    also of the time when the item had another price; ``taken_until`` says how long it takes those
    of this period. ``is_increment``: Stripe lets no record of it be set, because its subscription
    has billing thresholds; records are added to.
    """

    period: Period
    way: ReportWay
    stripe_item_id: str | None = None
    record_aggregation: RecordAggregation | None = None
    is_increment: bool = False
    cycle: Period | None = None
    taken_until: int | None = None

    @property
    def open_period(self) -> Period:
        """The period, as long as Stripe takes what it is told of it."""
        if self.taken_until is None:
            return self.period
        return replace(self.period, end_at=self.taken_until)


class Routes(NamedTuple):
    """Every route that is known, oldest first, at an instant on the customer's clock.

    ``conflict`` is set where the periods of two routes overlap: the usage would be billed twice.
    """

    now: int
    routes: tuple[UsageRoute, ...]
    conflict: bool


class UsageRouter:
    """Tells routes; a price with a meter is reported the way that the settings say."""

    def __init__(
        self,
        customers: CustomerDirectory,
        prices: RecordPrices,
        mirror: Mirror,
        meter_way: ReportWay,
    ) -> None:
        self._customers = customers
        self._prices = prices
        self._mirror = mirror
        self._meter_way = meter_way

    def routes(self, link: CustomerLink, meter_key: str, known: BillingPeriods) -> Routes:
        """Return the routes of one customer and meter.

        Raises:
            StripeUnreachable, StripeRefused
        """
        now, periods, conflict = known.of_meter(link, meter_key)
        found = {UsageRoute(period, self._meter_way) for period in periods}
        aggregations = self._prices.record_aggregations(meter_key)
        if aggregations:
            items, _ = self._customers.items(link.stripe_customer_id)
            thresholds = self._with_thresholds(link.stripe_customer_id)
            found |= {
                UsageRoute(
                    item.period,
                    ReportWay.USAGE_RECORDS,
                    item.stripe_item_id,
                    aggregations[item.stripe_price_id],
                    item.stripe_item_id in thresholds,
                    item.cycle,
                    records_taken_until(items, item),
                )
                for item in items
                if item.stripe_meter_id is None and item.stripe_price_id in aggregations
            }
        routes = sorted(found, key=lambda route: (route.period, route.stripe_item_id or ""))
        overlapping = any(
            later.period.overlaps(earlier.period) for earlier, later in pairwise(routes)
        )
        return Routes(now, tuple(routes), conflict or overlapping)

    def _with_thresholds(self, stripe_customer_id: str) -> set[str]:
        """Return the customer's items that are billed at a threshold too, before their period ends.

        ``set`` is "not allowed with billing_thresholds" (API 2025-02-24, usage_record create).
        """
        found: set[str] = set()
        for id_ in self._mirror.related(ObjectKind.SUBSCRIPTION, customer=stripe_customer_id):
            known = self._mirror.find(id_)
            if known is None or known.body is None:
                continue
            subscription = msgspec.json.decode(known.body, type=_Subscription)
            found.update(
                item.id
                for item in subscription.items.data
                if subscription.billing_thresholds or item.billing_thresholds
            )
        return found


class _Item(msgspec.Struct):
    id: str
    billing_thresholds: dict[str, object] | None = None


class _Items(msgspec.Struct):
    data: list[_Item]


class _Subscription(msgspec.Struct):
    items: _Items
    billing_thresholds: dict[str, object] | None = None


prepare(_Subscription)
