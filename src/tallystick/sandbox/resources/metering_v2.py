"""v2 metering: events, sessions and the stream, adjustments, and thin events (facts 2).

v2 validates what it can at once and the rest asynchronously: an unknown customer only shows up in
an error report (DOC:api/v2/billing/meter-event/create).
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tallystick.sandbox.lifecycle.meter_rules import (
    Refusal,
    active_meter,
    check_timestamp,
    mapped_customer,
    read_value,
)
from tallystick.sandbox.lifecycle.metering import settle_meter_events
from tallystick.sandbox.resources.meter_events import accept, is_identifier_taken
from tallystick.sandbox.shapes.events import render_fetched, rfc3339
from tallystick.sandbox.state.ids import token
from tallystick.sandbox.state.records import MeterEvent
from tallystick.sandbox.wire.errors import StripeError, missing, refused
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.wire.operations import Call

STREAM_EVENTS_MAX = 100
_CODES = {
    "no_meter": "no_meter",
    "archived_meter": "archived_meter",
    "meter_event_no_customer_defined": "payload_no_customer_defined",
    "meter_event_value_not_found": "payload_no_value_defined",
    "meter_event_invalid_value": "payload_invalid_value",
    "meter_event_value_too_many_digits": "payload_invalid_value",
}
"""Metering code -> v2 synchronous error code."""


def read_instant(text: str, param: str) -> int:
    """Return the seconds of an RFC 3339 instant.

    Raises:
        StripeError: 400.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise refused(f"Invalid timestamp: {text[:40]}", param, "invalid_timestamp") from None
    if at.tzinfo is None:
        raise refused(f"Invalid timestamp: {text[:40]}", param, "invalid_timestamp")
    return int(at.astimezone(UTC).timestamp())


def _event_of(call: Call, given: dict[str, Any], *, is_stream: bool) -> MeterEvent:
    """Return an event, checked as far as v2 checks at once; a stream event is checked later."""
    account = call.account
    payload = given["payload"]
    customer = payload.get("stripe_customer_id", "")
    id_ = account.meter_by_event_name.get(given["event_name"])
    meter = account.meters.get(id_) if id_ else None
    if meter is not None:
        customer = payload.get(meter.customer_key, "")
    now = account.customer_now(customer)
    text = given.get("timestamp")
    timestamp = now if text is None else read_instant(text, "timestamp")
    return MeterEvent(
        identifier=given.get("identifier") or account.ids.make("mtrevt"),
        event_name=given["event_name"],
        customer=customer,
        value=meter_value(account, given["event_name"], payload, strict=not is_stream),
        timestamp=timestamp,
        received_at=now,
        counts_at=account.real_now() + account.settings.meter_processing_s,
        visible_at=now + account.outlets.summary_lag_s(customer),
        payload=payload,
        idempotency_key=None if is_stream else call.idempotency_key,
        is_unchecked=True,
    )


def meter_value(
    account: Account, event_name: str, payload: dict[str, str], *, strict: bool
) -> Decimal:
    """Return the value of a payload; 0 where it is only found to be wrong later."""
    try:
        meter = active_meter(account, event_name)
        mapped_customer(meter, payload)
        return read_value(account, meter, payload)
    except Refusal as refusal:
        if strict:
            raise StripeError(
                refusal.message, code=_CODES.get(refusal.code, refusal.code)
            ) from refusal
        return Decimal(0)


def create_event(call: Call) -> dict[str, Any]:
    """Take one event."""
    account = call.account
    settle_meter_events(account)
    event = _event_of(call, call.params, is_stream=False)
    try:
        check_timestamp(account, event.timestamp, event.received_at)
    except Refusal as refusal:
        raise StripeError(refusal.message, code=refusal.code) from refusal
    if is_identifier_taken(account, event.identifier, event.received_at):
        raise StripeError(
            f"An event already exists with identifier {event.identifier}.",
            code="duplicate_meter_event",
        )
    accept(account, event)
    return {
        "object": "v2.billing.meter_event",
        "created": rfc3339(event.received_at),
        "event_name": event.event_name,
        "identifier": event.identifier,
        "livemode": False,
        "payload": event.payload,
        "timestamp": rfc3339(event.timestamp),
    }


def create_session(call: Call) -> dict[str, Any]:
    """Open a session for the stream: 15 minutes."""
    account = call.account
    now = account.real_now()
    id_ = account.ids.make("mes_test")
    secret = f"mtr_evt_sess_{token(f'{account.key}/{id_}', 40)}"
    expires_at = now + account.settings.session_s
    account.sessions[secret] = expires_at
    return {
        "id": id_,
        "object": "v2.billing.meter_event_session",
        "authentication_token": secret,
        "created": rfc3339(now),
        "expires_at": rfc3339(expires_at),
        "livemode": False,
    }


def create_stream(call: Call) -> dict[str, Any]:
    """Take up to 100 events; all validation is asynchronous and the answer is empty."""
    account, events = call.account, call.params["events"]
    if not 1 <= len(events) <= STREAM_EVENTS_MAX:
        raise refused(
            f"A request can have 1 to {STREAM_EVENTS_MAX} events.", "events", "invalid_events"
        )
    settle_meter_events(account)
    for given in [_event_of(call, event, is_stream=True) for event in events]:
        if is_identifier_taken(account, given.identifier, given.received_at):
            continue  # counted once: the stream has no way to say that it was a duplicate
        accept(account, given)
    return {}


