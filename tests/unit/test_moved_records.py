"""Items that move between legacy prices, or away from one and back, inside one billing period: on
the sandbox, with webhooks that come at once or late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallystick.billing.inbox import arrived
from tallystick.domain.instants import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from tallystick.domain.periods import Period
from tallystick.domain.reports import ReportState
from tallystick.domain.usage_records import RecordAggregation, figure_of
from tallystick.oversight.invariants import check_store, check_stripe
from tallystick.ports.inbox import Brought
from tallystick.ports.outbox import Decision
from tests.fixtures.billed_customers import METER
from tests.fixtures.clocked_sandbox import ClockedSandbox
from tests.fixtures.reporting_rig import JANUARY, START, Rig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tallystick.oversight.invariants import CheckResult

HOWS = ("sum", "max", "last_during_period")
PAIRS = [(how, then) for how in HOWS for then in HOWS]


@pytest.fixture
def rig(clocked: ClockedSandbox, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    made = Rig(clocked, tmp_path, "meter_events", **getattr(request, "param", {}))
    made.wait(2 * DAY_US)
    yield made
    made.product.close()


def of_each(**more: object) -> pytest.MarkDecorator:
    """Run a test with each pair of ways in which two prices add up records."""
    return pytest.mark.parametrize(
        "rig", [{"how": how, "then": then, **more} for how, then in PAIRS], indirect=True
    )


def move(rig: Rig, name: str, *, is_heard: bool = True) -> int:
    """Move leo to another price; return when. Ten minutes later it is past."""
    at = rig.clock.now()
    rig.customers.change_price("leo", name)
    if is_heard:
        rig.customers.let_webhooks_arrive(rig.product)
    rig.wait(10 * MINUTE_US)
    return at


def hear(rig: Rig, body: bytes) -> None:
    """Let one event arrive, and tell Stripe what follows from it with the next usage."""
    rig.product.inbox.add(arrived(body, Brought.WEBHOOK), rig.clock.now()).result()
    assert set(rig.product.inbox_worker.run()) == {"settled"}
    use(rig, 1)


def use(rig: Rig, value: int) -> None:
    """Let leo use something, and tell Stripe of it a little later."""
    rig.use("leo", value)
    rig.flush()
    rig.wait(10 * MINUTE_US)


def recorded(rig: Rig, price: str, period: Period) -> int:
    """Return what the records in a period come to, added up as a price says."""
    key, item = rig.settings.stripe_api_key or "", rig.customers.items["leo"]
    inside = {
        at: level
        for at, level in rig.sandbox.records(key, item).items()
        if at * SECOND_US in period
    }
    return int(figure_of(RecordAggregation(rig.customers.hows[price]), inside))


def metered(rig: Rig, period: Period) -> int:
    """Return what Stripe's meter has in a period."""
    stripe_meter_id = rig.product.catalog.stripe_meter_ids()[METER]
    key, customer = rig.settings.stripe_api_key or "", rig.customers.stripe_ids["leo"]
    return int(rig.sandbox.billed(key, stripe_meter_id, customer, period))


def compared(rig: Rig) -> CheckResult:
    """Return what `tallystick verify` finds by comparing with Stripe; the rest holds."""
    product = rig.product
    with product.snapshots.snapshot() as snapshot:
        checks = check_store(snapshot, product.catalog.meters())
        reports = list(snapshot.reports())
    assert [finding for check in checks for finding in check.findings] == []
    return check_stripe(
        reports,
        product.catalog.stripe_meter_ids(),
        product.stripe.summaries,
        product.recorded_items,
    )


def late(rig: Rig) -> list[tuple[int, str | None]]:
    """Return what is parked: how much, and why."""
    reports = rig.product.book.reports("leo")
    return [(int(r.quantity), r.reason) for r in reports if r.state is ReportState.PARKED]


def verified_after_a_day(rig: Rig) -> bool:
    rig.wait(DAY_US + HOUR_US)
    rig.product.confirmer.run()
    delivered = (r for r in rig.product.book.reports("leo") if r.state is ReportState.DELIVERED)
    return all(one.verified_at is not None for one in delivered)


@of_each()
def test_each_legacy_price_gets_the_usage_of_its_own_time(rig: Rig) -> None:
    use(rig, 10)
    use(rig, 7)
    at = move(rig, "recorded_dearer")
    use(rig, 5)
    use(rig, 4)
    assert recorded(rig, "recorded", Period(START, at)) == 17
    assert recorded(rig, "recorded_dearer", Period(at, JANUARY.end_at)) == 9
    assert late(rig) == []
    found = compared(rig)
    assert (found.findings, found.checked) == ((), 1)
    assert verified_after_a_day(rig)


