"""What a meter remembers of the events of one hour, and how such states become a quantity.

A state is a fold over events that does not depend on their order, and two states merge into the
state of both sets of events: that is what lets live usage be kept beside the events and compared
with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, assert_never

from tallystick.domain.meters import Aggregation
from tallystick.domain.quantity import PICO, from_parts, to_parts

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal


class RollupState(NamedTuple):
    """Count and exact sum of some events' values: ``sum_whole + sum_pico / PICO``."""

    event_count: int = 0
    sum_whole: int = 0
    sum_pico: int = 0

    @property
    def total(self) -> Decimal:
        """The sum of the values."""
        return from_parts(self.sum_whole, self.sum_pico)


EMPTY = RollupState()


def state_of(value: Decimal) -> RollupState:
    """Return the state of one event."""
    return RollupState(1, *to_parts(value))


def merge(left: RollupState, right: RollupState) -> RollupState:
    """Return the state of the events of both; in normal form, so that equal sums compare equal."""
    carry, pico = divmod(left.sum_pico + right.sum_pico, PICO)
    return RollupState(
        left.event_count + right.event_count, left.sum_whole + right.sum_whole + carry, pico
    )


def merge_all(states: Iterable[RollupState]) -> RollupState:
    """Return the state of all the events behind the given states."""
    merged = EMPTY
    for state in states:
        merged = merge(merged, state)
    return merged


def quantity_of(state: RollupState, aggregation: Aggregation) -> Decimal:
    """Return the quantity that a meter of this aggregation reads from the state."""
    match aggregation:
        case Aggregation.COUNT:
            return from_parts(state.event_count, 0)
        case Aggregation.SUM:
            return state.total
    assert_never(aggregation)
