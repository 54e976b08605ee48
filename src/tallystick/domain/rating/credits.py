"""Prepaid credits: grants drawn down by the lines of an invoice.

Stripe's rules (docs.stripe.com/billing/subscriptions/usage-based/billing-credits): credits apply at
finalization, after discounts and before tax, to metered prices only. Of several grants the one with
the lowest ``priority`` number goes first, then the one that expires first, then promotional before
paid, then the one that took effect first. That the lines draw in invoice order is an assumption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

PRIORITY_MIN = 0
PRIORITY_MAX = 100
PRIORITY_DEFAULT = 50


class CreditError(ValueError):
    """A grant that cannot be; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class CreditCategory(StrEnum):
    """Whether the customer paid for the grant; promotional ones are used up first."""

    PROMOTIONAL = "promotional"
    PAID = "paid"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditGrant:
    """A balance that pays for usage: ``left_minor`` of what was granted remains, in minor units.

    Instants are microseconds UTC; the grant is usable in ``[effective_at, expires_at)``, for ever
    where ``expires_at`` is None. ``price_keys`` None: it pays for every metered price.

    Raises:
        CreditError: ``priority_invalid``, ``balance_invalid``.
    """

    key: str
    left_minor: int
    currency: str
    priority: int = PRIORITY_DEFAULT
    category: CreditCategory = CreditCategory.PAID
    effective_at: int = 0
    expires_at: int | None = None
    price_keys: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if not PRIORITY_MIN <= self.priority <= PRIORITY_MAX:
            raise CreditError(
                "priority_invalid", f"a priority lies between {PRIORITY_MIN} and {PRIORITY_MAX}"
            )
        if self.left_minor < 0:
            raise CreditError("balance_invalid", "a grant cannot have less than nothing left")

    def is_usable(self, at: int, currency: str) -> bool:
        """Tell whether the grant can pay anything in this currency at this instant."""
        if not self.left_minor or self.currency != currency or at < self.effective_at:
            return False
        return self.expires_at is None or at < self.expires_at


class CreditableLine(NamedTuple):
    """What of a line credits may pay: its amount after discounts, in minor units, and its price."""

    amount_minor: int
    price_key: str | None


class CreditDraw(NamedTuple):
    """What one grant pays of one line; ``line`` is the line's position in the invoice."""

    grant_key: str
    line: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class CreditStatement:
    """The draws in the order they were made, and what each grant has left, by its key."""

    draws: tuple[CreditDraw, ...]
    left_minor_by_grant: dict[str, int]


def draw_order(grants: Sequence[CreditGrant]) -> list[CreditGrant]:
    """Return the grants in the order in which they are used up."""
    return sorted(
        grants,
        key=lambda grant: (
            grant.priority,
            grant.expires_at is None,
            grant.expires_at or 0,
            grant.category is CreditCategory.PAID,
            grant.effective_at,
            grant.key,
        ),
    )


def draw_credits(
    grants: Sequence[CreditGrant], lines: Sequence[CreditableLine], *, currency: str, at: int
) -> CreditStatement:
    """Pay for the lines from the grants, each grant used up before the next is touched.

    Lines of 0 or less draw nothing.
    """
    open_minor = [max(line.amount_minor, 0) for line in lines]
    draws: list[CreditDraw] = []
    left_minor_by_grant = {grant.key: grant.left_minor for grant in grants}
    for grant in draw_order(grants):
        if not grant.is_usable(at, currency):
            continue
        left = grant.left_minor
        for index, line in enumerate(lines):
            drawn = min(left, open_minor[index]) if _pays_for(grant, line) else 0
            if drawn:
                draws.append(CreditDraw(grant.key, index, drawn))
                open_minor[index] -= drawn
                left -= drawn
        left_minor_by_grant[grant.key] = left
    return CreditStatement(tuple(draws), left_minor_by_grant)


def _pays_for(grant: CreditGrant, line: CreditableLine) -> bool:
    return grant.price_keys is None or line.price_key in grant.price_keys
