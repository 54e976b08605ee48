"""Faults on purpose: rules that say which request, event or webhook goes wrong, and how.

Chance depends on the seed, the rule and how often it was asked, on nothing else: the same seed and
the same requests give the same run.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from tallystick.sandbox.wire.errors import StripeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallystick.sandbox.state.records import Event, MeterEvent
    from tallystick.sandbox.wire.requests import Request

_MILLION = 1_000_000


class Fault(StrEnum):
    """What can go wrong."""

    RATE_LIMIT = "rate_limit"
    """429 with Stripe's headers."""
    RATE_LIMIT_BARE = "rate_limit_bare"
    """429 without any header: may be a lock time-out."""
    CONFLICT = "conflict"
    """409."""
    SERVER_ERROR = "server_error"
    """500 before the work; saved under an idempotency key in v1."""
    SERVER_ERROR_AFTER = "server_error_after"
    """500 although the work was done."""
    SLOW = "slow"
    """An answer that takes ``seconds``."""
    CUT_BEFORE = "cut_before"
    """The connection is cut before the work."""
    CUT_AFTER = "cut_after"
    """The connection is cut after the work was done: the answer is lost."""
    SUMMARY_LAG = "summary_lag"
    """Meter event summaries show an event only ``seconds`` later on its customer's clock."""
    METER_EVENT_REJECTION = "meter_event_rejection"
    """An accepted meter event fails asynchronously with ``code``."""
    WEBHOOK_LOSS = "webhook_loss"
    WEBHOOK_DUPLICATE = "webhook_duplicate"
    WEBHOOK_DELAY = "webhook_delay"
    """A webhook comes ``seconds`` late, in real time."""
    WEBHOOK_REORDER = "webhook_reorder"
    """A webhook waits until the next one of its endpoint was sent, ``seconds`` at most, 2 when left
    out."""


class Rule(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One rule; a field that is left out does not restrict it."""

    kind: Fault
    method: str | None = None
    path: str | None = None
    """Pattern such as ``/v1/billing/*``."""
    event: str | None = None
    """Pattern of a webhook's event type, such as ``invoice.*``."""
    customer: str | None = None
    """Pattern of a meter event's customer."""
    identifier: str | None = None
    """Pattern of a meter event's identifier."""
    probability: Decimal | None = None
    """0 to 1; 1 when left out."""
    skip: int = 0
    """Matches that are let through first."""
    times: int | None = None
    """How often the fault happens at most."""
    seconds: Decimal | None = None
    code: str = "meter_event_customer_not_found"
    message: str = "The meter event was rejected."
    reason: str = "global-rate"
    """Value of ``Stripe-Rate-Limited-Reason``."""
    asked: int = 0
    happened: int = 0

    @property
    def ends_request(self) -> bool:
        """Say whether a request does no work once this struck."""
        return self.kind not in (Fault.SLOW, Fault.CUT_AFTER, Fault.SERVER_ERROR_AFTER)

    @property
    def wait_s(self) -> float:
        """Return ``seconds``, or how long the fault waits when they are left out."""
        if self.seconds is not None:
            return float(self.seconds)
        return 2.0 if self.kind is Fault.WEBHOOK_REORDER else 1.0


class Faults:
    """The rules of one account, or of all."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rules: list[Rule] = []

    def _strike(self, rule: Rule, number: int) -> bool:
        """Say whether a matching rule happens this time."""
        rule.asked += 1
        if rule.asked <= rule.skip:
            return False
        if rule.times is not None and rule.happened >= rule.times:
            return False
        if rule.probability is not None:
            material = f"{self.seed}/{number}/{rule.kind}/{rule.asked}".encode()
            draw = int.from_bytes(blake2b(material, digest_size=8).digest(), "big") % _MILLION
            if draw >= rule.probability * _MILLION:
                return False
        rule.happened += 1
        return True

    def of_request(self, request: Request) -> Iterator[Rule]:
        """Yield what goes wrong with a request."""
        for number, rule in enumerate(self.rules):
            if (
                rule.kind in _OF_REQUESTS
                and _fits_request(rule, request)
                and self._strike(rule, number)
            ):
                yield rule

    def of_meter_event(self, event: MeterEvent) -> Rule | None:
        """Return the rule that rejects an accepted meter event."""
        for number, rule in enumerate(self.rules):
            if (
                rule.kind is Fault.METER_EVENT_REJECTION
                and _fits(rule.customer, event.customer)
                and _fits(rule.identifier, event.identifier)
                and self._strike(rule, number)
            ):
                return rule
        return None

    def summary_lag_s(self, customer: str) -> int:
        """Return by how much a customer's summaries lag."""
        lag_s = 0
        for number, rule in enumerate(self.rules):
            if (
                rule.kind is Fault.SUMMARY_LAG
                and _fits(rule.customer, customer)
                and self._strike(rule, number)
            ):
                lag_s = max(lag_s, int(rule.seconds or 3_600))
        return lag_s

    def of_webhook(self, event: Event) -> Iterator[Rule]:
        """Yield what goes wrong with the delivery of an event."""
        for number, rule in enumerate(self.rules):
            if (
                rule.kind in _OF_WEBHOOKS
                and _fits(rule.event, event.type)
                and self._strike(rule, number)
            ):
                yield rule


_OF_WEBHOOKS = frozenset(
    {
        Fault.WEBHOOK_LOSS,
        Fault.WEBHOOK_DUPLICATE,
        Fault.WEBHOOK_DELAY,
        Fault.WEBHOOK_REORDER,
    }
)
_OF_REQUESTS = frozenset(Fault) - _OF_WEBHOOKS - {Fault.SUMMARY_LAG, Fault.METER_EVENT_REJECTION}


def _fits(pattern: str | None, text: str) -> bool:
    return pattern is None or fnmatchcase(text, pattern)


def _fits_request(rule: Rule, request: Request) -> bool:
    return (rule.method is None or rule.method.upper() == request.method) and _fits(
        rule.path, request.path
    )


def fault_error(rule: Rule, *, is_v2: bool) -> StripeError | None:
    """Return the error that a rule answers with instead of working, or None."""
    if rule.kind is Fault.RATE_LIMIT:
        return StripeError(
            "Request rate limit exceeded. Learn more about rate limits here "
            "https://stripe.com/docs/rate-limits.",
            status=429,
            code="rate_limit",
            headers={"stripe-rate-limited-reason": rule.reason, "stripe-should-retry": "true"},
        )
    if rule.kind is Fault.RATE_LIMIT_BARE:
        return StripeError(
            "This object cannot be accessed right now because another API request or Stripe "
            "process is currently accessing it.",
            status=429,
            code="lock_timeout",
        )
    if rule.kind is Fault.CONFLICT:
        return concurrent_meter_event()
    if rule.kind is Fault.SERVER_ERROR:
        return StripeError(
            "An unknown error occurred.", status=500, type_="api_error", saved=not is_v2
        )
    return None


def concurrent_meter_event() -> StripeError:
    """Return the 409 of a second call for one customer and meter (v2 table; v1 observed 409)."""
    return StripeError(
        "Cannot create multiple usage events for the same customer, meter concurrently.",
        status=409,
        code="too_many_concurrent_requests",
    )
