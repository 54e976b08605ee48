"""v1 meter events: taken one at a time, counted a moment later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.lifecycle.meter_rules import (
    Refusal,
    active_meter,
    check_timestamp,
    mapped_customer,
    read_value,
)
from tallystick.sandbox.lifecycle.metering import settle_meter_events
from tallystick.sandbox.state.records import MeterEvent
from tallystick.sandbox.wire.errors import StripeError, missing, refused
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.wire.operations import Call

NO_RETRY = {"stripe-should-retry": "false"}


def is_identifier_taken(account: Account, identifier: str, now: int) -> bool:
    """Say whether an identifier was used within the rolling window."""
    earlier = account.usage_by_identifier.get(identifier)
    if earlier is None:
        return False
    return abs(now - earlier.received_at) < account.settings.identifier_window_s


def accept(account: Account, event: MeterEvent) -> None:
    """Take an event in; it counts after the processing time."""
    account.usage_by_identifier[event.identifier] = event
    account.usage_pending.append(event)


def create_meter_event(call: Call) -> dict[str, Any]:
    """Take a meter event.

    Raises:
        StripeError: 400, no active meter, no customer, an unreadable value, a timestamp outside
            the limits, or an identifier that was used in the last 24 hours (observed: no code,
            and ``stripe-should-retry: false``).
    """
    account, params = call.account, call.params
    payload = params["payload"]
    settle_meter_events(account)
    try:
        meter = active_meter(account, params["event_name"])
        customer = mapped_customer(meter, payload)
        if customer not in account.customers:
            raise missing("customer", customer, f"payload[{meter.customer_key}]", status=400)
        now = account.customer_now(customer)
        value = read_value(account, meter, payload)
        timestamp = params.get("timestamp", now)
        check_timestamp(account, timestamp, now)
    except Refusal as refusal:
        raise _as_stripe_error(refusal, params["event_name"]) from refusal
    identifier = params.get("identifier") or account.ids.make("mtrevt")
    if is_identifier_taken(account, identifier, now):
        raise StripeError(
            f"An event already exists with identifier {identifier}.", headers=dict(NO_RETRY)
        )
    event = MeterEvent(
        identifier=identifier,
        event_name=params["event_name"],
        customer=customer,
        value=value,
        timestamp=timestamp,
        received_at=now,
        counts_at=account.real_now() + account.settings.meter_processing_s,
        visible_at=now + account.outlets.summary_lag_s(customer),
        payload=payload,
        idempotency_key=call.idempotency_key,
    )
    accept(account, event)
    return render_meter_event(event)


def _as_stripe_error(refusal: Refusal, event_name: str) -> StripeError:
    """Return the v1 sentence; which code v1 gives synchronously is not stated anywhere."""
    if refusal.code in ("no_meter", "archived_meter"):
        return refused(f"No active meter found for event name {event_name}.", "event_name")
    return refused(refusal.message, refusal.param)


def render_meter_event(event: MeterEvent) -> dict[str, Any]:
    """Return a v1 meter event."""
    return {
        "object": "billing.meter_event",
        "created": event.received_at,
        "event_name": event.event_name,
        "identifier": event.identifier,
        "livemode": False,
        "payload": event.payload,
        "timestamp": event.timestamp,
    }


OPERATIONS = (
    Operation(
        "POST",
        "/v1/billing/meter_events",
        create_meter_event,
        "event_name identifier payload timestamp",
    ),
)
