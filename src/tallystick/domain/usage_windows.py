"""Usage cut into hours, days or months of UTC, for people who look at it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, assert_never

from tallystick.domain.aggregation import EMPTY, RollupState, merge, quantity_of
from tallystick.domain.instants import DAY_US, HOUR_US, from_datetime, to_datetime
from tallystick.domain.periods import Period

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from tallystick.domain.meters import Aggregation


class WindowSize(StrEnum):
    """How long one window of a breakdown is. Months are calendar months, not billing periods."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


class UsageWindow(NamedTuple):
    """What was used in one window."""

    period: Period
    quantity: Decimal


def window_of(at: int, size: WindowSize) -> Period:
    """Return the window of UTC time that holds the instant."""
    match size:
        case WindowSize.HOUR:
            start_at = at // HOUR_US * HOUR_US
            return Period(start_at, start_at + HOUR_US)
        case WindowSize.DAY:
            start_at = at // DAY_US * DAY_US
            return Period(start_at, start_at + DAY_US)
        case WindowSize.MONTH:
            moment = to_datetime(at)
            first = datetime(moment.year, moment.month, 1, tzinfo=moment.tzinfo)
            years, month = divmod(moment.month, 12)
            following = first.replace(year=moment.year + years, month=month + 1)
            return Period(from_datetime(first), from_datetime(following))
    assert_never(size)


def cut_into_windows(
    hours: Iterable[tuple[int, RollupState]], size: WindowSize, aggregation: Aggregation
) -> list[UsageWindow]:
    """Return the usage of each window that has any, oldest first."""
    states: dict[Period, RollupState] = {}
    for hour_at, state in hours:
        window = window_of(hour_at, size)
        states[window] = merge(states.get(window, EMPTY), state)
    return [
        UsageWindow(window, quantity_of(state, aggregation))
        for window, state in sorted(states.items())
    ]
