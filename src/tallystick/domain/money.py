"""Money in minor units, and the one door through which an amount is rounded."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from fractions import Fraction
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

TAX_ROUNDING = Rounding.HALF_UP
"""How a line's tax is rounded.

Recorded: 61.95 and 157.5 gave 62 + 158 (an invoice of invopop/gobl.stripe), which half-even gives
too: the tie itself is unconfirmed.
"""

PRORATION_ROUNDING = Rounding.HALF_FLOOR
"""How a proration is rounded.

Fits all 11 recorded or documented amounts known, the ties -2.5 -> -3, 4.5 -> 4 and 7.5 -> 7 among
them; plain flooring does not (24999.997 -> 25000). docs/rating.md lists them.
"""

AMOUNT_OFF_ROUNDING = Rounding.FLOOR
"""How a line's share of an amount off is rounded; the last line takes the rest.

Documented: 500 off 1000 and 2000 is 166 and 334 (docs.stripe.com/billing/subscriptions/prorations);
recorded: 35955 and 12573, where the largest remainder would give 35956 and 12572.
"""

PERCENT_OFF_ROUNDING = Rounding.HALF_UP
"""How a line's percentage off is rounded: unconfirmed, no recorded one leaves a fraction."""


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


_HALF_UP = Rounding.HALF_UP  # a member looked up on its class costs as much as the rounding


def round_to_minor(amount: Decimal | Fraction, mode: Rounding) -> int:
    """Round to whole minor units: the only place where money is rounded.

    A fraction is what a proration or a tax gives: exact where a decimal would have no end.
    """
    if mode is _HALF_UP and isinstance(amount, Decimal):  # the way of every line: kept short
        return int(amount.to_integral_value(ROUND_HALF_UP))
    over, under = amount.as_integer_ratio()
    return _round_ratio(over, under, mode)


def _round_ratio(over: int, under: int, mode: Rounding) -> int:
    """Round ``over / under`` with integers alone; ``under`` is positive."""
    match mode:
        case Rounding.HALF_UP:
            nearest = (2 * abs(over) + under) // (2 * under)
            return nearest if over >= 0 else -nearest
        case Rounding.HALF_EVEN:
            below, rest = divmod(over, under)
            is_up = 2 * rest > under or (2 * rest == under and below % 2 == 1)
            return below + is_up
        case Rounding.HALF_FLOOR:
            return -((under - 2 * over) // (2 * under))
        case Rounding.FLOOR:
            return over // under
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
