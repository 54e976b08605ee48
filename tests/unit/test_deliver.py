"""The outcomes of an attempt, one by one, on a real outbox with a sink that answers by script."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tallystick.billing.recorded_items import RecordedItems
from tallystick.domain.instants import DAY_US, HOUR_US, MINUTE_US, parse_instant
from tallystick.domain.periods import Period
from tallystick.domain.reports import (
    PlannedReport,
    ReportState,
    ReportWay,
    UsageReport,
    report_identifier,
)
from tallystick.pipeline.breaker import FAILURES_MAX, PAUSE_MAX_US, Breaker
from tallystick.pipeline.deliver import BACKOFF_CAP_US, LEASE_US, QUIET_US, Deliverer
from tallystick.pipeline.resolve import Resolver
from tallystick.ports.errors import StripeUnreachable
from tallystick.ports.outbox import Due, Outcome, Settlement
from tallystick.ports.stripe import Attempt, AttemptResult, Dispatch, RecordedUsage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.wiring import Tallystick
    from tests.fixtures.clock import FakeClock

MAY = Period(parse_instant("2015-05-01"), parse_instant("2015-06-01"))
JUNE = Period(parse_instant("2015-06-01"), parse_instant("2015-07-01"))


class ScriptedSink:
    """Answers each request as it was told, and remembers what it was sent."""

    def __init__(self, *answers: AttemptResult, batch_max: int = 1) -> None:
        self.answers = list(answers)
        self.batch_max = batch_max
        self.requests: list[list[Dispatch]] = []

    def send(self, dispatches: Sequence[Dispatch]) -> list[Attempt]:
        self.requests.append(list(dispatches))
        return [Attempt(self.answers.pop(0), None, "said so")] * len(dispatches)

    @property
    def sent(self) -> list[Dispatch]:
        return [dispatch for request in self.requests for dispatch in request]


class ScriptedTotals:
    """Stripe's totals, as a test sets them; None: Stripe cannot be reached."""

    def __init__(self, total: Decimal | int | None = 0) -> None:
        self.total = total
        self.asked: list[Period] = []

    def summarized(self, stripe_meter_id: str, stripe_customer_id: str, period: Period) -> Decimal:
        self.asked.append(period)
        if self.total is None:
            raise StripeUnreachable("no answer")
        return Decimal(self.total)

    def recorded(self, stripe_item_id: str, period: Period) -> RecordedUsage:
        return RecordedUsage(self.summarized("", "", period))


def plan(
    product: Tallystick,
    customer: str = "acme",
    sequence: int = 0,
    *,
    period: Period = MAY,
    quantity: int | None = None,
    **fields: Any,
) -> None:
    amount = Decimal(5 + sequence if quantity is None else quantity)
    report = PlannedReport(
        customer=customer,
        stripe_customer_id=f"cus_{customer}",
        meter_key="api_requests",
        period=period,
        window=period,
        sequence=sequence,
        quantity=amount,
        timestamp=period.end_at // 1_000_000 - 3_600,
        identifier=report_identifier(f"cus_{customer}", "api_requests", period, sequence, amount),
        state=ReportState.PENDING,
        reason=None,
        closes_at=period.end_at + HOUR_US,
    )
    due = Due(customer, "api_requests", 0)
    assert product.book.record(
        due, [replace(report, **fields)], product.clock.now(), due_again_at=None
    )


def deliverer(
    product: Tallystick,
    sink: ScriptedSink,
    totals: ScriptedTotals | None = None,
    breaker: Breaker | None = None,
) -> Deliverer:
    resolver = Resolver(
        book=product.book,
        catalog=product.catalog,
        customers=product.customers,
        summaries=totals or ScriptedTotals(),
        recorded=RecordedItems(
            product.customers, product.catalog, product.record_prices, totals or ScriptedTotals()
        ),
        now_of=lambda _: product.clock.now(),
        clock=product.clock,
    )
    return Deliverer(
        outbox=product.outbox,
        sinks=dict.fromkeys(ReportWay, sink),
        resolver=resolver,
        breaker=breaker or Breaker(product.clock),
        clock=product.clock,
        jitter=random.Random(1),
    )


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
    assert first.report.identifier == second.report.identifier == first.request_key
    assert first.report.quantity == second.report.quantity
    assert first.report.timestamp == second.report.timestamp
    # Stripe replays a failure under its request key for a day; the identifier still guards
    assert (second.request_key == first.request_key) == (answer is not AttemptResult.FAILED)


def unknown_since_a_day(product: Tallystick, clock: FakeClock, sink: ScriptedSink) -> None:
    """Make an attempt whose answer is lost, and let Stripe forget the identifier."""
    sink.answers.insert(0, AttemptResult.UNKNOWN)
    deliverer(product, sink).run()
    clock.advance(DAY_US)
    assert deliverer(product, sink).run() == {"pending": 1}
    assert deliverer(product, sink).run() == {}  # it stays quiet while Stripe's totals settle
    clock.advance(QUIET_US)


