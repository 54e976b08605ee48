"""Measured usage out of hours: what every backend does with what it has read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tallystick.domain.aggregation import EMPTY, RollupState, merge, merge_all
from tallystick.domain.levels import integral_hours, integral_of
from tallystick.domain.meters import Aggregation
from tallystick.ports.event_store import UsageCell

if TYPE_CHECKING:
    from tallystick.domain.meters import Meter
    from tallystick.domain.periods import Period


class Reading(Protocol):
    """One selection of one customer, in one snapshot."""

    def hours(self, period: Period) -> list[tuple[int, str, RollupState]]:
        """Return hour, dimension and state of what the period has, oldest first."""
        ...

    def parts(self, period: Period) -> list[tuple[int, str, RollupState]]:
        """Return the same in whatever larger parts it is kept."""
        ...

    def before(self, at: int) -> RollupState:
        """Return the state of the last hour with events before the instant, up to it."""
        ...


def measured(reading: Reading, meter: Meter, period: Period) -> RollupState:
    """Return the state of a period's events, with what the meter carries into it."""
    merged = merge_all(state for _, _, state in reading.parts(period))
    if meter.aggregation is Aggregation.TIME_WEIGHTED:
        return integral_of(merged, reading.before(period.start_at), period, meter.per)
    if meter.aggregation is Aggregation.LAST_EVER and merged.detail is None:
        return merged._replace(detail=reading.before(period.start_at).detail)
    return merged


def hour_by_hour(reading: Reading, meter: Meter, period: Period) -> list[UsageCell]:
    """Return the same by UTC hour, hours without events left out, oldest first."""
    cells = [UsageCell(hour_at, state) for hour_at, _, state in reading.hours(period)]
    if meter.aggregation is not Aggregation.TIME_WEIGHTED:
        return cells
    before = reading.before(period.start_at)
    return [
        UsageCell(hour_at, state)
        for hour_at, state in integral_hours(cells, before, period, meter.per)
    ]


def group_by_group(reading: Reading, period: Period) -> dict[str, RollupState]:
    """Return the state of each group of the reading's selection."""
    groups: dict[str, RollupState] = {}
    for _, dimension, state in reading.parts(period):
        groups[dimension] = merge(groups.get(dimension, EMPTY), state)
    return groups
