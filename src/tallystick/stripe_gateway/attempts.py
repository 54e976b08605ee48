"""What Stripe's answer to a report means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import stripe

from tallystick.ports.stripe import Attempt, AttemptResult
from tallystick.stripe_gateway.connection import is_passing, is_strange

if TYPE_CHECKING:
    from tallystick.stripe_gateway.pace import Pace

_ALREADY_EXISTS = "An event already exists with identifier"
"""How Stripe's 400 for a known identifier begins; it has no code (seen by users of the API)."""

_DUPLICATE = "duplicate_meter_event"
"""The same from v2 (docs.stripe.com/api/v2/billing/meter-event/create)."""

_CANCELLED = "is already cancelled"
"""Part of the refusal to cancel a meter event twice. Stripe's own words are not documented: where
they differ, totals tell that the first attempt got through."""

_TOO_LATE = (
    "The event timestamp cannot be more than 35 days in past",
    "Cannot create the usage record with this timestamp because timestamps must be after",
    "Cannot create the usage record because the subscription has been canceled",
    "Meter events can only be cancelled within 24 hours",
)
"""How refusals of what is past begin; v1 gives them no code (seen by users of the API)."""

_TOO_LATE_CODES = ("timestamp_too_far_in_past",)

_OF_THE_CALL = (stripe.AuthenticationError, stripe.PermissionError, stripe.IdempotencyError)
"""Refusals that say nothing about the report: of a key that is wrong, was revoked or may not do
this, and of a request key whose first use is remembered with other parameters."""


def attempt_of(error: stripe.StripeError, pace: Pace) -> Attempt:
    """Return what an error means for the reports that were sent; a 429 slows the pace down."""
    message = error.user_message or str(error)
    code = error.code
    if isinstance(error, stripe.RateLimitError):
        pace.slow_down()
        return Attempt(AttemptResult.SLOW_DOWN, code, message)
    if code == _DUPLICATE or message.startswith(_ALREADY_EXISTS) or _CANCELLED in message:
        return Attempt(AttemptResult.KNOWN, code, message)
    if error.http_status is None:
        return Attempt(AttemptResult.UNKNOWN, code, message)
    if is_passing(error) or is_strange(error) or isinstance(error, _OF_THE_CALL):
        return Attempt(AttemptResult.FAILED, code, message)
    if code in _TOO_LATE_CODES or message.startswith(_TOO_LATE):
        return Attempt(AttemptResult.TOO_LATE, code, message)
    return Attempt(AttemptResult.REFUSED, code, message)
