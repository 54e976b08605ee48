"""Stripe meters that count or take the last value, cancellations, and records that only grow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tallystick.domain.corrections import Correction
from tallystick.domain.instants import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from tallystick.domain.reports import ReportState
from tallystick.oversight.invariants import check_store, check_stripe
from tallystick.pipeline.confirm import ConfirmOutcome
from tallystick.ports.outbox import Decision
from tallystick.wiring import Tallystick
from tests.fixtures.billed_customers import COUNTING, LEVELS, METER
from tests.fixtures.clock import FakeClock
from tests.fixtures.clocked_sandbox import ClockedSandbox
from tests.fixtures.reporting_rig import JANUARY, Rig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tallystick.domain.reports import UsageReport

ADJUSTMENTS = "*/billing/meter_event_adjustments"
EVENTS = "*/billing/meter_events"


@pytest.fixture
def rig(clocked: ClockedSandbox, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    options: dict[str, Any] = dict(getattr(request, "param", {}))
    made = Rig(clocked, tmp_path, options.pop("way", "meter_events"), **options)
    made.wait(HOUR_US)
    yield made
    check(made)
    made.product.close()


def check(rig: Rig) -> None:
    """Check every invariant, Stripe's half included, once nothing is on its way."""
    product = rig.product
    with product.snapshots.snapshot() as snapshot:
        checks = check_store(snapshot, product.catalog.meters())
        reports = list(snapshot.reports())
    checks.append(
        check_stripe(
            reports,
            product.catalog.stripe_meter_ids(),
            product.stripe.summaries,
            product.recorded_items,
        )
    )
    assert [finding for each in checks for finding in each.findings] == []


def correct(rig: Rig, event_id: str, value: int | None = None) -> None:
    from decimal import Decimal

    new = None if value is None else Decimal(value)
    source = next(
        stored.event.source
        for stored in rig.product.events.scan(0, 1_000)
        if stored.event.id == event_id
    )
    correction = Correction(source, event_id, new, "ada", "a mistake")
    rig.product.events.correct([correction], rig.clock.now()).result()


def retry(rig: Rig, report: UsageReport) -> None:
    decision = Decision("ada", "again", rig.clock.now())
    done = rig.product.dead_letters.retry([report.id], decision, surely_missing=False)
    assert [one.remedy for one in done] == ["replaced"]


def settle(rig: Rig, *, rounds: int = 20) -> None:
    """Report and deliver until nothing is on its way."""
    for _ in range(rounds):
        rig.flush()
        if not rig.product.outbox.depth().pending:
            rig.flush()
            return
        rig.wait(HOUR_US)
    raise AssertionError(rig.product.book.reports())


def reports(rig: Rig, customer: str) -> list[UsageReport]:
    return [one for one in rig.product.book.reports(customer)]


def shown(rig: Rig, customer: str) -> list[tuple[int, str, bool]]:
    """Return quantity, state, and whether it cancels, of each report."""
    return [
        (int(one.quantity), str(one.state), one.cancels is not None)
        for one in reports(rig, customer)
    ]


WAYS = [{"way": "meter_events"}, {"way": "meter_event_stream"}]


@pytest.mark.parametrize("rig", WAYS, indirect=True)
def test_a_meter_that_counts_gets_one_event_for_each(rig: Rig) -> None:
    ids = [rig.use("cat", 7) for _ in range(3)]
    settle(rig)
    rig.wait(MINUTE_US)
    ids.append(rig.use("cat", 9))
    settle(rig)
    assert rig.at_stripe("cat") == 4
    assert [one.event.id for one in reports(rig, "cat") if one.event] == ids
    assert len({one.identifier for one in reports(rig, "cat")}) == 4
    assert all(one.timestamp * SECOND_US < rig.clock.now() for one in reports(rig, "cat"))


