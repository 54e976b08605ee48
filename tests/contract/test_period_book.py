"""What every book of periods promises, whichever backend it is: reports are sorted anew."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tallystick.domain.instants import DAY_US, HOUR_US
from tallystick.domain.item_history import ItemChange, ItemReading, ItemState
from tallystick.domain.meters import Aggregation, Meter
from tallystick.domain.periods import Period
from tallystick.domain.reports import ReportState, Step, StrayReason
from tallystick.domain.subscriptions import CustomerLink
from tallystick.domain.usage_records import RecordAggregation
from tallystick.ports.mirror import ItemPast, ObjectKind, ObjectReading, PresentItem
from tallystick.ports.outbox import (
    Decision,
    Due,
    Outcome,
    Rearrangement,
    Reported,
    Settlement,
    SortedPeriod,
    StandIn,
    Stray,
)
from tests.contract.backends import NOW, put_in_force
from tests.contract.planning import LEASE_US, PERIOD, plan, planned
from tests.contract.racing import race

if TYPE_CHECKING:
    from tallystick.domain.reports import UsageReport
    from tallystick.wiring import Tallystick

CUT = Period(PERIOD.start_at, NOW)
LATER = Period(NOW, NOW + 20 * DAY_US)


@pytest.fixture(autouse=True)
def meters(store: Tallystick) -> None:
    """The meter of the reports."""
    put_in_force(store, (Meter("seen", "", "seen", Aggregation.COUNT),))


def sorted_anew(
    *strays: tuple[UsageReport, StrayReason],
    periods: tuple[SortedPeriod, ...] = (),
    stand_ins: tuple[StandIn, ...] = (),
) -> Rearrangement:
    return Rearrangement(
        "acme", "cus_acme", "seen", periods, tuple(Stray(*stray) for stray in strays), stand_ins
    )


def by_sequence(store: Tallystick, period: Period = PERIOD) -> list[UsageReport]:
    return store.book.of_period("acme", "seen", period)


def test_how_far_the_newest_report_of_a_period_tells_is_known(store: Tallystick) -> None:
    def reported_until(customer: str, period: Period) -> int | None:
        return store.period_book.reported_until(customer, "seen", period)

    newest = planned(sequence=1)
    longer = replace(newest, window=Period(PERIOD.start_at, NOW))
    plan(store, planned(), longer)
    assert reported_until("acme", PERIOD) == NOW
    assert reported_until("acme", Period(PERIOD.end_at, PERIOD.end_at + 1)) is None
    assert reported_until("another", PERIOD) is None


def test_a_stray_counts_no_more_and_its_worker_lost_it(store: Tallystick) -> None:
    plan(store, planned(quantity="5"), planned(sequence=1, quantity="7"))
    (claim,) = store.outbox.claim(NOW, LEASE_US, 9)
    held, _ = by_sequence(store)
    changes = sorted_anew((held, StrayReason.UNKNOWN))
    assert store.period_book.rearrange(changes, NOW + 1)
    first, second = by_sequence(store)
    assert (first.state, first.reason) == (ReportState.REPLACED, StrayReason.UNKNOWN)
    assert (first.maybe_taken, first.settled_at) == (True, NOW + 1)
    assert store.book.reported("acme", "seen", PERIOD) == Reported(Decimal(7), 2)
    lost = store.outbox.settle([Outcome(claim, Settlement(ReportState.DELIVERED))], NOW + 2)
    assert lost == [claim]
    assert by_sequence(store)[0].state is ReportState.REPLACED
    (going,) = store.outbox.claim(NOW + 1, LEASE_US, 9)
    assert going.report.id == second.id


def test_only_what_stripe_may_have_is_remembered_as_stray(store: Tallystick) -> None:
    plan(store, *(planned(sequence=number) for number in range(4)))
    reasons = list(StrayReason)
    changes = sorted_anew(*zip(by_sequence(store), reasons, strict=True))
    assert store.period_book.rearrange(changes, NOW)
    found = store.book.strays("acme", "seen")
    assert [one.reason for one in found] == [StrayReason.TAKEN, StrayReason.UNKNOWN]
    assert store.book.strays("acme", "else") == store.book.strays("else", "seen") == []
    assert store.book.reported("acme", "seen", PERIOD) == Reported(Decimal(0), 4)


def test_a_period_keeps_the_end_that_it_came_to_have(store: Tallystick) -> None:
    delivered = planned(state=ReportState.DELIVERED)
    plan(store, delivered, planned(sequence=1), planned(period=LATER))
    known = [SortedPeriod(PERIOD, 2), SortedPeriod(LATER, 1)]
    assert store.period_book.periods("acme", "seen") == known
    assert store.period_book.rearrange(sorted_anew(periods=(SortedPeriod(CUT, 2),)), NOW)
    assert store.period_book.periods("acme", "seen") == [SortedPeriod(CUT, 2), known[1]]
    sent, waiting = by_sequence(store)
    assert sent.period == waiting.period == CUT
    assert sent.closes_at == PERIOD.end_at
    assert waiting.closes_at == CUT.end_at  # as urgent as the new end makes it
    assert store.period_book.periods("acme", "else") == []


def test_the_newest_report_says_which_item_a_period_is_told_to(store: Tallystick) -> None:
    plan(store, planned(stripe_item_id="si_1"), planned(sequence=1), planned(period=LATER))
    assert store.period_book.periods("acme", "seen")[0] == SortedPeriod(PERIOD, 2)
    plan(store, planned(sequence=1, period=LATER, stripe_item_id="si_1"))
    assert store.period_book.periods("acme", "seen")[1] == SortedPeriod(LATER, 2, "si_1")


def test_the_newest_report_says_how_the_records_of_a_period_are_added_up(
    store: Tallystick,
) -> None:
    first, second = (planned(sequence=n, stripe_item_id="si_1") for n in range(2))
    plan(
        store,
        replace(first, level=Decimal(7), record_aggregation=RecordAggregation.SUM),
        replace(second, level=Decimal(7), record_aggregation=RecordAggregation.MAX),
    )
    known = SortedPeriod(PERIOD, 2, "si_1", RecordAggregation.MAX)
    assert store.period_book.periods("acme", "seen") == [known]


def test_who_knows_another_end_of_a_period_plans_nothing_for_it(store: Tallystick) -> None:
    plan(store, planned(state=ReportState.DELIVERED))
    assert store.period_book.rearrange(sorted_anew(periods=(SortedPeriod(CUT, 1),)), NOW)
    one = Due("acme", "seen", -1)
    assert not store.book.record(one, [planned(sequence=1)], NOW, due_again_at=None)
    assert len(by_sequence(store)) == 1
    after = planned(sequence=1, period=CUT)
    assert store.book.record(one, [after], NOW, due_again_at=None)


def test_who_drives_a_report_again_knows_the_end_of_its_period(store: Tallystick) -> None:
    plan(store, planned())
    (claim,) = store.outbox.claim(NOW, LEASE_US, 9)
    store.outbox.settle([Outcome(claim, Settlement(ReportState.DEAD, "no_meter"))], NOW)
    (dead,) = by_sequence(store)
    assert store.period_book.rearrange(sorted_anew(periods=(SortedPeriod(CUT, 1),)), NOW)
    decision = Decision("ann", "a test", NOW)
    assert not store.stuck_reports.replace(dead, planned(sequence=1), decision)
    assert by_sequence(store)[0].state is ReportState.DEAD
    again = planned(sequence=1, period=CUT)
    assert store.stuck_reports.replace(dead, again, decision)


def test_no_end_moves_over_a_report_that_nobody_looked_at(store: Tallystick) -> None:
    plan(store, planned(state=ReportState.DELIVERED))
    (known,) = store.period_book.periods("acme", "seen")
    plan(store, planned(sequence=1))  # it may lie beyond the new end
    changes = sorted_anew(periods=(SortedPeriod(CUT, known.next_sequence),))
    before = by_sequence(store)
    assert not store.period_book.rearrange(changes, NOW)
    assert by_sequence(store) == before
    assert store.period_book.rearrange(sorted_anew(periods=(SortedPeriod(CUT, 2),)), NOW)


def test_what_is_planned_beside_another_process_is_looked_at_once_more(store: Tallystick) -> None:
    store.customers.link([CustomerLink("acme", "cus_acme")], NOW)
    store.mirror.keep([subscription(PERIOD)])
    plan(store, planned())
    store.mirror.keep([subscription(PERIOD, NOW, read_at=NOW + 1)])
    (slow,) = store.book.due(None, None, 9)
    store.mirror.keep([subscription(PERIOD, NOW + 1, read_at=NOW + 2)])
    (fast,) = store.book.due(None, None, 9)
    assert store.book.record(fast, [], NOW, due_again_at=None)  # nothing is left to be done
    assert store.book.record(slow, [planned(sequence=1)], NOW, due_again_at=NOW + HOUR_US)
    (again,) = store.book.due(None, NOW, 9)
    assert again.mark not in {slow.mark, fast.mark}
    assert store.book.record(slow, [planned(sequence=2)], NOW, due_again_at=None)
    assert store.book.record(again, [], NOW, due_again_at=None)  # it knew nothing of that one
    assert len(store.book.due(None, NOW, 9)) == 1


def test_what_is_marked_while_it_is_planned_does_not_sleep(store: Tallystick) -> None:
    store.customers.link([CustomerLink("acme", "cus_acme")], NOW)
    store.mirror.keep([subscription(PERIOD)])
    plan(store, planned())
    store.mirror.keep([subscription(PERIOD, NOW, read_at=NOW + 1)])
    (slow,) = store.book.due(None, None, 9)
    store.mirror.keep([subscription(PERIOD, NOW + 1, read_at=NOW + 2)])
    assert store.book.record(slow, [], NOW, due_again_at=NOW + HOUR_US)
    (again,) = store.book.due(None, NOW, 9)
    assert store.book.record(again, [], NOW, due_again_at=NOW + HOUR_US)
    assert store.book.due(None, NOW, 9) == []


def test_a_stand_in_is_delivered_and_looked_for(store: Tallystick) -> None:
    plan(store, planned(quantity="5"))
    (report,) = by_sequence(store)
    there = planned(quantity="5", state=ReportState.DELIVERED, period=LATER)
    changes = sorted_anew((report, StrayReason.MOVED), stand_ins=(StandIn(there),))
    assert store.period_book.rearrange(changes, NOW)
    (found,) = by_sequence(store, LATER)
    assert (found.state, found.settled_at) == (ReportState.DELIVERED, NOW)
    assert store.book.reported("acme", "seen", LATER) == Reported(Decimal(5), 1)
    assert store.confirmations.next_unverified(NOW) == found
    assert store.outbox.claim(NOW, LEASE_US, 9) == []


def test_a_stand_in_whose_report_may_have_arrived_is_resolved_later(store: Tallystick) -> None:
    there = planned(quantity="5", period=LATER)
    waits = StandIn(there, NOW + HOUR_US)
    assert store.period_book.rearrange(sorted_anew(stand_ins=(waits,)), NOW)
    assert store.outbox.next_attempt_at() == NOW + HOUR_US
    assert store.outbox.claim(NOW + HOUR_US - 1, LEASE_US, 9) == []
    (claim,) = store.outbox.claim(NOW + HOUR_US, LEASE_US, 9)
    assert (claim.report.step, claim.report.maybe_taken) == (Step.RESOLVE, True)


def test_it_waits_for_its_time_at_the_head_of_its_lane_too(store: Tallystick) -> None:
    plan(store, planned())
    waits = StandIn(planned(period=LATER), NOW + HOUR_US)
    assert store.period_book.rearrange(sorted_anew(stand_ins=(waits,)), NOW)
    (claim,) = store.outbox.claim(NOW, LEASE_US, 9)
    store.outbox.settle([Outcome(claim, Settlement(ReportState.DELIVERED))], NOW)
    assert store.outbox.claim(NOW + HOUR_US - 1, LEASE_US, 9) == []
    (claim,) = store.outbox.claim(NOW + HOUR_US, LEASE_US, 9)
    assert claim.report.period == LATER


def test_what_changed_since_it_was_read_undoes_all(store: Tallystick) -> None:
    plan(store, planned(), planned(sequence=1))
    reports = by_sequence(store)
    store.outbox.claim(NOW, LEASE_US, 9)  # the first may have arrived by now
    strays = ((reports[1], StrayReason.NOT_TAKEN), (reports[0], StrayReason.NOT_TAKEN))
    there = StandIn(planned(state=ReportState.DELIVERED, period=LATER))
    changes = sorted_anew(*strays, periods=(SortedPeriod(CUT, 2),), stand_ins=(there,))
    before = store.book.reports()
    assert not store.period_book.rearrange(changes, NOW)
    assert store.book.reports() == before
    assert store.book.reported("acme", "seen", PERIOD) == Reported(Decimal(14), 2)
    taken = StandIn(planned(sequence=1, state=ReportState.DELIVERED, period=LATER))
    assert not store.period_book.rearrange(sorted_anew(stand_ins=(taken,)), NOW)
    assert store.book.reports() == before


def test_of_racing_rearrangements_one_is_written(store: Tallystick, other: Tallystick) -> None:
    plan(store, *(planned(sequence=number) for number in range(20)))
    strays = [(report, StrayReason.NOT_TAKEN) for report in by_sequence(store)]
    changes = sorted_anew(*strays, periods=(SortedPeriod(CUT, 20),))
    products = (store, other, store, other)
    answers = race([partial(one.period_book.rearrange, changes, NOW) for one in products])
    assert sorted(answers) == [False, False, False, True]
    assert store.book.reported("acme", "seen", PERIOD) == Reported(Decimal(0), 20)


def subscription(
    period: Period, ended_at: int | None = None, price: str = "price_a", *, read_at: int = NOW
) -> ObjectReading:
    """Return a reading of the subscription of the customer's."""
    item = PresentItem("si_1", ItemState(price, period), None, ended_at)
    body = b'{"price": "%s", "from": %d, "ended_at": %d}' % (
        price.encode(),
        period.start_at,
        ended_at or 0,
    )
    return ObjectReading(
        kind=ObjectKind.SUBSCRIPTION,
        stripe_id="sub_1",
        body=body,
        api_version="2026-10-28.endive",
        as_of=0,
        read_at=read_at,
        seen_at=read_at,
        is_open=ended_at is None,
        customer="cus_acme",
        items=(item,),
    )


