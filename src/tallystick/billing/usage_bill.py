"""What a customer's usage of a billing period costs, rated here: history left out, which Stripe is
not told of and does not bill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.money import Money, MoneyError
from tallystick.domain.periods import Period
from tallystick.domain.rating.charges import Charge, rate

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from tallystick.domain.subscriptions import SubscriptionItem
    from tallystick.ports.directory import CatalogStore
    from tallystick.ports.event_store import UsageReader


class ItemCharge(NamedTuple):
    """One subscription item's share of a bill."""

    item: SubscriptionItem
    meter_key: str
    quantity: Decimal
    charge: Charge


class UsageBill(NamedTuple):
    """The usage of one period, item by item; ``unpriced`` are items whose price is not in our
    catalog.
    """

    charges: tuple[ItemCharge, ...]
    unpriced: tuple[SubscriptionItem, ...]

    @property
    def total(self) -> Money | None:
        """The sum, or None for a bill without any charge.

        Raises:
            MoneyError: the items are in several currencies, which Stripe has no invoice for.
        """
        currencies = {charge.charge.currency for charge in self.charges}
        if len(currencies) > 1:
            raise MoneyError(f"one bill in several currencies: {', '.join(sorted(currencies))}")
        return (
            Money(sum(charge.charge.amount_minor for charge in self.charges), currencies.pop())
            if currencies
            else None
        )


class Biller:
    """Rates measured usage at the prices of the catalog."""

    def __init__(self, usage: UsageReader, catalog: CatalogStore) -> None:
        self._usage = usage
        self._catalog = catalog

    def bill(
        self, customer: str, items: Iterable[SubscriptionItem], as_of: int | None = None
    ) -> UsageBill:
        """Return the bill of the items, each over its own period, or over what of it is past."""
        charges = []
        unpriced = []
        for item in items:
            charge = self._charge(customer, item, as_of)
            if charge is None:
                unpriced.append(item)
            else:
                charges.append(charge)
        return UsageBill(tuple(charges), tuple(unpriced))

    def _charge(
        self, customer: str, item: SubscriptionItem, as_of: int | None
    ) -> ItemCharge | None:
        price = self._catalog.price(item.stripe_price_id)
        meter_key = self._catalog.meter_key(item.stripe_meter_id) if item.stripe_meter_id else None
        if price is None or meter_key is None:
            return None
        meter = self._catalog.meters().by_key[meter_key]
        end_at = item.period.end_at if as_of is None else min(as_of, item.period.end_at)
        period = Period(item.period.start_at, max(end_at, item.period.start_at + 1))
        measured = self._usage.usage_and_history(meter, customer, period)
        quantity = measured.reportable(meter.aggregation)
        return ItemCharge(item, meter_key, quantity, rate(price, quantity))
