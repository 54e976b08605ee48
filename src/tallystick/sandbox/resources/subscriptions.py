"""Subscriptions: created, read, listed and cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.arithmetic.calendar import anchor_from_config, days_after
from tallystick.sandbox.lifecycle.cancellation import cancel_now
from tallystick.sandbox.lifecycle.metering import settle_meter_events
from tallystick.sandbox.lifecycle.periods import period_end
from tallystick.sandbox.lifecycle.starting import Start, first_draft, start_subscription
from tallystick.sandbox.resources.customer_references import find_customer
from tallystick.sandbox.resources.subscription_terms import (
    check_items,
    check_payment_method,
    check_tax_rates,
    new_item,
    require_clock_ready,
)
from tallystick.sandbox.shapes.subscriptions import render_subscription
from tallystick.sandbox.state.billing_records import Subscription, SubscriptionItem
from tallystick.sandbox.wire.errors import missing, refused
from tallystick.sandbox.wire.lists import in_range, list_page
from tallystick.sandbox.wire.metadata import merged_metadata
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.lifecycle.invoicing import Draft
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.records import Customer
    from tallystick.sandbox.wire.operations import Call


def subscription_in_path(call: Call) -> Subscription:
    """Return the subscription of the address.

    Raises:
        StripeError: 404 resource_missing.
    """
    id_ = call.path.get("subscription_exposed_id") or call.path["subscription"]
    subscription = call.account.subscriptions.get(id_)
    if subscription is None:
        raise missing("subscription", id_)
    return subscription


def _thresholds(params: dict[str, Any]) -> dict[str, Any] | None:
    """Return at which amount a subscription is to be billed early, as it is shown."""
    given = params.get("billing_thresholds")
    if not given:
        return None
    return {
        "amount_gte": given.get("amount_gte"),
        "reset_billing_cycle_anchor": given.get("reset_billing_cycle_anchor", False),
    }


def create_subscription(call: Call) -> dict[str, Any]:
    """Create a subscription and bill its start.

    Raises:
        StripeError: 400, items that do not go together; 402, the first payment fails and must not.
    """
    account, params = call.account, call.params
    if "customer" not in params:
        raise refused("Missing required param: customer.", "customer", "parameter_missing")
    customer = find_customer(account, params["customer"])
    require_clock_ready(account, customer.test_clock)
    subscription = _subscription(call, customer, params)
    start = _start(params)
    if start.payment_behavior == "pending_if_incomplete":
        raise refused(
            "`pending_if_incomplete` can only be used when updating a subscription.",
            "payment_behavior",
        )
    settle_meter_events(account)
    start_subscription(account, subscription, start)
    return render_subscription(account, subscription)


def _start(params: dict[str, Any]) -> Start:
    return Start(
        payment_behavior=params.get("payment_behavior", "allow_incomplete"),
        proration_behavior=params.get("proration_behavior", "create_prorations"),
    )


def draft_subscription(call: Call, params: dict[str, Any]) -> tuple[Subscription, Draft]:
    """Return a subscription that is not stored, and its first invoice's content: for previews."""
    account = call.account
    customer = find_customer(account, params["customer"])
    subscription = _subscription(call, customer, params)
    now = subscription.created
    trial_end = subscription.trial_end if subscription.status == "trialing" else None
    for item in subscription.items:
        item.period_end = trial_end or period_end(account, subscription, item.price, now)
    return subscription, first_draft(account, subscription, _start(params), now)


def _items(call: Call, customer: Customer, params: dict[str, Any]) -> list[SubscriptionItem]:
    given = params.get("items")
    if not given:
        raise refused("Missing required param: items.", "items", "parameter_missing")
    if len(given) > call.account.settings.subscription_items_max:
        raise refused(
            f"A subscription can have at most {call.account.settings.subscription_items_max} "
            "items.",
            "items",
        )
    now = call.now(customer.test_clock)
    return [new_item(call, item, f"items[{n}]", now) for n, item in enumerate(given)]


