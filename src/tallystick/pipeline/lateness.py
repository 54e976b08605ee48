"""Counting how late events arrive, behind ingest: it costs an event's own path nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tallystick.domain.meters import Fold, Selection

if TYPE_CHECKING:
    from tallystick.domain.meters import Meter
    from tallystick.ports.directory import CatalogStore
    from tallystick.ports.lateness import LatenessBook

TALLY_BATCH = 50_000
"""Events looked at in one go: bounds how much is done again when it is interrupted."""


def arrivals_of(meter: Meter) -> Selection:
    """Return the events whose arrival concerns a meter: those that it counts. Meters that count the
    same events share the figure.
    """
    return replace(meter.selection, fold=Fold.SUM)


class LatenessTally:
    """Keeps the counts of delays up with the events."""

    def __init__(self, book: LatenessBook, catalog: CatalogStore) -> None:
        self._book = book
        self._catalog = catalog

    def keep_up(self, batches_max: int | None = None) -> int:
        """Count what arrived since the last time, in at most so many batches; return how many
        events still wait to be counted.

        Raises:
            StoreUnavailable: what was counted until then stands; repeat later.
        """
        selections = self.selections()
        done = 0
        while batches_max is None or done < batches_max:
            if not self._book.tally(selections, TALLY_BATCH):
                return 0
            done += 1
        return self._book.waiting(selections)

    def selections(self) -> list[Selection]:
        """Return what is counted, each once."""
        meters = self._catalog.meters().by_key.values()
        return list(dict.fromkeys(arrivals_of(meter) for meter in meters))
