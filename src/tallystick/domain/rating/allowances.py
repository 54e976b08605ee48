"""Free allowances: units that cost nothing.

Where Stripe bills the price itself, the allowance has to be in the price: ``free_units`` gives the
graduated price that charges the same. Where Tallystick decides what to report,
``draw_allowance`` splits the quantity instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tallystick.domain.quantity import ZERO, exact
from tallystick.domain.rating.prices import BillingScheme, Price, PriceError, Tier, TiersMode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal


@dataclass(frozen=True, slots=True)
class AllowanceDraw:
    """How a quantity was split: ``free`` came out of the allowance, ``billable`` did not."""

    free: Decimal
    billable: Decimal


def draw_allowance(quantities: Sequence[Decimal], units: Decimal) -> tuple[AllowanceDraw, ...]:
    """Take the allowance from the quantities in their order until it is used up.

    Several quantities are several meters, or items, that share one allowance. A quantity below 0
    uses none and is left as it is.

    Raises:
        ValueError: the allowance is negative.
    """
    if units < 0:
        raise ValueError("an allowance cannot be negative")
    left = units
    draws: list[AllowanceDraw] = []
    with exact():
        for quantity in quantities:
            free = max(ZERO, min(left, quantity))
            left -= free
            draws.append(AllowanceDraw(free, quantity - free))
    return tuple(draws)


def free_units(price: Price, units: int, *, flat_amount: Decimal | None = None) -> Price:
    """Return the graduated price whose first ``units`` are free and whose tiers follow after them.

    For every quantity above the allowance it charges what ``price`` charges for the rest. Up to it,
    it charges nothing, not even a flat amount of the first tier; ``flat_amount`` (minor units) is
    charged always, by Stripe's rule that zero usage bills the first tier's flat amount.

    Raises:
        PriceError: ``allowance_invalid``; ``allowance_not_expressible`` for volume tiers and for
            packages, which Stripe cannot offer with free units.
    """
    if units < 1:
        raise PriceError("allowance_invalid", "An allowance is at least one unit.", "tiers")
    if price.tiers_mode is TiersMode.VOLUME or price.transform_quantity is not None:
        raise PriceError(
            "allowance_not_expressible",
            "Stripe cannot bill free units with volume tiers or packages.",
            "tiers_mode" if price.tiers else "transform_quantity",
        )
    return replace(
        price,
        billing_scheme=BillingScheme.TIERED,
        tiers_mode=TiersMode.GRADUATED,
        unit_amount=None,
        tiers=(Tier(units, ZERO, flat_amount), *_moved(price, units)),
    )


def _moved(price: Price, units: int) -> tuple[Tier, ...]:
    if price.unit_amount is not None:
        return (Tier(None, price.unit_amount),)
    return tuple(
        replace(tier, up_to=None if tier.up_to is None else tier.up_to + units)
        for tier in price.tiers
    )