def _subscription(call: Call, customer: Customer, params: dict[str, Any]) -> Subscription:
    account = call.account
    items = _items(call, customer, params)
    now = call.now(customer.test_clock)
    mode = params.get("billing_mode", {})
    default_mode = "flexible" if call.version.is_flexible_default else "classic"
    subscription = Subscription(
        id=account.ids.make("sub"),
        created=now,
        customer=customer.id,
        currency=_currency(account, params, items, customer),
        status="active",
        anchor=now,
        start_date=now,
        billing_mode=mode.get("type", default_mode),
        proration_discounts=mode.get("flexible", {}).get("proration_discounts", "included"),
        items=items,
        collection_method=params.get("collection_method", "charge_automatically"),
        days_until_due=params.get("days_until_due"),
        default_payment_method=check_payment_method(
            account, params.get("default_payment_method"), customer.id
        ),
        default_tax_rates=check_tax_rates(
            account, params.get("default_tax_rates"), "default_tax_rates"
        ),
        description=params.get("description") or None,
        billing_thresholds=_thresholds(params),
        metadata=merged_metadata({}, params.get("metadata")),
        test_clock=customer.test_clock,
    )
    for item in items:
        item.subscription = subscription.id
    if subscription.is_flexible:
        subscription.billing_mode_updated_at = now
    check_items(account, subscription)
    _check_collection(params)
    _set_trial(account, subscription, params)
    _set_anchor(subscription, params)
    _set_end(account, subscription, params)
    return subscription


def _check_collection(params: dict[str, Any]) -> None:
    sends = params.get("collection_method") == "send_invoice"
    if sends and "days_until_due" not in params:
        raise refused(
            "You must pass `days_until_due` when `collection_method` is `send_invoice`.",
            "days_until_due",
        )
    if not sends and "days_until_due" in params:
        raise refused(
            "You can only specify `days_until_due` if `collection_method` is `send_invoice`.",
            "days_until_due",
        )


def _currency(
    account: Account, params: dict[str, Any], items: list[SubscriptionItem], customer: Customer
) -> str:
    """Return the one currency of all prices: asked for, the customer's, or the first price's."""
    prices = [account.prices.get(item.price) for item in items]
    first = prices[0]
    assert first is not None
    wanted: str = params.get("currency") or first.currency
    if "currency" not in params and customer.currency in first.currency_options:
        wanted = customer.currency or wanted
    for number, price in enumerate(prices):
        if price is not None and wanted not in (price.currency, *price.currency_options):
            raise refused(
                "The price specified only supports "
                f"`{price.currency}`. This doesn't match the expected currency: `{wanted}`.",
                f"items[{number}][price]",
            )
    return wanted


def _set_trial(account: Account, subscription: Subscription, params: dict[str, Any]) -> None:
    now = subscription.created
    end = params.get("trial_end")
    days = params.get("trial_period_days")
    if end is not None and days is not None:
        raise refused("You may only specify one of these parameters: trial_end, trial_period_days.")
    if params.get("trial_from_plan") and end is None and days is None:
        days = max((_plan_trial_days(account, item) for item in subscription.items), default=0)
    if days is not None and days < 0:
        raise refused("Invalid non-negative integer", "trial_period_days")
    if days:
        end = days_after(now, days)
    settings = params.get("trial_settings", {}).get("end_behavior", {})
    subscription.missing_payment_method = settings.get("missing_payment_method", "create_invoice")
    if end is None or end == "now":
        return
    if end <= now:
        raise refused(
            "Invalid timestamp: must be an integer Unix timestamp in the future.", "trial_end"
        )
    subscription.trial_start, subscription.trial_end = now, end
    subscription.status = "trialing"
    subscription.anchor = end


def _plan_trial_days(account: Account, item: SubscriptionItem) -> int:
    price = account.prices.get(item.price)
    return (price.recurring.trial_period_days or 0) if price and price.recurring else 0


def _set_anchor(subscription: Subscription, params: dict[str, Any]) -> None:
    now = subscription.created
    anchor = params.get("billing_cycle_anchor")
    config = params.get("billing_cycle_anchor_config")
    if anchor is not None and config is not None:
        raise refused(
            "You may only specify one of these parameters: billing_cycle_anchor, "
            "billing_cycle_anchor_config."
        )
    if config is not None:
        _check_config(config)
        names = ("day_of_month", "hour", "minute", "month", "second")
        subscription.anchor_config = {name: config.get(name) for name in names}
        anchor = anchor_from_config(subscription.anchor_config, now)
    if anchor is None:
        return
    if anchor < now:
        raise refused(
            "Invalid timestamp: must be an integer Unix timestamp in the future.",
            "billing_cycle_anchor",
        )
    subscription.anchor = anchor


def _check_config(config: dict[str, int]) -> None:
    limits = {
        "day_of_month": (1, 31),
        "hour": (0, 23),
        "minute": (0, 59),
        "month": (1, 12),
        "second": (0, 59),
    }
    for name, (low, high) in limits.items():
        if name in config and not low <= config[name] <= high:
            raise refused(
                f"This value must be between {low} and {high}.",
                f"billing_cycle_anchor_config[{name}]",
                "parameter_invalid_integer",
            )


