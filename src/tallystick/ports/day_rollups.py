"""Rollups of whole days, from which long periods are read: derived from those of hours."""

from __future__ import annotations

from typing import Protocol


class DayRollups(Protocol):
    """Rolls days up, beside whoever reads and writes usage: that is the same before and after.

    What changes in a day that is rolled up counts at once, and has the day of that customer rolled
    up again. Several processes may do this at once.
    """

    def begin(self, ended_by: int) -> int:
        """Choose days that ended by an instant and are not rolled up, the newest first; return how
        many were chosen, a bounded number: 0 if none is left.
        """
        ...

    def step(self) -> int | None:
        """Roll the next customers up, few enough that nobody who writes waits long.

        Returns how many rollups of days were written, durable by then; None if nothing is left.
        """
        ...
