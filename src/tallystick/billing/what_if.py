"""What past usage would have cost under another catalog."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.aggregation import quantity_of
from tallystick.domain.catalog.objects import CatalogError, CatalogProblem
from tallystick.domain.rating.invoices import NO_TERMS, InvoiceTerms, rate_invoice
from tallystick.domain.rating.prices import UsageType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from decimal import Decimal

    from tallystick.domain.catalog.objects import Catalog, CatalogPrice, Plan
    from tallystick.domain.meters import Meter
    from tallystick.domain.periods import Period
    from tallystick.domain.rating.prices import Price
    from tallystick.domain.subscriptions import SubscriptionItem
    from tallystick.ports.directory import CatalogStore, CustomerDirectory
    from tallystick.ports.event_store import UsageReader

NOT_APPLIED = "its price was never applied here"
NOT_IN_OTHER = "the other catalog has no price of its key and currency"


class WhatIfRow(NamedTuple):
    """What a customer's usage costs now and would cost, in minor units of the currency."""

    customer: str
    currency: str
    before_minor: int
    after_minor: int

    @property
    def difference_minor(self) -> int:
        """What the customer would pay more."""
        return self.after_minor - self.before_minor


class UnratedItem(NamedTuple):
    """A subscription item that is in neither sum, and why."""

    customer: str
    stripe_item_id: str
    reason: str


class WhatIfAnswer(NamedTuple):
    """Every customer that has a billing period in the time asked for, in order."""

    rows: tuple[WhatIfRow, ...]
    unrated: tuple[UnratedItem, ...]

    @property
    def totals(self) -> tuple[WhatIfRow, ...]:
        """The sum over all customers, one for each currency; ``customer`` is empty."""
        sums: dict[str, tuple[int, int]] = {}
        for row in self.rows:
            before, after = sums.get(row.currency, (0, 0))
            sums[row.currency] = (before + row.before_minor, after + row.after_minor)
        return tuple(WhatIfRow("", currency, *both) for currency, both in sorted(sums.items()))


class _Use(NamedTuple):
    """An item's usage, measured for the price it has and for the one it would have."""

    price: Price
    quantity: Decimal
    other: CatalogPrice
    other_quantity: Decimal


