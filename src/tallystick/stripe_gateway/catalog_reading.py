"""Stripe's meters, products and prices as the inside knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.domain.catalog.state import (
    PRICE_KEY,
    PRODUCT_KEY,
    REPLACES_KEY,
    StripeMeter,
    StripePrice,
    StripeProduct,
)

if TYPE_CHECKING:
    import stripe


def read_meter(meter: stripe.billing.Meter) -> StripeMeter:
    """Return what is looked at of a meter."""
    return StripeMeter(
        stripe_id=meter.id,
        event_name=meter.event_name,
        display_name=meter.display_name,
        formula=meter.default_aggregation.formula,
        event_time_window=meter.event_time_window,
        is_active=meter.status == "active",
    )


def read_product(product: stripe.Product) -> StripeProduct:
    """Return what is looked at of a product."""
    default = product.default_price
    return StripeProduct(
        stripe_id=product.id,
        key=product.metadata.to_dict().get(PRODUCT_KEY),
        name=product.name,
        unit_label=product.unit_label,
        is_active=product.active,
        default_price_id=default if default is None or isinstance(default, str) else default.id,
    )


def read_price(price: stripe.Price, aggregate_usage: str | None) -> StripePrice:
    """Return what is looked at of a price whose tiers were asked for."""
    fields: dict[str, Any] = price.to_dict()
    metadata = fields.get("metadata") or {}
    product = price.product
    return StripePrice(
        stripe_id=price.id,
        key=metadata.get(PRICE_KEY),
        lookup_key=price.lookup_key,
        product_id=product if isinstance(product, str) else product.id,
        meter_id=price.recurring.meter if price.recurring else None,
        is_active=price.active,
        nickname=price.nickname,
        replaces=metadata.get(REPLACES_KEY),
        aggregate_usage=aggregate_usage,
        fields=fields,
    )


def is_legacy(price: stripe.Price) -> bool:
    """Tell whether a price bills usage records: metered, and without a meter."""
    recurring = price.recurring
    return recurring is not None and recurring.usage_type == "metered" and not recurring.meter
