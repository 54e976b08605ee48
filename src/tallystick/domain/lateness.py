"""Lateness: how long after it happened an event arrived.

Delays are counted in whole milliseconds of which only the first two digits are kept: a histogram of
a few hundred numbers at most, whose counts are exact, that merges by addition, and whose bounds are
off by less than a tenth.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from tallystick.domain.instants import HOUR_US

MILLISECOND_US = 1_000

LATE_AFTER_MS = HOUR_US // MILLISECOND_US
"""From this delay on an event is late: Stripe keeps an invoice open for about an hour after its
period, so that an event that takes less is billed in its period, wherever in it it happened; a
later one may come after the invoice."""

AHEAD = -1
"""The delay of an event that arrived before it happened: its sender's clock is ahead of ours."""

Delays = Counter[int]
"""How many events by the lower bound of their delay in milliseconds, as ``delay_ms`` gives it."""


class Lateness(NamedTuple):
    """What delays come to. Milliseconds; p50 and p99 are None where there are no events."""

    events: int
    ahead: int
    late: int
    p50_ms: int | None
    p99_ms: int | None


def delay_ms(occurred_at: int, received_at: int) -> int:
    """Return the lower bound of an event's delay in milliseconds: all but the first two digits are
    zeros; ``AHEAD`` if it arrived before it happened.
    """
    if received_at < occurred_at:
        return AHEAD
    exact = (received_at - occurred_at) // MILLISECOND_US
    step = _step(exact)
    return exact // step * step


def bound_ms(lower_ms: int) -> int:
    """Return the delay that events counted under a lower bound stay below."""
    return lower_ms + _step(lower_ms) if lower_ms >= 0 else 0


def _step(milliseconds: int) -> int:
    """Return what is one in the second digit of the number."""
    return int("1".ljust(len(str(milliseconds)) - 1, "0"))


def lateness_of(delays: Delays) -> Lateness:
    """Return what delays come to."""
    return Lateness(
        events=delays.total(),
        ahead=delays[AHEAD],
        late=sum(count for lower, count in delays.items() if lower >= LATE_AFTER_MS),
        p50_ms=percentile_ms(delays, 50),
        p99_ms=percentile_ms(delays, 99),
    )


def percentile_ms(delays: Delays, percent: int) -> int | None:
    """Return the least bound below which at least so many percent of the events arrived."""
    total = delays.total()
    reached = 0
    for lower, count in sorted(delays.items()):
        reached += count
        if reached * 100 >= total * percent:
            return bound_ms(lower)
    return None
