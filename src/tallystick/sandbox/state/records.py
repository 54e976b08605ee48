"""What the sandbox remembers of each catalog, customer and usage object.

Plain records; how they look on the wire is the business of the resource modules. Amounts are minor
units, unit amounts are exact decimals of minor units, instants are seconds since the epoch.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec


class Record(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An object with an id and a time of creation on its own clock."""

    id: str
    created: int
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    test_clock: str | None = None


class Customer(Record):
    """A customer; ``balance`` is negative when it is a credit."""

    email: str | None = None
    name: str | None = None
    description: str | None = None
    phone: str | None = None
    address: dict[str, Any] | None = None
    shipping: dict[str, Any] | None = None
    balance: int = 0
    currency: str | None = None
    delinquent: bool = False
    tax_exempt: str = "none"
    invoice_prefix: str = ""
    next_invoice_sequence: int = 1
    default_payment_method: str | None = None
    invoice_custom_fields: list[dict[str, str]] | None = None
    invoice_footer: str | None = None
    preferred_locales: list[str] = msgspec.field(default_factory=list)


class Product(Record):
    """A product; only its name and unit label reach an invoice."""

    name: str
    updated: int
    active: bool = True
    description: str | None = None
    unit_label: str | None = None
    images: list[str] = msgspec.field(default_factory=list)
    statement_descriptor: str | None = None
    url: str | None = None
    default_price: str | None = None


class Tier(msgspec.Struct, omit_defaults=True):
    """A tier; ``up_to`` is inclusive and None in the last one."""

    up_to: int | None = None
    unit_amount: Decimal | None = None
    flat_amount: Decimal | None = None


class Amounts(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a price charges in one currency."""

    unit_amount: Decimal | None = None
    tiers: list[Tier] = msgspec.field(default_factory=list)
    tax_behavior: str = "unspecified"


class Recurring(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How often a price bills, and what its quantity is."""

    interval: str
    interval_count: int = 1
    usage_type: str = "licensed"
    meter: str | None = None
    aggregate_usage: str | None = None
    trial_period_days: int | None = None

    @property
    def is_metered(self) -> bool:
        """Say whether the quantity is usage."""
        return self.usage_type == "metered"


class Price(Record):
    """A price, or a legacy plan: the same object seen from two addresses."""

    currency: str
    product: str
    amounts: Amounts
    active: bool = True
    recurring: Recurring | None = None
    billing_scheme: str = "per_unit"
    tiers_mode: str | None = None
    divide_by: int | None = None
    divide_round: str = "up"
    currency_options: dict[str, Amounts] = msgspec.field(default_factory=dict)
    lookup_key: str | None = None
    nickname: str | None = None

    def amounts_in(self, currency: str) -> Amounts:
        """Return what is charged in one of the price's currencies."""
        if currency == self.currency:
            return self.amounts
        return self.currency_options[currency]


class Meter(Record):
    """A billing meter."""

    display_name: str
    event_name: str
    updated: int
    formula: str = "sum"
    customer_key: str = "stripe_customer_id"
    value_key: str = "value"
    event_time_window: str | None = None
    is_active: bool = True
    deactivated_at: int | None = None


class MeterEvent(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An accepted meter event.

    ``received_at`` is on the customer's clock, ``counts_at`` in real time; ``visible_at`` delays
    only what summaries show, on the customer's clock. An unchecked event is validated when it
    counts.
    """

    identifier: str
    event_name: str
    customer: str
    value: Decimal
    timestamp: int
    received_at: int
    counts_at: float
    visible_at: int = 0
    is_cancelled: bool = False
    is_unchecked: bool = False
    is_rejected: bool = False
    payload: dict[str, str] = msgspec.field(default_factory=dict)
    idempotency_key: str | None = None


class UsageRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A legacy usage record; several increments of one second stay apart, a set replaces all."""

    id: str
    item: str
    quantity: int
    timestamp: int
    received_at: int


class TestClock(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A test clock; ``target`` is set while it advances."""

    id: str
    created: int
    frozen_time: int
    deletes_after: int
    name: str | None = None
    target: int | None = None
    is_failed: bool = False
    customers: list[str] = msgspec.field(default_factory=list)


class TaxRate(Record):
    """A tax rate; ``percentage`` is exact."""

    display_name: str
    percentage: Decimal
    inclusive: bool
    active: bool = True
    country: str | None = None
    state: str | None = None
    jurisdiction: str | None = None
    description: str | None = None
    tax_type: str | None = None


class PaymentMethod(Record):
    """A card; ``behaviour`` names the test card that it was made from."""

    behaviour: str
    brand: str
    last4: str
    customer: str | None = None
    country: str = "US"
    funding: str = "credit"


class WebhookEndpoint(Record):
    """Where snapshot events go, in the endpoint's own API version."""

    url: str
    secret: str
    enabled_events: list[str]
    api_version: str | None = None
    description: str | None = None
    is_enabled: bool = True
    is_thin: bool = False
    name: str | None = None


class Event(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A snapshot event, or a thin one (``related`` and ``thin_data`` instead of an object)."""

    id: str
    type: str
    created: int
    data: bytes
    made_at: float
    request_id: str | None = None
    idempotency_key: str | None = None
    is_thin: bool = False
    related: dict[str, str] | None = None
    pending_webhooks: int = 0
    test_clock: str | None = None


class ScheduledAction(msgspec.Struct, frozen=True, order=True):
    """Something that falls due on a timeline; ``order`` keeps equal instants in order."""

    due_at: int
    order: int
    kind: str
    target: str
