"""How long events took to arrive: counts by selection, UTC day of arrival and delay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.domain.lateness import Delays
    from tallystick.domain.meters import Selection
    from tallystick.domain.periods import Period


class LatenessBook(Protocol):
    """Counts of live events by their delay, made behind ingest. Each event counts once for each
    selection, however often the work was interrupted and whoever else does it. History counts
    nowhere: it is imported when somebody gets to it.
    """

    def tally(self, selections: Sequence[Selection], limit: int) -> int:
        """Count up to ``limit`` further events; return how many were looked at.

        A selection that is new is counted from the first event on that is in the database; what was
        archived before is not looked at again. Repeat until it returns 0: then
        all that was stored before the call began is counted.

        Raises:
            StoreUnavailable: nothing was counted; repeat later.
        """
        ...

    def waiting(self, selections: Sequence[Selection]) -> int:
        """Return how many events lie ahead of the selection that is furthest behind."""
        ...

    def delays(self, selection: Selection, days: Period) -> Delays:
        """Return the delays of the events that arrived on these days: whole ones of UTC."""
        ...
