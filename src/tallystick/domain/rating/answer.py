"""A charge as it is answered, on the command line and over HTTP alike.

Amounts are integers in minor units; quantities are strings, since JSON numbers are floats to many
readers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.quantity import plain

if TYPE_CHECKING:
    from tallystick.domain.quantity import QuantityError
    from tallystick.domain.rating.charges import Charge
    from tallystick.domain.rating.prices import PriceError


def answer_charge(charge: Charge) -> dict[str, object]:
    """Return ``currency``, ``amount``, ``lines`` and ``trace`` of a charge."""
    return {
        "currency": charge.currency,
        "amount": charge.amount_minor,
        "lines": [
            {
                "quantity": plain(line.quantity),
                "amount": line.amount_minor,
                "description": line.description,
            }
            for line in charge.lines
        ],
        "trace": list(charge.trace),
    }


def answer_price_error(error: PriceError) -> dict[str, object]:
    """Return the answer to a price that is refused."""
    return answer_error(error.code, error.message, error.param)


def answer_quantity_error(error: QuantityError, param: str) -> dict[str, object]:
    """Return the answer to a quantity that is refused; ``param`` is how it was handed in."""
    return answer_error(error.code, str(error), param)


def answer_error(code: str, message: str, param: str | None) -> dict[str, object]:
    """Return an error in the shape that Stripe's errors have."""
    return {"error": {"code": code, "message": message, "param": param}}