def test_an_unknown_outcome_that_stripe_counts_is_delivered_and_not_repeated(
    product: Tallystick, clock: FakeClock
) -> None:
    plan(product)
    sink, totals = ScriptedSink(), ScriptedTotals(5)
    unknown_since_a_day(product, clock, sink)
    assert deliverer(product, sink, totals).run() == {"delivered": 1}
    assert len(sink.sent) == 1
    (minute,) = totals.asked
    assert only(product).timestamp * 1_000_000 in minute
    assert minute.end_at - minute.start_at == MINUTE_US


def test_an_unknown_outcome_that_stripe_does_not_count_is_sent_again(
    product: Tallystick, clock: FakeClock
) -> None:
    plan(product)
    sink = ScriptedSink(AttemptResult.TAKEN)
    unknown_since_a_day(product, clock, sink)
    outcomes = deliverer(product, sink, ScriptedTotals(0)).run()
    assert outcomes == {"pending": 1, "delivered": 1}
    first, second = sink.sent
    assert first.report.identifier == second.report.identifier
    assert first.request_key != second.request_key  # a day later the old one says nothing


def test_an_unknown_outcome_that_the_total_does_not_tell_needs_a_person(
    product: Tallystick, clock: FakeClock
) -> None:
    plan(product)
    sink = ScriptedSink()
    unknown_since_a_day(product, clock, sink)
    assert deliverer(product, sink, ScriptedTotals(3)).run() == {"unresolved": 1}
    assert len(sink.sent) == 1
    reason = only(product).reason
    assert reason == "ambiguous: Stripe has 3 in that minute, 0 is accounted for"


def test_an_unknown_outcome_waits_while_stripe_does_not_say(
    product: Tallystick, clock: FakeClock
) -> None:
    plan(product)
    sink, totals = ScriptedSink(), ScriptedTotals(None)
    unknown_since_a_day(product, clock, sink)
    assert deliverer(product, sink, totals).run()["pending"] >= 1
    totals.total = 5
    clock.advance(BACKOFF_CAP_US)
    assert deliverer(product, sink, totals).run() == {"delivered": 1}
    assert len(sink.sent) == 1


def test_an_unknown_outcome_of_a_closed_period_is_never_sent_again(
    product: Tallystick, clock: FakeClock
) -> None:
    plan(product)
    sink = ScriptedSink(AttemptResult.UNKNOWN)
    deliverer(product, sink).run()
    clock.advance(12 * DAY_US)
    assert deliverer(product, sink).run() == {"pending": 1}
    clock.advance(QUIET_US)
    assert deliverer(product, sink, ScriptedTotals(0)).run() == {"parked": 1}
    assert only(product).reason == "period_closed"
    assert len(sink.sent) == 1


def test_usage_whose_period_closed_while_it_waited_is_parked_as_late(
    product: Tallystick, clock: FakeClock
) -> None:
    plan(product)
    plan(product, "june", period=JUNE)
    clock.advance(12 * DAY_US)
    sink = ScriptedSink(AttemptResult.TAKEN)
    assert deliverer(product, sink).run() == {"parked": 1, "delivered": 1}
    assert [one.report.customer for one in sink.sent] == ["june"]


def test_what_stripe_calls_too_late_is_parked(product: Tallystick) -> None:
    plan(product)
    assert deliverer(product, ScriptedSink(AttemptResult.TOO_LATE)).run() == {"parked": 1}


def test_what_was_surely_not_taken_is_repeated_however_old(
    product: Tallystick, clock: FakeClock
) -> None:
    plan(product, period=JUNE)
    sink = ScriptedSink(AttemptResult.SLOW_DOWN, AttemptResult.TAKEN)
    deliverer(product, sink).run()
    clock.advance(30 * DAY_US)
    assert deliverer(product, sink).run() == {"delivered": 1}