class WhatIf:
    """Re-rates the billing periods that are known, at the prices of another catalog."""

    def __init__(
        self,
        usage: UsageReader,
        store: CatalogStore,
        customers: CustomerDirectory,
        other: Catalog,
    ) -> None:
        """Take the catalog that usage is to be rated under.

        Raises:
            CatalogError: it has a meter that usage was never measured with as it is declared.
        """
        self._usage = usage
        self._store = store
        self._customers = customers
        self._other = other
        self._applied = store.applied()
        self._meters = store.meters().by_key
        self._prices: dict[str, Price | None] = {}
        self._others = {price.key: price for price in other.prices}
        self._check_meters()

    def rerate(self, within: Period) -> WhatIfAnswer:
        """Rate every billing period that ended in the time, now and under the other catalog.

        Usage that was not linked to a Stripe customer, or not subscribed, has no price to compare.
        """
        rows: list[WhatIfRow] = []
        unrated: list[UnratedItem] = []
        for link in self._customers.links():
            items, _ = self._customers.items(link.stripe_customer_id)
            ended = [
                item for item in items if within.start_at < item.period.end_at <= within.end_at
            ]
            rows += self._of_customer(link.customer, ended, unrated)
        return WhatIfAnswer(tuple(rows), tuple(unrated))

    def _of_customer(
        self, customer: str, items: Iterable[SubscriptionItem], unrated: list[UnratedItem]
    ) -> Iterator[WhatIfRow]:
        sums: dict[str, tuple[int, int]] = {}
        for invoice in _by_invoice(items):
            uses: dict[str, list[_Use]] = {}
            for item in invoice:
                use = self._use(customer, item)
                if isinstance(use, _Use):
                    uses.setdefault(use.price.currency, []).append(use)
                else:
                    unrated.append(UnratedItem(customer, item.stripe_item_id, use))
            for currency, used in uses.items():
                before, after = sums.get(currency, (0, 0))
                now, would = self._amounts(currency, used)
                sums[currency] = (before + now, after + would)
        for currency, both in sorted(sums.items()):
            yield WhatIfRow(customer, currency, *both)

    def _use(self, customer: str, item: SubscriptionItem) -> _Use | str:
        price = self._price(item.stripe_price_id)
        meter_key = self._store.meter_key(item.stripe_meter_id) if item.stripe_meter_id else None
        if price is None or meter_key is None:
            return NOT_APPLIED
        other = self._other_price(price)
        if other is None or other.meter_key is None:
            return NOT_IN_OTHER
        quantity = self._quantity(self._meters[meter_key], customer, item.period)
        other_quantity = quantity
        if other.meter_key != meter_key:
            other_quantity = self._quantity(self._meters[other.meter_key], customer, item.period)
        return _Use(price, quantity, other, other_quantity)

    def _price(self, stripe_price_id: str) -> Price | None:
        if stripe_price_id not in self._prices:
            self._prices[stripe_price_id] = self._store.price(stripe_price_id)
        return self._prices[stripe_price_id]

    def _other_price(self, price: Price) -> CatalogPrice | None:
        """Return the price of the same key, or of the same name where it has several currencies."""
        found = self._others.get(price.key or "") or self._other.price_of(
            price.key or "", price.currency
        )
        return found if found is not None and found.price.currency == price.currency else None

    def _quantity(self, meter: Meter, customer: str, period: Period) -> Decimal:
        return quantity_of(self._usage.usage(meter, customer, period), meter.aggregation)

    def _amounts(self, currency: str, used: list[_Use]) -> tuple[int, int]:
        now = rate_invoice(
            [(use.price, use.quantity) for use in used],
            _terms(self._applied, {use.price.key or "" for use in used}, currency),
            currency=currency,
        )
        would = rate_invoice(
            [(use.other.price, use.other_quantity) for use in used],
            _terms(self._other, {use.other.key for use in used}, currency),
            currency=currency,
        )
        return now.total_minor, would.total_minor

    def _check_meters(self) -> None:
        problems = [
            CatalogProblem(
                self._other.meter_path(meter.key),
                "usage was never measured this way here, so that it cannot be rated",
            )
            for meter in self._other.meters
            if not _is_measured(meter, self._meters.get(meter.key))
            and any(price.meter_key == meter.key for price in self._other.prices)
        ]
        if problems:
            raise CatalogError(self._other.located(problems))


def _is_measured(meter: Meter, in_force: Meter | None) -> bool:
    """Tell whether usage was measured as the meter is declared, whatever it is called and when
    reported.
    """
    return in_force is not None and meter == replace(
        in_force,
        display_name=meter.display_name,
        report_every_minutes=meter.report_every_minutes,
    )


def _by_invoice(items: Iterable[SubscriptionItem]) -> list[list[SubscriptionItem]]:
    """Return the items grouped as they are invoiced: by subscription and period."""
    grouped: dict[tuple[str, Period], list[SubscriptionItem]] = {}
    for item in items:
        grouped.setdefault((item.stripe_subscription_id, item.period), []).append(item)
    return list(grouped.values())


def _terms(catalog: Catalog | None, price_keys: set[str], currency: str) -> InvoiceTerms:
    """Return the minimum and the cap of the one plan that has exactly these prices, if there is.

    Plans with licensed prices are left alone, because their quantities are not known here; so are
    commitments over several periods, which one period does not decide.
    """
    fitting = [
        plan
        for plan in (catalog.plans if catalog else ())
        if catalog and _keys(catalog, plan, currency) == price_keys
    ]
    if len(fitting) != 1:
        return NO_TERMS
    minimum = fitting[0].commitments.get(currency)
    return InvoiceTerms(
        spend_cap=fitting[0].spend_caps.get(currency),
        minimum=minimum if minimum and minimum.periods_count == 1 else None,
    )


def _keys(catalog: Catalog, plan: Plan, currency: str) -> set[str] | None:
    prices = [catalog.price_of(item.price_name, currency) for item in plan.items]
    if any(price is None or price.price.usage_type is UsageType.LICENSED for price in prices):
        return None
    return {price.key for price in prices if price is not None}
