"""Resolve before resend: telling from Stripe's total which attempts arrived.

Some reports' outcome is unknown. Stripe's total of the minute that holds their timestamp is known,
and so are the quantities that surely count in it; what is left over is the sum of those of the
unknown that arrived.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from tallystick.domain.quantity import add_all, agrees, exact, subtract

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

UNCERTAIN_MAX = 12
"""Unknown outcomes of several quantities that are told apart: more have too many combinations to
mean anything."""


COMBINATIONS_MAX = 50_000
"""Sets of reports that are looked at for what is missing: bounds the time, about a second."""


def tell_arrived(
    uncertain: Mapping[int, Decimal], certain: Decimal, total: Decimal
) -> frozenset[int] | None:
    """Return which of the uncertain reports arrived if Stripe's total says so, else None.

    ``uncertain`` has quantities by report id; ``certain`` is what surely counts in the total.
    Reports of equal quantity stand for each other: the earliest are taken to have arrived. None
    where no combination makes the total up, or several that differ in their quantities.
    """

    def makes_up(arrived: Decimal) -> bool:
        return agrees(add_all([certain, arrived]), total)

    alike = set(uncertain.values())
    if len(alike) == 1:
        return _tell_alike(sorted(uncertain), alike.pop(), makes_up)
    if len(uncertain) > UNCERTAIN_MAX:
        return None
    found: dict[tuple[Decimal, ...], frozenset[int]] = {}
    ids = sorted(uncertain)
    for size in range(len(ids) + 1):
        for chosen in combinations(ids, size):
            if makes_up(add_all(uncertain[each] for each in chosen)):
                quantities = tuple(sorted(uncertain[each] for each in chosen))
                found.setdefault(quantities, frozenset(chosen))
    return next(iter(found.values())) if len(found) == 1 else None


def _tell_alike(
    ids: list[int], quantity: Decimal, makes_up: Callable[[Decimal], bool]
) -> frozenset[int] | None:
    """Return the earliest of reports with one quantity, as many as make the total up."""
    with exact():
        number = next((n for n in range(len(ids) + 1) if makes_up(quantity * n)), None)
    return None if number is None else frozenset(ids[:number])


def tell_missing(
    delivered: Mapping[int, Decimal], ours: Decimal, total: Decimal
) -> frozenset[int] | None:
    """Return the fewest of the delivered reports without which ours is Stripe's total, or None.

    Where several are, the earliest: each is told again as a new report, and whichever they are, it
    is the missing quantity that is told.
    """

    def makes_up(missing: Decimal) -> bool:
        return agrees(subtract(ours, missing), total)

    if len(set(delivered.values())) == 1:
        return _tell_alike(sorted(delivered), next(iter(delivered.values())), makes_up)
    tried = 0
    for size in range(1, len(delivered) + 1):
        for chosen in combinations(sorted(delivered), size):
            tried += 1
            if tried > COMBINATIONS_MAX:
                return None
            if makes_up(add_all(delivered[each] for each in chosen)):
                return frozenset(chosen)
    return None
