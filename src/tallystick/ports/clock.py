"""The clock: the only place that asks what time it is."""

from __future__ import annotations

import threading
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

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until the event is set, at most so long; tell whether it is."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Return the instant: microseconds since 1970, UTC."""
        return time.time_ns() // 1000

    def elapsed(self) -> float:
        """Return seconds on the monotonic clock."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until the event is set, at most so long; tell whether it is."""
        return event.wait(seconds)
