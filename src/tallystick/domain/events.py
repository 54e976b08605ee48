"""Usage events, their identity, and what became of each."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from hashlib import blake2b
from typing import Any

import msgspec

DEFAULT_SOURCE = "default"
"""The source of an event that names none."""

NAME_CHARS_MAX = 255
"""Characters of an id, source, type or customer."""

PROPERTIES_BYTES_MAX = 16_384
"""Bytes of an event's properties as compact JSON."""


class UsageEvent(msgspec.Struct, frozen=True, gc=False):
    """Something a customer used, as the product reported it.

    ``occurred_at`` is the product's clock in microseconds UTC; ``properties`` is a JSON object as
    it was sent, or empty. ``(source, id)`` is the event's identity, for ever.
    """

    source: str
    id: str
    type: str
    customer: str
    occurred_at: int
    value: Decimal
    properties: bytes = b""


class EventStatus(StrEnum):
    """What became of an event that was sent."""

    ACCEPTED = "accepted"
    """Stored and counted."""
    DUPLICATE = "duplicate"
    """The same event was stored before: nothing to do."""
    CONFLICT = "conflict"
    """Another event was stored under this source and id: this one is not."""
    INVALID = "invalid"
    """Refused; the code says why."""


class EventResult(msgspec.Struct, frozen=True, gc=False):
    """The answer to one event: its place in the request, what became of it, and why."""

    index: int
    id: str | None
    status: EventStatus
    code: str | None = None
    detail: str | None = None


def identity_of(source: str, event_id: str) -> bytes:
    """Return the 16 bytes under which an event is known for ever.

    A digest, because a short fixed key is several times cheaper to look up among millions than the
    two texts; BLAKE2b, because ids may come from people who would profit from a collision.
    """
    return blake2b(f"{source}\0{event_id}".encode(), digest_size=16).digest()


def same_content(one: UsageEvent, other: UsageEvent) -> bool:
    """Tell whether two events of one identity are the same: in all, however their properties are
    written.
    """
    return (
        one.type == other.type
        and one.customer == other.customer
        and one.occurred_at == other.occurred_at
        and one.value == other.value
        and (
            one.properties == other.properties
            or _canonical(one.properties) == _canonical(other.properties)
        )
    )


def read_properties(properties: bytes) -> dict[str, Any]:
    """Return an event's properties; numbers with a point are decimals."""
    return _properties.decode(properties) if properties else {}


def _canonical(properties: bytes) -> bytes:
    return _sorted.encode(read_properties(properties))


_properties = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_sorted = msgspec.json.Encoder(order="sorted", decimal_format="number")
