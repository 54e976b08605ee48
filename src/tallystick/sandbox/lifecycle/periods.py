"""The billing periods of subscription items, and when the next one ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.sandbox.arithmetic.calendar import next_boundary, previous_boundary

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.billing_records import Subscription, SubscriptionItem
    from tallystick.sandbox.state.records import Recurring


def recurring_of(account: Account, price_id: str) -> Recurring:
    """Return how an item's price recurs."""
    price = account.prices.get(price_id)
    assert price is not None, "an item's price is never deleted"
    assert price.recurring is not None, "only recurring prices make items"
    return price.recurring


def _day_of_month(subscription: Subscription) -> int | None:
    return (subscription.anchor_config or {}).get("day_of_month")


def period_end(account: Account, subscription: Subscription, price: str, start: int) -> int:
    """Return the first boundary after ``start``: counted from the anchor, not from the start."""
    recurring = recurring_of(account, price)
    return next_boundary(
        subscription.anchor,
        start,
        recurring.interval,
        recurring.interval_count,
        _day_of_month(subscription),
    )


def full_period(
    account: Account, subscription: Subscription, price: str, at: int
) -> tuple[int, int]:
    """Return the whole period that ``at`` lies in, as prorations measure it."""
    recurring = recurring_of(account, price)
    terms = (recurring.interval, recurring.interval_count, _day_of_month(subscription))
    return (
        previous_boundary(subscription.anchor, at, *terms),
        next_boundary(subscription.anchor, at, *terms),
    )


def is_metered(account: Account, item: SubscriptionItem) -> bool:
    """Say whether an item bills usage."""
    return recurring_of(account, item.price).is_metered


def schedule_renewal(account: Account, subscription: Subscription) -> None:
    """Schedule the end of the item period that ends first."""
    if subscription.is_ended or not subscription.items:
        return
    due_at = min(item.period_end for item in subscription.items)
    account.timeline(subscription.test_clock).schedule(due_at, "renew", subscription.id)
