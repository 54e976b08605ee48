"""What Stripe told: events, kept until they are dealt with, and meter errors, kept whole."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future


class InboxState(StrEnum):
    """Where an event stands: waiting -> settled or dead; a replay makes it wait again."""

    WAITING = "waiting"
    SETTLED = "settled"
    DEAD = "dead"
    """Given up on, with a reason; somebody has to look."""


class Brought(StrEnum):
    """How an event came."""

    WEBHOOK = "webhook"
    SWEEP = "sweep"
    """Found in Stripe's list of events: no webhook had brought it."""


class ArrivedEvent(NamedTuple):
    """An event as it arrived, with what is known of it without its data."""

    event_id: str
    type: str
    api_version: str | None
    is_thin: bool
    body: bytes
    brought: Brought


class InboxEvent(NamedTuple):
    """An event of the inbox; ``seq`` grows with every arrival."""

    seq: int
    event_id: str
    type: str
    api_version: str | None
    is_thin: bool
    body: bytes
    brought: Brought
    received_at: int
    state: InboxState
    attempts: int
    reason: str | None


class InboxClaim(NamedTuple):
    """An event leased to one worker; ``token`` is refused once another took over."""

    event: InboxEvent
    token: int


class MeterError(NamedTuple):
    """Stripe's report that it did not count meter events: the whole event as fetched."""

    seq: int
    event_id: str
    type: str
    stripe_meter_id: str | None
    body: bytes
    received_at: int


class Inbox(Protocol):
    """The events that Stripe told, each once."""

    def add(self, event: ArrivedEvent, now: int) -> Future[bool]:
        """Keep an event unless its id is known; the future says whether it was new.

        Durable when the future completes; several arrivals may share one commit.

        Raises:
            StoreBusy, and from the future StoreUnavailable: nothing was stored.
        """
        ...

    def last_seq(self) -> int:
        """Return the number of the last arrival, 0 before the first."""
        ...

    def claim(self, now: int, lease_us: int, limit: int) -> list[InboxClaim]:
        """Lease the next events that may be tried; the attempt is counted before this returns."""
        ...

    def settle(
        self, claim: InboxClaim, state: InboxState, reason: str | None, now: int, retry_at: int
    ) -> None:
        """Write the outcome of an attempt and end the lease; ``retry_at`` is for a waiting one.

        Raises:
            LeaseLost: the lease ran out and another worker has the event.
        """
        ...

    def events(self, state: InboxState | None, limit: int) -> list[InboxEvent]:
        """Return events, newest first."""
        ...

    def replay(self, event_ids: Sequence[str], now: int) -> int:
        """Let events be tried again from the beginning; return how many were found."""
        ...

    def counts(self) -> dict[str, int]:
        """Return how many events are in each state."""
        ...


class InboxReader(Protocol):
    """Single events, and which of many are known."""

    def find(self, event_id: str) -> InboxEvent | None:
        """Return an event."""
        ...

    def unknown(self, event_ids: Sequence[str]) -> list[str]:
        """Return those ids that never arrived."""
        ...

    def forget_settled(self, before: int) -> int:
        """Drop settled events that arrived before an instant; return how many."""
        ...


class MeterErrors(Protocol):
    """Stripe's reports of meter events that it did not count."""

    def keep(self, error: MeterError) -> None:
        """Keep a report; one that is known stays as it is. ``seq`` is given by the store."""
        ...

    def after(self, seq: int, limit: int) -> list[MeterError]:
        """Return reports from beyond ``seq``, in the order in which they were kept."""
        ...
