"""Money in minor units, and the one door through which an amount is rounded."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from tallystick.domain.quantity import exact, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

ZERO_DECIMAL_CURRENCIES = frozenset(
    {
        "bif",
        "clp",
        "djf",
        "gnf",
        "jpy",
        "kmf",
        "krw",
        "mga",
        "pyg",
        "rwf",
        "ugx",
        "vnd",
        "vuv",
        "xaf",
        "xof",
        "xpf",
    }
)
"""Currencies without a minor unit at Stripe (docs.stripe.com/currencies#zero-decimal)."""

THREE_DECIMAL_CURRENCIES = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
"""Currencies with thousandths at Stripe (docs.stripe.com/currencies#three-decimal)."""


class MoneyError(ValueError):
    """Amounts that do not go together, or a currency that is none."""


class Rounding(StrEnum):
    """How a fraction of a minor unit becomes a whole one."""

    HALF_UP = "half_up"
    """Nearest, ties away from zero."""

    HALF_EVEN = "half_even"
    """Nearest, ties to the even neighbour."""

    HALF_FLOOR = "half_floor"
    """Nearest, ties toward minus infinity: what Stripe's prorations show in all recorded cases."""

    FLOOR = "floor"
    """Toward minus infinity: how Stripe splits a discount over lines."""


USAGE_LINE_ROUNDING = Rounding.HALF_UP
"""How an invoice line of usage is rounded.

Stripe documents "nearest" with the example 0.05 x 30 = 1.5 -> 2
(docs.stripe.com/billing/subscriptions/decimal-amounts), which half-up and half-even both give: the
tie itself is unconfirmed.
"""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units (cents; whole yen); ``currency`` is a lower-case ISO code."""

    amount_minor: int
    currency: str


def add_money(amounts: Iterable[Money], currency: str) -> Money:
    """Return the sum in ``currency``.

    Raises:
        MoneyError: an amount is in another currency.
    """
    total = 0
    for amount in amounts:
        if amount.currency != currency:
            raise MoneyError(f"cannot add {amount.currency} to {currency}")
        total += amount.amount_minor
    return Money(total, currency)


def exponent_of(currency: str) -> int:
    """Return how many decimal places the currency's major unit has at Stripe: 0, 2 or 3."""
    if currency in ZERO_DECIMAL_CURRENCIES:
        return 0
    return 3 if currency in THREE_DECIMAL_CURRENCIES else 2


def round_to_minor(amount: Decimal, mode: Rounding) -> int:
    """Round to whole minor units: the only place where money is rounded."""
    match mode:
        case Rounding.HALF_UP:
            return int(amount.to_integral_value(ROUND_HALF_UP))
        case Rounding.HALF_EVEN:
            return int(amount.to_integral_value(ROUND_HALF_EVEN))
        case Rounding.HALF_FLOOR:
            with exact():
                shifted = amount - Decimal("0.5")
            return int(shifted.to_integral_value(ROUND_CEILING))
        case Rounding.FLOOR:
            return int(amount.to_integral_value(ROUND_FLOOR))
    assert_never(mode)


def format_money(money: Money) -> str:
    """Return the amount for people, like ``12.34 USD``."""
    exponent = exponent_of(money.currency)
    with exact():
        major = Decimal(money.amount_minor).scaleb(-exponent)
    return f"{major:.{exponent}f} {money.currency.upper()}"


def format_unit_amount(minor: Decimal, currency: str) -> str:
    """Return a unit amount of (fractions of) minor units in major units, like ``0.005``."""
    exponent = exponent_of(currency)
    with exact():
        major = minor.scaleb(-exponent)
    shown = plain(major)
    whole, _, fraction = shown.partition(".")
    return f"{whole}.{fraction.ljust(exponent, '0')}" if exponent else shown
