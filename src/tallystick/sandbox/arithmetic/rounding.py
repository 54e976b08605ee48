"""How the sandbox turns exact amounts into minor units: written from Stripe's facts alone."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal

from tallystick.domain.quantity import exact

_HALF = Decimal("0.5")


def round_usage(amount: Decimal, mode: str = ROUND_HALF_UP) -> int:
    """Return the nearest minor unit of a usage, licence or tax line.

    DOC:billing/subscriptions/decimal-amounts: 0.05 x 30 = 1.5 is billed as 2.
    """
    return int(amount.to_integral_value(rounding=mode))


def round_proration(amount: Decimal) -> int:
    """Return the nearest minor unit of a proration, ties toward minus infinity.

    Recorded: -2.5 -> -3, 4.5 -> 4, 333.33 -> 333, 9999.548 -> 10000.
    """
    with exact():
        below = amount - _HALF
    return int(below.to_integral_value(rounding=ROUND_CEILING))


def share(amount: Decimal, part_s: int, whole_s: int) -> int:
    """Return ``amount x part / whole`` rounded as a proration, exactly.

    The quotient may have no finite decimal form, so the rounding is done on the fraction.
    """
    if whole_s <= 0:
        return 0
    with exact():
        product = amount * part_s
    numerator, denominator = product.as_integer_ratio()
    denominator *= whole_s
    # ceil(x - 1/2) on a fraction
    return -((denominator - 2 * numerator) // (2 * denominator))
