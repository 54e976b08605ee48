"""Prorations: unused time is credited and remaining time is charged, to the second.

DOC:billing/subscriptions/prorations; the rounding, nearest with ties toward minus infinity, fits
all recorded amounts. Usage is never prorated.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tallystick.sandbox.arithmetic.calendar import shown_date
from tallystick.sandbox.arithmetic.rating import exact_amount
from tallystick.sandbox.arithmetic.rounding import share
from tallystick.sandbox.delivery.events import emit
from tallystick.sandbox.lifecycle.lines import line_tax_rates, product_name, usage_lines, window_of
from tallystick.sandbox.lifecycle.periods import full_period
from tallystick.sandbox.shapes.invoices import render_invoice_item
from tallystick.sandbox.state.billing_records import InvoiceItem

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.billing_records import Subscription, SubscriptionItem


def credit_unused(
    account: Account, subscription: Subscription, item: SubscriptionItem, at: int
) -> list[InvoiceItem]:
    """Return the credit for a licensed item's time after ``at``."""
    return _prorate(account, subscription, item, at, sign=-1)


def charge_remaining(
    account: Account, subscription: Subscription, item: SubscriptionItem, at: int
) -> list[InvoiceItem]:
    """Return the charge for a licensed item's time from ``at`` to its period's end."""
    return _prorate(account, subscription, item, at, sign=1)


def _prorate(
    account: Account, subscription: Subscription, item: SubscriptionItem, at: int, *, sign: int
) -> list[InvoiceItem]:
    if subscription.status == "trialing" or item.period_end <= at:
        return []
    price = account.prices.get(item.price)
    assert price is not None, "an item's price is never deleted"
    quantity = Decimal(1 if item.quantity is None else item.quantity)
    amounts = price.amounts_in(subscription.currency)
    whole = exact_amount(price, amounts, quantity)
    start, end = full_period(account, subscription, item.price, at)
    amount = share(sign * whole, item.period_end - at, end - start)
    name = product_name(account, price)
    counted = f"{quantity} × {name}" if quantity != 1 else name
    words = "Unused time on" if sign < 0 else "Remaining time on"
    credited = billed_lines(account, subscription, item) if sign < 0 else (None, [])
    return [
        InvoiceItem(
            id=account.ids.make("ii"),
            created=account.now(subscription.test_clock),
            test_clock=subscription.test_clock,
            customer=subscription.customer,
            currency=subscription.currency,
            amount=amount,
            period_start=at,
            period_end=item.period_end,
            quantity=quantity,
            credited_invoice=credited[0],
            credited_lines=credited[1],
            description=f"{words} {counted} after {shown_date(at)}",
            price=item.price,
            product=price.product,
            subscription=subscription.id,
            subscription_item=item.id,
            is_proration=True,
            discountable=False,
            tax_rates=line_tax_rates(subscription, item),
        )
    ]


def billed_lines(
    account: Account, subscription: Subscription, item: SubscriptionItem
) -> tuple[str | None, list[str]]:
    """Return the invoice and the lines that last billed an item's licence: what a credit names."""
    for invoice in reversed(list(account.invoices.matching("subscription", subscription.id))):
        lines = [
            line.id
            for line in invoice.lines
            if line.item == item.id and line.amount > 0 and not line.is_usage
        ]
        if lines:
            return invoice.id, lines
    return None, []


def bill_usage_so_far(
    account: Account, subscription: Subscription, item: SubscriptionItem, at: int
) -> list[InvoiceItem]:
    """Return the usage of a metered item up to ``at`` as invoice items, at its present price.

    Flexible billing only: classic loses it (DOC:usage-based/manage-billing).
    """
    lines = usage_lines(account, window_of(subscription, item, at), subscription.currency)
    return [
        InvoiceItem(
            id=account.ids.make("ii"),
            created=account.now(subscription.test_clock),
            test_clock=subscription.test_clock,
            customer=subscription.customer,
            currency=subscription.currency,
            amount=line.amount,
            period_start=line.period_start,
            period_end=line.period_end,
            quantity=line.quantity or Decimal(0),
            unit_amount=line.unit_amount,
            description=line.description,
            price=line.price,
            product=line.product,
            subscription=subscription.id,
            subscription_item=item.id,
            is_usage=True,
            discountable=False,
            tax_rates=line.tax_rates,
        )
        for line in lines
    ]


def store_item(account: Account, item: InvoiceItem) -> None:
    """Keep an invoice item and tell the webhooks."""
    account.invoice_items.add(item)
    body = render_invoice_item(account, item)
    emit(account, "invoiceitem.created", body, test_clock=item.test_clock)
