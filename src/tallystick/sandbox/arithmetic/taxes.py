"""Tax rates on invoice lines, rounded per line to the nearest minor unit.

Recorded: 21 % of 295 and 750 gave 62 + 158 = 220. The tie rule is the setting of usage lines.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tallystick.domain.quantity import exact
from tallystick.sandbox.arithmetic.rounding import round_usage
from tallystick.sandbox.state.billing_records import LineTax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.sandbox.state.records import TaxRate

_HUNDRED = Decimal(100)


def tax_line(amount: int, rates: Sequence[TaxRate], rounding: str) -> list[LineTax]:
    """Return the taxes of one line.

    Inclusive rates are taken out of the amount together; exclusive ones are put on the rest.
    """
    inclusive = [rate for rate in rates if rate.inclusive]
    total_percent = sum((rate.percentage for rate in inclusive), Decimal(0))
    taxes = []
    taken = 0
    for rate in inclusive:
        with exact():
            numerator, denominator = (amount * rate.percentage).as_integer_ratio()
            whole, per = (_HUNDRED + total_percent).as_integer_ratio()
        tax = _nearest(numerator * per, denominator * whole)
        taken += tax
        taxes.append(LineTax(rate=rate.id, amount=tax, taxable_amount=0, inclusive=True))
    net = amount - taken
    for line_tax in taxes:
        line_tax.taxable_amount = net
    for rate in rates:
        if not rate.inclusive:
            with exact():
                exact_tax = net * rate.percentage / _HUNDRED
            tax = round_usage(exact_tax, rounding)
            taxes.append(LineTax(rate=rate.id, amount=tax, taxable_amount=net, inclusive=False))
    return taxes


def _nearest(numerator: int, denominator: int) -> int:
    """Return the nearest integer to a fraction, ties away from zero."""
    sign = -1 if numerator < 0 else 1
    return sign * ((2 * abs(numerator) + denominator) // (2 * denominator))
