"""What can be set, and what is assumed where Stripe's behaviour is not confirmed.

Every assumption is a named setting with its evidence beside it; docs/sandbox.md lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP
from typing import Final

DAY_S: Final = 86_400
HOUR_S: Final = 3_600


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits, delays and assumptions of one sandbox."""

    seed: int = 0
    """Chooses every id, secret and random fault: the same seed and requests give the same run."""

    usage_rounding: str = ROUND_HALF_UP
    """How a usage or tax line of x.5 minor units is rounded.

    Documented is "nearest", with 1.5 -> 2 (DOC:billing/subscriptions/decimal-amounts), which fits
    half-up and half-even: the tie is unconfirmed.
    """

    meter_event_age_s_max: int = 35 * DAY_S
    """DOC:api/billing/meter-event: "within the past 35 calendar days"."""

    meter_event_ahead_s_max: int = 300
    """DOC:api/billing/meter-event: "or up to 5 minutes in the future"."""

    identifier_window_s: int = DAY_S
    """DOC:api/billing/meter-event: unique "within a rolling period of at least 24 hours".

    Counted, as the 35 days and the 5 minutes, on the clock of the event's customer: unconfirmed.
    """

    adjustment_window_s: int = DAY_S
    """DOC:meters/configure: cancelled only "within 24 hours of Stripe receiving" the event."""

    meter_processing_s: float = 0.2
    """Seconds of real time until an accepted meter event counts: Stripe says "asynchronously".

    Advancing a test clock or finalizing an invoice first processes all that was accepted.
    """

    meter_error_window_s: int = 10
    """Seconds of one asynchronous validation window, as in Stripe's example of the thin event."""

    usage_value_digits_max: int = 15
    """Digits of a meter value (``meter_event_value_too_many_digits``; 15 is a public report)."""

    finalization_delay_s: int = HOUR_S
    """Draft invoice to finalization, after its webhooks are answered (DOC:api/invoices)."""

    clock_customers_max: int = 3
    """Customers per test clock (v2 error ``test_clocks_customer_limit_reached``)."""

    clock_intervals_max: int = 2
    """Intervals of the shortest subscription per advance (DOC:api/test_clocks/advance)."""

    clock_lifetime_s: int = 7 * DAY_S
    """created -> deletes_after in Stripe's object sample."""

    subscription_items_max: int = 20
    """DOC:api/subscriptions/create: "up to 20 items"."""

    incomplete_s_max: int = 23 * HOUR_S
    """An incomplete subscription expires after 23 hours (DOC:billing/subscriptions/overview)."""

    event_lifetime_s: int = 30 * DAY_S
    """Events can be read for 30 days (DOC:api/events)."""

    idempotency_s: int = DAY_S
    """v1 keys are forgotten after 24 hours (DOC:api/idempotent_requests)."""

    idempotency_v2_s: int = 30 * DAY_S
    """v2 keys are forgotten after 30 days (DOC:api-v2-overview)."""

    idempotency_keys_max: int = 200_000
    """Oldest keys are dropped beyond this, a limit of the sandbox's memory."""

    requests_kept_max: int = 10_000
    """Requests that ``GET /_sandbox/requests`` remembers."""

    body_bytes_max: int = 2_000_000
    """Largest request body that is read."""

    webhook_retry_s: tuple[float, ...] = (1.0, 5.0, 25.0)
    """Real seconds before each retry of a webhook.

    Stripe retries three times "over a few hours" in a sandbox (DOC:webhooks); the same number of
    tries, in seconds, keeps a rehearsal short.
    """

    webhook_timeout_s: float = 10.0
    """Seconds that an endpoint has for its answer; Stripe does not say its own limit."""

    session_s: int = 900
    """A v2 meter event session lasts 15 minutes (DOC:api/v2/billing/meter-event-stream)."""
