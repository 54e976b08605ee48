"""Invoice lines: usage in arrears, licences in advance, prorations, and how each is described."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tallystick.domain.money import Money, exponent_of, format_unit_amount
from tallystick.domain.quantity import plain
from tallystick.sandbox.arithmetic.rating import Charge, rate
from tallystick.sandbox.lifecycle.usage import window_quantity
from tallystick.sandbox.state.billing_records import InvoiceLine, UsageWindow

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.billing_records import (
        InvoiceItem,
        Subscription,
        SubscriptionItem,
    )
    from tallystick.sandbox.state.records import Price

ZERO = Decimal(0)
_SIGNS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥", "inr": "₹", "aud": "A$", "cad": "CA$"}


def shown_amount(amount: Decimal, currency: str) -> str:
    """Return a unit amount as descriptions write it: ``$25.00``, ``$0.005``."""
    sign = _SIGNS.get(currency, f"{currency.upper()} ")
    return f"{sign}{format_unit_amount(amount, currency)}"


def _product_name(account: Account, price: Price) -> tuple[str, str]:
    product = account.products.get(price.product)
    if product is None:
        return price.nickname or price.product, ""
    return product.name, f" {product.unit_label}" if product.unit_label else ""


def _interval(price: Price) -> str:
    recurring = price.recurring
    if recurring is None:
        return ""
    if recurring.interval_count == 1:
        return f" / {recurring.interval}"
    return f" every {recurring.interval_count} {recurring.interval}s"


def describe(account: Account, price: Price, charge: Charge, currency: str) -> str:
    """Return a line's description, in the words of recorded invoices."""
    name, unit = _product_name(account, price)
    each = shown_amount(charge.unit_amount or ZERO, currency) + _interval(price)
    if charge.is_flat:
        return f"{name} (Tier {charge.tier} at {each})"
    counted = f"{plain(charge.quantity)}{unit} × {name}"
    if charge.tier is not None:
        return f"{counted} (Tier {charge.tier} at {each})"
    if price.divide_by is not None:
        each = f"{shown_amount(charge.unit_amount or ZERO, currency)} per {price.divide_by}"
        return f"{counted} (at {each}{_interval(price)})"
    return f"{counted} (at {each})"


def usage_lines(
    account: Account, window: UsageWindow, currency: str, ids: list[str] | None = None
) -> list[InvoiceLine]:
    """Return the lines of a window's usage as it stands now; ``ids`` are used again in order.

    Usage of a trial is shown and not charged (recorded: 5783 units, amount 0).
    """
    price = account.prices.get(window.price)
    assert price is not None, "an item's price is never deleted"
    span = (max(window.start, window.usage_from), window.end)
    quantity = window_quantity(account, window, span)
    if window.is_trial:
        charges = [Charge(max(quantity, ZERO), ZERO, 0)]
    else:
        rounding = account.settings.usage_rounding
        charges = rate(price, price.amounts_in(currency), quantity, rounding)
    kept = iter(ids or ())
    return [
        InvoiceLine(
            id=next(kept, None) or account.ids.make("il"),
            amount=charge.amount,
            description=_trial_words(account, price, charge)
            if window.is_trial
            else describe(account, price, charge, currency),
            period_start=span[0],
            period_end=window.end,
            quantity=charge.quantity,
            unit_amount=charge.unit_amount,
            price=price.id,
            product=price.product,
            item=window.item,
            subscription=window.subscription,
            is_usage=True,
            tax_rates=window.tax_rates,
        )
        for charge in charges
    ]


def _trial_words(account: Account, price: Price, charge: Charge) -> str:
    name, unit = _product_name(account, price)
    return f"{plain(charge.quantity)}{unit} × {name} (Free trial)"


def window_of(
    subscription: Subscription, item: SubscriptionItem, end: int, *, is_trial: bool = False
) -> UsageWindow:
    """Return the usage of an item's current period up to ``end``."""
    return UsageWindow(
        item=item.id,
        price=item.price,
        subscription=subscription.id,
        customer=subscription.customer,
        start=item.period_start,
        end=end,
        is_trial=is_trial,
        usage_from=item.usage_from,
        tax_rates=line_tax_rates(subscription, item),
    )


