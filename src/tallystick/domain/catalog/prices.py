"""Reading the products and prices of a catalog, and writing a price down as Stripe takes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from tallystick.domain.catalog.fields import Fields
from tallystick.domain.catalog.objects import CatalogPrice, Product
from tallystick.domain.meters import Meter
from tallystick.domain.quantity import plain
from tallystick.domain.rating.prices import (
    BillingScheme,
    Price,
    PriceError,
    UsageType,
    price_from_stripe,
)

if TYPE_CHECKING:
    from decimal import Decimal

    from tallystick.domain.catalog.objects import ExternalMeter, Path
    from tallystick.domain.rating.prices import Tier

LOOKUP_KEY_CHARS_MAX = 200
"""Stripe: a lookup_key has at most 200 characters (``/v1/prices``)."""

PRODUCT_FIELDS = ("name", "unit_label", "stripe_id", "prices")
TERMS_FIELDS = ("unit_amount", "unit_amount_decimal", "tiers", "tax_behavior", "stripe_id")
"""What each currency of a price says for itself."""

PRICE_FIELDS = (
    "meter",
    "usage_records_of",
    "currency",
    "currencies",
    "recurring",
    "billing_scheme",
    "tiers_mode",
    "transform_quantity",
    "nickname",
    *TERMS_FIELDS,
)
RECURRING_FIELDS = ("interval", "interval_count", "usage_type", "aggregate_usage")
TIER_FIELDS = (
    "up_to",
    "unit_amount",
    "unit_amount_decimal",
    "flat_amount",
    "flat_amount_decimal",
)
TRANSFORM_FIELDS = ("divide_by", "round")
TAX_BEHAVIORS = ("exclusive", "inclusive", "unspecified")
AGGREGATE_USAGES = ("sum", "last_during_period", "last_ever", "max")
"""How Stripe adds up usage records (API 2025-02-24.acacia and older)."""

_PARAM_PART = re.compile(r"[^\[\]]+")


class _Declaration(NamedTuple):
    """A price as declared, before its currencies are told apart."""

    name: str
    fields: Fields
    product: Product
    meter: Meter | ExternalMeter | None
    recurring: Mapping[str, object]
    recorded: Meter | None

    @property
    def aggregate_usage(self) -> str | None:
        value = self.recurring.get("aggregate_usage")
        return str(value) if value is not None else None


def read_products(root: Fields, meters: Mapping[str, Meter | ExternalMeter]) -> tuple[Product, ...]:
    """Return what the section ``products`` declares."""
    products = []
    taken: dict[str, str] = {}
    for key, declared in root.named("products"):
        fields = Fields(declared, ("products", key), PRODUCT_FIELDS, root.problems)
        bare = Product(
            key=key,
            name=fields.text("name", default=key),
            prices=(),
            unit_label=fields.optional_text("unit_label"),
            stripe_id=fields.optional_text("stripe_id"),
        )
        prices = [
            price
            for name, price_declared in fields.named("prices", LOOKUP_KEY_CHARS_MAX - 4)
            for price in _read_price(name, price_declared, bare, (fields, meters))
        ]
        for price in prices:
            if price.key in taken:
                root.problems.add(
                    price.path,
                    f"the lookup key {price.key} is already that of products.{taken[price.key]}",
                )
            taken[price.key] = f"{key}.prices.{price.name}"
        products.append(
            Product(bare.key, bare.name, tuple(prices), bare.unit_label, bare.stripe_id)
        )
    return tuple(products)


def _read_price(
    name: str,
    declared: object,
    product: Product,
    within: tuple[Fields, Mapping[str, Meter | ExternalMeter]],
) -> list[CatalogPrice]:
    product_fields, meters = within
    fields = Fields(
        declared, (*product_fields.path, "prices", name), PRICE_FIELDS, product_fields.problems
    )
    if not fields.is_sound:
        return []
    meter = _meter_of(fields, meters)
    recurring = _recurring(fields)
    recorded = _recorded_meter(fields, recurring, meters)
    declaration = _Declaration(name, fields, product, meter, recurring, recorded)
    if not fields.has("currencies"):
        return _priced(declaration, name, fields, str(fields.values.get("currency") or ""))
    for alone in ("currency", "unit_amount", "unit_amount_decimal", "tiers", "stripe_id"):
        if fields.has(alone):
            fields.wrong(alone, "each currency of `currencies` says this for itself")
    found = []
    for currency, terms_declared in fields.named("currencies"):
        path = (*fields.path, "currencies", currency)
        terms = Fields(terms_declared, path, TERMS_FIELDS, fields.problems)
        found += _priced(declaration, f"{name}_{currency}", terms, currency)
    return found


def _meter_of(
    fields: Fields, meters: Mapping[str, Meter | ExternalMeter]
) -> Meter | ExternalMeter | None:
    name = fields.values.get("meter")
    if name is None:
        return None
    if name not in meters:
        fields.wrong("meter", f"{name!r} is not a meter of this catalog")
        return None
    return meters[str(name)]


def _recorded_meter(
    fields: Fields, recurring: Mapping[str, object], meters: Mapping[str, Meter | ExternalMeter]
) -> Meter | None:
    """Return the meter that the usage records of a legacy price come from, if it names one."""
    name = fields.values.get("usage_records_of")
    if name is None:
        return None
    meter = meters.get(str(name))
    if not isinstance(meter, Meter):
        fields.wrong("usage_records_of", f"{name!r} is not a meter that is measured here")
        return None
    if "aggregate_usage" not in recurring:
        fields.wrong("usage_records_of", "belongs to a price with recurring.aggregate_usage")
        return None
    if meter.decimals:
        fields.wrong(
            "usage_records_of", f"usage records are whole, {name} has {meter.decimals} decimals"
        )
    return meter


def _recurring(fields: Fields) -> Mapping[str, object]:
    """Return how the price recurs; with a meter it is metered, without one it says what it is."""
    declared = fields.values.get("recurring", {"interval": "month"})
    recurring = Fields(declared, (*fields.path, "recurring"), RECURRING_FIELDS, fields.problems)
    is_legacy = recurring.has("aggregate_usage")
    if is_legacy:
        recurring.choice("aggregate_usage", AGGREGATE_USAGES)
        if fields.has("meter"):
            recurring.wrong("aggregate_usage", "belongs to usage records; this price has a meter")
    usage_type = recurring.values.get("usage_type")
    wanted = UsageType.METERED if fields.has("meter") or is_legacy else UsageType.LICENSED
    if wanted is UsageType.LICENSED and usage_type != UsageType.LICENSED:
        fields.wrong(
            "meter",
            "a price needs the meter that it bills, or says recurring.usage_type: licensed",
        )
    elif usage_type is not None and usage_type != wanted:
        recurring.wrong("usage_type", f"is {wanted} here, because of the price's other fields")
    return {"interval": "month", **recurring.values, "usage_type": wanted.value}


def _priced(
    declaration: _Declaration, key: str, terms: Fields, currency: str
) -> list[CatalogPrice]:
    """Return the price in one currency, or note what is wrong with it."""
    fields, product = declaration.fields, declaration.product
    _check_rows(fields, terms)
    mapping = {
        **fields.values,
        **terms.values,
        "currency": currency,
        "recurring": declaration.recurring,
        "lookup_key": key,
        "product_data": {"name": product.name, "unit_label": product.unit_label},
    }
    if mapping.get("tax_behavior", TAX_BEHAVIORS[0]) not in TAX_BEHAVIORS:
        terms.choice("tax_behavior", TAX_BEHAVIORS)
        return []
    try:
        price = price_from_stripe(mapping)
    except PriceError as error:
        path, message = _place(error, fields, terms)
        fields.problems.add(path, message)
        return []
    meter = declaration.meter
    return [
        CatalogPrice(
            key=key,
            name=declaration.name,
            product_key=product.key,
            price=price,
            path=terms.path,
            meter_key=meter.key if isinstance(meter, Meter) else None,
            external_meter_key=None if meter is None or isinstance(meter, Meter) else meter.key,
            aggregate_usage=declaration.aggregate_usage,
            records_meter_key=declaration.recorded.key if declaration.recorded else None,
            nickname=fields.optional_text("nickname"),
            stripe_id=terms.optional_text("stripe_id"),
        )
    ]


def _check_rows(fields: Fields, terms: Fields) -> None:
    """Note fields of tiers and packages that do not exist: reading a price ignores them."""
    for number, row in enumerate(terms.listed("tiers")):
        Fields(row, (*terms.path, "tiers", number), TIER_FIELDS, terms.problems)
    if fields.has("transform_quantity"):
        path = (*fields.path, "transform_quantity")
        Fields(fields.values["transform_quantity"], path, TRANSFORM_FIELDS, fields.problems)


def _place(error: PriceError, fields: Fields, terms: Fields) -> tuple[Path, str]:
    """Return where the field stands that the error names in Stripe's notation."""
    parts: list[str | int] = [
        int(part) if part.isdigit() else part for part in _PARAM_PART.findall(error.param or "")
    ]
    head = parts[0] if parts else ""
    is_of_terms = head in terms.values or (head in TERMS_FIELDS and head not in fields.values)
    own = terms if is_of_terms else fields
    return (*own.path, *parts), error.message


