"""A circuit breaker: while Stripe is down, one call at a time asks whether it is back."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tallystick.domain.instants import MINUTE_US, SECOND_US
from tallystick.ports.stripe import AttemptResult

if TYPE_CHECKING:
    from tallystick.ports.clock import Clock

FAILURES_MAX = 5
"""Failures in a row after which nobody is let through: one bad report does not fail so often."""

PAUSE_MIN_US = SECOND_US
PAUSE_MAX_US = MINUTE_US
"""How long it stays open: doubled with each trial that fails."""

_FAILURES = (AttemptResult.UNKNOWN, AttemptResult.FAILED)


class Breaker:
    """Shared by all workers of a server. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._pause_us = PAUSE_MIN_US
        self._opens_at: int | None = None
        self._trial: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether Stripe was found to be down."""
        return self._opens_at is not None

    def admit(self, wanted: int) -> int:
        """Return how many reports may be tried now: all, one as a trial, or none.

        Whoever is let through for a trial has the next pause for itself.
        """
        with self._lock:
            if self._opens_at is None:
                return wanted
            now = self._clock.now()
            if now < self._opens_at:
                return 0
            self._opens_at = self._trial = now + self._pause_us
            return 1

    def return_trial(self) -> None:
        """Take a trial back that was not made: the report needed no call to Stripe.

        A failure that was noted meanwhile keeps it open.
        """
        with self._lock:
            if self._opens_at is not None and self._trial == self._opens_at:
                self._opens_at = self._clock.now()

    def note(self, result: AttemptResult) -> None:
        """Take in what an attempt came to."""
        with self._lock:
            if result not in _FAILURES:
                self._failures = 0
                self._pause_us = PAUSE_MIN_US
                self._opens_at = None
                return
            self._failures += 1
            if self._failures >= FAILURES_MAX:
                self._trial = None
                self._opens_at = self._clock.now() + self._pause_us
                self._pause_us = min(2 * self._pause_us, PAUSE_MAX_US)
