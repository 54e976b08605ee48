"""The trace of a charge: every step from the quantity to the amount, in sentences.

Nothing is computed here that was not computed when rating; a trace only reads a finished charge, so
it costs nothing until somebody asks.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tallystick.domain.money import Rounding
from tallystick.domain.quantity import plain
from tallystick.domain.rating.descriptions import describe_unit_amount
from tallystick.domain.rating.prices import TiersMode, packages_of

if TYPE_CHECKING:
    from tallystick.domain.rating.charges import Charge, ChargeLine
    from tallystick.domain.rating.prices import Price

_ROUNDED_BY_MODE = {
    Rounding.HALF_UP: "rounded half up",
    Rounding.HALF_EVEN: "rounded half even",
    Rounding.HALF_FLOOR: "rounded to the nearest, a half down",
    Rounding.FLOOR: "rounded down",
}


def trace_charge(charge: Charge) -> tuple[str, ...]:
    """Return the steps of the charge, one sentence each."""
    steps = [_opening(charge)]
    if charge.measured != charge.quantity:
        steps.append(f"measured {plain(charge.measured)}: a negative total is billed as 0")
    steps.extend(_line_step(charge, line) for line in charge.lines)
    steps.append(_total(charge))
    return tuple(steps)


def _opening(charge: Charge) -> str:
    price = charge.price
    return f"{price.product_name}: {plain(charge.quantity)} {_scheme(price)}, in {price.currency}"


def _scheme(price: Price) -> str:
    count = len(price.tiers)
    if not count:
        return "per unit" if price.transform_quantity is None else "per package"
    tiers = f"{count} tier" if count == 1 else f"{count} tiers"
    mode = "graduated over" if price.tiers_mode is TiersMode.GRADUATED else "by volume over"
    return f"{mode} {tiers}"


def _line_step(charge: Charge, line: ChargeLine) -> str:
    currency = charge.currency
    shown = describe_unit_amount(line.exact_amount, currency)
    if line.is_flat:
        text = f"{_tier_name(charge.price, line)}: flat amount {shown}"
    else:
        text = (
            f"{_tier_name(charge.price, line)}{_factor(charge.price, line)}"
            f" × {describe_unit_amount(line.unit_amount, currency)} = {shown}"
        )
    if line.exact_amount == line.amount_minor:
        return text
    rounded = describe_unit_amount(Decimal(line.amount_minor), currency)
    return f"{text}, {_ROUNDED_BY_MODE[charge.rounding]} to {rounded}"


def _factor(price: Price, line: ChargeLine) -> str:
    """Name what the unit amount is multiplied with: the quantity, or the packages it fills."""
    quantity = plain(line.quantity)
    transform = price.transform_quantity
    if transform is None:
        return f": {quantity}" if line.tier else quantity
    packages = plain(packages_of(line.quantity, transform))
    return f"{quantity} in packages of {transform.divide_by}, rounded {transform.round}: {packages}"


def _tier_name(price: Price, line: ChargeLine) -> str:
    if line.tier is None:
        return ""
    index = line.tier - 1
    up_to = price.tiers[index].up_to
    start = plain(price.tier_starts[index])
    span = f"above {start}" if up_to is None else f"above {start} up to {up_to}"
    if len(price.tiers) == 1:
        span = "all units"
    return f"tier {line.tier} ({span})"


def _total(charge: Charge) -> str:
    total = describe_unit_amount(Decimal(charge.amount_minor), charge.currency)
    if len(charge.lines) == 1:
        return f"total {total}"
    parts = " + ".join(
        describe_unit_amount(Decimal(line.amount_minor), charge.currency) for line in charge.lines
    )
    return f"total {parts} = {total}"
