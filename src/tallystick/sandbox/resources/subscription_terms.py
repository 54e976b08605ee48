"""What subscriptions and their items are made of: prices, quantities, tax rates, methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.resources.prices import find_or_make_price
from tallystick.sandbox.state.billing_records import SubscriptionItem
from tallystick.sandbox.wire.errors import StripeError, missing, refused
from tallystick.sandbox.wire.metadata import merged_metadata

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.billing_records import Subscription
    from tallystick.sandbox.state.records import Price
    from tallystick.sandbox.wire.operations import Call
    from tallystick.sandbox.wire.versions import Version


def check_price(account: Account, price: Price, version: Version, path: str) -> None:
    """Refuse a price that cannot be subscribed to.

    Raises:
        StripeError: 400, inactive, one-time, or a legacy metered price in a version without usage
            records (DOC:changelog/basil/2025-03-31: cannot be attached).
    """
    if price.recurring is None:
        raise refused(
            "The price specified is set to `type=one_time` but this field only accepts prices "
            "with `type=recurring`.",
            path,
        )
    if not price.active and account.prices.get(price.id) is price and price.lookup_key:
        raise refused(f"The price specified is inactive: {price.id}.", path)
    if price.recurring.is_metered and price.recurring.meter is None:
        if not version.has_usage_records:
            raise refused(
                "Metered prices that are not backed by a meter cannot be added to subscriptions.",
                path,
            )
    elif price.recurring.meter is not None:
        meter = account.meters.get(price.recurring.meter)
        if meter is not None and not meter.is_active:
            raise refused("The price's meter is inactive.", path)


def new_item(call: Call, given: dict[str, Any], path: str, now: int) -> SubscriptionItem:
    """Return a new item; its periods are set when the subscription starts or changes.

    Raises:
        StripeError: 400, an unusable price or a quantity on a metered one.
    """
    account = call.account
    price = find_or_make_price(call, given, path, is_recurring=True)
    if given.get("price") or given.get("plan"):
        if not price.active:
            raise refused("The price specified is inactive.", f"{path}[price]")
        check_price(account, price, call.version, f"{path}[price]")
    return SubscriptionItem(
        id=account.ids.make("si"),
        created=now,
        subscription="",
        price=price.id,
        period_start=now,
        period_end=now,
        usage_from=now,
        quantity=item_quantity(price, given.get("quantity"), path),
        tax_rates=check_tax_rates(account, given.get("tax_rates"), f"{path}[tax_rates]"),
        metadata=merged_metadata({}, given.get("metadata")),
    )


def check_items(account: Account, subscription: Subscription) -> None:
    """Refuse items that cannot stand together.

    Raises:
        StripeError: 400, one price twice, another currency, or different intervals in classic mode
            (DOC:billing-mode/compare: flexible allows mixed intervals).
    """
    seen: set[str] = set()
    intervals = set()
    for item in subscription.items:
        if item.price in seen:
            raise refused(
                f"Cannot add multiple subscription items with the same price: `{item.price}`.",
                "items",
            )
        seen.add(item.price)
        price = account.prices.get(item.price)
        assert price is not None
        assert price.recurring is not None
        if subscription.currency not in (price.currency, *price.currency_options):
            raise refused(
                f"The price specified only supports `{price.currency}`. This doesn't match the "
                f"expected currency: `{subscription.currency}`.",
                "items",
            )
        intervals.add((price.recurring.interval, price.recurring.interval_count))
    if len(intervals) > 1 and not subscription.is_flexible:
        raise refused(
            "Currently, all plans on a subscription must have the same billing interval. If you "
            "have need for multiple billing intervals, use `billing_mode[type]=flexible`.",
            "items",
        )


def item_quantity(price: Price, given: int | None, path: str) -> int | None:
    """Return an item's quantity: 1 unless given, none for usage.

    Raises:
        StripeError: 400, a quantity on a metered price, or a negative one.
    """
    if price.recurring is not None and price.recurring.is_metered:
        if given is not None:
            raise refused(
                "Quantity should not be specified where usage_type is `metered`. Remove quantity "
                f"from `{path}`",
                path,
            )
        return None
    if given is not None and given < 0:
        raise refused(
            "Invalid non-negative integer", f"{path}[quantity]", "parameter_invalid_integer"
        )
    return 1 if given is None else given


def check_tax_rates(account: Account, given: Any, param: str) -> list[str]:
    """Return tax rate ids.

    Raises:
        StripeError: 400, unknown or inactive.
    """
    for n, id_ in enumerate(given or ()):
        rate = account.tax_rates.get(id_)
        if rate is None:
            raise missing("tax rate", id_, f"{param}[{n}]", status=400)
        if not rate.active:
            raise refused(f"The tax rate {id_} is inactive.", f"{param}[{n}]")
    return list(given or ())


def check_payment_method(
    account: Account, id_: str | None, customer: str, param: str = "default_payment_method"
) -> str | None:
    """Return a payment method's id.

    Raises:
        StripeError: 400, unknown or another customer's.
    """
    if not id_:
        return None
    method = account.payment_methods.get(id_)
    if method is None:
        raise missing("PaymentMethod", id_, param, status=400)
    if method.customer != customer:
        raise refused(
            f"The customer does not have a payment method with the ID {id_}. The payment method "
            "must be attached to the customer.",
            param,
        )
    return id_


def require_clock_ready(account: Account, test_clock: str | None) -> None:
    """Refuse changes while the object's clock advances.

    Raises:
        StripeError: 429; that changes are refused is documented, status and words are assumed.
    """
    clock = account.test_clocks.get(test_clock or "")
    if clock is not None and clock.target is not None:
        raise StripeError(
            "Test clock advancement underway - cannot perform modifications.",
            status=429,
            code="lock_timeout",
        )
