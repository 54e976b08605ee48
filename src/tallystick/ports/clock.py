"""The clock: the only place that asks what time it is."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the inside knows of time."""

    def now(self) -> int:
        """Return the instant: microseconds since 1970, UTC."""
        ...

    def elapsed(self) -> float:
        """Return seconds on a clock that never jumps, for intervals only."""
        ...

    def pause(self, seconds: float) -> None:
        """Let so much time pass."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Return the instant: microseconds since 1970, UTC."""
        return time.time_ns() // 1000

    def elapsed(self) -> float:
        """Return seconds on the monotonic clock."""
        return time.monotonic()

    def pause(self, seconds: float) -> None:
        """Let so much time pass."""
        time.sleep(seconds)
