"""Everything that a check of the invariants reads, from one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from tallystick.domain.aggregation import RollupState
    from tallystick.domain.events import UsageEvent
    from tallystick.domain.meters import Selection
    from tallystick.domain.reports import UsageReport
    from tallystick.ports.event_store import StoredEvent
    from tallystick.ports.outbox import Reported


class Cell(NamedTuple):
    """Which rollup: an hour of one selection and customer, and of one group if it has groups; of
    all events, or of history alone.
    """

    hour_at: int
    selection: Selection
    customer: str
    dimension: str
    is_history: bool = False


class ReportedPeriod(NamedTuple):
    """Which running total: a customer, a meter, and the billing period that begins so."""

    customer: str
    meter_key: str
    period_start_at: int


class Snapshot(Protocol):
    """The store as it was at one moment, whatever is written meanwhile."""

    def events(self) -> Iterator[StoredEvent]:
        """Return every event once: those of archived days first, then those in the database, which
        come in the order of ``seq``.
        """
        ...

    def places(self, events: Sequence[UsageEvent]) -> list[int | None]:
        """Return the ``seq`` of the event known under each one's identity, None where there is
        none.
        """
        ...

    def faults(self) -> Iterator[str]:
        """Return what the store finds wrong with its own structure, if anything."""
        ...

    def cells(self) -> Iterator[tuple[Cell, RollupState]]:
        """Return every rollup."""
        ...

    def reports(self) -> Iterator[UsageReport]:
        """Return every report, oldest first."""
        ...

    def totals(self) -> Iterator[tuple[ReportedPeriod, Reported]]:
        """Return every running total of reports."""
        ...

    def due(self) -> set[tuple[str, str]]:
        """Return the customers and meters that have usage still to be reported.

        Those that events touched since they were last looked at are among them.
        """
        ...


class SnapshotReader(Protocol):
    """The way to a snapshot."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Return the present as a snapshot, valid inside the block."""
        ...
