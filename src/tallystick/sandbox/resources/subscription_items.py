"""Subscription items at their own address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.lifecycle.metering import settle_meter_events
from tallystick.sandbox.lifecycle.payments import emit_subscription
from tallystick.sandbox.resources.subscription_updates import (
    apply_change,
    read_change,
    require_changeable,
)
from tallystick.sandbox.shapes.subscriptions import render_item, render_subscription
from tallystick.sandbox.wire.errors import missing, refused
from tallystick.sandbox.wire.lists import list_of
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.state.billing_records import Subscription, SubscriptionItem
    from tallystick.sandbox.wire.operations import Call

_BILLING = ("proration_behavior", "proration_date")


def find_item(call: Call, id_: str) -> tuple[Subscription, SubscriptionItem]:
    """Return an item and its subscription.

    Raises:
        StripeError: 404 resource_missing.
    """
    subscription = call.account.subscriptions.get(call.account.item_owner.get(id_, ""))
    for item in subscription.items if subscription else ():
        if item.id == id_:
            assert subscription is not None
            return subscription, item
    raise missing("subscription_item", id_)


def _change(call: Call, subscription: Subscription, given: dict[str, Any]) -> None:
    account, params = call.account, call.params
    require_changeable(account, subscription, params)
    before = render_subscription(account, subscription)
    settle_meter_events(account)
    wanted = {name: params[name] for name in _BILLING if name in params}
    change = read_change(call, subscription, wanted | {"items": [given]})
    apply_change(account, subscription, change, params.get("payment_behavior"))
    emit_subscription(account, "customer.subscription.updated", subscription, before=before)


def _item_params(params: dict[str, Any]) -> dict[str, Any]:
    names = ("price", "plan", "price_data", "quantity", "metadata", "tax_rates", "clear_usage")
    return {name: params[name] for name in names if name in params}


def create_item(call: Call) -> dict[str, Any]:
    """Add an item; a metered one counts usage from now on."""
    subscription = call.account.subscriptions.get(call.params["subscription"])
    if subscription is None:
        raise missing("subscription", call.params["subscription"], "subscription", status=400)
    _change(call, subscription, _item_params(call.params))
    return render_item(call.account, subscription.items[-1])


def retrieve_item(call: Call) -> dict[str, Any]:
    """Return an item."""
    return render_item(call.account, find_item(call, call.path["item"])[1])


def update_item(call: Call) -> dict[str, Any]:
    """Change an item."""
    subscription, item = find_item(call, call.path["item"])
    _change(call, subscription, _item_params(call.params) | {"id": item.id})
    return render_item(call.account, find_item(call, item.id)[1])


def delete_item(call: Call) -> dict[str, Any]:
    """Remove an item, except the last one."""
    subscription, item = find_item(call, call.path["item"])
    if len(subscription.items) == 1:
        raise refused(
            "A subscription must have at least one active plan. To cancel the subscription "
            "instead, delete the subscription."
        )
    _change(call, subscription, _item_params(call.params) | {"id": item.id, "deleted": True})
    return {"id": item.id, "object": "subscription_item", "deleted": True}


def list_items(call: Call) -> dict[str, Any]:
    """List a subscription's items, in its order."""
    subscription = call.account.subscriptions.get(call.params["subscription"])
    if subscription is None:
        raise missing("subscription", call.params["subscription"], "subscription", status=400)
    return list_of(
        call,
        subscription.items,
        lambda item: render_item(call.account, item),
        noun="subscription_item",
    )


_TERMS = (
    "metadata payment_behavior plan price price_data proration_behavior proration_date quantity "
    "tax_rates"
)
_PATH = "/v1/subscription_items"
OPERATIONS = (
    Operation("POST", _PATH, create_item, f"{_TERMS} subscription"),
    Operation("GET", _PATH, list_items, "ending_before limit starting_after subscription"),
    Operation("GET", f"{_PATH}/{{item}}", retrieve_item),
    Operation("POST", f"{_PATH}/{{item}}", update_item, f"{_TERMS} off_session"),
    Operation(
        "DELETE", f"{_PATH}/{{item}}", delete_item, "clear_usage proration_behavior proration_date"
    ),
)