@of_each()
def test_what_was_recorded_before_the_change_was_heard_of_is_sorted(rig: Rig) -> None:
    use(rig, 10)
    at = move(rig, "recorded_dearer", is_heard=False)
    use(rig, 5)
    use(rig, 4)
    rig.customers.let_webhooks_arrive(rig.product)
    rig.flush()
    assert recorded(rig, "recorded", Period(START, at)) == 10
    assert recorded(rig, "recorded_dearer", Period(at, JANUARY.end_at)) == 9
    assert late(rig) == []
    assert compared(rig).findings == ()
    assert verified_after_a_day(rig)


@of_each()
def test_an_item_that_is_read_first_at_its_new_price_is_sorted(rig: Rig) -> None:
    rig.use("leo", 10)
    at = move(rig, "recorded_dearer", is_heard=False)
    use(rig, 5)
    rig.customers.let_webhooks_arrive(rig.product)
    rig.flush()
    assert recorded(rig, "recorded", Period(START, at)) == 10
    assert recorded(rig, "recorded_dearer", Period(at, JANUARY.end_at)) == 5
    assert late(rig) == []
    assert compared(rig).findings == ()


@of_each(every=15)
def test_records_whose_price_turns_out_to_be_another_one_are_counted_anew(rig: Rig) -> None:
    rig.use("leo", 10)
    rig.wait(16 * MINUTE_US)
    at = move(rig, "recorded_dearer", is_heard=False)
    rig.product.reporter.run()  # until the end of a batch before the change, at the new price
    rig.product.deliverer.run()
    rig.customers.use(rig.product, "leo", at - 5 * MINUTE_US, 7)
    rig.product.reporter.run()
    rig.product.deliverer.run()
    assert recorded(rig, "recorded_dearer", Period(START, at)) == 17
    rig.customers.let_webhooks_arrive(rig.product)
    use(rig, 5)
    assert recorded(rig, "recorded", Period(START, at)) == 17
    assert recorded(rig, "recorded_dearer", Period(at, JANUARY.end_at)) == 5
    assert late(rig) == []
    assert compared(rig).findings == ()
    settled = len(rig.product.book.reports("leo"))
    use(rig, 4)
    assert len(rig.product.book.reports("leo")) == settled + 1  # all is sorted by now
    assert verified_after_a_day(rig)


@of_each(every=15)
def test_events_in_any_order_leave_each_price_its_own(rig: Rig) -> None:
    """The price of a stretch turns out to be another one, while its bounds stay."""
    rig.use("leo", 10)
    rig.wait(16 * MINUTE_US)
    first = move(rig, "recorded_dearer", is_heard=False)
    rig.product.reporter.run()  # until the end of a batch before the change, at the new price
    rig.customers.use(rig.product, "leo", first - 5 * MINUTE_US, 7)
    rig.product.reporter.run()
    rig.product.deliverer.run()
    second = move(rig, "metered", is_heard=False)
    told = rig.product.stripe.objects.events(None, "customer.subscription.*").bodies
    gone, changed, created = (
        body for body in told if rig.customers.subscriptions["leo"].encode() in body
    )
    hear(rig, gone)
    assert recorded(rig, "recorded_dearer", Period(START, second)) == 17
    for body, end_at in ((created, second), (changed, first)):
        hear(rig, body)
        told_too_much = -sum(quantity for quantity, _ in late(rig))  # Stripe takes nothing now
        assert recorded(rig, "recorded", Period(START, end_at)) == 17 + told_too_much
        assert compared(rig).findings == ()
    assert metered(rig, Period(second, JANUARY.end_at)) == 3


@of_each()
def test_usage_of_the_price_before_is_told_as_long_as_the_item_takes_it(rig: Rig) -> None:
    use(rig, 10)
    rig.use("leo", 3)
    at = move(rig, "recorded_dearer")
    use(rig, 5)
    rig.customers.use(rig.product, "leo", at - HOUR_US, -2)
    rig.flush()
    assert recorded(rig, "recorded", Period(START, at)) == 11
    assert recorded(rig, "recorded_dearer", Period(at, JANUARY.end_at)) == 5
    assert late(rig) == []
    rig.wait(31 * DAY_US)
    rig.customers.use(rig.product, "leo", at - HOUR_US, 6)
    rig.flush()
    assert late(rig) == [(6, "period_closed")]
    assert compared(rig).findings == ()


