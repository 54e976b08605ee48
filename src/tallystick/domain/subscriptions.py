"""What Tallystick needs to know of a customer's subscriptions; Stripe owns the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def newest_in_cycle(items: Iterable[SubscriptionItem], part: SubscriptionItem) -> SubscriptionItem:
    """Return what an item came to be last in the billing period of one of its stretches."""
    same = (each for each in items if each.stripe_item_id == part.stripe_item_id)
    return max((each for each in same if each.cycle == part.cycle), key=lambda each: each.period)


def records_taken_until(items: Iterable[SubscriptionItem], part: SubscriptionItem) -> int:
    """Return until when Stripe takes usage records of a stretch in which an item had a legacy
    price.

    Their timestamps "must be within the current billing period" of the item (API 2025-02-24,
    usage_record create), whatever prices it has in it; an item with a meter's price takes none.
    """
    newest = newest_in_cycle(items, part)
    return part.period.end_at if newest.stripe_meter_id else newest.period.end_at


@dataclass(frozen=True, slots=True)
class CustomerLink:
    """Your customer and Stripe's. ``test_clock_id`` is set for a customer that lives on a test
    clock.
    """

    customer: str
    stripe_customer_id: str
    test_clock_id: str | None = None
