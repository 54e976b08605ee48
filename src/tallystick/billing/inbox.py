"""Dealing with what Stripe told: each event of the inbox until it is settled or given up on."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import structlog

from tallystick.billing.stripe_objects import Event
from tallystick.domain.instants import MINUTE_US, SECOND_US
from tallystick.ports.errors import LeaseLost, PortError, StripeUnreachable
from tallystick.ports.inbox import ArrivedEvent, Brought, InboxState, MeterError
from tallystick.ports.mirror import ObjectKind

if TYPE_CHECKING:
    import random

    from tallystick.billing.stripe_mirror import StripeMirror
    from tallystick.ports.clock import Clock
    from tallystick.ports.inbox import Inbox, InboxClaim, InboxEvent, MeterErrors
    from tallystick.ports.mirror import Mirror, ObjectSource

METER_ERRORS = (
    "v1.billing.meter.error_report_triggered",
    "v1.billing.meter.no_meter_found",
)
"""Thin events: Stripe did not count meter events that it had taken."""

SNAPSHOTS = (
    "billing.meter.created",
    "billing.meter.deactivated",
    "billing.meter.reactivated",
    "billing.meter.updated",
    "customer.created",
    "customer.deleted",
    "customer.updated",
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
    "customer.subscription.resumed",
    "customer.subscription.trial_will_end",
    "customer.subscription.updated",
    "invoice.created",
    "invoice.deleted",
    "invoice.finalization_failed",
    "invoice.finalized",
    "invoice.marked_uncollectible",
    "invoice.overdue",
    "invoice.overpaid",
    "invoice.paid",
    "invoice.payment_action_required",
    "invoice.payment_failed",
    "invoice.sent",
    "invoice.updated",
    "invoice.voided",
    "price.created",
    "price.deleted",
    "price.updated",
    "product.created",
    "product.deleted",
    "product.updated",
)
"""Event types whose objects are mirrored, as an endpoint names them."""

CLOCK_SNAPSHOTS = (
    "test_helpers.test_clock.advancing",
    "test_helpers.test_clock.created",
    "test_helpers.test_clock.deleted",
    "test_helpers.test_clock.internal_failure",
    "test_helpers.test_clock.ready",
)
"""The same for test clocks, which live mode has none of."""

LEASE_US = 5 * MINUTE_US
"""How long a claimed event belongs to its worker: far longer than its requests may take."""

CLAIM_BATCH = 16
"""Events claimed at once: a crash leaves so many to wait for a lease."""

ATTEMPTS_MAX = 8
"""Attempts that Stripe refused, or that a worker did not survive, before an event is dead."""

OUTAGE_ATTEMPTS_MAX = 1_000
"""Attempts that Stripe did not answer: with the longest pause, about a week."""

BACKOFF_BASE_US = SECOND_US
BACKOFF_CAP_US = 10 * MINUTE_US
BACKOFF_DOUBLINGS_MAX = 12


def arrived(body: bytes, brought: Brought) -> ArrivedEvent:
    """Return an event as it stands in a body.

    Raises:
        ValueError: it is no event of Stripe's.
    """
    event = msgspec.json.decode(body, type=Event)
    if event.object not in ("event", "v2.core.event") or not event.id or not event.type:
        raise ValueError("the body is no event of Stripe's")
    return ArrivedEvent(event.id, event.type, event.api_version, event.is_thin, body, brought)


class InboxWorker:
    """Takes events from the inbox; several may work on one inbox, in several processes.

    An event moves the mirror by having its object fetched, unless the object was fetched after the
    event had arrived. Events may come twice, late, or in any order, and mean the same.
    """

    def __init__(
        self,
        *,
        inbox: Inbox,
        mirror: Mirror,
        stripe_mirror: StripeMirror,
        source: ObjectSource,
        meter_errors: MeterErrors,
        clock: Clock,
        jitter: random.Random,
    ) -> None:
        self._inbox = inbox
        self._mirror = mirror
        self._stripe_mirror = stripe_mirror
        self._source = source
        self._meter_errors = meter_errors
        self._clock = clock
        self._jitter = jitter
        self._log = structlog.get_logger()

    def run(self) -> Counter[str]:
        """Try each event that may be tried now, once; return how many came to which state.

        An event that another worker took over meanwhile counts as ``lease_lost``.
        """
        outcomes: Counter[str] = Counter()
        while claims := self._inbox.claim(self._clock.now(), LEASE_US, CLAIM_BATCH):
            for claim in claims:
                outcomes[self._work_on(claim)] += 1
        return outcomes

    def _work_on(self, claim: InboxClaim) -> str:
        event = claim.event
        state, reason, retry_at = InboxState.SETTLED, None, self._clock.now()
        if event.attempts > OUTAGE_ATTEMPTS_MAX:
            state, reason = InboxState.DEAD, event.reason or "no attempt came to an end"
        else:
            try:
                reason = self._take_in(event)
            except StripeUnreachable as error:
                state, reason, retry_at = self._again(event, str(error), OUTAGE_ATTEMPTS_MAX)
            except (PortError, ValueError) as error:
                state, reason, retry_at = self._again(event, str(error), ATTEMPTS_MAX)
        try:
            self._inbox.settle(claim, state, reason, self._clock.now(), retry_at)
        except LeaseLost:
            return LeaseLost.code
        if state is InboxState.DEAD:
            self._log.error(
                "inbox.dead",
                event_id=event.event_id,
                type=event.type,
                attempts=event.attempts,
                reason=reason,
                remedy=f"tallystick inbox show {event.event_id}",
            )
        return state.value

    def _again(
        self, event: InboxEvent, reason: str, attempts_max: int
    ) -> tuple[InboxState, str, int]:
        """Try again after an exponential delay with full jitter, or give up."""
        now = self._clock.now()
        if event.attempts >= attempts_max:
            return InboxState.DEAD, reason, now
        doublings = min(event.attempts, BACKOFF_DOUBLINGS_MAX)
        longest_us = min(BACKOFF_BASE_US << doublings, BACKOFF_CAP_US)
        return InboxState.WAITING, reason, now + self._jitter.randrange(longest_us)

    def _take_in(self, event: InboxEvent) -> str | None:
        """Do what an event asks for; return a remark where that is nothing."""
        if event.type in METER_ERRORS:
            self._keep_meter_error(event)
            return None
        told = msgspec.json.decode(event.body, type=Event)
        subject = told.subject()
        if subject is None:
            return "not mirrored"
        if not event.is_thin:
            pasts = told.pasts()
            self._stripe_mirror.learn_prices(pasts)
            self._mirror.remember(event.event_id, pasts)
        self._stripe_mirror.refresh(*subject, told=event.seq)
        return None

    def _keep_meter_error(self, event: InboxEvent) -> None:
        """Keep the whole event: its notification says only that there is one."""
        body = self._source.thin_event(event.event_id) if event.is_thin else event.body
        whole = msgspec.json.decode(body, type=Event)
        related = whole.related_object
        self._meter_errors.keep(
            MeterError(
                seq=0,
                event_id=event.event_id,
                type=event.type,
                stripe_meter_id=related.id if related else None,
                body=body,
                received_at=event.received_at,
            )
        )
        if related is not None and related.id and related.type == ObjectKind.METER:
            # a deactivated meter is the reason of some errors
            self._stripe_mirror.refresh(ObjectKind.METER, related.id, told=event.seq)
