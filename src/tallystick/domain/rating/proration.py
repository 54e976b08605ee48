"""Proration of licensed items; usage is never prorated.

Stripe credits the unused time of what was paid for and charges the remaining time of what it is
changed to, by the second, each as one line (docs.stripe.com/billing/subscriptions/prorations). Each
line is rounded to the nearest minor unit, a half toward minus infinity (``PRORATION_ROUNDING``).
That an item of sub-cent or tiered amounts is prorated before it is rounded is an assumption: no
such proration was found recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from tallystick.domain.money import PRORATION_ROUNDING, Money, format_money, round_to_minor
from tallystick.domain.quantity import plain
from tallystick.domain.rating.charges import rate
from tallystick.domain.rating.prices import Price, PriceError, UsageType

if TYPE_CHECKING:
    from datetime import date
    from decimal import Decimal

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class PeriodShare:
    """The part of a billing period that remains, in seconds: Stripe prorates by the second.

    Raises:
        ValueError: the part is negative or longer than the period.
    """

    remaining_seconds: int
    period_seconds: int

    def __post_init__(self) -> None:
        if self.period_seconds <= 0 or not 0 <= self.remaining_seconds <= self.period_seconds:
            raise ValueError(
                f"{self.remaining_seconds} s is no part of a period of {self.period_seconds} s"
            )


@dataclass(frozen=True, slots=True)
class LicensedItem:
    """A subscription item whose quantity is set beforehand."""

    price: Price
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class ProrationLine:
    """A line of a proration: a credit is negative. ``quantity`` is the item's, as at Stripe."""

    quantity: Decimal
    amount_minor: int
    description: str
    trace: tuple[str, ...]


def prorate(amount_minor: Decimal | int, share: PeriodShare) -> int:
    """Return the part of an amount that belongs to the remaining time, in minor units."""
    return round_to_minor(_part_of(amount_minor, share), PRORATION_ROUNDING)


def credit_unused(item: LicensedItem, share: PeriodShare, changed_on: date) -> ProrationLine:
    """Return the credit for the time for which the item was paid and is not used.

    Raises:
        PriceError: ``metered_not_prorated``.
    """
    return _prorated(item, share, -1, f"Unused time on {_named(item)} after {_day(changed_on)}")


def charge_remaining(item: LicensedItem, share: PeriodShare, changed_on: date) -> ProrationLine:
    """Return the charge for the rest of the period in which the item begins.

    Raises:
        PriceError: ``metered_not_prorated``.
    """
    return _prorated(item, share, 1, f"Remaining time on {_named(item)} after {_day(changed_on)}")


def prorate_change(
    before: LicensedItem, after: LicensedItem, share: PeriodShare, changed_on: date
) -> tuple[ProrationLine, ProrationLine]:
    """Return the credit and the charge of a change of price or quantity within a period.

    A change of interval starts a new period: call ``credit_unused`` with what is left of the old
    one and ``charge_remaining`` with the whole new one.

    Raises:
        PriceError: ``metered_not_prorated``, ``currencies_differ``.
    """
    if before.price.currency != after.price.currency:
        raise PriceError("currencies_differ", "A change of price keeps the currency.", "currency")
    return credit_unused(before, share, changed_on), charge_remaining(after, share, changed_on)


def _part_of(amount_minor: Decimal | int, share: PeriodShare) -> Fraction:
    return Fraction(amount_minor) * Fraction(share.remaining_seconds, share.period_seconds)


def _prorated(item: LicensedItem, share: PeriodShare, sign: int, description: str) -> ProrationLine:
    if item.price.usage_type is UsageType.METERED:
        raise PriceError(
            "metered_not_prorated", "Usage is never prorated.", "recurring[usage_type]"
        )
    charge = rate(item.price, item.quantity)
    whole = sum((Fraction(line.exact_amount) for line in charge.lines), Fraction(0))
    amount_minor = round_to_minor(
        sign * whole * Fraction(share.remaining_seconds, share.period_seconds), PRORATION_ROUNDING
    )
    shown = format_money(Money(amount_minor, charge.currency))
    step = (
        f"{share.remaining_seconds} of {share.period_seconds} seconds remain: "
        f"{shown}, rounded to the nearest, a half down"
    )
    return ProrationLine(item.quantity, amount_minor, description, (*charge.trace, step))


def _named(item: LicensedItem) -> str:
    """Recorded: ``on Test Subscription`` for one unit, ``on 2 × Mirror Subscription`` for two."""
    name = item.price.product_name
    return name if item.quantity == 1 else f"{plain(item.quantity)} × {name}"


def _day(day: date) -> str:
    return f"{day.day:02d} {_MONTHS[day.month - 1]} {day.year}"
