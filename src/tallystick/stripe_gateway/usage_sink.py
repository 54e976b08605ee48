"""Reports to Stripe as v1 meter events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import stripe

from tallystick.domain.quantity import plain
from tallystick.ports.stripe import Attempt, AttemptResult
from tallystick.stripe_gateway.connection import is_passing

if TYPE_CHECKING:
    from tallystick.ports.stripe import MeterEvent
    from tallystick.stripe_gateway.connection import StripeConnection

CUSTOMER_KEY = "stripe_customer_id"
VALUE_KEY = "value"
"""Stripe's default payload keys of a meter; ours are created with them."""

_ALREADY_EXISTS = "An event already exists with identifier"
"""How Stripe's 400 for a known identifier begins; it has no code (seen by users of the API)."""


class MeterEventSink:
    """``UsageSink`` over ``POST /v1/billing/meter_events``: one event a call."""

    def __init__(self, connection: StripeConnection) -> None:
        self._connection = connection

    def send(self, event: MeterEvent) -> Attempt:
        """Tell Stripe once. Never raises for what Stripe or the network answers."""
        self._connection.meter_event_pace.take()
        try:
            self._connection.client.v1.billing.meter_events.create(
                {
                    "event_name": event.event_name,
                    "payload": {
                        CUSTOMER_KEY: event.stripe_customer_id,
                        VALUE_KEY: plain(event.quantity),
                    },
                    "identifier": event.identifier,
                    "timestamp": event.timestamp,
                },
                {"idempotency_key": event.request_key},
            )
        except stripe.StripeError as error:
            return self._attempt(error)
        return Attempt(AttemptResult.TAKEN)

    def _attempt(self, error: stripe.StripeError) -> Attempt:
        message = error.user_message
        if isinstance(error, stripe.RateLimitError):
            self._connection.meter_event_pace.slow_down()
            return Attempt(AttemptResult.SLOW_DOWN, error.code, message)
        if message and message.startswith(_ALREADY_EXISTS):
            return Attempt(AttemptResult.KNOWN, error.code, message)
        if error.http_status is None:
            return Attempt(AttemptResult.UNKNOWN, error.code, message)
        if is_passing(error):
            return Attempt(AttemptResult.FAILED, error.code, message)
        if isinstance(error, stripe.IdempotencyError | stripe.AuthenticationError):
            # a key that is wrong or was revoked says nothing about the report; nor does a request
            # key whose first use is remembered with other parameters
            return Attempt(AttemptResult.FAILED, error.code, message)
        return Attempt(AttemptResult.REFUSED, error.code, message)
