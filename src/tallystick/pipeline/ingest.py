"""Ingest: check events one by one, store what is right in one durable append, answer for each."""

from __future__ import annotations

import re
from concurrent.futures import Future
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tallystick.domain.events import (
    NAME_CHARS_MAX,
    PROPERTIES_BYTES_MAX,
    EventResult,
    EventStatus,
    UsageEvent,
)
from tallystick.domain.instants import HOUR_US, format_instant, from_datetime
from tallystick.domain.quantity import QuantityError, parse_quantity
from tallystick.pipeline.event_draft import EventDraft, Refusal
from tallystick.ports.errors import UsageOverflow
from tallystick.ports.event_store import MeteredEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.domain.meters import MeterSet
    from tallystick.ports.clock import Clock
    from tallystick.ports.directory import CatalogStore, CustomerDirectory
    from tallystick.ports.event_store import EventStore

AHEAD_MAX_US = HOUR_US
"""How far an event's time may lie ahead of our clock: room for clocks that differ, not for a typo.
"""

EARLIEST_AT = 0
"""Times before 1970 are a wrong unit or a wrong year."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_properties_encoder = msgspec.json.Encoder(order="sorted", decimal_format="number")

_CONFLICT_DETAIL = (
    "another event with this source and id is stored, and it differs; nothing was changed. "
    "Send a new event under an id of its own"
)
_OVERFLOW_DETAIL = "the meter's sum for this hour would leave the range that is added exactly"


class Batch(NamedTuple):
    """Events of one request, checked: what is to be stored, and what was refused, by index."""

    entries: list[MeteredEvent]
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

    def check(self, drafts: Sequence[EventDraft | Refusal]) -> Batch:
        """Sort events into those that can be stored and those that are refused, each with its
        reason.
        """
        meters = self._catalog.meters()
        latest_at = self._clock.now() + AHEAD_MAX_US
        batch = Batch([], [], [None] * len(drafts))
        for index, draft in enumerate(drafts):
            checked = (
                draft if isinstance(draft, Refusal) else self._checked(draft, meters, latest_at)
            )
            if isinstance(checked, Refusal):
                batch.results[index] = EventResult(
                    index, checked.id, EventStatus.INVALID, checked.code, checked.detail
                )
            else:
                batch.entries.append(checked)
                batch.places.append(index)
        return batch

    def append(self, batch: Batch) -> Future[list[EventStatus]]:
        """Store the events of a batch; the future completes when they are durable.

        Raises (from the future):
            StoreUnavailable: nothing was stored; the whole batch may be sent again.
            UsageOverflow: see ``append_singly``.
        """
        if not batch.entries:
            done: Future[list[EventStatus]] = Future()
            done.set_result([])
            return done
        return self._events.append(batch.entries, self._clock.now())

    def append_singly(self, batch: Batch) -> list[EventStatus]:
        """Store the events of a batch one by one, so that one that overflows does not cost the
        others.
        """
        statuses = []
        for entry in batch.entries:
            try:
                statuses += self._events.append([entry], self._clock.now()).result()
            except UsageOverflow:
                statuses.append(EventStatus.INVALID)
        return statuses

    def take(self, drafts: Sequence[EventDraft | Refusal]) -> list[EventResult]:
        """Check and store events and wait until they are durable; return a result for each, in
        order.
        """
        batch = self.check(drafts)
        try:
            statuses = self.append(batch).result()
        except UsageOverflow:
            statuses = self.append_singly(batch)
        return results(batch, statuses)

    def _checked(
        self, draft: EventDraft, meters: MeterSet, latest_at: int
    ) -> MeteredEvent | Refusal:
        for field, text in (
            ("id", draft.id),
            ("source", draft.source),
            ("type", draft.type),
            ("customer", draft.customer),
        ):
            if not text:
                return Refusal(draft.id, f"{field}_missing", f"the {field} is empty")
            if len(text) > NAME_CHARS_MAX:
                return Refusal(
                    draft.id,
                    f"{field}_too_long",
                    f"the {field} has {len(text)} characters; {NAME_CHARS_MAX} are the most",
                )
            if _CONTROL.search(text):
                return Refusal(
                    draft.id, f"{field}_invalid", f"the {field} contains a control character"
                )
        selecting = meters.selecting(draft.type)
        if not selecting:
            return Refusal(
                draft.id, "unknown_event_type", f"no meter selects events of type {draft.type!r}"
            )
        try:
            value = parse_quantity(draft.value)
            for meter in selecting:
                meter.check(value)
        except QuantityError as error:
            return Refusal(draft.id, error.code, str(error))
        occurred_at = from_datetime(draft.time)
        if occurred_at < EARLIEST_AT or (
            occurred_at > latest_at and not self._lives_on_test_clock(draft.customer)
        ):
            return _out_of_time(draft.id, occurred_at, latest_at)
        properties = _properties_encoder.encode(draft.properties) if draft.properties else b""
        if len(properties) > PROPERTIES_BYTES_MAX:
            return Refusal(
                draft.id,
                "properties_too_large",
                f"the properties have {len(properties)} bytes; {PROPERTIES_BYTES_MAX} are the most",
            )
        event = UsageEvent(
            draft.source, draft.id, draft.type, draft.customer, occurred_at, value, properties
        )
        return MeteredEvent(event, selecting)

    def _lives_on_test_clock(self, customer: str) -> bool:
        """A rehearsal's time is its test clock's, which may be far ahead of ours."""
        link = self._customers.find(customer)
        return link is not None and link.test_clock_id is not None


def results(batch: Batch, statuses: Sequence[EventStatus]) -> list[EventResult]:
    """Return the answer to each event of a batch, given what became of those that were stored."""
    answered = list(batch.results)
    for index, entry, status in zip(batch.places, batch.entries, statuses, strict=True):
        code = detail = None
        if status is EventStatus.CONFLICT:
            code, detail = "event_conflict", _CONFLICT_DETAIL
        elif status is EventStatus.INVALID:
            code, detail = UsageOverflow.code, _OVERFLOW_DETAIL
        answered[index] = EventResult(index, entry.event.id, status, code, detail)
    return [result for result in answered if result is not None]


def _out_of_time(event_id: str, occurred_at: int, latest_at: int) -> Refusal:
    shown = format_instant(occurred_at)
    if occurred_at < EARLIEST_AT:
        return Refusal(event_id, "time_too_early", f"{shown} lies before 1970")
    return Refusal(
        event_id,
        "time_in_future",
        f"{shown} lies ahead of our clock; {format_instant(latest_at)} is the latest now",
    )
