"""Legacy usage records: which record is set to what, so that Stripe's figure is the measured one.

A record is a whole, non-negative number at a second of an item; ``action=set`` overwrites it. Each
report sets one record, under a second that no later report uses unless it corrects that very
record: whoever repeats a request changes nothing.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, assert_never

from tallystick.domain.quantity import ZERO, add_all, decimals_of, exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

    from tallystick.domain.reports import UsageReport


class RecordAggregation(StrEnum):
    """How Stripe makes one figure of an item's records: ``aggregate_usage`` of a legacy price."""

    SUM = "sum"
    LAST_DURING_PERIOD = "last_during_period"
    LAST_EVER = "last_ever"
    MAX = "max"


class RecordChange(NamedTuple):
    """One record to set; ``difference`` is by how much Stripe's figure changes with it."""

    timestamp: int
    level: Decimal
    difference: Decimal


def records_of(reports: Iterable[UsageReport]) -> dict[int, Decimal]:
    """Return the records, or levels, that reports leave, by their seconds; reports are in order."""
    return {one.timestamp: one.level for one in reports if one.level is not None}


def figure_of(how: RecordAggregation, records: Mapping[int, Decimal]) -> Decimal:
    """Return what Stripe makes of records, given by their seconds."""
    if not records:
        return ZERO
    match how:
        case RecordAggregation.SUM:
            return add_all(records.values())
        case RecordAggregation.LAST_DURING_PERIOD | RecordAggregation.LAST_EVER:
            return records[max(records)]
        case RecordAggregation.MAX:
            return max(records.values())
    assert_never(how)


def plan_changes(
    how: RecordAggregation,
    measured: Decimal,
    records: Mapping[int, Decimal],
    span: tuple[int, int],
) -> list[RecordChange]:
    """Return the changes, in order, that bring Stripe's figure to the measured one.

    ``span`` is the first and the last second that a new record may have; the last one is taken if
    it is free. Where the figure is right already, a record that makes it so is set once more.
    Nothing is returned where it cannot be reached: below zero, not whole, or with no second left.
    """
    current = figure_of(how, records)
    if measured < 0 or decimals_of(measured):
        return []
    if measured == current and records:
        second = _decisive_second(how, records)
        return [RecordChange(second, records[second], ZERO)]
    if how in (RecordAggregation.LAST_DURING_PERIOD, RecordAggregation.LAST_EVER):
        return _set_last(measured, current, records, span)
    if measured >= current:
        return _raise(how, measured, records, span)
    if how is RecordAggregation.SUM:
        return _take_back(measured, current, records)
    return _lower_peaks(measured, current, records)


def plan_increments(
    how: RecordAggregation,
    measured: Decimal,
    records: Mapping[int, Decimal],
    span: tuple[int, int],
) -> list[RecordChange]:
    """Return the same for an item that lets nothing be set: seconds without a record alone.

    What is added to no record is the record. So nothing can be lowered but what the last one says.
    """
    if measured < 0 or decimals_of(measured):
        return []
    if how in (RecordAggregation.LAST_DURING_PERIOD, RecordAggregation.LAST_EVER):
        after = max(records, default=span[0] - 1) + 1
        changes = _set_last(measured, figure_of(how, records), records, (after, span[1]))
        return [change for change in changes if change.timestamp not in records]
    if measured < figure_of(how, records):
        return []
    return _raise(how, measured, records, span)


def _decisive_second(how: RecordAggregation, records: Mapping[int, Decimal]) -> int:
    """Return the second of a record that the figure is made of."""
    if how is RecordAggregation.MAX:
        return max(records, key=lambda second: (records[second], second))
    return max(records)


def _raise(
    how: RecordAggregation,
    measured: Decimal,
    records: Mapping[int, Decimal],
    span: tuple[int, int],
) -> list[RecordChange]:
    """Add a record that raises the figure, or leaves it."""
    second = _free_second(records, span)
    if second is None:
        return []
    with exact():
        rise = measured - figure_of(how, records)
    return [RecordChange(second, rise if how is RecordAggregation.SUM else measured, rise)]


def _free_second(records: Mapping[int, Decimal], span: tuple[int, int]) -> int | None:
    earliest, latest = span
    return next((at for at in range(latest, earliest - 1, -1) if at not in records), None)


def _set_last(
    measured: Decimal, current: Decimal, records: Mapping[int, Decimal], span: tuple[int, int]
) -> list[RecordChange]:
    """Set a record after all others; where the second is taken, that one: the last counts alone."""
    earliest, latest = span
    second = max([latest, *records])
    if second < earliest:
        return []
    with exact():
        return [RecordChange(second, measured, measured - current)]


def _take_back(
    measured: Decimal, current: Decimal, records: Mapping[int, Decimal]
) -> list[RecordChange]:
    """Lower the newest records until the sum has fallen far enough."""
    changes = []
    with exact():
        rest = current - measured
        for second in sorted(records, reverse=True):
            cut = min(rest, records[second])
            if cut:
                changes.append(RecordChange(second, records[second] - cut, -cut))
                rest -= cut
    return changes


def _lower_peaks(
    measured: Decimal, current: Decimal, records: Mapping[int, Decimal]
) -> list[RecordChange]:
    """Lower every record above the measured maximum, the highest first."""
    levels = dict(records)
    changes = []
    figure = current
    for second in sorted(records, key=lambda at: (-records[at], at)):
        if levels[second] <= measured:
            break
        levels[second] = measured
        lowered = max(levels.values())
        with exact():
            changes.append(RecordChange(second, measured, lowered - figure))
        figure = lowered
    return changes