@pytest.mark.parametrize("rig", WAYS, indirect=True)
def test_a_void_event_is_cancelled_within_24_hours(rig: Rig) -> None:
    first, _, third = [rig.use("cat", 1) for _ in range(3)]
    settle(rig)
    rig.wait(MINUTE_US)
    correct(rig, first)
    settle(rig)
    assert rig.at_stripe("cat") == 2
    kept = reports(rig, "cat")
    assert kept[-1].cancels == kept[0].identifier
    rig.wait(22 * HOUR_US + 30 * MINUTE_US)
    correct(rig, third)
    correct(rig, first, 1)  # it counts again: the void one's report stands for it
    settle(rig)
    assert rig.at_stripe("cat") == 2
    assert len(reports(rig, "cat")) == 4


def test_an_event_that_counts_again_is_told_under_another_name(rig: Rig) -> None:
    only = rig.use("cat", 1)
    settle(rig)
    rig.wait(MINUTE_US)
    correct(rig, only)
    settle(rig)
    assert rig.at_stripe("cat") == 0
    correct(rig, only, 5)
    settle(rig)
    assert rig.at_stripe("cat") == 1
    first, _, again = reports(rig, "cat")
    assert first.event == again.event
    assert first.identifier != again.identifier


def test_a_count_that_cannot_be_cancelled_any_more_is_parked(rig: Rig) -> None:
    rig.use("cat", 1)
    gone = rig.use("cat", 1)
    settle(rig)
    rig.wait(DAY_US)
    correct(rig, gone)
    settle(rig)
    assert rig.at_stripe("cat") == 2
    assert shown(rig, "cat")[-1] == (-1, "parked", True)
    assert reports(rig, "cat")[-1].reason == "not_cancellable"


@pytest.mark.parametrize("kind", ["cut_before", "cut_after", "server_error_after", "conflict"])
def test_a_cancellation_whose_answer_is_lost_takes_back_once(rig: Rig, kind: str) -> None:
    rig.use("cat", 1)
    gone = rig.use("cat", 1)
    settle(rig)
    rig.wait(MINUTE_US)
    correct(rig, gone)
    rig.faults({"kind": kind, "path": ADJUSTMENTS, "times": 2})
    settle(rig)
    assert rig.at_stripe("cat") == 1
    assert shown(rig, "cat")[-1] == (-1, "delivered", True)


def test_a_cancellation_of_unknown_outcome_is_resolved_from_totals(rig: Rig) -> None:
    rig.use("cat", 1)
    gone = rig.use("cat", 1)
    settle(rig)
    rig.wait(MINUTE_US)
    correct(rig, gone)
    rig.faults({"kind": "cut_after", "path": ADJUSTMENTS})
    for _ in range(3):
        rig.flush()
        rig.wait(12 * HOUR_US)
    rig.faults()
    settle(rig)
    assert rig.at_stripe("cat") == 1
    assert shown(rig, "cat")[-1] == (-1, "delivered", True)


def test_an_event_that_stripe_never_counted_is_told_again(rig: Rig) -> None:
    rig.faults({"kind": "meter_event_rejection", "times": 1})
    for _ in range(15):  # more than are told apart by their quantities
        rig.use("cat", 1)
    settle(rig)
    assert rig.at_stripe("cat") == 14
    rig.wait(DAY_US)
    assert rig.product.confirmer.run()[ConfirmOutcome.REJECTED] == 1
    (dead,) = [one for one in reports(rig, "cat") if one.state is ReportState.DEAD]
    decision = Decision("ada", "again", rig.clock.now())
    rig.product.dead_letters.retry([dead.id], decision, surely_missing=False)
    settle(rig)
    assert rig.at_stripe("cat") == 15


@pytest.mark.parametrize(
    "rig", [{**way, "level": how} for way in WAYS for how in ("sum", "max", "last")], indirect=True
)
def test_a_meter_that_takes_the_last_value_gets_levels(rig: Rig) -> None:
    measured: list[int] = []
    how = rig.product.catalog.meters().by_key[LEVELS].aggregation
    for value in (10, 25, 7, -3, 40, 2):
        rig.use("liz", value)
        measured.append(value)
        settle(rig)
        rig.wait(2 * SECOND_US)
        expected = {"sum": sum(measured), "max": max(measured), "last": value}[str(how)]
        assert rig.at_stripe("liz") == expected
    timestamps = [one.timestamp for one in reports(rig, "liz")]
    assert timestamps == sorted(set(timestamps))
    assert all(one.level is not None for one in reports(rig, "liz"))


