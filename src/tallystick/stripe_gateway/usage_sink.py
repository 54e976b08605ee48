"""Reports to Stripe as v1 meter events and their cancellations, and as legacy usage records: one a
call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import stripe

from tallystick.domain.quantity import plain
from tallystick.ports.stripe import Attempt, AttemptResult
from tallystick.stripe_gateway.attempts import attempt_of
from tallystick.stripe_gateway.versions import USAGE_RECORDS_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.ports.stripe import Dispatch
    from tallystick.stripe_gateway.connection import StripeConnection

CUSTOMER_KEY = "stripe_customer_id"
VALUE_KEY = "value"
"""Stripe's default payload keys of a meter; ours are created with them."""


class MeterEventSink:
    """``UsageSink`` over ``POST /v1/billing/meter_events``, and ``meter_event_adjustments`` for a
    report that cancels another one.
    """

    batch_max = 1

    def __init__(self, connection: StripeConnection) -> None:
        self._connection = connection

    def send(self, dispatches: Sequence[Dispatch]) -> list[Attempt]:
        """Tell Stripe once. Never raises for what Stripe or the network answers."""
        return [self._send(dispatch) for dispatch in dispatches]

    def _send(self, dispatch: Dispatch) -> Attempt:
        self._connection.meter_event_pace.take()
        try:
            if dispatch.report.cancels is None:
                self._create(dispatch)
            else:
                self._cancel(dispatch, dispatch.report.cancels)
        except stripe.StripeError as error:
            return attempt_of(error, self._connection.meter_event_pace)
        return Attempt(AttemptResult.TAKEN)

    def _create(self, dispatch: Dispatch) -> None:
        report = dispatch.report
        self._connection.client.v1.billing.meter_events.create(
            {
                "event_name": report.meter_key,
                "payload": {
                    CUSTOMER_KEY: report.stripe_customer_id,
                    VALUE_KEY: plain(report.value),
                },
                "identifier": report.identifier,
                "timestamp": report.timestamp,
            },
            {"idempotency_key": dispatch.request_key},
        )

    def _cancel(self, dispatch: Dispatch, identifier: str) -> None:
        self._connection.client.v1.billing.meter_event_adjustments.create(
            {
                "event_name": dispatch.report.meter_key,
                "type": "cancel",
                "cancel": {"identifier": identifier},
            },
            {"idempotency_key": dispatch.request_key},
        )


class UsageRecordSink:
    """``UsageSink`` over ``POST /v1/subscription_items/ITEM/usage_records``.

    Its API version is the last one that has usage records. With ``action=set`` a repeat overwrites
    itself; where Stripe takes ``increment`` alone, it must not be repeated under a fresh key.
    """

    batch_max = 1

    def __init__(self, connection: StripeConnection) -> None:
        self._connection = connection

    def send(self, dispatches: Sequence[Dispatch]) -> list[Attempt]:
        """Tell Stripe once. Never raises for what Stripe or the network answers."""
        return [self._send(dispatch) for dispatch in dispatches]

    def _send(self, dispatch: Dispatch) -> Attempt:
        report = dispatch.report
        assert report.level is not None  # every usage record has one
        self._connection.pace.take()
        try:
            self._connection.client.raw_request(
                "post",
                f"/v1/subscription_items/{report.stripe_item_id}/usage_records",
                quantity=int(report.level),
                timestamp=report.timestamp,
                action="increment" if report.is_increment else "set",
                stripe_version=USAGE_RECORDS_VERSION,
                idempotency_key=dispatch.request_key,
            )
        except stripe.StripeError as error:
            return attempt_of(error, self._connection.pace)
        return Attempt(AttemptResult.TAKEN)
