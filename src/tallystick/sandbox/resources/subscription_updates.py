"""Updates of subscriptions and of their items."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from tallystick.sandbox.lifecycle.changes import (
    Change,
    Effect,
    ItemChange,
    bill_change,
    change_subscription,
    preview_change,
)
from tallystick.sandbox.lifecycle.metering import settle_meter_events
from tallystick.sandbox.lifecycle.payments import CARDS, emit_subscription, method_of
from tallystick.sandbox.lifecycle.starting import TRIAL_NOTICE_S
from tallystick.sandbox.resources.prices import find_or_make_price
from tallystick.sandbox.resources.subscription_terms import (
    check_items,
    check_payment_method,
    check_price,
    check_tax_rates,
    item_quantity,
    new_item,
    require_clock_ready,
)
from tallystick.sandbox.resources.subscriptions import subscription_in_path
from tallystick.sandbox.shapes.subscriptions import render_subscription
from tallystick.sandbox.wire.errors import StripeError, card_declined, missing, refused, unsupported
from tallystick.sandbox.wire.metadata import merged_metadata
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.billing_records import Subscription, SubscriptionItem
    from tallystick.sandbox.wire.operations import Call


def update_subscription(call: Call) -> dict[str, Any]:
    """Change a subscription.

    Raises:
        StripeError: 400, a change that cannot be made; 402 with ``error_if_incomplete`` when the
            payment of the change fails, which then is not made.
    """
    account, params = call.account, call.params
    subscription = subscription_in_path(call)
    require_changeable(account, subscription, params)
    before = render_subscription(account, subscription)
    settle_meter_events(account)
    change = read_change(call, subscription, params)
    _set_terms(account, subscription, params)
    _set_end(account, subscription, params)
    apply_change(account, subscription, change, params.get("payment_behavior"))
    if subscription.status == "trialing" and params.get("trial_end") is not None:
        notice = max(change.at, (subscription.trial_end or change.at) - TRIAL_NOTICE_S)
        account.timeline(subscription.test_clock).schedule(
            notice, "trial_will_end", subscription.id
        )
    emit_subscription(account, "customer.subscription.updated", subscription, before=before)
    return render_subscription(account, subscription)


def require_changeable(
    account: Account, subscription: Subscription, params: dict[str, Any]
) -> None:
    """Refuse changes of what has ended, or while its clock advances.

    Raises:
        StripeError: 400 or 429.
    """
    require_clock_ready(account, subscription.test_clock)
    only_notes = set(params) <= {"metadata", "cancellation_details"}
    if subscription.is_ended and not only_notes:
        raise refused(
            "A canceled subscription can only update its cancellation_details and metadata."
        )
    behavior = params.get("payment_behavior")
    if behavior in ("pending_if_incomplete", "default_incomplete"):
        raise unsupported(f"An update with `payment_behavior={behavior}`", "payment_behavior")


def apply_change(
    account: Account, subscription: Subscription, change: Change, payment_behavior: str | None
) -> None:
    """Make a change and bill it; with ``error_if_incomplete`` first see whether it can be paid."""
    trial = copy.deepcopy(subscription)
    rehearsed = copy.deepcopy(change)
    check_items(account, changed_items(trial, rehearsed))
    if payment_behavior == "error_if_incomplete":
        effect = change_subscription(account, trial, rehearsed)
        if effect.draft is not None or change.proration_behavior == "always_invoice":
            _check_payable(account, trial, effect)
    effect = change_subscription(account, subscription, change)
    for item in subscription.items:
        account.item_owner[item.id] = subscription.id
    bill_change(account, subscription, change, effect)


def changed_items(subscription: Subscription, change: Change) -> Subscription:
    """Return a copy with the items as they would be, to see whether they can stand together."""
    outcome = copy.copy(subscription)
    items = {item.id: item for item in subscription.items}
    for one in change.items:
        if one.old is not None:
            items.pop(one.old.id, None)
        if one.new is not None:
            items[one.new.id] = one.new
    if not items:
        raise refused("A subscription must have at least one item.", "items")
    outcome.items = list(items.values())
    return outcome


def _check_payable(account: Account, subscription: Subscription, effect: Effect) -> None:
    invoice = preview_change(account, subscription, effect)
    method = method_of(account, invoice)
    if invoice.amount_due == 0 or invoice.collection_method == "send_invoice":
        return
    behaviour = CARDS[method.behaviour] if method else None
    if behaviour is None or behaviour.needs_action:
        raise StripeError(
            "The payment of this change cannot be completed.", status=402, type_="card_error"
        )
    if behaviour.decline_code is not None:
        raise card_declined(behaviour.decline_code, behaviour.message)


def read_change(call: Call, subscription: Subscription, params: dict[str, Any]) -> Change:
    """Return the billing change that parameters ask for."""
    now = call.account.now(subscription.test_clock)
    at = params.get("proration_date", now)
    starts = [item.period_start for item in subscription.items]
    ends = [item.period_end for item in subscription.items]
    if "proration_date" in params and not min(starts) <= at < min(ends):
        raise refused(
            "Invalid timestamp: `proration_date` must lie in the current billing period.",
            "proration_date",
        )
    change = Change(
        at=at,
        items=[
            _item_change(call, subscription, given, f"items[{n}]", at)
            for n, given in enumerate(params.get("items") or ())
        ],
        proration_behavior=params.get("proration_behavior", "create_prorations"),
        resets_anchor=_asks_new_anchor(call, params.get("billing_cycle_anchor")),
    )
    trial_end = params.get("trial_end")
    if trial_end == "now":
        change.trial_end = at
    elif trial_end is not None:
        if trial_end <= now:
            raise refused(
                "Invalid timestamp: must be an integer Unix timestamp in the future.", "trial_end"
            )
        change.trial_end = trial_end
    return change


def _asks_new_anchor(call: Call, given: Any) -> bool:
    """Say whether the cycle restarts; endive takes a hash, versions before a string."""
    if given is None:
        return False
    param = "billing_cycle_anchor"
    if call.version.anchor_is_hash_on_update:
        if not isinstance(given, dict):
            raise refused(f"Invalid object: {given}", param)
        return bool(given["type"] == "now")
    if isinstance(given, dict):
        raise refused(f"Invalid string: {given}", param)
    return bool(given == "now")


def _item_change(
    call: Call, subscription: Subscription, given: dict[str, Any], path: str, at: int
) -> ItemChange:
    if not given.get("id"):
        item = new_item(call, given, path, at)
        item.subscription = subscription.id
        return ItemChange(None, item)
    old = next((item for item in subscription.items if item.id == given["id"]), None)
    if old is None:
        raise missing("subscription_item", given["id"], f"{path}[id]", status=400)
    if given.get("deleted"):
        _check_usage_cleared(call.account, old, given, path)
        return ItemChange(old, None)
    return ItemChange(old, _changed_item(call, old, given, path))


def _check_usage_cleared(
    account: Account, item: SubscriptionItem, given: dict[str, Any], path: str
) -> None:
    """Refuse to delete an item with usage records unless they are cleared.

    ``clear_usage`` has no effect with a meter (SDK16 _subscription_modify_params.py).
    """
    if account.usage_records.get(item.id) and not given.get("clear_usage"):
        raise refused(
            "This subscription item cannot be deleted because it has usage. Pass "
            "`clear_usage=true` to delete it with its usage.",
            path,
        )
    if given.get("clear_usage"):
        account.usage_records.pop(item.id, None)


def _changed_item(
    call: Call, old: SubscriptionItem, given: dict[str, Any], path: str
) -> SubscriptionItem:
    new = copy.deepcopy(old)
    account = call.account
    price = account.prices.get(old.price)
    assert price is not None
    if any(given.get(name) for name in ("price", "plan", "price_data")):
        price = find_or_make_price(call, given, path, is_recurring=True)
        check_price(account, price, call.version, f"{path}[price]")
        was_metered = old.quantity is None
        new.price = price.id
        kept = None if was_metered else old.quantity
        new.quantity = item_quantity(price, None, path)
        if new.quantity is not None and kept is not None:
            new.quantity = kept
    if given.get("quantity") is not None:
        new.quantity = item_quantity(price, given["quantity"], path)
    if "tax_rates" in given:
        new.tax_rates = check_tax_rates(account, given["tax_rates"], f"{path}[tax_rates]")
    if "metadata" in given:
        new.metadata = merged_metadata(new.metadata, given["metadata"])
    return new


def _set_terms(account: Account, subscription: Subscription, params: dict[str, Any]) -> None:
    if "metadata" in params:
        subscription.metadata = merged_metadata(subscription.metadata, params["metadata"])
    if "description" in params:
        subscription.description = params["description"] or None
    if "default_payment_method" in params:
        subscription.default_payment_method = check_payment_method(
            account, params["default_payment_method"], subscription.customer
        )
    if "default_tax_rates" in params:
        subscription.default_tax_rates = check_tax_rates(
            account, params["default_tax_rates"], "default_tax_rates"
        )
    _set_collection(subscription, params)
    behaviour = params.get("trial_settings", {}).get("end_behavior", {})
    if "missing_payment_method" in behaviour:
        subscription.missing_payment_method = behaviour["missing_payment_method"]
    details = params.get("cancellation_details", {})
    if "comment" in details:
        subscription.cancellation_comment = details["comment"] or None
    if "feedback" in details:
        subscription.cancellation_feedback = details["feedback"] or None


def _set_collection(subscription: Subscription, params: dict[str, Any]) -> None:
    if "collection_method" in params:
        subscription.collection_method = params["collection_method"]
    if "days_until_due" in params:
        subscription.days_until_due = params["days_until_due"]
    if subscription.collection_method == "send_invoice" and subscription.days_until_due is None:
        raise refused(
            "You must pass `days_until_due` when `collection_method` is `send_invoice`.",
            "days_until_due",
        )


def _set_end(account: Account, subscription: Subscription, params: dict[str, Any]) -> None:
    """Plan or take back a cancellation; ``canceled_at`` is when it was asked for (recorded)."""
    asked = params.get("cancel_at")
    at_period_end = params.get("cancel_at_period_end")
    if asked and at_period_end:
        raise refused(
            "You may only specify one of these parameters: cancel_at, cancel_at_period_end."
        )
    if asked == "" or (at_period_end is False and asked is None):
        subscription.cancel_at = subscription.canceled_at = None
        subscription.cancel_at_period_end = False
        subscription.cancellation_reason = None
        return
    if not asked and not at_period_end:
        return
    now = account.now(subscription.test_clock)
    ends = [item.period_end for item in subscription.items]
    if at_period_end:
        end = max(ends)
    elif asked == "max_billed_until":
        raise unsupported("`cancel_at=max_billed_until`", "cancel_at")
    elif isinstance(asked, str):
        end = min(ends) if asked == "min_period_end" else max(ends)
    else:
        end = int(asked or 0)
    if end <= now:
        raise refused(
            "Invalid timestamp: must be an integer Unix timestamp in the future.", "cancel_at"
        )
    subscription.cancel_at = end
    subscription.cancel_at_period_end = bool(at_period_end)
    subscription.canceled_at = now
    subscription.cancellation_reason = "cancellation_requested"
    account.timeline(subscription.test_clock).schedule(end, "cancel", subscription.id)


def migrate_subscription(call: Call) -> dict[str, Any]:
    """Turn a classic subscription into a flexible one; there is no way back (DOC:billing-mode).

    Raises:
        StripeError: 400, it is flexible already, or classic is asked for.
    """
    subscription = subscription_in_path(call)
    require_changeable(call.account, subscription, call.params)
    if call.params["billing_mode"]["type"] != "flexible" or subscription.is_flexible:
        raise refused(
            "A subscription can only be migrated from classic to flexible billing mode.",
            "billing_mode[type]",
        )
    before = render_subscription(call.account, subscription)
    subscription.billing_mode = "flexible"
    subscription.billing_mode_updated_at = call.now(subscription.test_clock)
    emit_subscription(call.account, "customer.subscription.updated", subscription, before=before)
    return render_subscription(call.account, subscription)


UPDATE_SUPPORTS = (
    "automatic_tax.enabled=false billing_cycle_anchor cancel_at cancel_at_period_end "
    "cancellation_details.comment cancellation_details.feedback collection_method days_until_due "
    "default_payment_method default_tax_rates description items.clear_usage items.deleted items.id "
    "items.metadata items.plan items.price items.price_data items.quantity items.tax_rates "
    "metadata off_session payment_behavior payment_settings.save_default_payment_method=off "
    "proration_behavior proration_date trial_end trial_settings"
)
OPERATIONS = (
    Operation(
        "POST",
        "/v1/subscriptions/{subscription_exposed_id}",
        update_subscription,
        UPDATE_SUPPORTS,
    ),
    Operation(
        "POST",
        "/v1/subscriptions/{subscription}/migrate",
        migrate_subscription,
        "billing_mode",
    ),
)
