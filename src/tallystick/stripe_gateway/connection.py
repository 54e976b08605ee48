"""One connection to Stripe, or to the sandbox: key, addresses, pace, and how errors are read."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import stripe

from tallystick.ports.errors import StripeKeyRefused, StripeRefused, StripeUnreachable
from tallystick.stripe_gateway.pace import (
    BASIC_PER_SECOND_LIVE,
    BASIC_PER_SECOND_TEST,
    METER_EVENTS_PER_SECOND_LIVE,
    STREAM_REQUESTS_PER_SECOND_LIVE,
    Pace,
    start_under,
)
from tallystick.stripe_gateway.transport import Transport
from tallystick.stripe_gateway.versions import API_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stripe._base_address import BaseAddresses

    from tallystick.ports.clock import Clock


class StripeConnection:
    """The SDK's client with the settings that Tallystick relies on.

    ``api_base`` replaces every address of the SDK; None means Stripe itself. The SDK retries
    nothing: retries are ours, because only we know which request may be repeated. ``rate``
    overrides Stripe's published limits for the key's mode, in calls a second.
    """

    def __init__(self, api_key: str, api_base: str | None, rate: int | None, clock: Clock) -> None:
        self.livemode = not api_key.startswith(("sk_test_", "rk_test_"))
        self.clock = clock
        self._addresses: BaseAddresses = {}
        self._shown_address = api_base or "Stripe's address"
        if api_base:
            base = api_base.rstrip("/")
            self._addresses = {"api": base, "files": base, "connect": base, "meter_events": base}
        self._transport = Transport()
        self.client = self.client_of(api_key)
        basic = BASIC_PER_SECOND_LIVE if self.livemode else BASIC_PER_SECOND_TEST
        self.pace = Pace(rate or start_under(basic), clock)
        self.meter_event_pace = self.stream_pace = self.pace
        if self.livemode and rate is None:
            self.meter_event_pace = Pace(start_under(METER_EVENTS_PER_SECOND_LIVE), clock)
            self.stream_pace = Pace(start_under(STREAM_REQUESTS_PER_SECOND_LIVE), clock)

    def client_of(self, key: str) -> stripe.StripeClient:
        """Return a client with another key: the stream wants one for the token of each session."""
        return stripe.StripeClient(
            key,
            stripe_version=API_VERSION,
            base_addresses=self._addresses,
            max_network_retries=0,
            http_client=self._transport,
        )

    @contextmanager
    def call(self) -> Iterator[stripe.StripeClient]:
        """Return the client for one paced call, and translate what it raises.

        Raises:
            StripeUnreachable: no answer, 409, 429 or 5xx; the call may be repeated.
            StripeKeyRefused: the key is wrong, was revoked, or may not do this.
            StripeRefused: any other error answer.
        """
        self.pace.take()
        try:
            yield self.client
        except stripe.RateLimitError as error:
            self.pace.slow_down()
            raise StripeUnreachable(f"Stripe asks to slow down: {error}") from error
        except stripe.StripeError as error:
            if is_passing(error):
                raise StripeUnreachable(f"Stripe cannot be reached now: {_told(error)}") from error
            if is_strange(error):
                raise StripeRefused(
                    f"{self._shown_address} does not answer as Stripe does ({_told(error)}); is it "
                    "the address that is meant?"
                ) from error
            of_key = isinstance(error, stripe.AuthenticationError | stripe.PermissionError)
            refused = StripeKeyRefused if of_key else StripeRefused
            raise refused(f"Stripe refused: {error}") from error


def is_strange(error: stripe.StripeError) -> bool:
    """Tell whether an answer is somebody else's: a page of a proxy, mostly."""
    return error.http_status is not None and error.error is None


def _told(error: stripe.StripeError) -> str:
    return f"HTTP status {error.http_status}" if is_strange(error) else str(error)


def is_passing(error: stripe.StripeError) -> bool:
    """Tell whether the same request may succeed later."""
    status = error.http_status
    return status is None or status == 409 or status >= 500