def _cancel(call: Call) -> str:
    """Cancel a meter event that was received in the last 24 hours.

    Raises:
        StripeError: 400 for an unknown, cancelled or older event.
    """
    account, params = call.account, call.params
    identifier = params.get("cancel", {}).get("identifier")
    if identifier is None:
        raise refused("Missing required param: cancel.", "cancel", "parameter_missing")
    event = account.usage_by_identifier.get(identifier)
    if event is None or event.event_name != params["event_name"]:
        raise refused(f"No meter event found with identifier {identifier}.", "cancel[identifier]")
    if event.is_cancelled:
        raise refused(f"The meter event {identifier} is already cancelled.", "cancel[identifier]")
    age_s = account.customer_now(event.customer) - event.received_at
    if age_s > account.settings.adjustment_window_s:
        raise refused(
            "Meter events can only be cancelled within 24 hours of Stripe receiving them.",
            "cancel[identifier]",
        )
    event.is_cancelled = True
    return str(identifier)


def create_adjustment(call: Call) -> dict[str, Any]:
    """Cancel an event through v1."""
    identifier = _cancel(call)
    return {
        "object": "billing.meter_event_adjustment",
        "cancel": {"identifier": identifier},
        "event_name": call.params["event_name"],
        "livemode": False,
        "status": "pending",
        "type": "cancel",
    }


def create_adjustment_v2(call: Call) -> dict[str, Any]:
    """Cancel an event through v2."""
    identifier = _cancel(call)
    return {
        "id": call.account.ids.make("mtr_event_adj_test"),
        "object": "v2.billing.meter_event_adjustment",
        "cancel": {"identifier": identifier},
        "created": rfc3339(call.account.real_now()),
        "event_name": call.params["event_name"],
        "livemode": False,
        "status": "pending",
        "type": "cancel",
    }


def retrieve_thin_event(call: Call) -> dict[str, Any]:
    """Return a thin event with its data, for 30 days."""
    event = call.account.events.get(call.path["id"])
    lifetime_s = call.account.settings.event_lifetime_s
    if event is None or not event.is_thin or event.made_at < call.account.real_now() - lifetime_s:
        raise missing("event", call.path["id"])
    return render_fetched(event)


def list_thin_events(call: Call) -> dict[str, Any]:
    """List thin events, newest first."""
    types, related = call.params.get("types"), call.params.get("object_id")
    limit = min(call.params.get("limit", 20), 100)
    rows = [
        render_fetched(event)
        for _, event in call.account.events.newest_first()
        if event.is_thin
        and (types is None or event.type in types)
        and (related is None or (event.related or {}).get("id") == related)
    ]
    return {"data": rows[:limit], "next_page_url": None, "previous_page_url": None}


_TEXT = {"type": "string"}
_EVENT = {
    "type": "object",
    "properties": {
        "event_name": {"type": "string", "maxLength": 100},
        "identifier": {"type": "string", "maxLength": 100},
        "payload": {"type": "object", "additionalProperties": {"type": "string"}},
        "timestamp": _TEXT,
    },
    "required": ["event_name", "payload"],
}
_ADJUSTMENT = {
    "type": "object",
    "properties": {
        "cancel": {
            "type": "object",
            "properties": {"identifier": _TEXT},
            "required": ["identifier"],
        },
        "event_name": _TEXT,
        "type": {"type": "string", "enum": ["cancel"]},
    },
    "required": ["cancel", "event_name", "type"],
}
_STREAM = {
    "type": "object",
    "properties": {"events": {"type": "array", "items": _EVENT}},
    "required": ["events"],
}
_LIST = {
    "type": "object",
    "properties": {
        "limit": {"type": "integer"},
        "object_id": _TEXT,
        "types": {"type": "array", "items": _TEXT},
        "created": {"type": "object"},
    },
}
_NOTHING = {"type": "object", "properties": {"unused": _TEXT}}
STREAM_PATH = "/v2/billing/meter_event_stream"
OPERATIONS = (
    Operation(
        "POST",
        "/v2/billing/meter_events",
        create_event,
        "event_name identifier payload timestamp",
        schema=_EVENT,
    ),
    Operation("POST", "/v2/billing/meter_event_session", create_session, schema=_NOTHING),
    Operation("POST", STREAM_PATH, create_stream, "events", schema=_STREAM),
    Operation(
        "POST",
        "/v2/billing/meter_event_adjustments",
        create_adjustment_v2,
        "cancel event_name type",
        schema=_ADJUSTMENT,
    ),
    Operation(
        "POST",
        "/v1/billing/meter_event_adjustments",
        create_adjustment,
        "cancel event_name type",
    ),
    Operation("GET", "/v2/core/events/{id}", retrieve_thin_event, schema=_NOTHING),
    Operation("GET", "/v2/core/events", list_thin_events, "limit object_id types", schema=_LIST),
)