def line_tax_rates(subscription: Subscription, item: SubscriptionItem) -> list[str]:
    """Return the rates of an item: its own, else the subscription's."""
    return item.tax_rates or subscription.default_tax_rates


def licence_lines(
    account: Account, subscription: Subscription, item: SubscriptionItem, span: tuple[int, int]
) -> list[InvoiceLine]:
    """Return the lines of a licensed item for a whole period, in advance."""
    price = account.prices.get(item.price)
    assert price is not None, "an item's price is never deleted"
    currency = subscription.currency
    quantity = Decimal(1 if item.quantity is None else item.quantity)
    amounts = price.amounts_in(currency)
    return [
        _item_line(
            account,
            subscription,
            item,
            span,
            charge=charge,
            words=describe(account, price, charge, currency),
        )
        for charge in rate(price, amounts, quantity, account.settings.usage_rounding)
    ]


def free_line(
    account: Account, subscription: Subscription, item: SubscriptionItem, span: tuple[int, int]
) -> InvoiceLine:
    """Return the 0 line of a trial, or of a metered item when a classic subscription starts."""
    price = account.prices.get(item.price)
    assert price is not None, "an item's price is never deleted"
    name, unit = _product_name(account, price)
    is_metered = price.recurring is not None and price.recurring.is_metered
    quantity = ZERO if is_metered else Decimal(1 if item.quantity is None else item.quantity)
    words = f"0{unit} × {name}" if is_metered else f"Trial period for {name}"
    charge = Charge(quantity, ZERO, 0)
    return _item_line(account, subscription, item, span, charge=charge, words=words)


def _item_line(
    account: Account,
    subscription: Subscription,
    item: SubscriptionItem,
    span: tuple[int, int],
    *,
    charge: Charge,
    words: str,
) -> InvoiceLine:
    price = account.prices.get(item.price)
    return InvoiceLine(
        id=account.ids.make("il"),
        amount=charge.amount,
        description=words,
        period_start=span[0],
        period_end=span[1],
        quantity=charge.quantity,
        unit_amount=charge.unit_amount,
        price=item.price,
        product=price.product if price else None,
        item=item.id,
        subscription=subscription.id,
        tax_rates=line_tax_rates(subscription, item),
    )


def line_of_item(account: Account, item: InvoiceItem) -> InvoiceLine:
    """Return the line that an invoice item becomes."""
    return InvoiceLine(
        id=account.ids.make("il"),
        amount=item.amount,
        description=item.description,
        period_start=item.period_start,
        period_end=item.period_end,
        quantity=item.quantity,
        unit_amount=item.unit_amount,
        price=item.price,
        product=item.product,
        item=item.subscription_item,
        subscription=item.subscription,
        invoice_item=item.id,
        is_proration=item.is_proration,
        credited_invoice=item.credited_invoice,
        credited_lines=item.credited_lines,
        discountable=item.discountable,
        metadata=item.metadata,
        tax_rates=item.tax_rates,
    )


def product_name(account: Account, price: Price) -> str:
    """Return the name that prorations put in their descriptions."""
    return _product_name(account, price)[0]


def minimum_charge(currency: str) -> Money:
    """Return the smallest amount that Stripe collects (DOC:currencies#minimum-and-maximum)."""
    return Money(_MINIMUM.get(currency, _MINIMUM_HUNDREDTHS[exponent_of(currency)]), currency)


_MINIMUM = {
    "usd": 50, "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500,
    "dkk": 250, "eur": 50, "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000,
    "myr": 200, "nok": 300, "nzd": 50, "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000,
}  # fmt: skip
_MINIMUM_HUNDREDTHS = {0: 50, 2: 50, 3: 500}
"""Assumed for currencies that the table does not list, by their decimal places."""