def _set_end(account: Account, subscription: Subscription, params: dict[str, Any]) -> None:
    """Set ``cancel_at`` at creation; the period's end is known once the items have periods."""
    end = params.get("cancel_at")
    if params.get("cancel_at_period_end"):
        raise refused(
            "`cancel_at_period_end` can be set once the subscription exists.",
            "cancel_at_period_end",
        )
    if end is None:
        return
    if not isinstance(end, int) or end <= account.now(subscription.test_clock):
        raise refused(
            "Invalid timestamp: must be an integer Unix timestamp in the future.", "cancel_at"
        )
    subscription.cancel_at = end


def retrieve_subscription(call: Call) -> dict[str, Any]:
    """Return a subscription, also a cancelled one."""
    return render_subscription(call.account, subscription_in_path(call))


def cancel_subscription(call: Call) -> dict[str, Any]:
    """Cancel now, with or without a final invoice and credits.

    Raises:
        StripeError: 404 when it has ended already (recorded wording of a missing resource).
    """
    subscription = subscription_in_path(call)
    if subscription.is_ended:
        raise missing("subscription", subscription.id)
    require_clock_ready(call.account, subscription.test_clock)
    details = call.params.get("cancellation_details", {})
    subscription.cancellation_comment = details.get("comment") or None
    subscription.cancellation_feedback = details.get("feedback") or None
    settle_meter_events(call.account, everything=True)
    cancel_now(
        call.account,
        subscription,
        invoice_now=call.params.get("invoice_now", False),
        prorate=call.params.get("prorate", False),
    )
    return render_subscription(call.account, subscription)


def list_subscriptions(call: Call) -> dict[str, Any]:
    """List subscriptions: without ``status`` those that are not cancelled.

    Those on test clocks only show with ``test_clock`` or ``customer``
    (SDK16 params/_subscription_list_params.py).
    """
    wanted = call.params
    status = wanted.get("status")
    shows_clocked = "customer" in wanted or "test_clock" in wanted

    def matches(subscription: Subscription) -> bool:
        return (
            _has_status(subscription, status)
            and (shows_clocked or subscription.test_clock is None)
            and in_range(subscription.created, wanted.get("created"))
            and wanted.get("collection_method", subscription.collection_method)
            == subscription.collection_method
            and _has_price(subscription, wanted.get("price"))
            and _has_period(subscription, wanted)
        )

    return list_page(
        call,
        call.account.subscriptions,
        lambda subscription: render_subscription(call.account, subscription),
        noun="subscription",
        where=matches,
        customer=wanted.get("customer"),
        test_clock=wanted.get("test_clock"),
    )


def _has_status(subscription: Subscription, status: str | None) -> bool:
    if status is None:
        return subscription.status != "canceled"
    if status == "all":
        return True
    if status == "ended":
        return subscription.is_ended
    return subscription.status == status


def _has_price(subscription: Subscription, price: str | None) -> bool:
    return price is None or any(item.price == price for item in subscription.items)


def _has_period(subscription: Subscription, wanted: dict[str, Any]) -> bool:
    return any(
        in_range(item.period_start, wanted.get("current_period_start"))
        and in_range(item.period_end, wanted.get("current_period_end"))
        for item in subscription.items
    )


CREATE_SUPPORTS = (
    "automatic_tax.enabled=false billing_cycle_anchor billing_cycle_anchor_config "
    "billing_thresholds.amount_gte billing_thresholds.reset_billing_cycle_anchor "
    "billing_mode cancel_at cancel_at_period_end collection_method currency customer "
    "days_until_due default_payment_method default_tax_rates description items.metadata items.plan "
    "items.price items.price_data items.quantity items.tax_rates metadata off_session "
    "payment_behavior payment_settings.save_default_payment_method=off proration_behavior "
    "trial_end trial_from_plan trial_period_days trial_settings"
)
_PATH = "/v1/subscriptions"
OPERATIONS = (
    Operation("POST", _PATH, create_subscription, CREATE_SUPPORTS),
    Operation(
        "GET",
        _PATH,
        list_subscriptions,
        "collection_method created current_period_end current_period_start customer "
        "ending_before limit price starting_after status test_clock",
    ),
    Operation("GET", f"{_PATH}/{{subscription_exposed_id}}", retrieve_subscription),
    Operation(
        "DELETE",
        f"{_PATH}/{{subscription_exposed_id}}",
        cancel_subscription,
        "cancellation_details.comment cancellation_details.feedback invoice_now prorate",
    ),
)
