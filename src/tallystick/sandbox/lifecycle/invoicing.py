"""Invoices from draft to final: totals, taxes, balance, numbers, and the hour in between."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tallystick.sandbox.arithmetic.calendar import days_after
from tallystick.sandbox.arithmetic.taxes import tax_line
from tallystick.sandbox.delivery.events import emit
from tallystick.sandbox.lifecycle.lines import line_of_item, minimum_charge, usage_lines
from tallystick.sandbox.lifecycle.metering import settle_meter_events
from tallystick.sandbox.shapes.customers import render_customer
from tallystick.sandbox.shapes.invoices import render_invoice
from tallystick.sandbox.state.billing_records import Invoice, InvoiceLine, UsageWindow
from tallystick.sandbox.wire.errors import refused

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.billing_records import InvoiceItem, Subscription
    from tallystick.sandbox.state.records import Customer

LINES_MAX = 250
"""DOC:api/invoices: items per invoice."""


@dataclass(slots=True)
class Draft:
    """What a new invoice shall hold."""

    reason: str
    lines: list[InvoiceLine] = field(default_factory=list)
    windows: list[UsageWindow] = field(default_factory=list)
    pending: list[InvoiceItem] = field(default_factory=list)
    period: tuple[int, int] = (0, 0)
    waits: bool = False
    """Whether it stays a draft for the finalization delay: cycle invoices do."""


def pending_items(account: Account, customer: str, currency: str) -> list[InvoiceItem]:
    """Return the customer's items that wait for an invoice, newest first.

    DOC:api/invoices/object#lines: pending items come first, in reverse chronological order; those
    of one second keep their order (recorded: a proration's credit, then its charge).
    """
    waiting = [
        item
        for item in account.invoice_items.matching("customer", customer)
        if item.invoice is None and item.currency == currency
    ]
    return sorted(waiting, key=lambda item: -item.created)


def build_invoice(account: Account, subscription: Subscription, draft: Draft) -> Invoice:
    """Return an invoice of a subscription that is not stored yet: a preview stops here."""
    lines = [line_of_item(account, item) for item in draft.pending]
    for window in draft.windows:
        lines.extend(usage_lines(account, window, subscription.currency))
    lines.extend(draft.lines)
    invoice = Invoice(
        id=account.ids.make("in"),
        created=account.now(subscription.test_clock),
        customer=subscription.customer,
        currency=subscription.currency,
        billing_reason=draft.reason,
        collection_method=subscription.collection_method,
        days_until_due=subscription.days_until_due,
        subscription=subscription.id,
        lines=lines,
        windows=draft.windows,
        period_start=draft.period[0],
        period_end=draft.period[1],
        default_tax_rates=list(subscription.default_tax_rates),
        test_clock=subscription.test_clock,
        subscription_metadata=dict(subscription.metadata),
    )
    total_invoice(account, invoice)
    return invoice


def store_invoice(account: Account, invoice: Invoice, draft: Draft) -> None:
    """Keep a new draft, claim its pending items, and schedule its finalization."""
    for item, line in zip(draft.pending, invoice.lines, strict=False):
        item.invoice = invoice.id
        account.invoice_by_line[line.id] = invoice.id
    add_invoice(account, invoice)
    subscription = account.subscriptions.get(invoice.subscription or "")
    if subscription is not None:
        subscription.latest_invoice = invoice.id
    if draft.waits:
        schedule_finalization(account, invoice)


def add_invoice(account: Account, invoice: Invoice) -> None:
    """Keep an invoice and tell the webhooks."""
    account.invoices.add(invoice)
    customer = account.customers.get(invoice.customer)
    if customer is not None and customer.currency is None:
        customer.currency = invoice.currency
    if not account.outlets.has_listeners("invoice.created"):
        invoice.webhooks_delivered_at = invoice.created
    emit_invoice(account, "invoice.created", invoice)


def schedule_finalization(account: Account, invoice: Invoice) -> None:
    """Let a draft finalize after the delay, counted from when its webhooks are answered."""
    start = invoice.webhooks_delivered_at or account.now(invoice.test_clock)
    invoice.automatically_finalizes_at = start + account.settings.finalization_delay_s
    timeline = account.timeline(invoice.test_clock)
    timeline.schedule(invoice.automatically_finalizes_at, "finalize", invoice.id)


def emit_invoice(account: Account, kind: str, invoice: Invoice) -> None:
    """Record an event with the invoice as it stands."""
    emit(account, kind, render_invoice(account, invoice), test_clock=invoice.test_clock)


def total_invoice(account: Account, invoice: Invoice) -> None:
    """Compute taxes and totals again: rounded lines are summed, taxes rounded per line."""
    customer = account.customers.get(invoice.customer)
    is_exempt = customer is not None and customer.tax_exempt != "none"
    exclusive = inclusive = 0
    for line in invoice.lines:
        ids = [] if is_exempt else line.tax_rates or invoice.default_tax_rates
        found = [account.tax_rates.get(id_) for id_ in ids]
        rates = [rate for rate in found if rate is not None]
        line.taxes = tax_line(line.amount, rates, account.settings.usage_rounding)
        exclusive += sum(tax.amount for tax in line.taxes if not tax.inclusive)
        inclusive += sum(tax.amount for tax in line.taxes if tax.inclusive)
    invoice.subtotal = sum(line.amount for line in invoice.lines)
    invoice.subtotal_excluding_tax = invoice.subtotal - inclusive
    invoice.total = invoice.subtotal + exclusive
    invoice.total_excluding_tax = invoice.total - exclusive - inclusive
    balance = customer.balance if customer else 0
    invoice.starting_balance = balance
    invoice.amount_due, _ = settle_balance(invoice.total, balance, invoice.currency)


def settle_balance(total: int, balance: int, currency: str) -> tuple[int, int]:
    """Return (amount due, the customer's balance afterwards).

    A credit is used up first; a debt is added. What is below the minimum charge is not collected
    but moved to the balance (recorded with 1 and 4 cents).
    """
    due = total + balance
    if due <= 0:
        return 0, due
    if due < minimum_charge(currency).amount_minor:
        return 0, due
    return due, 0


def recount_usage(account: Account, invoice: Invoice) -> None:
    """Read the usage of the closed period again: late events count until finalization."""
    if not invoice.windows:
        return
    old: dict[str, list[InvoiceLine]] = {}
    for line in invoice.lines:
        if line.is_usage and line.item is not None and line.invoice_item is None:
            old.setdefault(line.item, []).append(line)
    fresh = {
        window.item: usage_lines(
            account, window, invoice.currency, [line.id for line in old.get(window.item, [])]
        )
        for window in invoice.windows
    }
    lines: list[InvoiceLine] = []
    for line in invoice.lines:
        if line.is_usage and line.invoice_item is None and line.item in fresh:
            lines.extend(fresh.pop(line.item))
        elif not (line.is_usage and line.invoice_item is None):
            lines.append(line)
    invoice.lines = lines


def finalize_invoice(account: Account, invoice: Invoice) -> None:
    """Make a draft final: count usage again, number it, and apply the customer's balance.

    An invoice with nothing to collect is paid at once.

    Raises:
        StripeError: 400, it is not a draft.
    """
    if invoice.status != "draft":
        raise refused(
            "This invoice is already finalized, you can't re-finalize a non-draft invoice.",
            code="invoice_not_editable",
        )
    settle_meter_events(account, everything=True)
    recount_usage(account, invoice)
    total_invoice(account, invoice)
    now = account.now(invoice.test_clock)
    customer = account.customers.get(invoice.customer)
    invoice.status = "open"
    invoice.finalized_at = now
    invoice.automatically_finalizes_at = None
    if customer is not None:
        _number(invoice, customer)
        _apply_balance(account, invoice, customer)
    if invoice.collection_method == "send_invoice":
        if invoice.due_date is None:
            invoice.due_date = days_after(now, invoice.days_until_due or 0)
        account.timeline(invoice.test_clock).schedule(invoice.due_date + 1, "overdue", invoice.id)
    emit_invoice(account, "invoice.finalized", invoice)


def _number(invoice: Invoice, customer: Customer) -> None:
    invoice.number = f"{customer.invoice_prefix}-{customer.next_invoice_sequence:04d}"
    customer.next_invoice_sequence += 1


def _apply_balance(account: Account, invoice: Invoice, customer: Customer) -> None:
    before = render_customer(customer)
    due, balance = settle_balance(invoice.total, customer.balance, invoice.currency)
    invoice.starting_balance = customer.balance
    invoice.ending_balance = balance
    invoice.amount_due = due
    if balance != customer.balance:
        customer.balance = balance
        emit(
            account,
            "customer.updated",
            render_customer(customer),
            before=before,
            test_clock=customer.test_clock,
        )
