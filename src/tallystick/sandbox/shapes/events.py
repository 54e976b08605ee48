"""How events look on the wire: snapshots in any version, and thin events, sent and fetched."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from tallystick.sandbox.wire.versions import NEWEST, Version, in_version

if TYPE_CHECKING:
    from tallystick.sandbox.state.records import Event
    from tallystick.sandbox.wire.acacia import OlderFacts


def rfc3339(seconds: float) -> str:
    """Return an instant as v2 writes it: ``2024-09-26T17:46:22.134Z``."""
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def render_event(event: Event, version: Version, facts: OlderFacts) -> dict[str, Any]:
    """Return a snapshot event with its object as the version shows it."""
    data = msgspec.json.decode(event.data)
    if version is not NEWEST:
        data["object"] = in_version(data["object"], version, facts)
    return {
        "id": event.id,
        "object": "event",
        "api_version": version.value,
        "created": event.created,
        "data": data,
        "livemode": False,
        "pending_webhooks": event.pending_webhooks,
        "request": {"id": event.request_id, "idempotency_key": event.idempotency_key},
        "type": event.type,
    }


def render_notification(event: Event) -> dict[str, Any]:
    """Return the body of a thin webhook: it has no data."""
    body: dict[str, Any] = {
        "id": event.id,
        "object": "v2.core.event",
        "context": None,
        "created": rfc3339(event.made_at),
        "livemode": False,
        "reason": None,
        "type": event.type,
    }
    if event.related is not None:
        body["related_object"] = event.related
    return body


def render_fetched(event: Event) -> dict[str, Any]:
    """Return a thin event as /v2/core/events/{id} shows it."""
    body = render_notification(event)
    body["data"] = msgspec.json.decode(event.data)
    body.setdefault("related_object", None)
    return body