def definition_of(price: Price, aggregate_usage: str | None = None) -> dict[str, Any]:
    """Return everything of a price that Stripe never changes, in the shape of its request.

    Amounts are decimal strings in plain notation: an exponent would be refused.
    """
    recurring: dict[str, Any] = {
        "interval": price.interval,
        "interval_count": price.interval_count,
        "usage_type": price.usage_type.value,
    }
    if aggregate_usage is not None:
        recurring["aggregate_usage"] = aggregate_usage
    definition: dict[str, Any] = {
        "currency": price.currency,
        "billing_scheme": price.billing_scheme.value,
        "recurring": recurring,
        "tax_behavior": price.tax_behavior,
    }
    if price.billing_scheme is BillingScheme.TIERED:
        assert price.tiers_mode is not None  # a tiered price has one, or it could not be made
        definition["tiers_mode"] = price.tiers_mode.value
        definition["tiers"] = [_tier(tier) for tier in price.tiers]
    else:
        definition["unit_amount_decimal"] = _amount(price.unit_amount)
    if price.transform_quantity is not None:
        definition["transform_quantity"] = {
            "divide_by": price.transform_quantity.divide_by,
            "round": price.transform_quantity.round.value,
        }
    return definition


def _tier(tier: Tier) -> dict[str, object]:
    row: dict[str, object] = {
        "up_to": "inf" if tier.up_to is None else tier.up_to,
        "unit_amount_decimal": _amount(tier.unit_amount),
    }
    if tier.flat_amount is not None:
        row["flat_amount_decimal"] = _amount(tier.flat_amount)
    return row


def _amount(amount: Decimal | None) -> str:
    assert amount is not None  # a price without tiers has one, or it could not be made
    return plain(amount)
