"""What a catalog may declare and probably does not mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.catalog.objects import CatalogProblem
from tallystick.domain.money import THREE_DECIMAL_CURRENCIES
from tallystick.domain.quantity import exact, plain
from tallystick.domain.rating.descriptions import describe_unit_amount
from tallystick.domain.rating.prices import TiersMode, UsageType

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from tallystick.domain.catalog.objects import Catalog, CatalogPrice, EventSource, Plan


def catalog_warnings(catalog: Catalog) -> tuple[CatalogProblem, ...]:
    """Return the warnings of a catalog, in file order."""
    found = [warning for price in catalog.prices for warning in _of_price(price)]
    found += [warning for plan in catalog.plans for warning in _of_plan(plan)]
    found += [_derived_ids(source) for source in catalog.sources if source.derives_ids]
    return catalog.located(found)


def _derived_ids(source: EventSource) -> CatalogProblem:
    return CatalogProblem(
        ("sources", source.name, "derive_ids"),
        "two real events of one customer and type with the same time count as one. Let whoever "
        "sends them make ids if that can happen",
    )


def _of_price(price: CatalogPrice) -> Iterator[CatalogProblem]:
    yield from _flat_fee_at_zero(price)
    if price.price.currency in THREE_DECIMAL_CURRENCIES:
        for number, tier in enumerate(price.price.tiers):
            if tier.flat_amount is not None and tier.flat_amount % 10:
                path = (*price.path, "tiers", number)
                yield CatalogProblem(path, _three_decimals(price.price.currency))


def _flat_fee_at_zero(price: CatalogPrice) -> Iterator[CatalogProblem]:
    """Warn of a first tier whose flat amount Stripe bills without any usage.

    Documented with the way around it: a first tier up to 1 whose unit amount is the fee
    (docs.stripe.com/subscriptions/pricing-models/tiered-pricing).
    """
    rated = price.price
    if rated.usage_type is not UsageType.METERED or not rated.tiers:
        return
    first = rated.tiers[0]
    if not first.flat_amount:
        return
    fee = describe_unit_amount(first.flat_amount, rated.currency)
    with exact():
        together = first.flat_amount + first.unit_amount
    yield CatalogProblem(
        (*price.path, "tiers", 0, "flat_amount"),
        f"bills {fee} at zero usage too: Stripe always charges the first tier's flat amount. "
        f"{_way_around(rated.tiers_mode, together)}",
    )


def _way_around(mode: TiersMode | None, together: Decimal) -> str:
    if mode is TiersMode.VOLUME:
        return (
            f"To charge it from the first unit on, begin with a tier {{up_to: 1, "
            f'unit_amount_decimal: "{plain(together)}"}}, and keep this one, with its fee, after it'
        )
    return (
        f"To charge it with the first unit only, begin with a tier {{up_to: 1, "
        f'unit_amount_decimal: "{plain(together)}"}} and take the fee out of this one'
    )


def _of_plan(plan: Plan) -> Iterator[CatalogProblem]:
    for currency in plan.commitments.keys() | plan.spend_caps.keys():
        if currency not in THREE_DECIMAL_CURRENCIES:
            continue
        if currency in plan.commitments and plan.commitments[currency].minimum_minor % 10:
            path = ("plans", plan.key, "commitments", currency, "minimum")
            yield CatalogProblem(path, _three_decimals(currency))
        if currency in plan.spend_caps and plan.spend_caps[currency].amount_minor % 10:
            yield CatalogProblem(
                ("plans", plan.key, "spend_caps", currency), _three_decimals(currency)
            )


def _three_decimals(currency: str) -> str:
    return (
        f"Stripe takes {currency.upper()} amounts in thousandths whose last digit is 0 "
        "(docs.stripe.com/currencies#three-decimal)"
    )