def test_levels_in_one_second_follow_each_other_and_corrections_the_end_of_the_period(
    rig: Rig,
) -> None:
    for _ in range(5):
        rig.use("liz", 1)
        settle(rig)
    assert rig.at_stripe("liz") == 5
    rig.wait(JANUARY.end_at - rig.clock.now() + MINUTE_US)
    for _ in range(5):  # late, and each after what was said to be the end
        rig.customers.use(rig.product, "liz", JANUARY.end_at - HOUR_US, 2)
        settle(rig)
    assert rig.at_stripe("liz") == 15


def test_a_level_that_stripe_never_counted_is_found(rig: Rig) -> None:
    rig.use("liz", 5)
    settle(rig)
    rig.wait(MINUTE_US)
    rig.faults({"kind": "meter_event_rejection", "times": 1})
    rig.use("liz", 3)
    settle(rig)
    assert rig.at_stripe("liz") == 5
    rig.wait(DAY_US)
    assert rig.product.confirmer.run()[ConfirmOutcome.REJECTED] == 1
    rig.use("liz", 1)  # a later level tells all, what died included
    settle(rig)
    assert rig.at_stripe("liz") == 9
    (dead,) = [one for one in reports(rig, "liz") if one.state is ReportState.DEAD]
    retry(rig, dead)
    settle(rig)
    assert rig.at_stripe("liz") == 9


def test_a_level_of_more_digits_than_stripe_takes_is_parked(rig: Rig) -> None:
    for _ in range(2):
        rig.use("liz", 999_999_999_999_999)
    settle(rig)
    assert [one.reason for one in reports(rig, "liz")] == ["too_many_digits"]


def test_a_difference_that_was_parked_is_never_told_as_a_level(rig: Rig) -> None:
    for value in (5, 999_999_999_999_999):
        rig.use("liz", value)
        settle(rig)
    parked = reports(rig, "liz")[-1]
    assert parked.reason == "too_many_digits"
    retry(rig, parked)
    settle(rig)
    assert rig.at_stripe("liz") == 5


def test_a_count_that_cannot_be_taken_back_is_never_told_as_an_event(rig: Rig) -> None:
    gone = rig.use("cat", 1)
    settle(rig)
    rig.wait(2 * DAY_US)
    correct(rig, gone)
    settle(rig)
    for _ in range(2):
        parked = reports(rig, "cat")[-1]
        assert parked.quantity == -1
        assert parked.reason == "not_cancellable"
        retry(rig, parked)
        settle(rig)
        assert rig.at_stripe("cat") == 1


def test_a_sum_of_more_digits_than_stripe_takes_is_told_in_parts(rig: Rig) -> None:
    for _ in range(2):
        rig.use("ada", 999_999_999_999_999)
    settle(rig)
    assert len(reports(rig, "ada")) == 2
    assert rig.at_stripe("ada") == 2 * 999_999_999_999_999


@pytest.mark.parametrize("rig", WAYS, indirect=True)
def test_a_correction_that_is_a_whole_report_cancels_it(rig: Rig) -> None:
    rig.use("ada", 7)
    settle(rig)
    rig.wait(10 * MINUTE_US)
    gone = rig.use("ada", 5)
    settle(rig)
    rig.wait(10 * MINUTE_US)
    correct(rig, gone)
    settle(rig)
    assert rig.at_stripe("ada") == 7
    assert shown(rig, "ada")[-1] == (-5, "delivered", True)


@pytest.mark.parametrize("rig", [{"every": 60, "thresholds": True}], indirect=True)
@pytest.mark.parametrize("customer", ["ada", "leo"])
def test_a_batch_takes_nothing_back_that_was_told_at_once(rig: Rig, customer: str) -> None:
    rig.wait(20 * MINUTE_US)
    rig.use(customer, 20)
    rig.flush()
    rig.use(customer, 3)
    for waited in (MINUTE_US, HOUR_US):
        rig.wait(waited)
        rig.product.reporter.run()
        rig.product.deliverer.run()
    assert shown(rig, customer) == [(20, "delivered", False), (3, "delivered", False)]
    assert rig.at_stripe(customer) == 23


