"""Ingest: check events one by one, store what is right in one durable append, answer for each."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from msgspec import UNSET

from tallystick.domain.derived_ids import derived_id
from tallystick.domain.events import (
    NAME_CHARS_MAX,
    PROPERTIES_BYTES_MAX,
    EventResult,
    EventStatus,
    UsageEvent,
)
from tallystick.domain.instants import HOUR_US, format_instant, from_datetime
from tallystick.domain.meters import MeterSet
from tallystick.domain.quantity import QuantityError, is_short_whole, parse_quantity
from tallystick.pipeline.event_draft import EventDraft, Refusal
from tallystick.ports.errors import StoreUnavailable, UsageOverflow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from tallystick.domain.meters import Meter
    from tallystick.ports.clock import Clock
    from tallystick.ports.directory import CatalogStore, CustomerDirectory
    from tallystick.ports.event_store import EventStore

AHEAD_MAX_US = HOUR_US
"""How far an event's time may lie ahead of our clock: room for clocks that differ, not for a typo.
"""

METERS_SECONDS = 1
"""How long the meters in force are remembered; an event type that is not known is looked up anew.
"""

EARLIEST_AT = 0
"""Times before 1970 are a wrong unit or a wrong year."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_CONFLICT_DETAIL = (
    "another event with this source and id is stored, and it differs; nothing was changed. "
    "Send a new event under an id of its own"
)
_OVERFLOW_DETAIL = "the meter's sum for this hour would leave the range that is added exactly"


class Batch(NamedTuple):
    """Events of one request, checked: what is to be stored, and what was refused, by index."""

    events: list[UsageEvent]
    places: list[int]
    results: list[EventResult | None]


class Ingest:
    """The way in for usage events."""

    def __init__(
        self,
        events: EventStore,
        catalog: CatalogStore,
        customers: CustomerDirectory,
        clock: Clock,
    ) -> None:
        self._events = events
        self._catalog = catalog
        self._customers = customers
        self._clock = clock
        self._meters = MeterSet()
        self._meters_read_at: float = -METERS_SECONDS

    def warm_up(self) -> None:
        """Have what the first append needs in memory, so that no client waits for it. Where the
        store cannot be read now, its first append reads it.
        """
        with suppress(StoreUnavailable):
            self._events.warm_up()

    def check(self, drafts: Sequence[EventDraft | Refusal], source: str | None = None) -> Batch:
        """Sort events into those that can be stored and those that are refused, each with its
        reason; ``source`` is the only one allowed, if it is given.
        """
        if self._clock.elapsed() - self._meters_read_at >= METERS_SECONDS:
            self._read_meters()
        latest_at = self._clock.now() + AHEAD_MAX_US
        batch = Batch([], [], [None] * len(drafts))
        for index, draft in enumerate(drafts):
            checked: UsageEvent | Refusal
            if isinstance(draft, Refusal):
                checked = draft
            elif draft.id is UNSET:
                checked = self._checked_without_id(draft, latest_at)
            else:
                checked = self._checked(draft, draft.id, latest_at)
            if source is not None and isinstance(checked, UsageEvent) and checked.source != source:
                checked = _of_other_source(checked, source)
            if isinstance(checked, Refusal):
                batch.results[index] = EventResult(
                    index, checked.id, EventStatus.INVALID, checked.code, checked.detail
                )
            else:
                batch.events.append(checked)
                batch.places.append(index)
        return batch

    def append(
        self, events: Sequence[UsageEvent], *, is_history: bool = False
    ) -> Future[list[EventStatus]]:
        """Store checked events; the future completes when they are durable. Stripe is never told of
        those that are history.

        Raises (from the future):
            StoreUnavailable: nothing was stored; all of it may be sent again.
            UsageOverflow: nothing was stored; see ``append_singly``.
        """
        return self._events.append(events, self._clock.now(), is_history=is_history)

    def append_singly(
        self, events: Sequence[UsageEvent], *, is_history: bool = False
    ) -> list[EventStatus]:
        """Store events one by one, so that one that overflows does not cost the others."""
        statuses = []
        for event in events:
            try:
                statuses += self.append([event], is_history=is_history).result()
            except UsageOverflow:
                statuses.append(EventStatus.INVALID)
        return statuses

    def take(self, drafts: Sequence[EventDraft | Refusal]) -> list[EventResult]:
        """Check and store events and wait until they are durable; return a result for each, in
        order.
        """
        batch = self.check(drafts)
        try:
            statuses = self.append(batch.events).result() if batch.events else []
        except UsageOverflow:
            statuses = self.append_singly(batch.events)
        return results(batch, statuses)

    def _read_meters(self) -> None:
        self._meters = self._catalog.meters()
        self._meters_read_at = self._clock.elapsed()

    def _read_selecting(self, event_type: str) -> tuple[Meter, ...]:
        """Return the meters of a type that was not known: it may have been applied just now."""
        self._read_meters()
        return self._meters.selecting(event_type)

    def _checked_without_id(self, draft: EventDraft, latest_at: int) -> UsageEvent | Refusal:
        if draft.source not in self._meters.deriving_sources:
            return _without_id(draft)
        occurred_at = from_datetime(draft.time)
        event_id = derived_id(draft.source, draft.type, draft.customer, occurred_at)
        return self._checked(draft, event_id, latest_at)

    def _checked(self, draft: EventDraft, event_id: str, latest_at: int) -> UsageEvent | Refusal:
        names = f"{event_id}{draft.source}{draft.type}{draft.customer}"
        if not (  # the short way, which nearly all events take
            len(names) <= NAME_CHARS_MAX
            and names.isprintable()
            and event_id
            and draft.source
            and draft.type
            and draft.customer
        ):
            refusal = _name_refusal(draft, event_id)
            if refusal:
                return refusal
        selecting = self._meters.by_event_type.get(draft.type) or self._read_selecting(draft.type)
        if not selecting:
            return Refusal(
                event_id, "unknown_event_type", f"no meter selects events of type {draft.type!r}"
            )
        value = draft.value
        if not is_short_whole(value):  # which suits every meter
            try:
                value = parse_quantity(value)
                for meter in selecting:
                    meter.check(value)
            except QuantityError as error:
                return Refusal(event_id, error.code, str(error))
        occurred_at = from_datetime(draft.time)
        if occurred_at < EARLIEST_AT or (
            occurred_at > latest_at and not self._lives_on_test_clock(draft.customer)
        ):
            return _out_of_time(event_id, occurred_at, latest_at)
        properties = bytes(draft.properties)
        if properties:
            refusal = _properties_refusal(event_id, properties)
            if refusal:
                return refusal
        return UsageEvent(
            draft.source, event_id, draft.type, draft.customer, occurred_at, value, properties
        )

    def _lives_on_test_clock(self, customer: str) -> bool:
        """A rehearsal's time is its test clock's, which may be far ahead of ours."""
        link = self._customers.find(customer)
        return link is not None and link.test_clock_id is not None


