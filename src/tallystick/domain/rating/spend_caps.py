"""Spend caps: the most that a customer's usage may cost in a period.

Stripe's prices know no maximum, so what lies above the cap is taken back by a negative line.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from tallystick.domain.rating.descriptions import describe_unit_amount


@dataclass(frozen=True, slots=True)
class SpendCap:
    """The most that usage may cost in a period, in minor units, before discounts and tax.

    Raises:
        ValueError: the cap is negative.
    """

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        if self.amount_minor < 0:
            raise ValueError("a spend cap cannot be negative")


@dataclass(frozen=True, slots=True)
class SpendCapLine:
    """The line that takes back what lies above the cap: a negative amount in minor units."""

    amount_minor: int
    description: str


def cap_spend(cap: SpendCap, charged_minor: int) -> SpendCapLine | None:
    """Return the line that lowers the charges to the cap, or None where they are within it."""
    over_minor = charged_minor - cap.amount_minor
    if over_minor <= 0:
        return None
    shown = describe_unit_amount(Decimal(cap.amount_minor), cap.currency)
    return SpendCapLine(-over_minor, f"Spend cap of {shown}")


def left_below_cap(cap: SpendCap, charged_minor: int) -> int:
    """Return how much may still be charged before the cap is reached, in minor units."""
    return max(0, cap.amount_minor - charged_minor)
