"""The wall clock: the only module of the sandbox that asks the machine for the time."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where unclocked accounts, webhooks and idempotency keys get the time from."""

    def now(self) -> float:
        """Return seconds since the epoch."""


class WallClock:
    """The machine's own time."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()
