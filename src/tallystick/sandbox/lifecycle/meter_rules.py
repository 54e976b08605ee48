"""What makes a meter event count: the same rules at once (v1) and a moment later (v2)."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tallystick.sandbox.wire.parameters import is_plain_decimal

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.records import Meter


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