def test_a_first_unknown_attempt_after_days_of_429_may_be_repeated_for_a_day(
    product: Tallystick, clock: FakeClock
) -> None:
    plan(product, period=JUNE)
    sink = ScriptedSink(AttemptResult.SLOW_DOWN, AttemptResult.UNKNOWN, AttemptResult.TAKEN)
    deliverer(product, sink).run()
    clock.advance(10 * DAY_US)
    deliverer(product, sink).run()
    clock.advance(DAY_US // 2)
    assert deliverer(product, sink).run() == {"delivered": 1}


@pytest.mark.parametrize(("total", "state"), [(5, "delivered"), (0, "dead")])
def test_a_refusal_after_an_unknown_outcome_is_resolved_from_the_total(
    product: Tallystick, clock: FakeClock, total: int, state: str
) -> None:
    plan(product)
    sink = ScriptedSink(AttemptResult.UNKNOWN, AttemptResult.REFUSED, AttemptResult.REFUSED)
    deliverer(product, sink).run()
    clock.advance(BACKOFF_CAP_US)
    assert deliverer(product, sink).run() == {"pending": 1}
    clock.advance(QUIET_US)
    assert deliverer(product, sink, ScriptedTotals(total)).run()[state] == 1


def test_a_usage_record_is_repeated_however_old_it_is(
    product: Tallystick, clock: FakeClock
) -> None:
    plan(product, period=JUNE, way=ReportWay.USAGE_RECORDS)
    sink = ScriptedSink(AttemptResult.UNKNOWN, AttemptResult.TAKEN)
    deliverer(product, sink).run()
    clock.advance(10 * DAY_US)
    assert deliverer(product, sink).run() == {"delivered": 1}


def test_what_closes_first_goes_first(product: Tallystick) -> None:
    plan(product, "june", period=JUNE)
    plan(product, "may")
    sink = ScriptedSink(*[AttemptResult.TAKEN] * 2)
    deliverer(product, sink).run()
    assert [one.report.customer for one in sink.sent] == ["may", "june"]


def test_a_customer_with_much_to_send_lets_others_between(
    product: Tallystick, clock: FakeClock
) -> None:
    for sequence in range(3):
        plan(product, "big", sequence)
    clock.advance(1)
    plan(product, "small")
    sink = ScriptedSink(*[AttemptResult.TAKEN] * 4)
    deliverer(product, sink).run()
    assert [one.report.customer for one in sink.sent] == ["big", "small", "big", "big"]


def test_a_way_that_takes_many_gets_them_in_one_request(product: Tallystick) -> None:
    for number in range(25):
        plan(product, f"c{number:02}", way=ReportWay.METER_EVENT_STREAM)
    sink = ScriptedSink(*[AttemptResult.TAKEN] * 3, batch_max=10)
    assert deliverer(product, sink).run() == {"delivered": 25}
    assert [len(request) for request in sink.requests] == [10, 6, 9]


def test_while_stripe_is_down_one_call_at_a_time_asks_whether_it_is_back(
    product: Tallystick, clock: FakeClock
) -> None:
    for number in range(100):
        plan(product, f"c{number}")
    sink = ScriptedSink(*[AttemptResult.UNKNOWN] * 50)
    breaker = Breaker(clock)
    deliverer(product, sink, breaker=breaker).run()
    assert len(sink.sent) == FAILURES_MAX
    assert deliverer(product, sink, breaker=breaker).run() == {}
    for minutes in range(1, 11):
        clock.advance(PAUSE_MAX_US)
        deliverer(product, sink, breaker=breaker).run()
        assert len(sink.sent) <= FAILURES_MAX + minutes
    assert len(sink.sent) > FAILURES_MAX

    sink.answers = [AttemptResult.TAKEN] * 100
    clock.advance(PAUSE_MAX_US)
    deliverer(product, sink, breaker=breaker).run()
    clock.advance(BACKOFF_CAP_US)
    deliverer(product, sink, breaker=breaker).run()
    assert product.outbox.counts() == {"delivered": 100}


def test_one_report_that_always_fails_does_not_stop_the_others(
    product: Tallystick, clock: FakeClock
) -> None:
    for number in range(30):
        plan(product, f"c{number}")

    class OneBad(ScriptedSink):
        def send(self, dispatches: Sequence[Dispatch]) -> list[Attempt]:
            is_bad = dispatches[0].report.customer == "c0"
            return [Attempt(AttemptResult.FAILED if is_bad else AttemptResult.TAKEN)]

    breaker = Breaker(clock)
    for _ in range(20):
        deliverer(product, OneBad(), breaker=breaker).run()
        clock.advance(BACKOFF_CAP_US)
    assert product.outbox.counts() == {"delivered": 29, "pending": 1}
    plan(product, "newcomer")
    for _ in range(3):
        clock.advance(PAUSE_MAX_US)
        deliverer(product, OneBad(), breaker=breaker).run()
    assert product.outbox.counts() == {"delivered": 30, "pending": 1}


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
    quantities = [e.report.quantity for e in sink.sent if e.report.customer == "acme"]
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
    dead = Outcome(slow, Settlement(ReportState.DEAD))
    delivered = Outcome(taken_over, Settlement(ReportState.DELIVERED))
    assert product.outbox.settle([dead], clock.now()) == [slow]
    assert product.outbox.settle([delivered], clock.now()) == []
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
    plan(product, period=JUNE)
    sink = ScriptedSink(*[AttemptResult.SLOW_DOWN] * 40)
    delays: list[int] = []
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


def test_what_cannot_be_tried_within_its_lease_is_put_back_untried(
    product: Tallystick, clock: FakeClock
) -> None:
    for number in range(3):
        plan(product, f"c{number}")

    class Slow(ScriptedSink):
        def send(self, dispatches: Sequence[Dispatch]) -> list[Attempt]:
            clock.advance(LEASE_US // 2 + 1)
            return super().send(dispatches)

    sink = Slow(*[AttemptResult.TAKEN] * 3)
    claims = deliverer(product, sink).run()
    assert claims["delivered"] >= 1
    assert not any(
        report.maybe_taken for report in product.book.reports() if report.state == "pending"
    )
    clock.advance(BACKOFF_CAP_US)
    while product.outbox.depth().pending:
        clock.advance(BACKOFF_CAP_US)
        deliverer(product, sink).run()
    assert len(sink.sent) == 3
