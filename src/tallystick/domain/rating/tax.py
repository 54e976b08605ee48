"""Tax of an invoice line.

Tax is rounded per line (recorded: 21 % of 295 and of 750 is 62 + 158, not the 219 of their sum); an
inclusive rate is contained in the amount, an exclusive one is added to it. Assumptions, since no
such line is recorded: several inclusive rates share what the amount contains in proportion to their
percentages, an exclusive rate beside them is taken from the amount without them, and each rate is
rounded by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from tallystick.domain.money import TAX_ROUNDING, round_to_minor
from tallystick.domain.quantity import decimals_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

PERCENTAGE_DECIMALS_MAX = 4
"""Decimal places of a tax rate's percentage (Stripe's tax rate object)."""

_WHOLE_PERCENT = 100


class TaxError(ValueError):
    """A tax rate that cannot be; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class TaxRate:
    """A percentage, either contained in the amounts (``inclusive``) or added to them.

    Raises:
        TaxError: ``percentage_invalid``.
    """

    percentage: Decimal
    inclusive: bool
    display_name: str = "Tax"

    def __post_init__(self) -> None:
        if (
            not self.percentage.is_finite()
            or not 0 <= self.percentage <= _WHOLE_PERCENT
            or decimals_of(self.percentage) > PERCENTAGE_DECIMALS_MAX
        ):
            raise TaxError(
                "percentage_invalid",
                "a tax rate lies between 0 and 100 percent, with at most four decimal places",
            )


@dataclass(frozen=True, slots=True)
class TaxAmount:
    """What one rate takes of one line, and from which amount, in minor units."""

    rate: TaxRate
    taxable_minor: int
    amount_minor: int


def tax_line(amount_minor: int, rates: Sequence[TaxRate]) -> tuple[TaxAmount, ...]:
    """Return the tax of one line after its discounts and credits, one amount a rate, in order."""
    inclusive = [rate for rate in rates if rate.inclusive]
    contained = sum((Fraction(rate.percentage) for rate in inclusive), Fraction(0))
    taken = [
        round_to_minor(
            amount_minor * Fraction(rate.percentage) / (_WHOLE_PERCENT + contained), TAX_ROUNDING
        )
        for rate in inclusive
    ]
    taxable_minor = amount_minor - sum(taken)
    remaining = iter(taken)
    return tuple(
        TaxAmount(rate, taxable_minor, next(remaining))
        if rate.inclusive
        else TaxAmount(rate, taxable_minor, _exclusive(taxable_minor, rate))
        for rate in rates
    )


def _exclusive(taxable_minor: int, rate: TaxRate) -> int:
    return round_to_minor(
        Fraction(taxable_minor) * Fraction(rate.percentage) / _WHOLE_PERCENT, TAX_ROUNDING
    )
