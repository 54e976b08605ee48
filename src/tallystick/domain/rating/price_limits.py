"""What Stripe accepts in a price, field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.quantity import DECIMALS_MAX, DIGITS_MAX, decimals_of

if TYPE_CHECKING:
    from decimal import Decimal

INTERVAL_COUNT_MAX_BY_INTERVAL = {"day": 1095, "week": 156, "month": 36, "year": 3}
"""Stripe bills at least every three years (``recurring.interval_count``, SDK 16.1.0)."""

AMOUNT_LIMIT = 10**DIGITS_MAX
"""Minor units that no single unit or flat amount reaches: keeps every product exact."""


CURRENCY_LETTERS = 3


class PriceError(ValueError):
    """A price that cannot be, or that cannot be rated.

    ``code`` is stable and meant for programs, the message for people; ``param`` names the field in
    Stripe's notation, like ``tiers[1][up_to]``.
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


def check_amount(amount: Decimal, param: str) -> None:
    """Refuse an amount of minor units that Stripe would refuse.

    At most 12 decimal places (docs.stripe.com/billing/subscriptions/decimal-amounts), not negative.

    Raises:
        PriceError: ``amount_not_finite``, ``amount_negative``, ``amount_too_large``,
            ``amount_too_many_decimals``.
    """
    if not amount.is_finite():
        raise PriceError("amount_not_finite", f"{amount} is not an amount", param)
    if amount < 0:
        raise PriceError("amount_negative", "An amount must be 0 or more.", param)
    if amount >= AMOUNT_LIMIT:
        raise PriceError(
            "amount_too_large",
            f"An amount has at most {DIGITS_MAX} digits before the decimal point.",
            param,
        )
    if decimals_of(amount) > DECIMALS_MAX:
        raise PriceError(
            "amount_too_many_decimals",
            f"An amount has at most {DECIMALS_MAX} decimal places, the most Stripe takes.",
            param,
        )


def check_currency(currency: str) -> None:
    """Refuse what is not a lower-case ISO code.

    Raises:
        PriceError: ``currency_invalid``.
    """
    if not (len(currency) == CURRENCY_LETTERS and currency.isascii() and currency.isalpha()):
        raise PriceError(
            "currency_invalid",
            f"{currency[:10]!r} is not a three-letter currency code.",
            "currency",
        )
    if not currency.islower():
        raise PriceError("currency_invalid", "Stripe writes currencies in lower case.", "currency")


def check_recurrence(interval: str | None, interval_count: int) -> None:
    """Refuse an interval that Stripe does not know, or one of more than three years.

    Raises:
        PriceError: ``interval_invalid``, ``interval_count_invalid``.
    """
    if interval is None:
        return
    longest = INTERVAL_COUNT_MAX_BY_INTERVAL.get(interval)
    if longest is None:
        raise PriceError(
            "interval_invalid",
            f"{interval[:20]!r} is not an interval: day, week, month or year.",
            "recurring[interval]",
        )
    if not 1 <= interval_count <= longest:
        raise PriceError(
            "interval_count_invalid",
            f"An interval count of {interval}s lies between 1 and {longest} (three years).",
            "recurring[interval_count]",
        )
