"""Rating: a quantity and a price become the lines of an invoice, as Stripe writes them.

Stripe's rules, from recorded and documented invoices: a graduated price gives one unit line per
tier entered, each with a flat line after it where the tier has a flat amount (even 0); tiers not
reached give no line; each line is rounded by itself and the total is the sum of the rounded lines;
zero usage is charged in the first tier and so bills its flat amount
(docs.stripe.com/subscriptions/pricing-models/tiered-pricing); ``up_to`` is inclusive.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.money import USAGE_LINE_ROUNDING, Rounding, round_to_minor
from tallystick.domain.quantity import ZERO, QuantityError, exact, plain
from tallystick.domain.rating.prices import BillingScheme, Price, TiersMode, UsageType, packages_of
from tallystick.domain.rating.trace import trace_charge

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal


# A member looked up on its class costs as much as a multiplication; rating does it on every line.
_GRADUATED, _VOLUME, _METERED = TiersMode.GRADUATED, TiersMode.VOLUME, UsageType.METERED


class ChargeLine(NamedTuple):
    """One line of an invoice.

    ``amount_minor`` is ``exact_amount`` rounded; ``unit_amount`` is in minor units, on a flat line
    the flat amount; ``tier`` counts from 1 and is None where the price has no tiers. A flat line
    has quantity 0, as at Stripe.
    """

    quantity: Decimal
    amount_minor: int
    description: str
    unit_amount: Decimal
    exact_amount: Decimal
    tier: int | None = None
    is_flat: bool = False


class Charge(NamedTuple):
    """What a quantity costs: the lines in invoice order and their sum.

    ``measured`` is what was counted, ``quantity`` what is billed; they differ where the measured
    total is negative.
    """

    price: Price
    measured: Decimal
    quantity: Decimal
    lines: tuple[ChargeLine, ...]
    amount_minor: int
    rounding: Rounding

    @property
    def currency(self) -> str:
        """The currency of all amounts, lower case."""
        return self.price.currency

    @property
    def trace(self) -> tuple[str, ...]:
        """How the amount came about, for people; written when it is asked for."""
        return trace_charge(self)


def rate(price: Price, quantity: Decimal, *, rounding: Rounding = USAGE_LINE_ROUNDING) -> Charge:
    """Return what the quantity costs at the price.

    A negative metered total is billed as 0 (docs.stripe.com, recording-usage-api).

    Raises:
        QuantityError: ``value_not_finite``; ``quantity_negative`` or ``quantity_not_an_integer``
            for a licensed price.
    """
    with exact():
        return _rate(price, quantity, rounding)


def rate_all(
    usages: Iterable[tuple[Price, Decimal]], *, rounding: Rounding = USAGE_LINE_ROUNDING
) -> list[Charge]:
    """Rate several quantities, each at its price: ``rate`` without its set-up cost for each.

    Raises:
        QuantityError: as ``rate`` does.
    """
    with exact():
        return [_rate(price, quantity, rounding) for price, quantity in usages]


def rate_trial(price: Price, quantity: Decimal) -> Charge:
    """Return the charge of usage in a free trial: shown on one line, and not charged.

    Recorded: a trial's usage of 5783 is a line of quantity 5783 and amount 0. Where ``Free trial``
    stands in the description is an assumption.

    Raises:
        QuantityError: as ``rate`` does.
    """
    free = replace(
        price,
        billing_scheme=BillingScheme.PER_UNIT,
        tiers_mode=None,
        tiers=(),
        transform_quantity=None,
        unit_amount=ZERO,
    )
    charge = rate(free, quantity)
    (line,) = charge.lines
    described = f"{free.wording.counted(charge.quantity)} (Free trial)"
    return charge._replace(lines=(line._replace(description=described),))


def _rate(price: Price, measured: Decimal, rounding: Rounding) -> Charge:
    quantity = _billable(price, measured)
    if price.tiers_mode is _GRADUATED:
        lines = _graduated(price, quantity, rounding)
    elif price.tiers_mode is _VOLUME:
        lines = _volume(price, quantity, rounding)
    else:
        lines = (_per_unit(price, quantity, rounding),)
    total = sum([line.amount_minor for line in lines])
    return Charge(price, measured, quantity, lines, total, rounding)


def _billable(price: Price, measured: Decimal) -> Decimal:
    if not measured.is_finite():
        raise QuantityError("value_not_finite", f"{measured} is not a finite number")
    if price.usage_type is _METERED:
        return measured if measured > 0 else ZERO
    if measured < 0:
        raise QuantityError("quantity_negative", "a licensed quantity cannot be negative")
    if measured % 1:
        raise QuantityError("quantity_not_an_integer", "a licensed quantity must be an integer")
    return measured


def _per_unit(price: Price, quantity: Decimal, rounding: Rounding) -> ChargeLine:
    """The line keeps the raw quantity and the amount of a whole package, as Stripe's does."""
    unit_amount = price.unit_amount
    assert unit_amount is not None  # a price without tiers has one, or it could not be made
    transform = price.transform_quantity
    charged = quantity if transform is None else packages_of(quantity, transform)
    amount = charged * unit_amount
    return ChargeLine(
        quantity,
        round_to_minor(amount, rounding),
        plain(quantity) + price.unit_wordings[0],
        unit_amount,
        amount,
    )


def _graduated(price: Price, quantity: Decimal, rounding: Rounding) -> tuple[ChargeLine, ...]:
    lines: list[ChargeLine] = []
    starts = price.tier_starts
    ends = price.tier_ends
    for index in range(len(starts)):
        start = starts[index]
        if index and quantity <= start:
            break
        end = ends[index]
        portion = (quantity if end is None or quantity < end else end) - start
        _add_tier(lines, price, index, portion, rounding)
    return tuple(lines)


def _volume(price: Price, quantity: Decimal, rounding: Rounding) -> tuple[ChargeLine, ...]:
    """All units at the tier reached, and only its flat amount.

    The total is documented; that unit and flat amount are two lines, as in graduated tiers, is an
    assumption: no volume invoice was found recorded.
    """
    lines: list[ChargeLine] = []
    _add_tier(lines, price, reached_tier(price, quantity), quantity, rounding)
    return tuple(lines)


def reached_tier(price: Price, quantity: Decimal) -> int:
    """Return the index of the tier in which the quantity lies; ``up_to`` still belongs to it."""
    for index, end in enumerate(price.tier_ends):
        if end is None or quantity <= end:
            return index
    raise AssertionError("the last tier has no end, or the price could not be made")


def _add_tier(
    lines: list[ChargeLine], price: Price, index: int, quantity: Decimal, rounding: Rounding
) -> None:
    tier = price.tiers[index]
    amount = quantity * tier.unit_amount
    lines.append(
        ChargeLine(
            quantity,
            round_to_minor(amount, rounding),
            plain(quantity) + price.unit_wordings[index],
            tier.unit_amount,
            amount,
            index + 1,
        )
    )
    flat = tier.flat_amount
    if flat is not None:
        lines.append(
            ChargeLine(
                ZERO,
                round_to_minor(flat, rounding),
                price.flat_wordings[index],
                flat,
                flat,
                index + 1,
                is_flat=True,
            )
        )
