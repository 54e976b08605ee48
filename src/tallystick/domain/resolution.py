"""Resolve before resend: telling from Stripe's total which attempts arrived.

Some reports' outcome is unknown. Stripe's total of the minute that holds their timestamp is known,
and so are the quantities that surely count in it; what is left over is the sum of those of the
unknown that arrived.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from tallystick.domain.quantity import add_all, exact

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

UNCERTAIN_MAX = 12
"""Unknown outcomes of several quantities that are told apart: more have too many combinations to
mean anything."""


def tell_arrived(uncertain: Mapping[int, Decimal], surplus: Decimal) -> frozenset[int] | None:
    """Return which of the uncertain reports arrived if the surplus says so, else None.

    ``uncertain`` has quantities by report id; ``surplus`` is Stripe's total less what surely counts
    in it. Reports of equal quantity stand for each other: the earliest are taken to have arrived.
    None where no combination adds up to the surplus, or several that differ in their quantities.
    """
    alike = set(uncertain.values())
    if len(alike) == 1:
        return _tell_alike(sorted(uncertain), alike.pop(), surplus)
    if len(uncertain) > UNCERTAIN_MAX:
        return None
    found: dict[tuple[Decimal, ...], frozenset[int]] = {}
    ids = sorted(uncertain)
    for size in range(len(ids) + 1):
        for chosen in combinations(ids, size):
            if add_all(uncertain[each] for each in chosen) == surplus:
                quantities = tuple(sorted(uncertain[each] for each in chosen))
                found.setdefault(quantities, frozenset(chosen))
    return next(iter(found.values())) if len(found) == 1 else None


def _tell_alike(ids: list[int], quantity: Decimal, surplus: Decimal) -> frozenset[int] | None:
    """Return the earliest of reports with one quantity, as many as the surplus holds."""
    with exact():
        number = next((n for n in range(len(ids) + 1) if quantity * n == surplus), None)
    return None if number is None else frozenset(ids[:number])
