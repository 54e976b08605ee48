"""Discounts, split over the lines as Stripe splits them.

An amount off is shared in proportion to the lines, each share rounded down, and the last line takes
the rest (``AMOUNT_OFF_ROUNDING``). Several discounts apply one after the other, each to what the
former left (recorded: 5000 off 14900, then 10 % of 9900). Assumptions, since nothing is recorded: a
percentage is taken and rounded per line; lines of 0 or less get nothing; where the rest would be
more than the last line, the line before it takes what is over.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from tallystick.domain.money import AMOUNT_OFF_ROUNDING, PERCENT_OFF_ROUNDING, round_to_minor
from tallystick.domain.quantity import decimals_of, exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PERCENT_OFF_DECIMALS_MAX = 2
"""Decimal places of ``percent_off`` (Stripe's coupon object)."""

_HUNDRED = Decimal(100)


class DiscountError(ValueError):
    """A discount that cannot be; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Discount:
    """Either ``amount_off`` in minor units of the invoice's currency, or ``percent_off``.

    Raises:
        DiscountError: ``discount_not_one_of``, ``amount_off_invalid``, ``percent_off_invalid``.
    """

    amount_off: int | None = None
    percent_off: Decimal | None = None
    name: str = "Discount"

    def __post_init__(self) -> None:
        if (self.amount_off is None) == (self.percent_off is None):
            raise DiscountError(
                "discount_not_one_of", "a discount has either amount_off or percent_off"
            )
        if self.amount_off is not None and self.amount_off <= 0:
            raise DiscountError("amount_off_invalid", "amount_off must be positive")
        if self.percent_off is not None and not _is_percentage(self.percent_off):
            raise DiscountError(
                "percent_off_invalid",
                "percent_off lies above 0 and up to 100, with at most two decimal places",
            )


def split_discount(amounts: Sequence[int], discount: Discount) -> tuple[int, ...]:
    """Return how much of each line's amount the discount takes, all in minor units."""
    if discount.percent_off is not None:
        return tuple(_percent_of(amount, discount.percent_off) for amount in amounts)
    assert discount.amount_off is not None  # one of the two is given
    return _split_amount(amounts, discount.amount_off)


def apply_discounts(
    amounts: Sequence[int], discounts: Iterable[Discount]
) -> tuple[tuple[int, ...], ...]:
    """Return one split for each discount, in order, each taken from what the former left."""
    left = tuple(amounts)
    splits: list[tuple[int, ...]] = []
    for discount in discounts:
        split = split_discount(left, discount)
        left = tuple(amount - taken for amount, taken in zip(left, split, strict=True))
        splits.append(split)
    return tuple(splits)


def _is_percentage(percent: Decimal) -> bool:
    if not percent.is_finite() or decimals_of(percent) > PERCENT_OFF_DECIMALS_MAX:
        return False
    return 0 < percent <= _HUNDRED


def _percent_of(amount_minor: int, percent: Decimal) -> int:
    if amount_minor <= 0:
        return 0
    with exact():
        exact_amount = amount_minor * percent / _HUNDRED
    return round_to_minor(exact_amount, PERCENT_OFF_ROUNDING)


def _split_amount(amounts: Sequence[int], amount_off: int) -> tuple[int, ...]:
    weights = [max(amount, 0) for amount in amounts]
    total = sum(weights)
    taken_in_all = min(amount_off, total)
    if not taken_in_all:
        return tuple(0 for _ in amounts)
    shares = [
        round_to_minor(Fraction(taken_in_all * weight, total), AMOUNT_OFF_ROUNDING)
        for weight in weights
    ]
    rest = taken_in_all - sum(shares)
    for index in range(len(shares) - 1, -1, -1):
        added = min(rest, weights[index] - shares[index])
        shares[index] += added
        rest -= added
    return tuple(shares)
