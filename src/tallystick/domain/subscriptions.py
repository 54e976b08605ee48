"""What Tallystick needs to know of a customer's subscriptions; Stripe owns the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tallystick.domain.periods import Period


@dataclass(frozen=True, slots=True)
class SubscriptionItem:
    """One metered price that a customer is or was subscribed to, and when.

    ``period`` is how long the item had the price in ``cycle``, the billing period that Stripe names
    for the item. ``stripe_meter_id`` is None for a legacy price that is billed from usage records.
    """

    stripe_item_id: str
    stripe_subscription_id: str
    stripe_customer_id: str
    stripe_price_id: str
    stripe_meter_id: str | None
    period: Period
    cycle: Period


@dataclass(frozen=True, slots=True)
class CustomerLink:
    """Your customer and Stripe's. ``test_clock_id`` is set for a customer that lives on a test
    clock.
    """

    customer: str
    stripe_customer_id: str
    test_clock_id: str | None = None
