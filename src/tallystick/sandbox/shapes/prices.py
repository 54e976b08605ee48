"""How prices, legacy plans and tax rates look on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.domain.quantity import plain
from tallystick.sandbox.delivery.events import number

if TYPE_CHECKING:
    from decimal import Decimal

    from tallystick.sandbox.state.records import Amounts, Price, TaxRate, Tier


def whole_or_none(amount: Decimal | None) -> int | None:
    """Return an integer amount, None when it has a fraction (``unit_amount`` beside decimals)."""
    if amount is None or amount != amount.to_integral_value():
        return None
    return int(amount)


def decimal_or_none(amount: Decimal | None) -> str | None:
    """Return a decimal string in plain notation."""
    return None if amount is None else plain(amount)


def render_price(price: Price) -> dict[str, Any]:
    """Return a price as Stripe shows it; tiers and currency options only on request."""
    tiered = price.billing_scheme == "tiered"
    unit_amount = None if tiered else price.amounts.unit_amount
    return {
        "id": price.id,
        "object": "price",
        "active": price.active,
        "billing_scheme": price.billing_scheme,
        "created": price.created,
        "currency": price.currency,
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": price.lookup_key,
        "metadata": price.metadata,
        "nickname": price.nickname,
        "product": price.product,
        "recurring": _recurring(price),
        "tax_behavior": price.amounts.tax_behavior,
        "tiers_mode": price.tiers_mode,
        "transform_quantity": _transform(price),
        "type": "recurring" if price.recurring else "one_time",
        "unit_amount": whole_or_none(unit_amount),
        "unit_amount_decimal": decimal_or_none(unit_amount),
    }


def _recurring(price: Price) -> dict[str, Any] | None:
    recurring = price.recurring
    if recurring is None:
        return None
    return {
        "interval": recurring.interval,
        "interval_count": recurring.interval_count,
        "meter": recurring.meter,
        "trial_period_days": recurring.trial_period_days,
        "usage_type": recurring.usage_type,
    }


def _transform(price: Price) -> dict[str, Any] | None:
    if price.divide_by is None:
        return None
    return {"divide_by": price.divide_by, "round": price.divide_round}


def render_tiers(tiers: list[Tier]) -> list[dict[str, Any]]:
    """Return the tiers of a price."""
    return [
        {
            "flat_amount": whole_or_none(tier.flat_amount),
            "flat_amount_decimal": decimal_or_none(tier.flat_amount),
            "unit_amount": whole_or_none(tier.unit_amount),
            "unit_amount_decimal": decimal_or_none(tier.unit_amount),
            "up_to": tier.up_to,
        }
        for tier in tiers
    ]


def render_currency_options(price: Price) -> dict[str, Any]:
    """Return what the price charges in each currency, its own first."""
    every = {price.currency: price.amounts} | price.currency_options
    return {currency: _option(amounts) for currency, amounts in every.items()}


def _option(amounts: Amounts) -> dict[str, Any]:
    return {
        "custom_unit_amount": None,
        "tax_behavior": amounts.tax_behavior,
        "unit_amount": None if amounts.tiers else whole_or_none(amounts.unit_amount),
        "unit_amount_decimal": None if amounts.tiers else decimal_or_none(amounts.unit_amount),
    }


def render_plan(price: Price) -> dict[str, Any]:
    """Return a recurring price as the legacy plan that it also is."""
    recurring = price.recurring
    assert recurring is not None, "only recurring prices are plans"
    amount = None if price.billing_scheme == "tiered" else price.amounts.unit_amount
    return {
        "id": price.id,
        "object": "plan",
        "active": price.active,
        "amount": whole_or_none(amount),
        "amount_decimal": decimal_or_none(amount),
        "billing_scheme": price.billing_scheme,
        "created": price.created,
        "currency": price.currency,
        "interval": recurring.interval,
        "interval_count": recurring.interval_count,
        "livemode": False,
        "metadata": price.metadata,
        "meter": recurring.meter,
        "nickname": price.nickname,
        "product": price.product,
        "tiers_mode": price.tiers_mode,
        "transform_usage": _transform(price),
        "trial_period_days": recurring.trial_period_days,
        "usage_type": recurring.usage_type,
    }


def render_tax_rate(rate: TaxRate) -> dict[str, Any]:
    """Return a tax rate; the percentage is a number with exactly its digits."""
    return {
        "id": rate.id,
        "object": "tax_rate",
        "active": rate.active,
        "country": rate.country,
        "created": rate.created,
        "description": rate.description,
        "display_name": rate.display_name,
        "effective_percentage": None,
        "flat_amount": None,
        "inclusive": rate.inclusive,
        "jurisdiction": rate.jurisdiction,
        "jurisdiction_level": None,
        "livemode": False,
        "metadata": rate.metadata,
        "percentage": number(rate.percentage),
        "rate_type": "percentage",
        "state": rate.state,
        "tax_type": rate.tax_type,
    }
