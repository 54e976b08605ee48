"""What the sandbox remembers of subscriptions, invoices and payments."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from tallystick.sandbox.state.records import Record


class SubscriptionItem(Record):
    """An item; usage counts from ``usage_from``, which a change of price moves."""

    subscription: str
    price: str
    period_start: int
    period_end: int
    usage_from: int
    quantity: int | None = None
    tax_rates: list[str] = msgspec.field(default_factory=list)


class Subscription(Record):
    """A subscription; its items' periods are counted from ``anchor``."""

    customer: str
    currency: str
    status: str
    anchor: int
    start_date: int
    billing_mode: str
    items: list[SubscriptionItem] = msgspec.field(default_factory=list)
    anchor_config: dict[str, int | None] | None = None
    collection_method: str = "charge_automatically"
    days_until_due: int | None = None
    default_payment_method: str | None = None
    default_tax_rates: list[str] = msgspec.field(default_factory=list)
    description: str | None = None
    trial_start: int | None = None
    trial_end: int | None = None
    missing_payment_method: str = "create_invoice"
    cancel_at: int | None = None
    cancel_at_period_end: bool = False
    canceled_at: int | None = None
    ended_at: int | None = None
    cancellation_reason: str | None = None
    cancellation_comment: str | None = None
    cancellation_feedback: str | None = None
    latest_invoice: str | None = None
    billing_mode_updated_at: int | None = None
    proration_discounts: str = "included"
    billing_thresholds: dict[str, Any] | None = None

    @property
    def is_flexible(self) -> bool:
        """Say whether the billing mode is flexible."""
        return self.billing_mode == "flexible"

    @property
    def is_ended(self) -> bool:
        """Say whether nothing more can happen to it."""
        return self.status in ("canceled", "incomplete_expired")


class LineTax(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One tax rate on one line, rounded there."""

    rate: str
    amount: int
    taxable_amount: int
    inclusive: bool


class InvoiceLine(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An invoice line; the tax rates that apply are chosen when it is made."""

    id: str
    amount: int
    description: str | None
    period_start: int
    period_end: int
    quantity: Decimal | None = None
    unit_amount: Decimal | None = None
    price: str | None = None
    product: str | None = None
    item: str | None = None
    subscription: str | None = None
    invoice_item: str | None = None
    is_proration: bool = False
    is_usage: bool = False
    credited_invoice: str | None = None
    credited_lines: list[str] = msgspec.field(default_factory=list)
    discountable: bool = True
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    tax_rates: list[str] = msgspec.field(default_factory=list)
    taxes: list[LineTax] = msgspec.field(default_factory=list)


class InvoiceItem(Record):
    """An item that waits for the customer's next invoice, or belongs to a draft."""

    customer: str
    currency: str
    amount: int
    period_start: int
    period_end: int
    quantity: Decimal
    unit_amount: Decimal | None = None
    description: str | None = None
    price: str | None = None
    product: str | None = None
    invoice: str | None = None
    subscription: str | None = None
    subscription_item: str | None = None
    is_proration: bool = False
    is_usage: bool = False
    credited_invoice: str | None = None
    credited_lines: list[str] = msgspec.field(default_factory=list)
    discountable: bool = True
    tax_rates: list[str] = msgspec.field(default_factory=list)


class UsageWindow(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The usage that an invoice bills for an item: counted again when the invoice finalizes."""

    item: str
    price: str
    subscription: str
    customer: str
    start: int
    end: int
    is_trial: bool = False
    usage_from: int = 0
    tax_rates: list[str] = msgspec.field(default_factory=list)


class Invoice(Record):
    """An invoice."""

    customer: str
    currency: str
    billing_reason: str
    status: str = "draft"
    collection_method: str = "charge_automatically"
    subscription: str | None = None
    lines: list[InvoiceLine] = msgspec.field(default_factory=list)
    windows: list[UsageWindow] = msgspec.field(default_factory=list)
    period_start: int = 0
    period_end: int = 0
    auto_advance: bool = True
    automatically_finalizes_at: int | None = None
    number: str | None = None
    description: str | None = None
    footer: str | None = None
    custom_fields: list[dict[str, str]] | None = None
    default_tax_rates: list[str] = msgspec.field(default_factory=list)
    default_payment_method: str | None = None
    days_until_due: int | None = None
    due_date: int | None = None
    subtotal: int = 0
    subtotal_excluding_tax: int = 0
    total: int = 0
    total_excluding_tax: int = 0
    amount_due: int = 0
    amount_paid: int = 0
    starting_balance: int = 0
    ending_balance: int | None = None
    attempt_count: int = 0
    attempted: bool = False
    next_payment_attempt: int | None = None
    paid_out_of_band: bool = False
    finalized_at: int | None = None
    paid_at: int | None = None
    voided_at: int | None = None
    uncollectible_at: int | None = None
    webhooks_delivered_at: int | None = None
    payments: list[str] = msgspec.field(default_factory=list)
    subscription_metadata: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def amount_remaining(self) -> int:
        """Return what is still to be paid."""
        return self.amount_due - self.amount_paid


class Payment(Record):
    """What Stripe splits into an invoice payment, a payment intent and a charge."""

    customer: str
    currency: str
    amount: int
    intent: str
    status: str
    invoice: str | None = None
    charge: str | None = None
    payment_method: str | None = None
    paid_at: int | None = None
    canceled_at: int | None = None
    decline_code: str | None = None
    decline_message: str | None = None
    secret: str = ""
    description: str | None = None
