"""Days that are over get rollups of their own, so that a month is read as fast as a day."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tallystick.domain.instants import HOUR_US

if TYPE_CHECKING:
    from tallystick.ports.clock import Clock
    from tallystick.ports.day_rollups import DayRollups

ROLLED_AFTER_US = 6 * HOUR_US
"""How long after its end a day is rolled up: most of what comes late has come by then, and need not
have a customer's day rolled up again."""


class DayRoller:
    """Rolls up days that are over, and those that changed since."""

    def __init__(self, rollups: DayRollups, clock: Clock) -> None:
        self._rollups = rollups
        self._clock = clock

    def run(self, steps_max: int) -> Counter[str]:
        """Take so many steps at most; return how many rollups were written."""
        written: Counter[str] = Counter()
        for _ in range(steps_max):
            count = self._next()
            if count is None:
                break
            written["rollups"] += count
        return written

    def keep_up(self) -> int:
        """Roll up all there is; return how many rollups were written."""
        written = 0
        while (count := self._next()) is not None:
            written += count
        return written

    def _next(self) -> int | None:
        """Take the next step, of days that are chosen now if those chosen before are done."""
        count = self._rollups.step()
        if count is None and self._rollups.begin(self._clock.now() - ROLLED_AFTER_US):
            count = self._rollups.step()
        return count
