"""What a quantity costs: Stripe's per-unit, package, graduated and volume prices, line by line.

Sources: DOC:subscriptions/pricing-models/tiered-pricing, DOC:billing/subscriptions/decimal-amounts,
DOC:billing/subscriptions/quantity-transformation, and recorded invoices for how lines are split.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING

from tallystick.domain.quantity import exact
from tallystick.sandbox.arithmetic.rounding import round_usage

if TYPE_CHECKING:
    from tallystick.sandbox.state.records import Amounts, Price, Tier

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Charge:
    """One line: ``tier`` counts from 1; a flat fee has quantity 0 and ``is_flat``."""

    quantity: Decimal
    unit_amount: Decimal | None
    amount: int
    tier: int | None = None
    is_flat: bool = False


def rate(price: Price, amounts: Amounts, quantity: Decimal, rounding: str) -> list[Charge]:
    """Return the charges of a quantity; one below zero bills as zero.

    DOC:recording-usage-api: a negative period total is billed as quantity 0.
    """
    quantity = max(quantity, ZERO)
    if price.billing_scheme == "per_unit":
        return [_per_unit(price, amounts, quantity, rounding)]
    if price.tiers_mode == "volume":
        return _volume(amounts.tiers, quantity, rounding)
    return _graduated(amounts.tiers, quantity, rounding)


def exact_amount(price: Price, amounts: Amounts, quantity: Decimal) -> Decimal:
    """Return the unrounded amount of a quantity: what a proration takes its share of."""
    with exact():
        if price.billing_scheme == "per_unit":
            units = _packages(price, quantity)
            return units * (amounts.unit_amount or ZERO)
        charges = rate(price, amounts, quantity, ROUND_FLOOR)
        return sum(
            ((c.unit_amount or ZERO) * (1 if c.is_flat else c.quantity) for c in charges), ZERO
        )


def _packages(price: Price, quantity: Decimal) -> Decimal:
    """Return the number of packages; ``round`` says which way a started one counts."""
    if price.divide_by is None:
        return quantity
    whole, rest = divmod(quantity, price.divide_by)
    started = 1 if rest and price.divide_round == "up" else 0
    return whole + started


def _per_unit(price: Price, amounts: Amounts, quantity: Decimal, rounding: str) -> Charge:
    """Rate at one amount; a package line keeps the raw usage as its quantity (documented)."""
    unit_amount = amounts.unit_amount or ZERO
    with exact():
        amount = _packages(price, quantity) * unit_amount
    return Charge(quantity, unit_amount, round_usage(amount, rounding))


def _graduated(tiers: list[Tier], quantity: Decimal, rounding: str) -> list[Charge]:
    """Rate each entered tier on its own line, rounded there; zero usage enters the first one.

    Recorded: a unit line per entered tier, then its flat line where the tier has one, even of 0.
    """
    charges: list[Charge] = []
    below = ZERO
    for number, tier in enumerate(tiers, start=1):
        if number > 1 and quantity <= below:
            break
        top = quantity if tier.up_to is None else min(quantity, Decimal(tier.up_to))
        with exact():
            inside = top - below
        charges.extend(_tier_charges(tier, number, inside, rounding))
        if tier.up_to is None:
            break
        below = Decimal(tier.up_to)
    return charges


def _volume(tiers: list[Tier], quantity: Decimal, rounding: str) -> list[Charge]:
    """Rate the whole quantity at the reached tier, with that tier's flat fee only.

    The total is documented; that unit and flat part are two lines is assumed from graduated.
    """
    for number, tier in enumerate(tiers, start=1):
        if tier.up_to is None or quantity <= tier.up_to:
            return _tier_charges(tier, number, quantity, rounding)
    return []


def _tier_charges(tier: Tier, number: int, quantity: Decimal, rounding: str) -> list[Charge]:
    unit_amount = tier.unit_amount or ZERO
    with exact():
        amount = quantity * unit_amount
    charges = [Charge(quantity, unit_amount, round_usage(amount, rounding), number)]
    if tier.flat_amount is not None:
        flat = round_usage(tier.flat_amount, rounding)
        charges.append(Charge(ZERO, tier.flat_amount, flat, number, is_flat=True))
    return charges


def whole_part(quantity: Decimal) -> int:
    """Return the integer that Stripe shows as a line's ``quantity`` (truncated, DOC:invoices)."""
    rounding = ROUND_FLOOR if quantity >= 0 else ROUND_CEILING
    return int(quantity.to_integral_value(rounding=rounding))
