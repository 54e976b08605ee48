"""Exact quantities: what a meter measures, as decimals that are never rounded.

Stripe takes meter values of at most 15 digits in plain notation; Tallystick holds every event's
value to the same limit, so that what is counted here can always be said there.
"""

from __future__ import annotations

from decimal import (
    Context,
    Decimal,
    DivisionByZero,
    FloatOperation,
    Inexact,
    InvalidOperation,
    Overflow,
    localcontext,
)
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

DIGITS_MAX = 15
"""Digits of one value: Stripe refuses more (``meter_event_value_too_many_digits``)."""

TOTAL_DIGITS_MAX = 30
"""Digits before the point of a total that is rated: more than any sum of values reaches."""

DECIMALS_MAX = 12
"""Decimal places of a quantity: as many as Stripe's ``unit_amount_decimal`` has."""

PICO = 10**DECIMALS_MAX
"""Parts that a whole unit is stored in: the smallest step a quantity can have is 1 / PICO."""

_DOUBLE_BITS = 53
"""Binary digits of a double."""

_PRECISION = 120  # digits; products of a quantity and a unit amount need under 60
_EXACT = Context(
    prec=_PRECISION,
    traps=[Inexact, FloatOperation, InvalidOperation, DivisionByZero, Overflow],
)
ZERO = Decimal(0)


class QuantityError(ValueError):
    """A value that cannot be a quantity.

    ``code`` is stable and meant for programs; the message is meant for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def exact() -> AbstractContextManager[Context]:
    """Return a decimal context in which nothing is rounded: an inexact result or a float raises."""
    return localcontext(_EXACT)


def is_short_whole(number: Decimal) -> bool:
    """Tell whether the number is plainly a quantity: digits alone, and not too many."""
    text = str(number)
    return text.isdecimal() and len(text) <= DIGITS_MAX


def parse_quantity(value: str | int | Decimal) -> Decimal:
    """Return the value as an exact decimal, in whatever notation it was written.

    Raises:
        QuantityError: ``value_not_a_number``, ``value_not_finite``, ``value_too_many_digits``,
            ``value_too_many_decimals``.
    """
    if isinstance(value, bool):
        raise QuantityError("value_not_a_number", f"{value!r} is not a number or a decimal string")
    if isinstance(value, int):
        if abs(value) >= 10**DIGITS_MAX:
            raise _too_many_digits()
        return Decimal(value)
    try:
        return _checked(Decimal(value))
    except InvalidOperation:
        shown = str(value)[:40]
        raise QuantityError("value_not_a_number", f"{shown!r} is not a decimal number") from None


def _checked(number: Decimal) -> Decimal:
    if not number.is_finite():
        raise QuantityError("value_not_finite", f"{number} is not a finite number")
    if not number:
        return ZERO
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)  # only NaN and Infinity have letters there
    trailing = 0
    while digits[-1 - trailing] == 0:
        trailing += 1
    exponent += trailing
    significant = len(digits) - trailing
    if -exponent > DECIMALS_MAX:
        raise QuantityError(
            "value_too_many_decimals",
            f"the value has {-exponent} decimal places; {DECIMALS_MAX} is the most there can be",
        )
    whole_digits = significant + exponent  # digits before the point
    if max(significant, whole_digits) > DIGITS_MAX:
        raise _too_many_digits()
    return number


def parse_total(value: str | int | Decimal) -> Decimal:
    """Return a period's total as an exact decimal: as one value is read, but with more digits.

    Raises:
        QuantityError: as ``parse_quantity`` does.
    """
    try:
        with exact():  # in which a float is no number
            number = Decimal(value)
    except (InvalidOperation, FloatOperation):
        shown = str(value)[:40]
        raise QuantityError("value_not_a_number", f"{shown!r} is not a decimal number") from None
    if not number.is_finite():
        raise QuantityError("value_not_finite", f"{number} is not a finite number")
    if number.adjusted() >= TOTAL_DIGITS_MAX:
        raise QuantityError(
            "value_too_many_digits", f"a total has at most {TOTAL_DIGITS_MAX} digits"
        )
    if decimals_of(number) > DECIMALS_MAX:
        raise QuantityError(
            "value_too_many_decimals", f"a total has at most {DECIMALS_MAX} decimal places"
        )
    return number


def _too_many_digits() -> QuantityError:
    return QuantityError(
        "value_too_many_digits",
        f"the value has more than {DIGITS_MAX} digits, the most that Stripe takes in a meter event",
    )


def decimals_of(number: Decimal) -> int:
    """Return how many decimal places the number needs, trailing zeros left out."""
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    if exponent >= 0 or not number:
        return 0
    places = -exponent
    for digit in reversed(digits):
        if digit or not places:
            break
        places -= 1
    return places


def plain(number: Decimal) -> str:
    """Return the number without exponent, trailing zeros or a negative zero: ``1E+2`` is ``100``.

    The official SDK writes ``Decimal`` values with ``str``, which puts small ones on the wire as
    ``1E-12``; whatever goes to Stripe passes through here first.
    """
    if not number:
        return "0"
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def to_parts(number: Decimal) -> tuple[int, int]:
    """Return the number as ``(whole, pico)`` with ``whole + pico / PICO`` and ``0 <= pico < PICO``.

    Two integers are added exactly by any database; one scaled integer of 12 places would overflow
    64 bits.
    """
    if number == number.to_integral_value():
        return int(number), 0
    with exact():
        scaled = int(number * PICO)
    return scaled // PICO, scaled % PICO


def from_parts(whole: int, pico: int) -> Decimal:
    """Return the decimal that ``to_parts`` took apart; adding may have grown ``pico`` past PICO."""
    if not pico:
        return Decimal(whole)
    with exact():
        return Decimal(whole) + Decimal(pico).scaleb(-DECIMALS_MAX)


def add_all(numbers: Iterable[Decimal]) -> Decimal:
    """Return the exact sum."""
    with exact():
        return sum(numbers, ZERO)


def agrees(figure: Decimal, shown: Decimal) -> bool:
    """Tell whether a total that Stripe shows can be this figure.

    Its summaries are JSON numbers, which are read and written as doubles: of more than 15 digits
    only the figure's neighbourhood is known, less than the distance of two doubles.
    """
    if figure == shown:
        return True
    with exact():
        return abs(figure - shown) * (1 << _DOUBLE_BITS) < 1 << int(abs(figure)).bit_length()


def subtract(minuend: Decimal, subtrahend: Decimal) -> Decimal:
    """Return the exact difference."""
    with exact():
        return minuend - subtrahend