def due(store: Tallystick) -> list[tuple[str, str]]:
    """Return what is due, and let it be due no more."""
    found = store.book.due(None, None, 9)
    for one in found:
        assert store.book.record(one, [], NOW, due_again_at=None)
    return [one[:2] for one in found]


def test_reports_are_looked_at_once_a_period_may_be_another_one(store: Tallystick) -> None:
    store.customers.link([CustomerLink("acme", "cus_acme")], NOW)
    store.mirror.keep([subscription(PERIOD)])
    due(store)
    plan(store, planned(), planned("else"))
    store.mirror.keep([subscription(PERIOD, read_at=NOW + 1)])
    assert due(store) == []
    renewed = Period(PERIOD.end_at, PERIOD.end_at + DAY_US)
    store.mirror.keep([subscription(renewed, read_at=NOW + 2)])
    assert due(store) == []
    store.mirror.keep([subscription(renewed, price="price_b", read_at=NOW + 3)])
    assert due(store) == [("acme", "seen")]
    over = subscription(renewed, NOW, "price_b", read_at=NOW + 4)
    store.mirror.keep([over])
    assert due(store) == [("acme", "seen")]
    store.mirror.keep([replace_reading(over, NOW + 5)])
    assert due(store) == []


def replace_reading(reading: ObjectReading, read_at: int) -> ObjectReading:
    return reading._replace(read_at=read_at, seen_at=read_at)


def test_reports_are_looked_at_once_an_event_tells_of_another_period(store: Tallystick) -> None:
    store.customers.link([CustomerLink("acme", "cus_acme")], NOW)
    plan(store, planned())
    due(store)
    state = ItemState("price_a", PERIOD)
    began = ItemPast("si_1", "sub_1", "cus_acme", ItemReading(PERIOD.start_at, state))
    store.mirror.remember("evt_1", [began])
    assert due(store) == []
    changed = ItemChange(NOW, state, replace(state, stripe_price_id="price_b"))
    store.mirror.remember("evt_2", [began._replace(fact=changed)])
    assert due(store) == [("acme", "seen")]
    store.mirror.remember("evt_2", [began._replace(fact=changed)])
    assert due(store) == []
