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


COMBINATIONS_MAX = 50_000
"""Sets of reports that are looked at for what is missing: bounds the time, about a second."""


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


def tell_missing(delivered: Mapping[int, Decimal], missing: Decimal) -> frozenset[int] | None:
    """Return the fewest of the delivered reports that add up to what is missing, or None.

    Where several do, the earliest: each is told again as a new report, and whichever they are, it
    is the missing quantity that is told.
    """
    if len(set(delivered.values())) == 1:
        return _tell_alike(sorted(delivered), next(iter(delivered.values())), missing)
    tried = 0
    for size in range(1, len(delivered) + 1):
        for chosen in combinations(sorted(delivered), size):
            tried += 1
            if tried > COMBINATIONS_MAX:
                return None
            if add_all(delivered[each] for each in chosen) == missing:
                return frozenset(chosen)
    return None
