"""v1 meter events: taken one at a time, counted a moment later."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tallystick.sandbox.lifecycle.metering import settle_meter_events
from tallystick.sandbox.state.records import MeterEvent
from tallystick.sandbox.wire.errors import StripeError, missing, refused
from tallystick.sandbox.wire.operations import Operation
from tallystick.sandbox.wire.parameters import is_plain_decimal

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.records import Meter
    from tallystick.sandbox.wire.operations import Call

NO_RETRY = {"stripe-should-retry": "false"}


class Refusal(Exception):
    """A meter event that cannot count; ``code`` is the metering code of DOC:recording-usage-api."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


def active_meter(account: Account, event_name: str) -> Meter:
    """Return the meter that an event name feeds.

    Raises:
        Refusal: ``no_meter`` or ``archived_meter``.
    """
    id_ = account.meter_by_event_name.get(event_name)
    meter = account.meters.get(id_) if id_ else None
    if meter is None:
        raise Refusal("no_meter", f"No meter was found matching event_name {event_name}.")
    if not meter.is_active:
        raise Refusal("archived_meter", f"The meter for event_name {event_name} is archived.")
    return meter


def mapped_customer(meter: Meter, payload: dict[str, str]) -> str:
    """Return the customer that a payload names.

    Raises:
        Refusal: ``meter_event_no_customer_defined``, in the words of the documented sample.
    """
    customer = payload.get(meter.customer_key)
    if not customer:
        raise Refusal(
            "meter_event_no_customer_defined",
            f"Customer mapping key {meter.customer_key} not found in payload.",
            "payload",
        )
    return customer


def read_value(account: Account, meter: Meter, payload: dict[str, str]) -> Decimal:
    """Return the value that a payload carries; a ``count`` meter needs none.

    Decimals and negatives are accepted (DOC:recording-usage-api, 2026-05-05). Exponents are
    refused: whether Stripe reads them is unconfirmed.

    Raises:
        Refusal: ``meter_event_value_not_found``, ``meter_event_invalid_value`` or
            ``meter_event_value_too_many_digits``.
    """
    text = payload.get(meter.value_key)
    if text is None or text == "":
        if meter.formula == "count":
            return Decimal(1)
        raise Refusal(
            "meter_event_value_not_found",
            f"Value key {meter.value_key} not found in payload.",
            "payload",
        )
    if not is_plain_decimal(text):
        raise Refusal(
            "meter_event_invalid_value",
            f"The value {text[:40]} is not a valid number.",
            f"payload[{meter.value_key}]",
        )
    value = Decimal(text)
    if len(value.as_tuple().digits) > account.settings.usage_value_digits_max:
        raise Refusal(
            "meter_event_value_too_many_digits",
            f"The value has more than {account.settings.usage_value_digits_max} digits.",
            f"payload[{meter.value_key}]",
        )
    return value


def check_timestamp(account: Account, timestamp: int, now: int) -> None:
    """Refuse what is older than 35 days or more than 5 minutes ahead of the customer's clock.

    Raises:
        Refusal: ``timestamp_too_far_in_past`` (its sentence is recorded) or
            ``timestamp_in_future``.
    """
    oldest = now - account.settings.meter_event_age_s_max
    if timestamp < oldest:
        raise Refusal(
            "timestamp_too_far_in_past",
            "The event timestamp cannot be more than 35 days in past. Expected a timestamp "
            f"greater than or equal to {oldest}.",
            "timestamp",
        )
    latest = now + account.settings.meter_event_ahead_s_max
    if timestamp > latest:
        raise Refusal(
            "timestamp_in_future",
            "The event timestamp cannot be more than 5 minutes in the future. Expected a timestamp "
            f"less than or equal to {latest}.",
            "timestamp",
        )


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
