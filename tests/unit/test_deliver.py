"""The outcomes of an attempt, one by one, on a real outbox with a sink that answers by script."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tallystick.domain.instants import DAY_US, HOUR_US, MINUTE_US, parse_instant
from tallystick.domain.periods import Period
from tallystick.domain.reports import PlannedReport, ReportState, UsageReport, report_identifier
from tallystick.pipeline.deliver import BACKOFF_CAP_US, LEASE_US, Deliverer
from tallystick.ports.errors import LeaseLost
from tallystick.ports.outbox import Due, Settlement
from tallystick.ports.stripe import Attempt, AttemptResult, MeterEvent

if TYPE_CHECKING:
    from tallystick.wiring import Tallystick
    from tests.fixtures.clock import FakeClock

MAY = Period(parse_instant("2015-05-01"), parse_instant("2015-06-01"))


class ScriptedSink:
    """Answers each attempt as it was told, and remembers what it was sent."""

    def __init__(self, *answers: AttemptResult) -> None:
        self.answers = list(answers)
        self.sent: list[MeterEvent] = []

    def send(self, event: MeterEvent) -> Attempt:
        self.sent.append(event)
        return Attempt(self.answers.pop(0), None, "said so")


def plan(product: Tallystick, customer: str = "acme", sequence: int = 0) -> None:
    quantity = Decimal(5 + sequence)
    report = PlannedReport(
        customer=customer,
        stripe_customer_id=f"cus_{customer}",
        meter_key="api_requests",
        period=MAY,
        window=MAY,
        sequence=sequence,
        quantity=quantity,
        timestamp=1_432_000_000,
        identifier=report_identifier(f"cus_{customer}", "api_requests", MAY, sequence, quantity),
        state=ReportState.PENDING,
        reason=None,
    )
    due = Due(customer, "api_requests", 0)
    assert product.book.record(due, [report], product.clock.now(), still_due=False)


def deliverer(product: Tallystick, sink: ScriptedSink) -> Deliverer:
    return Deliverer(product.outbox, sink, product.clock, random.Random(1))


def only(product: Tallystick) -> UsageReport:
    (report,) = product.book.reports()
    return report


@pytest.mark.parametrize("answer", [AttemptResult.TAKEN, AttemptResult.KNOWN])
def test_what_stripe_has_is_delivered(product: Tallystick, answer: AttemptResult) -> None:
    plan(product)
    assert deliverer(product, ScriptedSink(answer)).run() == {"delivered": 1}
    assert only(product).state is ReportState.DELIVERED


def test_what_stripe_refuses_for_good_is_dead_with_its_reason(product: Tallystick) -> None:
    plan(product)
    assert deliverer(product, ScriptedSink(AttemptResult.REFUSED)).run() == {"dead": 1}
    assert only(product).reason == "refused: said so"


@pytest.mark.parametrize(
    "answer", [AttemptResult.UNKNOWN, AttemptResult.FAILED, AttemptResult.SLOW_DOWN]
)
def test_what_may_pass_is_tried_again_later_under_the_same_identifier(
    product: Tallystick, clock: FakeClock, answer: AttemptResult
) -> None:
    plan(product)
    sink = ScriptedSink(answer, AttemptResult.TAKEN)
    assert deliverer(product, sink).run()["pending"] == 1
    clock.advance(BACKOFF_CAP_US)
    assert deliverer(product, sink).run() == {"delivered": 1}
    first, second = sink.sent
    assert first.identifier == second.identifier == first.request_key
    assert (first.quantity, first.timestamp) == (second.quantity, second.timestamp)
    # Stripe replays a failure under its request key for a day; the identifier still guards
    assert (second.request_key == first.request_key) == (answer is not AttemptResult.FAILED)


def test_an_unknown_outcome_older_than_the_identifier_is_never_repeated(
    product: Tallystick, clock: FakeClock
) -> None:
    plan(product)
    sink = ScriptedSink(AttemptResult.UNKNOWN)
    deliverer(product, sink).run()
    clock.advance(DAY_US)
    assert deliverer(product, sink).run() == {"unresolved": 1}
    assert len(sink.sent) == 1


def test_what_was_surely_not_taken_is_repeated_however_old(
    product: Tallystick, clock: FakeClock
) -> None:
    plan(product)
    sink = ScriptedSink(AttemptResult.SLOW_DOWN, AttemptResult.TAKEN)
    deliverer(product, sink).run()
    clock.advance(30 * DAY_US)
    assert deliverer(product, sink).run() == {"delivered": 1}


def test_a_refusal_after_an_unknown_outcome_needs_a_person(
    product: Tallystick, clock: FakeClock
) -> None:
    plan(product)
    sink = ScriptedSink(AttemptResult.UNKNOWN, AttemptResult.REFUSED)
    deliverer(product, sink).run()
    clock.advance(BACKOFF_CAP_US)
    assert deliverer(product, sink).run() == {"unresolved": 1}


def test_one_customer_and_meter_has_one_report_in_flight_in_order(product: Tallystick) -> None:
    for sequence in range(3):
        plan(product, sequence=sequence)
    plan(product, "other")
    now = product.clock.now()
    first = product.outbox.claim(now, LEASE_US, 100)
    assert sorted((claim.report.customer, claim.report.sequence) for claim in first) == [
        ("acme", 0),
        ("other", 0),
    ]
    assert product.outbox.claim(now, LEASE_US, 100) == []
    sink = ScriptedSink(*[AttemptResult.TAKEN] * 4)
    product.clock.pause(LEASE_US / 1_000_000)
    deliverer(product, sink).run()
    quantities = [e.quantity for e in sink.sent if e.stripe_customer_id == "cus_acme"]
    assert quantities == [5, 6, 7]


def test_one_report_that_waits_does_not_hold_up_other_customers(product: Tallystick) -> None:
    plan(product)
    plan(product, "other")
    sink = ScriptedSink(AttemptResult.UNKNOWN, AttemptResult.TAKEN)
    outcomes = deliverer(product, sink).run()
    assert outcomes == {"pending": 1, "delivered": 1}


def test_a_worker_that_lost_its_lease_cannot_write_an_outcome(
    product: Tallystick, clock: FakeClock
) -> None:
    plan(product)
    (slow,) = product.outbox.claim(clock.now(), LEASE_US, 1)
    clock.advance(LEASE_US)
    (taken_over,) = product.outbox.claim(clock.now(), LEASE_US, 1)
    with pytest.raises(LeaseLost):
        product.outbox.settle(slow, Settlement(ReportState.DEAD), clock.now())
    product.outbox.settle(taken_over, Settlement(ReportState.DELIVERED), clock.now())
    assert only(product).state is ReportState.DELIVERED


def test_a_crash_between_claim_and_answer_leaves_the_outcome_unknown(
    product: Tallystick, clock: FakeClock
) -> None:
    plan(product)
    product.outbox.claim(clock.now(), LEASE_US, 1)
    clock.advance(LEASE_US)
    (again,) = product.outbox.claim(clock.now(), LEASE_US, 1)
    assert again.report.maybe_taken
    assert again.report.attempts == 1


def test_retries_spread_and_grow_up_to_a_limit(product: Tallystick, clock: FakeClock) -> None:
    plan(product)
    sink = ScriptedSink(*[AttemptResult.SLOW_DOWN] * 40)
    delays = []
    for _ in range(40):
        assert deliverer(product, sink).run()["pending"] >= 1
        next_at = product.outbox.next_attempt_at()
        assert next_at is not None
        delays.append(next_at - clock.now())
        clock.advance(max(delays[-1], 1))
        if not sink.answers:
            break
    assert max(delays) <= BACKOFF_CAP_US
    assert max(delays[12:]) > MINUTE_US
    assert max(delays[:2]) < HOUR_US
