"""Deliver: tell Stripe of each report until its outcome is known."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, assert_never

from tallystick.domain.instants import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from tallystick.domain.reports import (
    IDENTIFIER_WINDOW_US,
    ParkReason,
    ReportState,
    ReportWay,
    Step,
    grace_us,
)
from tallystick.pipeline.resolve import given_up
from tallystick.ports.errors import LeaseLost
from tallystick.ports.outbox import Outcome, Settlement
from tallystick.ports.stripe import Attempt, AttemptResult, Dispatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tallystick.domain.reports import UsageReport
    from tallystick.pipeline.breaker import Breaker
    from tallystick.pipeline.resolve import Resolver
    from tallystick.ports.clock import Clock
    from tallystick.ports.outbox import Claim, Outbox
    from tallystick.ports.stripe import UsageSink

LEASE_US = 5 * MINUTE_US
"""How long a claimed report belongs to its worker: far longer than a request may take."""

CLAIM_BATCH = 16
"""Reports claimed at once: their commits are shared, and a crash leaves so many to wait for a
lease. A way that carries more in one request claims as many as it carries.
"""

BACKOFF_BASE_US = SECOND_US
BACKOFF_CAP_US = 10 * MINUTE_US
BACKOFF_DOUBLINGS_MAX = 12

QUIET_US = 3 * HOUR_US
"""How long nothing is sent before Stripe's totals are asked what arrived. They are eventually
consistent; Stripe names no limit, and minutes are what is seen."""

RECORD_QUIET_US = 10 * MINUTE_US
"""The same for usage records, which Stripe keeps before it answers."""

VERIFY_SOON_US = 2 * MINUTE_US
VERIFY_LATEST_US = DAY_US
"""When a delivered report is looked for in Stripe's totals: right after its period's end, or after
a day, so that a customer and meter cost about one read a day."""


class Deliverer:
    """Takes reports from the outbox and tells Stripe; several may work on one outbox."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        sinks: Mapping[ReportWay, UsageSink],
        resolver: Resolver,
        breaker: Breaker,
        clock: Clock,
        jitter: random.Random,
    ) -> None:
        self._outbox = outbox
        self._sinks = sinks
        self._resolver = resolver
        self._breaker = breaker
        self._clock = clock
        self._jitter = jitter
        self._batch = max(CLAIM_BATCH, *(sink.batch_max for sink in sinks.values()))

    def run(self) -> Counter[str]:
        """Try each report that may be tried now, once; return how many came to which state.

        A report that another worker took over meanwhile counts as ``lease_lost``. Nothing is tried
        while the breaker is open.
        """
        outcomes: Counter[str] = Counter()
        while limit := self._breaker.admit(self._batch):
            is_trial = self._breaker.is_open
            claims = self._outbox.claim(self._clock.now(), LEASE_US, limit)
            if not claims:
                break
            checked = [(claim, self._before_sending(claim.report)) for claim in claims]
            settled = list(self._deliver(checked, is_trial=is_trial))
            if is_trial and all(settlement is not None for _, settlement in checked):
                self._breaker.return_trial()
            outcomes.update(outcome.settlement.state.value for outcome in settled)
            for lost in self._outbox.settle(settled, self._clock.now()):
                states = {outcome.claim: outcome.settlement.state.value for outcome in settled}
                outcomes[states[lost]] -= 1
                outcomes[LeaseLost.code] += 1
        return +outcomes

    def _deliver(
        self, checked: Sequence[tuple[Claim, Settlement | None]], *, is_trial: bool
    ) -> Iterator[Outcome]:
        """Yield what the claims led to; what cannot be tried within its lease is put back."""
        send_until = self._clock.now() + LEASE_US // 2
        by_way: dict[ReportWay, list[Claim]] = {}
        for claim, settlement in checked:
            if settlement is None:
                by_way.setdefault(claim.report.way, []).append(claim)
            else:
                yield Outcome(claim, settlement)
        for way, chosen in by_way.items():
            sink = self._sinks[way]
            for first in range(0, len(chosen), sink.batch_max):
                chunk = chosen[first : first + sink.batch_max]
                is_down = self._breaker.is_open and not is_trial
                if is_down or self._clock.now() > send_until:
                    # Stripe went down or slow in the middle of the batch: these were not tried
                    yield from (Outcome(each, self._put_back(each.report)) for each in chunk)
                else:
                    yield from self._send(sink, chunk)

    def _send(self, sink: UsageSink, claims: Sequence[Claim]) -> Iterator[Outcome]:
        attempts = sink.send([dispatch_of(claim.report) for claim in claims])
        self._breaker.note(attempts[0].result)
        now = self._clock.now()
        for claim, attempt in zip(claims, attempts, strict=True):
            yield Outcome(claim, self._settlement(claim.report, attempt, now))

    def _before_sending(self, report: UsageReport) -> Settlement | None:
        """Return what becomes of a report that must not be sent now, or None for one that may."""
        now = self._clock.now()
        if report.step is Step.RESOLVE:
            settlement = self._resolver.settle(report, self._backoff(report))
            if settlement.step is Step.RESOLVE:  # Stripe did not say
                self._breaker.note(AttemptResult.UNKNOWN)
            return settlement
        reason = self._resolver.too_late(report)
        if report.maybe_taken and (reason or _outlived_its_identifier(report, now)):
            # Stripe may have it and would not recognise it any more: a repeat could bill twice
            return _resolve_later("outcome_unknown", now)
        return None if reason is None else given_up(reason)

    def _settlement(self, report: UsageReport, attempt: Attempt, now: int) -> Settlement:
        said = (attempt.result, attempt.code, attempt.message)
        reason = ": ".join(filter(None, said))
        match attempt.result:
            case AttemptResult.TAKEN | AttemptResult.KNOWN:
                return Settlement(ReportState.DELIVERED, wake_at=verify_at(report, now))
            case AttemptResult.REFUSED | AttemptResult.TOO_LATE if report.maybe_taken:
                # an earlier attempt may have got through before this refusal became true
                return _resolve_later(reason, now)
            case AttemptResult.REFUSED | AttemptResult.TOO_LATE if report.cancels:
                return Settlement(ReportState.REPLACED, reason)  # planned another way
            case AttemptResult.REFUSED:
                return Settlement(ReportState.DEAD, reason)
            case AttemptResult.TOO_LATE:
                return Settlement(ReportState.PARKED, ParkReason.PERIOD_CLOSED)
            case AttemptResult.SLOW_DOWN:
                return self._retry(report, reason, report.step, maybe_taken=report.maybe_taken)
            case AttemptResult.UNKNOWN:
                return self._retry(report, reason, report.step, maybe_taken=True)
            case AttemptResult.FAILED if report.is_increment:
                # under a fresh key it could be added twice
                return _resolve_later(reason, now, RECORD_QUIET_US)
            case AttemptResult.FAILED:
                return self._retry(report, reason, Step.SEND_FRESH, maybe_taken=True)
        assert_never(attempt.result)

    def _retry(
        self, report: UsageReport, reason: str, step: Step, *, maybe_taken: bool
    ) -> Settlement:
        return Settlement(
            ReportState.PENDING, reason, self._backoff(report), maybe_taken=maybe_taken, step=step
        )

    def _backoff(self, report: UsageReport) -> int:
        """Return when to try again: after an exponential delay with full jitter."""
        doublings = min(report.attempts, BACKOFF_DOUBLINGS_MAX)
        longest_us = min(BACKOFF_BASE_US << doublings, BACKOFF_CAP_US)
        return self._clock.now() + self._jitter.randrange(longest_us)

    def _put_back(self, report: UsageReport) -> Settlement:
        return self._retry(report, "not_tried", report.step, maybe_taken=report.maybe_taken)