def _without_id(draft: EventDraft) -> Refusal:
    return Refusal(
        None,
        "id_missing",
        f"the event has no id, and source {draft.source!r} does not derive ids: send one, or say "
        "so in the catalog (`sources`)",
    )


def _name_refusal(draft: EventDraft, event_id: str) -> Refusal | None:
    names = (event_id, draft.source, draft.type, draft.customer)
    for field, text in zip(("id", "source", "type", "customer"), names, strict=True):
        if not text:
            return Refusal(event_id, f"{field}_missing", f"the {field} is empty")
        if len(text) > NAME_CHARS_MAX:
            return Refusal(
                event_id,
                f"{field}_too_long",
                f"the {field} has {len(text)} characters; {NAME_CHARS_MAX} are the most",
            )
        if _CONTROL.search(text):
            return Refusal(
                event_id, f"{field}_invalid", f"the {field} contains a control character"
            )
    return None


def _properties_refusal(event_id: str, properties: bytes) -> Refusal | None:
    if not properties.startswith(b"{"):
        return Refusal(event_id, "properties_invalid", "properties: Expected `object`")
    if len(properties) > PROPERTIES_BYTES_MAX:
        return Refusal(
            event_id,
            "properties_too_large",
            f"the properties have {len(properties)} bytes; {PROPERTIES_BYTES_MAX} are the most",
        )
    return None


def results(batch: Batch, statuses: Sequence[EventStatus]) -> list[EventResult]:
    """Return the answer to each event of a batch, given what became of those that were stored."""
    answered = list(batch.results)
    for index, event, status in zip(batch.places, batch.events, statuses, strict=True):
        code = detail = None
        if status is EventStatus.CONFLICT:
            code, detail = "event_conflict", _CONFLICT_DETAIL
        elif status is EventStatus.INVALID:
            code, detail = UsageOverflow.code, _OVERFLOW_DETAIL
        answered[index] = EventResult(index, event.id, status, code, detail)
    return [result for result in answered if result is not None]


def _of_other_source(event: UsageEvent, source: str | None) -> Refusal:
    return Refusal(
        event.id,
        "source_forbidden",
        f"the key is bound to source {source!r} and the event is of {event.source!r}",
    )


def _out_of_time(event_id: str, occurred_at: int, latest_at: int) -> Refusal:
    shown = format_instant(occurred_at)
    if occurred_at < EARLIEST_AT:
        return Refusal(event_id, "time_too_early", f"{shown} lies before 1970")
    return Refusal(
        event_id,
        "time_in_future",
        f"{shown} lies ahead of our clock; {format_instant(latest_at)} is the latest now",
    )
