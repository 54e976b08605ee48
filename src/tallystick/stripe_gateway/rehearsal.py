"""Customers on test clocks: what a rehearsal of billing creates and moves at Stripe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.instants import to_seconds
from tallystick.ports.errors import StripeRefused, StripeUnreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.ports.clock import Clock
    from tallystick.stripe_gateway.connection import StripeConnection

CUSTOMERS_PER_CLOCK_MAX = 3
"""Customers that one test clock holds: Stripe's limit."""

POLL_SECONDS_MIN = 0.005
POLL_SECONDS_MAX = 2.0
ADVANCE_SECONDS_MAX = 300.0


class Rehearsal:
    """``Rehearsal`` over test clocks. Every method raises StripeUnreachable or StripeRefused."""

    def __init__(self, connection: StripeConnection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    def create_clock(self, frozen_at: int, name: str) -> str:
        """Create a test clock that stands at the instant; return its id."""
        with self._connection.call() as client:
            clock = client.v1.test_helpers.test_clocks.create(
                {"frozen_time": to_seconds(frozen_at), "name": name}
            )
        return clock.id

    def create_customer(self, customer: str, test_clock_id: str) -> str:
        """Create a Stripe customer on a test clock; return its id."""
        with self._connection.call() as client:
            created = client.v1.customers.create(
                {
                    "name": customer,
                    "metadata": {"tallystick_customer": customer},
                    "test_clock": test_clock_id,
                }
            )
        return created.id

    def subscribe(self, stripe_customer_id: str, stripe_price_ids: Sequence[str]) -> str:
        """Subscribe the customer to metered prices, billed by sent invoices; return the id."""
        with self._connection.call() as client:
            subscription = client.v1.subscriptions.create(
                {
                    "customer": stripe_customer_id,
                    "items": [{"price": price_id} for price_id in stripe_price_ids],
                    "collection_method": "send_invoice",
                    "days_until_due": 30,
                }
            )
        return subscription.id

    def advance(self, test_clock_id: str, to_at: int) -> None:
        """Begin to advance a test clock; ``wait_until_ready`` tells when it has arrived."""
        with self._connection.call() as client:
            client.v1.test_helpers.test_clocks.advance(
                test_clock_id, {"frozen_time": to_seconds(to_at)}
            )

    def wait_until_ready(self, test_clock_id: str) -> None:
        """Wait until the clock has arrived and everything due on the way has happened."""
        give_up_at = self._clock.elapsed() + ADVANCE_SECONDS_MAX
        pause_seconds = POLL_SECONDS_MIN
        while True:
            with self._connection.call() as client:
                status = client.v1.test_helpers.test_clocks.retrieve(test_clock_id).status
            if status == "ready":
                return
            if status == "internal_failure":
                raise StripeRefused(f"test clock {test_clock_id} failed to advance")
            if self._clock.elapsed() > give_up_at:
                raise StripeUnreachable(f"test clock {test_clock_id} is still advancing")
            self._clock.pause(pause_seconds)
            pause_seconds = min(pause_seconds * 2, POLL_SECONDS_MAX)
