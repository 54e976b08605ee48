"""Marginal rating: what a late or corrected quantity adds to a closed period, or takes from it.

The period is rated with the quantity that was billed and with the one that is right; the difference
is taken tier by tier between rounded lines, so that what was billed and what is added make exactly
what would have been billed at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.money import USAGE_LINE_ROUNDING, Rounding
from tallystick.domain.quantity import ZERO, exact, plain
from tallystick.domain.rating.charges import Charge, ChargeLine, rate
from tallystick.domain.rating.descriptions import describe_unit_amount

if TYPE_CHECKING:
    from tallystick.domain.rating.prices import Price


class MarginalLine(NamedTuple):
    """The difference in one tier: a quantity and an amount that may both be negative.

    A flat line has quantity 0. ``tier`` counts from 1 and is None where the price has no tiers.
    """

    quantity: Decimal
    amount_minor: int
    description: str
    tier: int | None
    is_flat: bool


@dataclass(frozen=True, slots=True)
class MarginalCharge:
    """What has to be charged (or given back) beyond what was billed, in minor units."""

    billed: Charge
    corrected: Charge
    lines: tuple[MarginalLine, ...]
    amount_minor: int

    @property
    def currency(self) -> str:
        """The currency of all amounts, lower case."""
        return self.billed.currency

    @property
    def trace(self) -> tuple[str, ...]:
        """How the difference came about, for people."""
        billed = _shown(self.billed.amount_minor, self.currency)
        corrected = _shown(self.corrected.amount_minor, self.currency)
        steps = [
            f"billed {plain(self.billed.quantity)} for {billed}, "
            f"corrected {plain(self.corrected.quantity)} for {corrected}"
        ]
        steps.extend(
            f"{line.description}: {_shown(line.amount_minor, self.currency)}" for line in self.lines
        )
        steps.append(f"difference {_shown(self.amount_minor, self.currency)}")
        return tuple(steps)


def rate_difference(
    price: Price,
    billed: Decimal,
    corrected: Decimal,
    *,
    rounding: Rounding = USAGE_LINE_ROUNDING,
) -> MarginalCharge:
    """Return what separates the charge for ``corrected`` from the one for ``billed``.

    Both are quantities of the whole period. Tiers in which nothing changes give no line.

    Raises:
        QuantityError: as ``rate`` does.
    """
    before = rate(price, billed, rounding=rounding)
    after = rate(price, corrected, rounding=rounding)
    lines = _difference(price, before, after)
    return MarginalCharge(before, after, lines, sum(line.amount_minor for line in lines))


def _difference(price: Price, before: Charge, after: Charge) -> tuple[MarginalLine, ...]:
    was = {(line.tier or 0, line.is_flat): line for line in before.lines}
    now = {(line.tier or 0, line.is_flat): line for line in after.lines}
    lines = (_line(price, was.get(place), now.get(place)) for place in sorted(was | now))
    return tuple(line for line in lines if line.quantity or line.amount_minor)


def _line(price: Price, was: ChargeLine | None, now: ChargeLine | None) -> MarginalLine:
    line = now or was
    assert line is not None  # the place was taken from one of the two charges
    with exact():
        quantity = (now.quantity if now else ZERO) - (was.quantity if was else ZERO)
    amount_minor = (now.amount_minor if now else 0) - (was.amount_minor if was else 0)
    wordings = price.flat_wordings if line.is_flat else price.unit_wordings
    wording = wordings[(line.tier or 1) - 1]
    description = wording if line.is_flat else plain(quantity) + wording
    return MarginalLine(quantity, amount_minor, description, line.tier, line.is_flat)


def _shown(amount_minor: int, currency: str) -> str:
    return describe_unit_amount(Decimal(amount_minor), currency)
