"""Reading the fields of Stripe's JSON, as it is sent or as it comes back.

``param`` names the field in Stripe's notation, for the error. A float is refused everywhere: it is
not the number that was written down.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

from tallystick.domain.rating.price_limits import PriceError, check_amount

NUMBER_CHARACTERS_MAX = 64
"""Characters of a number that are looked at: a longer one is over every limit anyway."""

_DECIMAL = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?", re.ASCII)
_INTEGER = re.compile(r"-?[0-9]+", re.ASCII)

_Choice = TypeVar("_Choice", bound=StrEnum)


def read_amount(mapping: Mapping[str, object], name: str, prefix: str) -> Decimal | None:
    """Read ``name`` (whole minor units) or ``name_decimal``; a response states both, and equal."""
    param = f"{prefix}[{name}]" if prefix else name
    param_decimal = f"{prefix}[{name}_decimal]" if prefix else f"{name}_decimal"
    whole, fine = mapping.get(name), mapping.get(f"{name}_decimal")
    amount = None if whole is None else Decimal(read_whole(whole, param, "amount_not_an_integer"))
    if fine is None:
        if amount is not None:
            check_amount(amount, param)
        return amount
    amount_decimal = read_decimal(fine, param_decimal)
    check_amount(amount_decimal, param_decimal)
    if amount is not None and amount != amount_decimal:
        raise PriceError(
            "amounts_differ", f"{name} and {name}_decimal say different amounts.", param_decimal
        )
    return amount_decimal


def read_decimal(value: object, param: str) -> Decimal:
    """Read an exact decimal from a string or a whole number."""
    _refuse_float(value, param)
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str) and len(value) <= NUMBER_CHARACTERS_MAX and _DECIMAL.fullmatch(value):
        return Decimal(value)
    raise PriceError("amount_not_a_number", f"Invalid decimal: {str(value)[:40]}", param)


def read_whole(value: object, param: str, code: str) -> int:
    """Read an integer, from a form-encoded string too."""
    _refuse_float(value, param)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) <= NUMBER_CHARACTERS_MAX and _INTEGER.fullmatch(value):
        return int(value)
    raise PriceError(code, f"Invalid integer: {str(value)[:40]}", param)


def _refuse_float(value: object, param: str) -> None:
    if isinstance(value, float):
        raise PriceError(
            "float_refused", "A binary float is not exact; write the number as a string.", param
        )


def read_integer(mapping: Mapping[str, object], name: str, param: str, default: int) -> int:
    """Read an integer that may be left out."""
    value = mapping.get(name)
    return default if value is None else read_whole(value, param, "parameter_invalid_integer")


def read_object(
    mapping: Mapping[str, object], name: str, param: str
) -> Mapping[str, object] | None:
    """Read an object that may be left out."""
    value = mapping.get(name)
    if value is None or isinstance(value, Mapping):
        return value
    raise PriceError("parameter_invalid_object", f"{name} must be an object.", param)


def read_text(mapping: Mapping[str, object], name: str, param: str) -> str | None:
    """Read a string that may be left out."""
    value = mapping.get(name)
    if value is None or isinstance(value, str):
        return value
    raise PriceError("parameter_invalid_string", f"{name} must be a string.", param)


def read_choice(
    mapping: Mapping[str, object], name: str, choices: type[_Choice], param: str | None = None
) -> _Choice | None:
    """Read one of a closed set of words; None where it is left out."""
    value = mapping.get(name)
    if value is None:
        return None
    for choice in choices:
        if choice == value:
            return choice
    raise PriceError(f"{name}_invalid", f"{name} must be {' or '.join(choices)}.", param or name)
