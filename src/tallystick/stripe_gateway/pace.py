"""How fast Stripe is called: evenly, and slower when Stripe says so."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tallystick.ports.clock import Clock

BASIC_PER_SECOND_LIVE = 100
BASIC_PER_SECOND_TEST = 25
"""Stripe's basic limits (docs.stripe.com/rate-limits); in test mode meter events count to it."""

METER_EVENTS_PER_SECOND_LIVE = 1_000
"""Meter events have a limit of their own in live mode (docs.stripe.com/rate-limits)."""

SLOWEST_PER_SECOND = 1
"""However often Stripe says no, one call a second is tried, or nobody would notice that it is over.
"""

RECOVERY_CALLS = 50
"""Calls without a 429 after which the whole rate is won back."""


class Pace:
    """Admits calls at a rate, which is halved at each 429 and won back call by call."""

    def __init__(self, per_second: int, clock: Clock) -> None:
        self._goal = per_second
        self._rate = float(per_second)
        self._clock = clock
        self._lock = threading.Lock()
        self._next_at = clock.elapsed()

    @property
    def per_second(self) -> float:
        """The present rate."""
        return self._rate

    def take(self) -> None:
        """Wait until one more call may go out."""
        with self._lock:
            now = self._clock.elapsed()
            start_at = max(self._next_at, now)
            self._next_at = start_at + 1 / self._rate
            self._rate = min(self._goal, self._rate + self._goal / RECOVERY_CALLS)
        if start_at > now:
            self._clock.pause(start_at - now)

    def slow_down(self) -> None:
        """Halve the rate: Stripe answered 429."""
        with self._lock:
            self._rate = max(SLOWEST_PER_SECOND, self._rate / 2)
