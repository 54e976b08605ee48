"""How subscriptions and their items look on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.shapes.prices import render_plan, render_price, render_tax_rate
from tallystick.sandbox.wire.lists import whole_list

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.billing_records import Subscription, SubscriptionItem


def render_item(account: Account, item: SubscriptionItem) -> dict[str, Any]:
    """Return a subscription item; a metered one has no quantity."""
    price = account.prices.get(item.price)
    assert price is not None, "an item's price is never deleted"
    body = {
        "id": item.id,
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": item.created,
        "current_period_end": item.period_end,
        "current_period_start": item.period_start,
        "discounts": [],
        "metadata": item.metadata,
        "plan": render_plan(price),
        "price": render_price(price),
        "subscription": item.subscription,
        "tax_rates": render_tax_rates(account, item.tax_rates),
    }
    if item.quantity is not None:
        body["quantity"] = item.quantity
    return body


def render_tax_rates(account: Account, ids: list[str]) -> list[dict[str, Any]]:
    """Return tax rates by id."""
    found = (account.tax_rates.get(id_) for id_ in ids)
    return [render_tax_rate(rate) for rate in found if rate is not None]


def render_subscription(account: Account, subscription: Subscription) -> dict[str, Any]:
    """Return a subscription as Stripe shows it."""
    items = [render_item(account, item) for item in subscription.items]
    body = {
        "id": subscription.id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": subscription.anchor,
        "billing_cycle_anchor_config": subscription.anchor_config,
        "billing_mode": _billing_mode(subscription),
        "billing_schedules": [],
        "billing_thresholds": subscription.billing_thresholds,
        "cancel_at": subscription.cancel_at,
        "cancel_at_period_end": subscription.cancel_at_period_end,
        "canceled_at": subscription.canceled_at,
        "cancellation_details": {
            "comment": subscription.cancellation_comment,
            "feedback": subscription.cancellation_feedback,
            "reason": subscription.cancellation_reason,
        },
        "collection_method": subscription.collection_method,
        "created": subscription.created,
        "currency": subscription.currency,
        "customer": subscription.customer,
        "days_until_due": subscription.days_until_due,
        "default_payment_method": subscription.default_payment_method,
        "default_source": None,
        "default_tax_rates": render_tax_rates(account, subscription.default_tax_rates),
        "description": subscription.description,
        "discounts": [],
        "ended_at": subscription.ended_at,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": whole_list(items, f"/v1/subscription_items?subscription={subscription.id}"),
        "latest_invoice": subscription.latest_invoice,
        "livemode": False,
        "metadata": subscription.metadata,
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": subscription.start_date,
        "status": subscription.status,
        "test_clock": subscription.test_clock,
        "transfer_data": None,
        "trial_end": subscription.trial_end,
        "trial_settings": {
            "end_behavior": {"missing_payment_method": subscription.missing_payment_method}
        },
        "trial_start": subscription.trial_start,
    }
    if len(items) == 1:
        body["plan"] = items[0]["plan"]
        body["quantity"] = items[0].get("quantity")
    else:
        body["plan"] = body["quantity"] = None
    return body


def _billing_mode(subscription: Subscription) -> dict[str, Any]:
    flexible = (
        {"proration_discounts": subscription.proration_discounts}
        if subscription.is_flexible
        else None
    )
    mode: dict[str, Any] = {"flexible": flexible, "type": subscription.billing_mode}
    if subscription.billing_mode_updated_at is not None:
        mode["updated_at"] = subscription.billing_mode_updated_at
    return mode
