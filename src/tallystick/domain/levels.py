"""Levels over time: the area under one in a period, from its states and what was there before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.aggregation import (
    EMPTY,
    Integral,
    Latest,
    Level,
    Point,
    RollupState,
    fold_points,
    level_area,
    quantity_of,
)
from tallystick.domain.instants import HOUR_US
from tallystick.domain.meters import Aggregation
from tallystick.domain.periods import Period, hour_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from decimal import Decimal

    from tallystick.domain.meters import Meter, TimeUnit


def integral_of(
    merged: RollupState, before: RollupState, period: Period, per: TimeUnit
) -> RollupState:
    """Return a period's state with the area under its level, held until the period's end.

    ``merged`` is of the period's own events; ``before`` of any that end with the last one before.
    """
    carried = _last_of(before)
    level = merged.detail
    if not isinstance(level, Level):
        area = level_area(carried.value, period.end_at - period.start_at) if carried else 0
    else:
        area = level.area + level_area(level.last.value, period.end_at - level.last.at)
        if carried:
            area += level_area(carried.value, level.first.at - period.start_at)
    return merged._replace(detail=Integral(area, per.length_us))


def measured_quantity(points: Iterable[Point], meter: Meter, period: Period) -> Decimal:
    """Return what a meter measures in a period, folded from all of a customer's events.

    They may come in any order, and from before and after the period.
    """
    known = list(points)
    fold = meter.aggregation.fold
    inside = fold_points((point for point in known if point.at in period), fold)
    if meter.aggregation.carries:
        before = fold_points((point for point in known if point.at < period.start_at), fold)
        if meter.aggregation is Aggregation.TIME_WEIGHTED:
            inside = integral_of(inside, before, period, meter.per)
        elif not inside.event_count:
            inside = before
    return quantity_of(inside, meter.aggregation)


def is_history_in(period_start_at: int, received_at: int) -> bool:
    """Tell whether a level that history left before a period is history in the period too.

    It is, if the period had begun when it was imported: whoever billed the history billed that
    period as well. In later periods the level stands as any other does, and Stripe is told of it.
    """
    return received_at >= period_start_at


def history_quantity(
    points: Iterable[Point], received_at: Mapping[int, int], meter: Meter, period: Period
) -> Decimal:
    """Return what history alone comes to in a period: what Stripe is not told of.

    ``points`` are all of a customer's events that are history, ``received_at`` says by ``seq`` when
    they were stored.
    """
    known = list(points)
    before = [point for point in known if point.at < period.start_at]
    if before:
        latest = max(before, key=lambda point: (point.at, point.seq))
        if not is_history_in(period.start_at, received_at[latest.seq]):
            known = [point for point in known if point.at >= period.start_at]
    return measured_quantity(known, meter, period)


def integral_hours(
    cells: Iterable[tuple[int, RollupState]], before: RollupState, period: Period, per: TimeUnit
) -> Iterator[tuple[int, RollupState]]:
    """Return the same for each UTC hour of the period in which the level is known."""
    by_hour = dict(cells)
    carried = before
    for hour_at in range(hour_of(period.start_at), period.end_at, HOUR_US):
        part = Period(max(hour_at, period.start_at), min(hour_at + HOUR_US, period.end_at))
        state = by_hour.get(hour_at, EMPTY)
        if state.event_count or _last_of(carried):
            yield hour_at, integral_of(state, carried, part, per)
        if state.event_count:
            carried = state


def _last_of(state: RollupState) -> Latest | None:
    return state.detail.last if isinstance(state.detail, Level) else None
