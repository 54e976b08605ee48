"""Where usage events are kept, each once, with the rollups that are read instead of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from tallystick.domain.aggregation import quantity_of
from tallystick.domain.quantity import subtract

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from decimal import Decimal

    from tallystick.domain.aggregation import RollupState
    from tallystick.domain.corrections import Correction, CorrectionStatus
    from tallystick.domain.events import EventStatus, UsageEvent
    from tallystick.domain.meters import Aggregation, Meter
    from tallystick.domain.periods import Period


class StoredEvent(NamedTuple):
    """An event as stored. ``seq`` grows with every event; ``received_at`` is when it was stored.

    ``corrected_value`` is what it counts for if ``is_corrected``; None: it is void. An event that
    ``is_history`` was imported, and Stripe is never told of it.
    """

    seq: int
    received_at: int
    event: UsageEvent
    is_corrected: bool = False
    corrected_value: Decimal | None = None
    is_history: bool = False

    @property
    def counts_for(self) -> Decimal | None:
        """The value that usage is folded from; None if it does not count."""
        return self.corrected_value if self.is_corrected else self.event.value


class UsageCell(NamedTuple):
    """The rollup of one UTC hour."""

    hour_at: int
    state: RollupState


class UsageAndHistory(NamedTuple):
    """What all events of a period come to, and what history alone comes to in it."""

    usage: RollupState
    history: RollupState

    @property
    def live_count(self) -> int:
        """How many of the events are not history."""
        return self.usage.event_count - self.history.event_count

    def reportable(self, aggregation: Aggregation) -> Decimal:
        """Return what Stripe is told: what is measured, less what history alone would measure."""
        return subtract(
            quantity_of(self.usage, aggregation), quantity_of(self.history, aggregation)
        )


class EventStore(Protocol):
    """The log of usage events."""

    def append(
        self, events: Sequence[UsageEvent], received_at: int, *, is_history: bool = False
    ) -> Future[list[EventStatus]]:
        """Append events in order, once each, and add them to the rollups of the meters in force.

        Some meter must select each event's type. All or nothing per call. An event whose identity
        is stored already is a duplicate if all else is equal too, and a conflict if not; neither
        changes anything: what was stored as history stays it, and what was not never becomes it.
        The future completes when the events are durable; several calls may share one commit.

        Raises (from the future):
            StoreUnavailable: nothing was stored; repeat later.
            UsageOverflow: one of the events takes a sum out of range; nothing was stored.
        """
        ...

    def correct(
        self, corrections: Sequence[Correction], now: int
    ) -> Future[list[CorrectionStatus]]:
        """Put corrections in force, in order; their events stay as they are.

        Usage is counted again and due to be reported. All or nothing, durable when it completes.

        Raises (from the future):
            StoreUnavailable: nothing was stored; repeat later.
            UsageOverflow: one of them takes a sum out of range; nothing was stored.
        """
        ...

    def find(self, source: str, event_id: str) -> StoredEvent | None:
        """Return the event known under this identity, with its correction."""
        ...

    def scan(self, after_seq: int, limit: int) -> list[StoredEvent]:
        """Return stored events in the order of ``seq``, from the first beyond ``after_seq``."""
        ...

    def count(self) -> int:
        """Return how many events are stored."""
        ...

    def warm_up(self) -> None:
        """Read beforehand what the first append would have to read.

        Raises:
            StoreUnavailable: the first append reads it.
        """
        ...


class UsageReader(Protocol):
    """Measured usage, without scanning events."""

    def usage(self, meter: Meter, customer: str, period: Period) -> RollupState:
        """Return the state of all stored events of the meter and customer in the period."""
        ...

    def usage_and_history(self, meter: Meter, customer: str, period: Period) -> UsageAndHistory:
        """Return the same beside the state of history alone, both from one moment.

        A level that history left before the period counts as history in it only if it was imported
        after the period began (``domain.levels.history_quantity``).
        """
        ...

    def hours(self, meter: Meter, customer: str, period: Period) -> list[UsageCell]:
        """Return usage by UTC hour, hours without events left out, oldest first."""
        ...

    def breakdown(self, meter: Meter, customer: str, period: Period) -> dict[str, RollupState]:
        """Return usage by the values of the meter's ``group_by``, as a JSON array; empty if it
        has no breakdown.
        """
        ...

    def customers(self, prefix: str = "") -> Iterator[str]:
        """Return every customer that has usage, in order."""
        ...