@pytest.mark.parametrize("rig", [{"on_test_clock": False, "thresholds": True}], indirect=True)
@pytest.mark.parametrize("customer", ["ada", "leo"])
def test_a_clock_that_is_set_back_takes_nothing_back(rig: Rig, customer: str) -> None:
    rig.use(customer, 20)
    rig.flush()
    rig.clock.advance(-2 * SECOND_US)
    rig.use(customer, 3)
    settle(rig)
    rig.wait(MINUTE_US)
    settle(rig)
    assert shown(rig, customer) == [(20, "delivered", False), (3, "delivered", False)]
    assert rig.at_stripe(customer) == 23


def test_a_count_that_cannot_be_taken_back_is_one_event_less_later(rig: Rig) -> None:
    gone = rig.use("cat", 1)
    settle(rig)
    rig.wait(2 * DAY_US)
    correct(rig, gone)
    settle(rig)
    assert shown(rig, "cat")[-1] == (-1, "parked", True)
    for measured in (1, 2):
        rig.use("cat", 1)
        settle(rig)
        assert rig.at_stripe("cat") == measured
    assert [state for _, state, _ in shown(rig, "cat")] == ["delivered", "replaced", "delivered"]


@pytest.mark.parametrize("rig", [{"thresholds": True}], indirect=True)
def test_what_cannot_be_taken_back_of_records_is_less_to_be_added_later(rig: Rig) -> None:
    for value, told in ((20, 20), (-20, 20), (5, 20), (25, 30)):
        rig.use("leo", value)
        settle(rig)
        rig.wait(MINUTE_US)
        assert rig.at_stripe("leo") == told


@pytest.mark.parametrize("rig", [{"on_test_clock": False}], indirect=True)
def test_records_are_taken_though_our_clock_is_ahead_of_stripes(rig: Rig) -> None:
    rig.product.close()
    ours = FakeClock(rig.clock.now() + 5 * SECOND_US)
    rig.product = Tallystick(rig.settings, ours)
    for value in (3, 4, 5):
        rig.customers.use(rig.product, "leo", ours.now() - SECOND_US, value)
        rig.flush()
        ours.advance(MINUTE_US)
        rig.wait(MINUTE_US)
    assert shown(rig, "leo") == [(value, "delivered", False) for value in (3, 4, 5)]
    assert rig.at_stripe("leo") == 12


def test_usage_below_zero_is_set_off_against_what_comes_later(rig: Rig) -> None:
    for value, told in ((-5, 0), (10, 5)):
        rig.use("leo", value)
        settle(rig)
        rig.wait(MINUTE_US)
        assert rig.at_stripe("leo") == told


def test_what_stripe_never_counted_and_was_cancelled_is_told_no_more(rig: Rig) -> None:
    rig.faults({"kind": "meter_event_rejection", "times": 1})
    gone = rig.use("ada", 5)
    settle(rig)
    rig.wait(10 * MINUTE_US)
    correct(rig, gone)
    settle(rig)
    told, _ = reports(rig, "ada")
    # Stripe's error report comes after the cancellation
    assert not rig.product.confirmations.reject(told.identifier, "no_meter", rig.clock.now())
    rig.faults({"kind": "meter_event_rejection", "times": 1})
    rig.use("ada", 5)  # of all that adds up to five, this is what is missing
    settle(rig)
    rig.wait(DAY_US)
    assert rig.product.confirmer.run()[ConfirmOutcome.REJECTED] == 1
    dead = reports(rig, "ada")[-1]
    assert dead.state is ReportState.DEAD
    retry(rig, dead)
    settle(rig)
    assert rig.at_stripe("ada") == 5


def test_any_other_correction_is_a_negative_event(rig: Rig) -> None:
    first = rig.use("ada", 7)
    second = rig.use("ada", 5)
    settle(rig)
    correct(rig, first)  # nothing was told of it alone
    settle(rig)
    assert shown(rig, "ada")[-1] == (-7, "delivered", False)
    rig.wait(2 * DAY_US)
    rig.use("ada", 9)
    settle(rig)
    rig.wait(DAY_US)
    correct(rig, second)
    rig.use("ada", 1)
    settle(rig)
    rig.wait(DAY_US)
    assert shown(rig, "ada")[-1] == (-4, "delivered", False)
    assert rig.at_stripe("ada") == 10