def _resolve_later(reason: str, now: int, quiet_us: int = QUIET_US) -> Settlement:
    return Settlement(
        ReportState.PENDING, reason, now + quiet_us, maybe_taken=True, step=Step.RESOLVE
    )


def _outlived_its_identifier(report: UsageReport, now: int) -> bool:
    """Tell whether Stripe may have forgotten the report's identifier.

    What says a level needs none: it is set, however often.
    """
    first_at = report.first_attempt_at
    return (
        not report.overwrites_itself
        and first_at is not None
        and now - first_at > IDENTIFIER_WINDOW_US
    )


def verify_at(report: UsageReport, now: int) -> int:
    """Return when Stripe's totals are to be asked for a report that is delivered ``now``."""
    ended_at = report.closes_at - grace_us(report.way)
    return max(now + VERIFY_SOON_US, min(now + VERIFY_LATEST_US, ended_at + VERIFY_SOON_US))


def dispatch_of(report: UsageReport) -> Dispatch:
    """Return the report with a request key that repeats what may be repeated.

    The first key is the identifier itself, so that Stripe's samples of rejected events, which name
    the request key, can be joined. After an answer that Stripe would replay (5xx, 409) it is fresh.
    """
    is_fresh = report.step is Step.SEND_FRESH
    return Dispatch(
        report, f"{report.identifier}.{report.attempts}" if is_fresh else report.identifier
    )