@of_each()
def test_an_invoiced_period_is_still_compared(rig: Rig) -> None:
    use(rig, 10)
    move(rig, "recorded_dearer")
    use(rig, 5)
    rig.wait(31 * DAY_US)
    use(rig, 1)
    move(rig, "recorded")
    found = compared(rig)
    assert (found.findings, found.checked) == ((), 2)
    assert verified_after_a_day(rig)


@of_each()
def test_an_item_that_had_a_meter_meanwhile_has_records_of_both_sides(rig: Rig) -> None:
    use(rig, 10)
    gone = move(rig, "metered")
    use(rig, 6)
    back = move(rig, "recorded_dearer")
    use(rig, 5)
    use(rig, 4)
    assert recorded(rig, "recorded", Period(START, gone)) == 10
    assert recorded(rig, "recorded_dearer", Period(gone, back)) == 0
    assert metered(rig, Period(gone, back)) == 6
    assert recorded(rig, "recorded_dearer", Period(back, JANUARY.end_at)) == 9
    assert late(rig) == []
    found = compared(rig)
    assert (found.findings, found.checked) == ((), 2)
    assert verified_after_a_day(rig)


@of_each(every=15)
def test_records_at_times_when_the_item_had_a_meter_are_emptied(rig: Rig) -> None:
    use(rig, 10)
    gone = move(rig, "metered", is_heard=False)
    rig.use("leo", 6)
    rig.wait(12 * MINUTE_US)
    back = move(rig, "recorded_dearer", is_heard=False)
    rig.product.reporter.run()  # until the end of a batch, at which the item had a meter
    rig.product.deliverer.run()
    assert recorded(rig, "recorded", Period(gone, back)) > 0
    use(rig, 5)
    rig.customers.let_webhooks_arrive(rig.product)
    rig.flush()
    assert recorded(rig, "recorded", Period(START, gone)) == 10
    assert recorded(rig, "recorded", Period(gone, back)) == 0
    assert metered(rig, Period(gone, back)) == 6
    assert recorded(rig, "recorded_dearer", Period(back, JANUARY.end_at)) == 5
    assert late(rig) == []
    assert compared(rig).findings == ()


def test_usage_that_was_not_recorded_before_the_item_got_a_meter_is_late(rig: Rig) -> None:
    use(rig, 10)
    rig.use("leo", 3)
    gone = move(rig, "metered")
    use(rig, 5)
    assert recorded(rig, "recorded", Period(START, gone)) == 10
    assert metered(rig, Period(gone, JANUARY.end_at)) == 5
    assert late(rig) == [(3, "period_closed")]
    found = compared(rig)
    assert (found.findings, found.checked) == ((), 1)  # Stripe shows no records of it
    rig.wait(DAY_US + HOUR_US)
    assert rig.product.confirmer.run() == {"verified": 1, "left": 1}
    assert rig.product.outbox.depth().unverified == 0


def test_what_was_late_is_told_once_the_item_has_a_legacy_price_again(rig: Rig) -> None:
    use(rig, 10)
    rig.use("leo", 3)
    gone = move(rig, "metered")
    use(rig, 5)
    move(rig, "recorded_dearer")
    rig.flush()
    assert late(rig) == [(3, "period_closed")]
    (parked,) = [r for r in rig.product.book.reports("leo") if r.state is ReportState.PARKED]
    decision = Decision("ada", "it takes records again", rig.clock.now())
    rig.product.dead_letters.retry([parked.id], decision, surely_missing=False)
    rig.flush()
    assert recorded(rig, "recorded", Period(START, gone)) == 13
    assert late(rig) == []
    assert compared(rig).findings == ()


def test_a_record_that_may_have_arrived_before_the_item_got_a_meter_waits_for_a_person(
    rig: Rig,
) -> None:
    use(rig, 10)
    rig.use("leo", 3)
    rig.faults({"kind": "cut_after", "path": "/v1/subscription_items/*/usage_records"})
    rig.flush()
    rig.faults()
    gone = move(rig, "metered")
    rig.flush()
    rig.wait(DAY_US)
    rig.flush()
    (doubtful,) = [r for r in rig.product.book.reports("leo") if r.state is ReportState.UNRESOLVED]
    assert (doubtful.reason or "").startswith("not_shown: ")
    decision = Decision("ada", "Stripe's support sees it", rig.clock.now())
    rig.product.dead_letters.settle([doubtful.id], ReportState.DELIVERED, decision)
    assert recorded(rig, "recorded", Period(START, gone)) == 13
    assert late(rig) == []
    assert compared(rig).findings == ()
