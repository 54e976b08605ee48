"""Minimum commitments, three ways: per invoice, over a term, and as a base fee with included units.

Stripe's prices know no minimum (SDK 16.1.0, price parameters), so the first two are computed here
and added to the invoice as a line; the third is a graduated price that Stripe bills by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from tallystick.domain.rating.allowances import free_units
from tallystick.domain.rating.descriptions import describe_unit_amount

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.domain.rating.prices import Price


class CommitmentError(ValueError):
    """A commitment that cannot be; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Commitment:
    """At least ``minimum_minor`` (minor units) over ``periods_count`` billing periods.

    One period: a minimum per invoice. Twelve months: a yearly commitment.

    Raises:
        CommitmentError: ``minimum_invalid``, ``periods_invalid``.
    """

    minimum_minor: int
    currency: str
    periods_count: int = 1

    def __post_init__(self) -> None:
        if self.minimum_minor < 0:
            raise CommitmentError("minimum_invalid", "a minimum cannot be negative")
        if self.periods_count < 1:
            raise CommitmentError("periods_invalid", "a commitment lasts at least one period")


@dataclass(frozen=True, slots=True)
class TrueUpLine:
    """The line that lifts what was charged to the minimum."""

    amount_minor: int
    description: str


@dataclass(frozen=True, slots=True)
class CommitmentDraw:
    """One period's part in a commitment, in minor units.

    ``drawn_minor`` counts toward the minimum, ``over_minor`` lies beyond it, ``left_minor`` is what
    remains to be reached after the period. All of the period's charges are billed in either case.
    """

    charged_minor: int
    drawn_minor: int
    over_minor: int
    left_minor: int


@dataclass(frozen=True, slots=True)
class CommitmentStatement:
    """Where a commitment stands after some of its periods.

    ``true_up`` is None until the last period is there, and after it where the minimum was reached.
    """

    commitment: Commitment
    draws: tuple[CommitmentDraw, ...]
    left_minor: int
    true_up: TrueUpLine | None

    @property
    def trace(self) -> tuple[str, ...]:
        """How each period drew on the commitment, for people."""
        currency = self.commitment.currency
        steps = [
            f"period {number} of {self.commitment.periods_count}: "
            f"charged {_shown(draw.charged_minor, currency)}, "
            f"{_shown(draw.left_minor, currency)} of the commitment left"
            for number, draw in enumerate(self.draws, 1)
        ]
        if self.true_up is not None:
            steps.append(f"true-up {_shown(self.true_up.amount_minor, currency)}")
        return tuple(steps)


def draw_commitment(commitment: Commitment, charged: Sequence[int]) -> CommitmentStatement:
    """Draw each period's charges against the commitment; true up what is left at its end.

    ``charged`` has the closed periods' amounts in order, before tax and after discounts, in minor
    units; a negative one (a correction) gives back what it takes away.

    Raises:
        CommitmentError: ``periods_too_many``: more amounts than the commitment has periods.
    """
    if len(charged) > commitment.periods_count:
        raise CommitmentError(
            "periods_too_many",
            f"{len(charged)} periods for a commitment of {commitment.periods_count}",
        )
    draws: list[CommitmentDraw] = []
    total = 0
    for amount in charged:
        reached_before = min(total, commitment.minimum_minor)
        total += amount
        reached = min(total, commitment.minimum_minor)
        drawn = reached - reached_before
        left = commitment.minimum_minor - reached
        draws.append(CommitmentDraw(amount, drawn, amount - drawn, left))
    left = draws[-1].left_minor if draws else commitment.minimum_minor
    is_ended = len(charged) == commitment.periods_count
    true_up = _true_up(commitment, left) if is_ended and left else None
    return CommitmentStatement(commitment, tuple(draws), left, true_up)


def true_up_invoice(commitment: Commitment, charged_minor: int) -> TrueUpLine | None:
    """Return the line that lifts one invoice to its minimum, or None where it is reached."""
    return draw_commitment(commitment, (charged_minor,)).true_up


def base_fee_price(overage: Price, *, base_fee: Decimal, included_units: int) -> Price:
    """Return the graduated price of a base fee (minor units) with included units.

    Its first tier has the fee as flat amount and costs nothing a unit, so that Stripe bills the fee
    at zero usage too; ``overage`` applies above the included units.

    Raises:
        PriceError: as ``free_units`` does, and where the fee is no amount.
    """
    return free_units(overage, included_units, flat_amount=base_fee)


def _true_up(commitment: Commitment, left_minor: int) -> TrueUpLine:
    minimum = _shown(commitment.minimum_minor, commitment.currency)
    return TrueUpLine(left_minor, f"Minimum commitment of {minimum}: remaining amount")


def _shown(amount_minor: int, currency: str) -> str:
    return describe_unit_amount(Decimal(amount_minor), currency)
