"""What every outbox promises, whichever backend it is."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tallystick.domain.reports import ReportState, Step
from tallystick.ports.outbox import (
    Claim,
    Decision,
    Depth,
    Due,
    Outcome,
    Reported,
    Settlement,
    StuckFilter,
)
from tests.contract.backends import NOW
from tests.contract.planning import LEASE_US, PERIOD, plan, planned
from tests.contract.racing import race

if TYPE_CHECKING:
    from tallystick.domain.reports import UsageReport
    from tallystick.wiring import Tallystick

PENDING, DELIVERED = ReportState.PENDING, ReportState.DELIVERED
DEAD, PARKED, UNRESOLVED = ReportState.DEAD, ReportState.PARKED, ReportState.UNRESOLVED
DECISION = Decision("ada", "looked at it", NOW)
ALL = StuckFilter()


def taken(store: Tallystick, now: int = NOW, limit: int = 100) -> list[Claim]:
    return store.outbox.claim(now, LEASE_US, limit)


def settle(
    store: Tallystick, claim: Claim, state: ReportState = DELIVERED, **settled: object
) -> list[Claim]:
    settlement = Settlement(state, **settled)  # type: ignore[arg-type]  # by the test's own hand
    return store.outbox.settle([Outcome(claim, settlement)], NOW)


def who(claims: list[Claim]) -> list[tuple[str, str, int]]:
    return [(c.report.customer, c.report.meter_key, c.report.sequence) for c in claims]


def only(store: Tallystick) -> UsageReport:
    (report,) = store.book.reports()
    return report


def test_one_report_of_a_customer_and_meter_is_in_flight(
    store: Tallystick, other: Tallystick
) -> None:
    plan(store, planned(), planned(sequence=1), planned(meter_key="weight"), planned("bolt"))
    claims = taken(store)
    assert sorted(who(claims)) == [("acme", "seen", 0), ("acme", "weight", 0), ("bolt", "seen", 0)]
    assert taken(other) == []
    first = next(claim for claim in claims if claim.report.meter_key == "seen")
    assert settle(store, first) == []
    assert who(taken(other)) == [(first.report.customer, "seen", 1)]


def test_what_closes_first_comes_first_and_then_who_waited_longest(store: Tallystick) -> None:
    plan(store, planned("late", closes_at=PERIOD.end_at + 9))
    plan(store, planned("second"), now=NOW - 1)
    plan(store, planned("first"), now=NOW - 2)
    plan(store, planned("urgent", closes_at=NOW))
    order = [claim.report.customer for claim in taken(store, limit=3)]
    assert order == ["urgent", "first", "second"]
    assert [claim.report.customer for claim in taken(store)] == ["late"]


def test_a_claim_is_written_down_before_it_is_given(store: Tallystick) -> None:
    plan(store, planned())
    (claim,) = taken(store, NOW + 5)
    assert (claim.report.attempts, claim.report.first_attempt_at) == (0, None)
    tried = only(store)
    assert (tried.attempts, tried.maybe_taken, tried.first_attempt_at) == (1, True, NOW + 5)


def test_a_claim_is_not_given_again_before_its_lease_is_over(
    store: Tallystick, other: Tallystick
) -> None:
    plan(store, planned())
    taken(store)
    assert taken(other, NOW + LEASE_US - 1) == []
    (again,) = taken(other, NOW + LEASE_US)
    assert (again.report.attempts, again.report.maybe_taken) == (1, True)
    assert again.report.first_attempt_at == NOW


def test_who_lost_its_lease_marks_no_report(store: Tallystick, other: Tallystick) -> None:
    plan(store, planned(), planned("bolt"))
    lost, kept = sorted(taken(store), key=lambda claim: claim.report.customer)
    taken(other, NOW + LEASE_US, limit=1)
    outcomes = [Outcome(claim, Settlement(DELIVERED)) for claim in (lost, kept)]
    refused = store.outbox.settle(outcomes, NOW)
    states = {report.customer: report.state for report in store.book.reports()}
    assert [claim.report.customer for claim in refused] == ["acme"]
    assert states == {"acme": PENDING, "bolt": DELIVERED}


def test_a_large_batch_settles_each_report_in_its_own_way(
    store: Tallystick, other: Tallystick
) -> None:
    """Whatever its neighbours in the batch came to, and whose lease of them was lost."""
    ways = (
        Settlement(DELIVERED, wake_at=NOW + 70),
        Settlement(PENDING, "429: slow", NOW + 80, step=Step.SEND_FRESH),
        Settlement(PENDING, "503", NOW + 90, maybe_taken=True),
        Settlement(DEAD, "no_meter"),
        Settlement(ReportState.REPLACED, "not_cancellable"),
    )
    customers = [f"c{number:03}" for number in range(100)]
    for customer in customers:
        plan(store, planned(customer), planned(customer, 1))
    claims = sorted(taken(store), key=lambda claim: claim.report.customer)
    taken(other, NOW + LEASE_US, limit=9)
    again = {each.customer for each in store.book.reports() if each.attempts == 2}
    outcomes = [Outcome(claim, ways[place % 5]) for place, claim in enumerate(claims)]
    lost = store.outbox.settle(outcomes, NOW + LEASE_US)
    assert {claim.report.customer for claim in lost} == again
    first = {each.customer: each for each in store.book.reports() if each.sequence == 0}
    for place, customer in enumerate(customers):
        report, settlement = first[customer], ways[place % 5]
        if customer in again:
            assert (report.state, report.reason, report.maybe_taken) == (PENDING, None, True)
            continue
        assert (report.state, report.reason) == (settlement.state, settlement.reason)
        assert (report.maybe_taken, report.step) == (settlement.maybe_taken, settlement.step)
        is_ended = settlement.state is not PENDING
        assert report.settled_at == (NOW + LEASE_US if is_ended else None)
        tried_at = None if settlement.step is Step.SEND_FRESH else NOW
        assert report.first_attempt_at == tried_at
        counted = 0 if settlement.state is ReportState.REPLACED else report.quantity
        assert store.book.reported(customer, "seen", PERIOD) == Reported(
            counted + planned(customer, 1).quantity, 2
        )
    ended = {c for place, c in enumerate(customers) if place % 5 in (0, 3, 4)} - again
    assert {who([claim])[0] for claim in taken(store)} == {(c, "seen", 1) for c in ended}


def test_a_settled_report_is_not_settled_again(store: Tallystick) -> None:
    plan(store, planned())
    (claim,) = taken(store)
    assert settle(store, claim) == []
    assert settle(store, claim, DEAD, reason="twice") == [claim]
    assert (only(store).state, only(store).settled_at) == (DELIVERED, NOW)


def test_a_report_is_tried_again_at_its_time_and_others_of_its_lane_wait(
    store: Tallystick,
) -> None:
    plan(store, planned(), planned(sequence=1))
    (claim,) = taken(store)
    settle(store, claim, PENDING, reason="503", wake_at=NOW + 50, maybe_taken=True)
    assert store.outbox.next_attempt_at() == NOW + 50
    assert taken(store, NOW + 49) == []
    (again,) = taken(store, NOW + 50)
    assert who([again]) == [("acme", "seen", 0)]
    assert (again.report.reason, again.report.maybe_taken) == ("503", True)
    assert again.report.first_attempt_at == NOW


def test_an_attempt_that_surely_did_not_arrive_makes_the_next_one_the_first(
    store: Tallystick,
) -> None:
    plan(store, planned())
    (claim,) = taken(store)
    settle(store, claim, PENDING, wake_at=NOW, step=Step.SEND_FRESH)
    (again,) = taken(store, NOW + 7)
    assert (again.report.maybe_taken, again.report.first_attempt_at) == (False, None)
    assert again.report.step is Step.SEND_FRESH
    assert only(store).first_attempt_at == NOW + 7


def test_the_next_attempt_is_known(store: Tallystick) -> None:
    assert store.outbox.next_attempt_at() is None
    plan(store, planned())
    assert store.outbox.next_attempt_at() == 0
    (claim,) = taken(store)
    assert store.outbox.next_attempt_at() == NOW + LEASE_US
    settle(store, claim)
    assert store.outbox.next_attempt_at() is None


def test_depth_tells_what_waits_and_since_when(store: Tallystick) -> None:
    assert store.outbox.depth() == Depth(0, None, None, 0, None)
    assert store.outbox.counts() == {}
    plan(store, planned("a"), planned("b", closes_at=NOW + 3), now=NOW - 9)
    plan(store, planned("c", state=PARKED))
    assert store.outbox.depth() == Depth(2, NOW - 9, NOW + 3, 0, None)
    (claim,) = taken(store, limit=1)
    settle(store, claim)
    assert store.outbox.depth() == Depth(1, NOW - 9, PERIOD.end_at, 1, NOW)
    assert store.outbox.counts() == {PENDING: 1, DELIVERED: 1, PARKED: 1}


def test_racing_workers_deliver_each_report_once_and_keep_lanes_apart(
    store: Tallystick, other: Tallystick
) -> None:
    customers, sequences = 6, 8
    for number in range(customers):
        plan(store, *(planned(f"c{number}", sequence) for sequence in range(sequences)))
    in_flight: set[str] = set()
    looking = threading.Lock()
    delivered: Counter[tuple[str, str, int]] = Counter()

    def work(worker: Tallystick) -> None:
        while store.outbox.depth().pending:
            claims = taken(worker, limit=2)
            with looking:
                lanes = [claim.report.customer for claim in claims]
                assert not in_flight.intersection(lanes), "two of one lane were in flight"
                assert len(set(lanes)) == len(lanes)
                in_flight.update(lanes)
                delivered.update(who(claims))
            with looking:
                in_flight.difference_update(lanes)
            outcomes = [Outcome(claim, Settlement(DELIVERED)) for claim in claims]
            assert worker.outbox.settle(outcomes, NOW) == []

    race([partial(work, one) for one in (store, other, store, other)])
    assert set(delivered.values()) == {1}
    assert len(delivered) == customers * sequences
    assert store.outbox.counts() == {DELIVERED: customers * sequences}


def test_racing_plans_of_one_lane_leave_one_at_its_head(
    store: Tallystick, other: Tallystick
) -> None:
    """Two meters of ours that are one at Stripe do not exist; two periods of one meter do."""

    def write(planner: Tallystick, first: int) -> None:
        for number in range(first, 20, 2):
            plan(planner, planned(f"c{number // 4}", number % 4 // 2, meter_key=f"m{first}"))

    race([lambda: write(store, 0), lambda: write(other, 1)])
    delivered = 0
    while claims := taken(store):
        lanes = [(claim.report.customer, claim.report.meter_key) for claim in claims]
        assert len(set(lanes)) == len(lanes)
        delivered += len(claims)
        for claim in claims:
            settle(store, claim)
    assert delivered == 20
    assert store.outbox.depth().pending == 0


def test_a_plan_that_races_with_the_end_of_its_lane_is_not_forgotten(
    store: Tallystick, other: Tallystick
) -> None:
    """A report is written while the only other one of its lane is being settled."""

    def end(claim: Claim) -> None:
        assert settle(store, claim) == []

    plan(store, planned())
    for sequence in range(1, 26):
        (claim,) = taken(store)
        race([partial(end, claim), partial(plan, other, planned(sequence=sequence))])
    assert len(taken(store)) == 1


def test_a_delivered_report_is_looked_at_until_it_is_verified(store: Tallystick) -> None:
    confirmations = store.confirmations
    plan(store, planned())
    (claim,) = taken(store)
    settle(store, claim, wake_at=NOW + 60)
    assert confirmations.next_unverified(NOW + 59) is None
    found = confirmations.next_unverified(NOW + 60)
    assert found is not None
    confirmations.look_again([found], NOW + 90)
    assert confirmations.next_unverified(NOW + 89) is None
    confirmations.verify([found], NOW + 91)
    assert confirmations.next_unverified(NOW + 99) is None
    assert only(store).verified_at == NOW + 91
    assert store.outbox.depth().unverified == 0


def test_a_delivered_report_that_stripe_does_not_show_is_left_unverified(
    store: Tallystick,
) -> None:
    plan(store, planned(), planned(customer="else"))
    mine, other = taken(store)
    settle(store, mine, wake_at=NOW + 60)
    settle(store, other, wake_at=NOW + 70)
    found = store.confirmations.next_unverified(NOW + 70)
    assert found is not None
    store.confirmations.leave([found], "not_shown")
    left = next(each for each in store.book.reports() if each.id == found.id)
    assert (left.state, left.reason, left.verified_at) == (DELIVERED, "not_shown", None)
    rest = store.confirmations.next_unverified(NOW + 70)
    assert rest is not None
    assert rest.id != found.id
    assert store.outbox.depth().unverified == 1


@pytest.mark.parametrize("state", [PENDING, DELIVERED, UNRESOLVED])
def test_a_rejection_ends_a_report_and_lets_the_next_one_go(
    store: Tallystick, state: ReportState
) -> None:
    plan(store, planned(), planned(sequence=1))
    (claim,) = taken(store)
    settle(store, claim, state, wake_at=NOW + 50, maybe_taken=True)
    identifier = claim.report.identifier
    assert store.confirmations.reject(identifier, "no_meter", NOW + 1)
    assert not store.confirmations.reject(identifier, "again", NOW + 2)
    assert not store.confirmations.reject("ts1-else", "nobody's", NOW + 2)
    report = next(each for each in store.book.reports() if each.sequence == 0)
    assert (report.state, report.reason, report.settled_at) == (DEAD, "no_meter", NOW + 1)
    assert who(taken(store)) == [("acme", "seen", 1)]
    assert settle(store, claim) == [claim]


def test_what_a_total_had_is_not_rejected(store: Tallystick) -> None:
    plan(store, planned())
    (claim,) = taken(store)
    settle(store, claim, DELIVERED)
    store.confirmations.verify([only(store)], NOW + 1)
    assert not store.confirmations.reject(claim.report.identifier, "another attempt's", NOW + 2)
    assert (only(store).state, only(store).verified_at) == (DELIVERED, NOW + 1)


@pytest.mark.parametrize("state", [PENDING, DELIVERED, UNRESOLVED, DEAD, ReportState.REPLACED])
def test_what_another_report_takes_back_is_not_rejected(
    store: Tallystick, state: ReportState
) -> None:
    plan(store, planned())
    (first,) = taken(store)
    settle(store, first, DELIVERED)
    identifier = first.report.identifier
    plan(store, replace(planned(sequence=1, quantity="-7"), cancels=identifier))
    (second,) = taken(store)
    settle(store, second, state, wake_at=NOW + 50)
    is_taken_back = state not in (DEAD, ReportState.REPLACED)
    rejected = store.confirmations.reject(identifier, "no_meter", NOW + 1)
    assert rejected is not is_taken_back
    report = next(each for each in store.book.reports() if each.sequence == 0)
    assert report.state is (DELIVERED if is_taken_back else DEAD)


def test_how_far_errors_were_matched_is_kept(store: Tallystick, other: Tallystick) -> None:
    assert store.confirmations.errors_read() == 0
    store.confirmations.mark_errors_read(41)
    assert other.confirmations.errors_read() == 41


def stuck(store: Tallystick) -> list[UsageReport]:
    return store.stuck_reports.find(ALL, 0, 100)


def bury(store: Tallystick, customer: str, state: ReportState, reason: str) -> None:
    plan(store, planned(customer))
    (claim,) = taken(store)
    settle(store, claim, state, reason=reason)


def test_stuck_reports_are_found_by_what_they_are(store: Tallystick) -> None:
    bury(store, "a", DEAD, "no_meter: 1%")
    bury(store, "b", UNRESOLVED, "no_answer")
    bury(store, "c", DEAD, "no_customer")
    plan(store, planned("d"))
    kept = store.stuck_reports

    def found(chosen: StuckFilter) -> str:
        reports = kept.find(chosen, 0, 100)
        assert kept.count(chosen) == len(reports)
        return "".join(report.customer for report in reports)

    assert found(ALL) == "abc"
    assert found(StuckFilter(DEAD)) == "ac"
    assert found(StuckFilter(customer="b")) == "b"
    assert found(StuckFilter(meter_key="else")) == ""
    assert found(StuckFilter(reason="no_")) == "abc"
    assert found(StuckFilter(DEAD, reason="no_m")) == "a"
    assert found(StuckFilter(reason="no_meter: 1%")) == "a"
    assert found(StuckFilter(reason="%")) == ""
    first, second, third = stuck(store)
    assert kept.find(ALL, first.id, 1) == [second]
    assert kept.get(third.id) == third
    assert kept.get(0) is None


def test_a_stuck_report_is_replaced_once(store: Tallystick, other: Tallystick) -> None:
    bury(store, "acme", DEAD, "no_meter")
    (report,) = stuck(store)

    def replace(worker: Tallystick) -> bool:
        return worker.stuck_reports.replace(report, planned(sequence=1), DECISION)

    assert sorted(race([lambda: replace(store), lambda: replace(other)])) == [False, True]
    assert stuck(store) == []
    assert who(taken(store)) == [("acme", "seen", 1)]
    assert store.stuck_reports.decisions(report.id) == [("replaced", DECISION)]


def test_a_replacement_whose_sequence_is_taken_changes_nothing(store: Tallystick) -> None:
    bury(store, "acme", DEAD, "no_meter")
    plan(store, planned(sequence=1))
    (report,) = stuck(store)
    assert not store.stuck_reports.replace(report, planned(sequence=1), DECISION)
    assert stuck(store) == [report]
    assert store.stuck_reports.decisions(report.id) == []


def test_without_a_replacement_the_usage_is_due_again_at_once(store: Tallystick) -> None:
    bury(store, "acme", DEAD, "no_meter")
    (report,) = stuck(store)
    assert store.stuck_reports.replace(report, None, DECISION)
    (due,) = store.book.due(None, NOW, 9)
    assert due[:2] == ("acme", "seen")
    assert store.book.record(due, [], NOW, due_again_at=NOW + 99)
    assert store.book.due(None, NOW, 9) == []


def test_a_stuck_report_is_closed_as_a_person_decided(store: Tallystick) -> None:
    bury(store, "a", DEAD, "no_meter")
    bury(store, "b", UNRESOLVED, "no_answer")
    one, two = stuck(store)
    kept = store.stuck_reports
    assert kept.close(one, ReportState.WAIVED, DECISION)
    assert not kept.close(one, DELIVERED, DECISION)
    assert kept.close(two, DELIVERED, DECISION)
    assert stuck(store) == []
    unverified = store.confirmations.next_unverified(NOW)
    assert unverified is not None
    assert unverified.id == two.id
    assert kept.decisions(one.id) == [("waived", DECISION)]
    assert kept.decisions(two.id) == [("delivered", DECISION)]


def test_a_plan_is_due_no_more_once_it_is_recorded(store: Tallystick) -> None:
    """The report and the end of its being due are one write."""
    bury(store, "acme", DEAD, "no_meter")
    (report,) = stuck(store)
    store.stuck_reports.replace(report, None, DECISION)
    (due,) = store.book.due(None, NOW, 9)
    assert due == Due("acme", "seen", due.mark)
    assert store.book.record(due, [planned(sequence=1)], NOW, due_again_at=None)
    assert store.book.due(None, None, 9) == []
