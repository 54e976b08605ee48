"""Stripe's invoices against our own bills, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.quantity import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from decimal import Decimal

    from tallystick.billing.usage_bill import Biller, UsageBill
    from tallystick.ports.directory import CustomerDirectory
    from tallystick.ports.stripe import Invoice

CYCLE = "subscription_cycle"
"""The billing reason of an invoice for a period that ended."""


class ComparedInvoice(NamedTuple):
    """One customer's two halves; amounts in minor units, None where a half is missing.

    ``differences`` says in words what does not match; empty if all does.
    """

    customer: str
    currency: str
    quantities: dict[str, Decimal]
    ours_minor: int | None
    stripe_minor: int | None
    differences: tuple[str, ...]

    @property
    def difference_minor(self) -> int:
        """Stripe's amount minus ours, with nothing for a missing half."""
        return (self.stripe_minor or 0) - (self.ours_minor or 0)


def compare_cycle_invoices(
    invoices: Iterable[Invoice], customers: CustomerDirectory, biller: Biller
) -> Iterator[ComparedInvoice]:
    """Return each linked customer's cycle invoices beside our bills of the same periods.

    A subscription whose period is over without an invoice is a difference too.
    """
    by_customer: dict[str, list[Invoice]] = {}
    for invoice in invoices:
        if invoice.billing_reason == CYCLE:
            by_customer.setdefault(invoice.stripe_customer_id, []).append(invoice)
    for link in customers.links():
        found = by_customer.get(link.stripe_customer_id, [])
        if not found:
            yield ComparedInvoice(
                link.customer, "", {}, None, None, ("Stripe has no invoice for the customer",)
            )
        items, _ = customers.items(link.stripe_customer_id)
        for invoice in found:
            billed = [
                item
                for item in items
                if item.stripe_subscription_id == invoice.stripe_subscription_id
                and item.period.end_at == invoice.period_end_at
            ]
            yield _compare(link.customer, invoice, biller.bill(link.customer, billed))


def _compare(customer: str, invoice: Invoice, bill: UsageBill) -> ComparedInvoice:
    total = bill.total
    ours_minor = total.amount_minor if total else None
    differences = [f"price {item.stripe_price_id} is not in the catalog" for item in bill.unpriced]
    if total is not None and total.currency != invoice.currency:
        differences.append(f"we bill in {total.currency}, Stripe in {invoice.currency}")
    if ours_minor != invoice.total_minor:
        differences.append(f"we bill {ours_minor}, Stripe {invoice.total_minor}")
    differences += _line_differences(invoice, bill)
    return ComparedInvoice(
        customer,
        invoice.currency,
        {charge.meter_key: charge.quantity for charge in bill.charges},
        ours_minor,
        invoice.total_minor,
        tuple(differences),
    )


def _line_differences(invoice: Invoice, bill: UsageBill) -> list[str]:
    differences = []
    for charge in bill.charges:
        ours = [(plain(line.quantity), line.amount_minor) for line in charge.charge.lines]
        theirs = [
            (line.quantity, line.amount_minor)
            for line in invoice.lines
            if line.stripe_item_id == charge.item.stripe_item_id
        ]
        if ours != theirs:
            differences.append(f"{charge.meter_key}: our lines are {ours}, Stripe's {theirs}")
    return differences
