"""Reports to Stripe through the v2 meter event stream: a hundred a call, checked later."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import stripe

from tallystick.domain.instants import format_instant, from_seconds
from tallystick.domain.quantity import plain
from tallystick.ports.stripe import Attempt, AttemptResult
from tallystick.stripe_gateway.attempts import attempt_of
from tallystick.stripe_gateway.usage_sink import CUSTOMER_KEY, VALUE_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.ports.stripe import Dispatch
    from tallystick.stripe_gateway.connection import StripeConnection

EVENTS_MAX = 100
"""Events of one request (docs.stripe.com/api/v2/billing/meter-event-stream/create)."""

SESSION_SECONDS = 13 * 60
"""A session lasts 15 minutes; it is renewed before, because requests are under way at its end."""

_OF_ONE = (AttemptResult.REFUSED, AttemptResult.TOO_LATE, AttemptResult.KNOWN)
"""What Stripe says of a single report, whichever of a request's it is."""


class _Session(NamedTuple):
    client: stripe.StripeClient
    renew_at: float


class _Events(list[dict[str, Any]]):
    """Events of a request.

    The SDK encodes the parameters of every request as a form, and throws that away where the body
    is JSON, as here: half of the processor time of a request. What has an ``id`` it takes for an
    object, and encodes that alone.
    """

    id = ""


class MeterEventStreamSink:
    """``UsageSink`` over ``POST /v2/billing/meter_event_stream``. Thread-safe.

    The stream answers nothing about single events: an identifier that Stripe knows is left out by
    Stripe itself, and everything else that is wrong comes back as an error report later.
    """

    batch_max = EVENTS_MAX

    def __init__(self, connection: StripeConnection) -> None:
        self._connection = connection
        self._opening = threading.Lock()
        self._session: _Session | None = None

    def send(self, dispatches: Sequence[Dispatch]) -> list[Attempt]:
        """Tell Stripe once. Never raises for what Stripe or the network answers.

        A request that is refused as a whole is taken apart, so that one report that cannot be sent,
        or is known, does not speak for its neighbours.
        """
        attempt = self._send(dispatches)
        if attempt.result in _OF_ONE and len(dispatches) > 1:
            return [self._send([dispatch]) for dispatch in dispatches]
        return [attempt] * len(dispatches)

    def _send(self, dispatches: Sequence[Dispatch]) -> Attempt:
        params = cast("Any", {"events": _Events(_event(dispatch) for dispatch in dispatches)})
        pace = self._connection.stream_pace
        try:
            pace.take()
            try:
                self._client().v2.billing.meter_event_stream.create(params)
            except stripe.TemporarySessionExpiredError:
                self._session = None
                self._client().v2.billing.meter_event_stream.create(params)
        except stripe.StripeError as error:
            return attempt_of(error, pace)
        return Attempt(AttemptResult.TAKEN)

    def _client(self) -> stripe.StripeClient:
        """Return a client with the token of a session that lasts a while."""
        with self._opening:
            now = self._connection.clock.elapsed()
            if self._session is None or now >= self._session.renew_at:
                self._connection.pace.take()
                opened = self._connection.client.v2.billing.meter_event_session.create()
                client = self._connection.client_of(opened.authentication_token)
                self._session = _Session(client, now + SESSION_SECONDS)
            return self._session.client


def _event(dispatch: Dispatch) -> dict[str, Any]:
    report = dispatch.report
    return {
        "event_name": report.meter_key,
        "payload": {
            CUSTOMER_KEY: report.stripe_customer_id,
            VALUE_KEY: plain(report.value),
        },
        "identifier": report.identifier,
        "timestamp": _written(report.timestamp),
    }


@lru_cache(maxsize=EVENTS_MAX)
def _written(seconds: int) -> str:
    """Return a Unix time as v2 takes it; what was planned together has the same."""
    return format_instant(from_seconds(seconds))
