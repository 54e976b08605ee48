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

STREAM_REQUESTS_PER_SECOND_LIVE = 100
"""The stream takes 10,000 events a second in live mode, 100 a request (the guide counts events; the
reference counts requests, which would be more)."""

SLOWEST_PER_SECOND = 1
"""However often Stripe says no, one call a second is tried, or nobody would notice that it is over.
"""

RECOVERY_SECONDS = 30
"""Without a 429, the whole rate is won back in this time, by equal steps."""

EPISODE_SECONDS = 1.0
"""429s so close together are one: all calls in flight hear the same no."""


def start_under(limit_per_second: int) -> int:
    """Return the rate to keep to under a published limit: other programs use the account too."""
    return max(SLOWEST_PER_SECOND, limit_per_second * 4 // 5)


class Pace:
    """Admits calls at a rate: halved at a 429, won back evenly (AIMD), never over its goal.

    Thread-safe; whoever is admitted waits outside the lock, in order of arrival.
    """

    def __init__(self, per_second: int, clock: Clock) -> None:
        self._goal = per_second
        self._rate = float(per_second)
        self._clock = clock
        self._lock = threading.Lock()
        self._next_at = clock.elapsed()
        self._grown_at = self._next_at
        self._slowed_at: float | None = None

    @property
    def per_second(self) -> float:
        """The present rate."""
        return self._rate

    def take(self) -> None:
        """Wait until one more call may go out."""
        with self._lock:
            now = self._clock.elapsed()
            self._grow(now)
            start_at = max(self._next_at, now)
            self._next_at = start_at + 1 / self._rate
        if start_at > now:
            self._clock.pause(start_at - now)

    def slow_down(self) -> None:
        """Halve the rate: Stripe answered 429."""
        with self._lock:
            now = self._clock.elapsed()
            if self._slowed_at is not None and now - self._slowed_at < EPISODE_SECONDS:
                return
            self._slowed_at = self._grown_at = now
            self._rate = max(SLOWEST_PER_SECOND, self._rate / 2)
            self._next_at = max(self._next_at, now + 1 / self._rate)

    def _grow(self, now: float) -> None:
        gained = self._goal * (now - self._grown_at) / RECOVERY_SECONDS
        self._rate = min(self._goal, self._rate + gained)
        self._grown_at = now
