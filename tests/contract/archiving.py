"""Archiving in tests: what is held is chosen, and a run can be ended early."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.billing.archive_holds import ArchiveHolds, HoldReason
from tallystick.domain.instants import DAY_US
from tallystick.pipeline.archive import Archiver
from tests.fixtures.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Container

    from tallystick.domain.periods import Period
    from tallystick.pipeline.archive import DayArchived
    from tallystick.ports.archive import ArchivedPart
    from tallystick.wiring import Tallystick

DROPPED_EARLY = 3
"""Events that a run deletes before it is ended early."""


class ChosenHolds(ArchiveHolds):
    """Holds all of some customers' events."""

    def __init__(self, held: Container[str]) -> None:
        self._held = held

    def refresh(self) -> None:
        """Read nothing."""

    def reason(self, customer: str, day: Period) -> HoldReason | None:
        """Hold all events of the customers that were chosen."""
        return HoldReason.UNREPORTED if customer in self._held else None


class EndedEarly(Archiver):
    """Ends after a few of the first file's events are deleted."""

    def _drop(self, part: ArchivedPart) -> None:
        self._ledger.drop(part, self._archive().seqs(part)[:DROPPED_EARLY])
        raise InterruptedError


def archiver_of(
    product: Tallystick,
    held: Container[str] = (),
    kind: type[Archiver] = Archiver,
    *,
    later_us: int = 0,
) -> Archiver:
    """Return what archives everything that was noticed and is a day old, so much later than now."""
    while product.book.notice(1_000) == 1_000:
        pass
    later = FakeClock(product.clock.now() + later_us)
    return kind(product.archive_ledger, product.archive, ChosenHolds(held), later, DAY_US)


def archive_everything(
    product: Tallystick, held: Container[str] = (), *, later_us: int = 0
) -> list[DayArchived]:
    """Archive every day that is a day old, so much later than now."""
    archiver = archiver_of(product, held, later_us=later_us)
    archiver.finish()
    return [archiver.archive(day_at) for day_at in archiver.days()]