def test_a_cancellation_that_stripe_refuses_becomes_a_negative_event(rig: Rig) -> None:
    gone = rig.use("ada", 5)
    settle(rig)
    rig.wait(10 * MINUTE_US)
    correct(rig, gone)
    rig.product.reporter.run(at_once=True)
    # Stripe's clock is ahead of ours: to it, the day is over
    rig.customers.advance_to(rig.clock.now() + DAY_US)
    rig.clock.advance(DAY_US - 2 * HOUR_US)
    rig.product.deliverer.run()
    rig.clock.advance(2 * HOUR_US)
    settle(rig)
    assert rig.at_stripe("ada") == 0
    assert shown(rig, "ada") == [
        (5, "delivered", False),
        (-5, "replaced", True),
        (-5, "delivered", False),
    ]


@pytest.mark.parametrize(
    "rig",
    [{"how": how, "thresholds": True} for how in ("sum", "max", "last_during_period")],
    indirect=True,
)
@pytest.mark.parametrize("kind", ["cut_after", "server_error_after", "conflict", "cut_before"])
def test_records_that_may_only_be_added_to_are_resolved_before_a_fresh_key(
    rig: Rig, kind: str
) -> None:
    rig.faults({"kind": kind, "path": "/v1/subscription_items/*", "method": "POST", "times": 2})
    for value in (10, 3):
        rig.use("leo", value)
        settle(rig)
        rig.wait(MINUTE_US)
    assert all(one.is_increment for one in reports(rig, "leo"))
    assert rig.at_stripe("leo") == 13


@pytest.mark.parametrize("rig", [{"thresholds": True}], indirect=True)
def test_what_was_added_cannot_be_taken_back(rig: Rig) -> None:
    rig.use("leo", 10)
    settle(rig)
    rig.wait(MINUTE_US)
    rig.use("leo", -4)
    settle(rig)
    assert rig.at_stripe("leo") == 10
    assert reports(rig, "leo")[-1].reason == "no_record"


def test_one_meter_is_no_concern_of_the_others(rig: Rig) -> None:
    rig.use("cat", 3)
    rig.use("liz", 4)
    rig.use("ada", 5)
    settle(rig)
    summarized = {
        (one.customer, one.meter_key): int(one.value) for one in rig.product.book.reports()
    }
    assert summarized == {("cat", COUNTING): 1, ("liz", LEVELS): 4, ("ada", METER): 5}


def test_records_of_an_item_with_another_price_by_now_hold_up_nobody(rig: Rig) -> None:
    rig.use("leo", 5)
    rig.use("ada", 7)
    settle(rig)
    rig.wait(MINUTE_US)
    rig.use("leo", 3)
    rig.faults({"kind": "cut_after", "path": "/v1/subscription_items/*/usage_records"})
    rig.flush()
    rig.faults()
    rig.customers.change_price("leo", "metered")
    rig.wait(DAY_US)
    outcomes = rig.product.confirmer.run()
    assert outcomes[ConfirmOutcome.VERIFIED] == 1
    assert outcomes[ConfirmOutcome.NOT_SHOWN] >= 1
    rig.wait(JANUARY.end_at - rig.clock.now())
    for _ in range(5):
        rig.flush()
        rig.wait(12 * HOUR_US)
    assert not rig.product.outbox.depth().pending
    (doubtful,) = [one for one in reports(rig, "leo") if one.state is ReportState.UNRESOLVED]
    assert (doubtful.reason or "").startswith("not_shown: ")
    assert rig.at_stripe("ada") == 7
    decision = Decision("ada", "it is on the invoice", rig.clock.now())
    rig.product.dead_letters.settle([doubtful.id], ReportState.DELIVERED, decision)
    rig.customers.change_price("leo", "recorded")  # so that Stripe shows it to the checks
