"""Deliver: tell Stripe of each report until its outcome is known."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, assert_never

from tallystick.domain.instants import MINUTE_US, SECOND_US
from tallystick.domain.reports import IDENTIFIER_WINDOW_US, ReportState
from tallystick.ports.errors import LeaseLost
from tallystick.ports.outbox import Settlement
from tallystick.ports.stripe import Attempt, AttemptResult, MeterEvent

if TYPE_CHECKING:
    from tallystick.domain.reports import UsageReport
    from tallystick.ports.clock import Clock
    from tallystick.ports.outbox import Claim, Outbox
    from tallystick.ports.stripe import UsageSink

LEASE_US = 5 * MINUTE_US
"""How long a claimed report belongs to its worker: far longer than a request may take."""

CLAIM_BATCH = 16
"""Reports claimed at once: their commits are shared, and a crash leaves so many to wait for a
lease.
"""

BACKOFF_BASE_US = SECOND_US
BACKOFF_CAP_US = 10 * MINUTE_US
BACKOFF_DOUBLINGS_MAX = 12


class Deliverer:
    """Takes reports from the outbox and tells Stripe; several may work on one outbox."""

    def __init__(
        self, outbox: Outbox, sink: UsageSink, clock: Clock, jitter: random.Random
    ) -> None:
        self._outbox = outbox
        self._sink = sink
        self._clock = clock
        self._jitter = jitter

    def run(self) -> Counter[str]:
        """Try each report that may be tried now, once; return how many came to which state.

        A report that another worker took over meanwhile counts as ``lease_lost``.
        """
        outcomes: Counter[str] = Counter()
        while claims := self._outbox.claim(self._clock.now(), LEASE_US, CLAIM_BATCH):
            for claim in claims:
                outcomes[self._deliver(claim)] += 1
        return outcomes

    def _deliver(self, claim: Claim) -> str:
        report = claim.report
        now = self._clock.now()
        if _outlived_its_identifier(report, now):
            # Stripe may have it and would not recognise it any more: a repeat could bill twice
            settlement = Settlement(ReportState.UNRESOLVED, "outcome_unknown", maybe_taken=True)
        else:
            settlement = self._settlement(report, self._sink.send(meter_event(report)))
        try:
            self._outbox.settle(claim, settlement, self._clock.now())
        except LeaseLost:
            return LeaseLost.code
        return settlement.state.value

    def _settlement(self, report: UsageReport, attempt: Attempt) -> Settlement:
        said = (attempt.result, attempt.code, attempt.message)
        reason = ": ".join(part for part in said if part)
        match attempt.result:
            case AttemptResult.TAKEN | AttemptResult.KNOWN:
                return Settlement(ReportState.DELIVERED)
            case AttemptResult.REFUSED if report.maybe_taken:
                # an earlier attempt may have got through before this refusal became true
                return Settlement(ReportState.UNRESOLVED, reason, maybe_taken=True)
            case AttemptResult.REFUSED:
                return Settlement(ReportState.DEAD, reason)
            case AttemptResult.SLOW_DOWN:
                return self._retry(report, reason, maybe_taken=report.maybe_taken)
            case AttemptResult.UNKNOWN | AttemptResult.FAILED:
                return self._retry(report, reason, maybe_taken=True)
        assert_never(attempt.result)

    def _retry(self, report: UsageReport, reason: str, *, maybe_taken: bool) -> Settlement:
        """Try again after an exponential delay with full jitter."""
        doublings = min(report.attempts, BACKOFF_DOUBLINGS_MAX)
        longest_us = min(BACKOFF_BASE_US << doublings, BACKOFF_CAP_US)
        retry_at = self._clock.now() + self._jitter.randrange(longest_us)
        return Settlement(ReportState.PENDING, reason, retry_at, maybe_taken)


def _outlived_its_identifier(report: UsageReport, now: int) -> bool:
    first_at = report.first_attempt_at
    return report.maybe_taken and first_at is not None and now - first_at > IDENTIFIER_WINDOW_US


def meter_event(report: UsageReport) -> MeterEvent:
    """Return what Stripe is told, under a request key that repeats what may be repeated.

    The first key is the identifier itself, so that Stripe's samples of rejected events, which name
    the request key, can be joined. After an answer that Stripe would replay (5xx, 409) it is fresh.
    """
    is_fresh = (report.reason or "").startswith(AttemptResult.FAILED)
    return MeterEvent(
        event_name=report.meter_key,
        stripe_customer_id=report.stripe_customer_id,
        quantity=report.quantity,
        timestamp=report.timestamp,
        identifier=report.identifier,
        request_key=f"{report.identifier}.{report.attempts}" if is_fresh else report.identifier,
    )
