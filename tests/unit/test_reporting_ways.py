"""When usage is reported, and by which way: on the sandbox, on a clock that the test moves."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tallystick.domain.aggregation import quantity_of
from tallystick.domain.instants import DAY_US, HOUR_US, MINUTE_US, SECOND_US, parse_instant
from tallystick.domain.meters import Aggregation, Meter
from tallystick.domain.quantity import add_all
from tallystick.domain.reports import ReportState, ReportWay
from tallystick.pipeline.report import batch_end
from tests.fixtures.billed_customers import METERS, PRICES
from tests.fixtures.clocked_sandbox import ClockedSandbox
from tests.fixtures.reporting_rig import JANUARY, Rig

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tallystick.domain.reports import UsageReport
    from tallystick.ports.stripe import Attempt, Dispatch


@pytest.fixture
def rig(clocked: ClockedSandbox, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    way, how = getattr(request, "param", ("meter_events", "sum"))
    made = Rig(clocked, tmp_path, way, how=how)
    yield made
    made.product.close()


@pytest.mark.parametrize("rig", [("meter_event_stream", "sum")], indirect=True)
def test_the_stream_counts_each_report_once_and_renews_its_session(rig: Rig) -> None:
    rig.wait(HOUR_US)
    rig.use("ada", 7)
    rig.use("bob", 9)
    rig.faults({"kind": "cut_after", "path": "*/meter_event_stream", "times": 1})
    rig.flush()
    for _ in range(3):
        rig.wait(20 * MINUTE_US)  # longer than a session lasts
        rig.use("ada", 1)
        rig.flush()
    assert rig.at_stripe("ada") == 10
    assert rig.at_stripe("bob") == 9
    assert rig.product.outbox.counts() == {"delivered": 5}


@pytest.mark.parametrize(
    "rig", [("meter_events", how) for how in ("sum", "max", "last_during_period")], indirect=True
)
def test_a_legacy_price_gets_usage_records_that_follow_every_correction(rig: Rig) -> None:
    measured = 0
    rig.wait(HOUR_US)
    for value in (10, 25, -30, 4, -9, 100):
        rig.use("leo", value)
        measured += value
        rig.flush()
        rig.wait(MINUTE_US)
        assert rig.at_stripe("leo") == measured
    assert rig.product.confirmer.run() == {}
    rig.wait(DAY_US)
    assert set(rig.product.confirmer.run()) == {"verified"}


def test_usage_records_wait_for_the_second_minute_of_a_period(rig: Rig) -> None:
    rig.wait(5 * SECOND_US)
    rig.use("leo", 10)
    rig.flush()
    assert rig.product.book.reports() == []
    rig.wait(MINUTE_US)
    rig.flush()
    assert rig.at_stripe("leo") == 10


def test_usage_records_of_a_closed_period_are_parked_as_late(rig: Rig) -> None:
    rig.wait(HOUR_US)
    rig.use("leo", 10)
    rig.flush()
    rig.wait(31 * DAY_US)
    rig.customers.use(rig.product, "leo", JANUARY.end_at - HOUR_US, 5)
    rig.flush()
    assert rig.at_stripe("leo") == 10
    parked = [r for r in rig.product.book.reports("leo") if r.state is ReportState.PARKED]
    assert [(int(r.quantity), r.reason) for r in parked] == [(5, "period_closed")]


def test_delivered_is_verified_once_stripe_counts_it(rig: Rig) -> None:
    rig.wait(HOUR_US)
    rig.use("ada", 7)
    rig.flush()
    depth = rig.product.outbox.depth()
    assert depth.unverified == 1
    assert rig.clock.now() - (depth.unverified_since or 0) < SECOND_US
    assert rig.product.confirmer.run() == {}
    rig.wait(DAY_US)
    assert rig.product.confirmer.run() == {"verified": 1}
    assert rig.product.outbox.depth().unverified == 0


def test_what_stripe_took_and_never_counted_is_found_and_driven_again(rig: Rig) -> None:
    from tallystick.ports.outbox import Decision

    rig.wait(HOUR_US)
    rig.faults({"kind": "meter_event_rejection", "times": 1})
    rig.use("ada", 7)
    rig.flush()
    rig.use("ada", 5)
    rig.flush()
    assert rig.at_stripe("ada") == 5
    rig.wait(DAY_US)
    assert rig.product.confirmer.run() == {"rejected": 1, "verified": 1}
    (dead,) = [r for r in rig.product.book.reports() if r.state is ReportState.DEAD]
    assert (int(dead.quantity), dead.reason) == (7, "not_counted")
    decision = Decision("ada", "again", rig.clock.now())
    rig.product.dead_letters.retry([dead.id], decision, surely_missing=False)
    rig.flush()
    assert rig.at_stripe("ada") == 12


RATE = 4


@pytest.fixture
def slow_rig(clocked: ClockedSandbox, tmp_path: Path) -> Iterator[Rig]:
    """A product that may call Stripe a few times a second."""
    made = Rig(clocked, tmp_path, "meter_events", rate=RATE)
    yield made
    made.product.close()


def test_after_a_month_of_stripe_being_down_the_urgent_goes_first_at_the_rate_that_may_be(
    slow_rig: Rig,
) -> None:
    rig = slow_rig
    rig.wait(12 * DAY_US)
    rig.faults({"kind": "cut_before", "path": "*/billing/meter_event*"})
    users = ["ada", "bob", "cat", "liz"]
    for day in range(26):
        if day == 8:
            rig.customers.sell(rig.product, "eve", "metered")  # her period ends before the others'
            users.append("eve")
        rig.wait(DAY_US)
        for customer in users:
            rig.use(customer, 2)
        rig.flush()
    states = rig.product.outbox.counts()
    assert states["pending"] > 26
    sent = record_sends(rig)
    rig.faults()
    for _ in range(100):
        rig.flush()
        if not rig.product.outbox.depth().pending:
            break
        rig.wait(10 * MINUTE_US)
    assert rig.product.outbox.depth().pending == 0
    assert sent[0][1].customer == "eve"
    ats = [at for at, _ in sent]
    assert len(ats) > 4
    assert min(later - earlier for earlier, later in pairwise(ats)) >= 0.99 / RATE
    for customer in users:
        assert_nothing_is_lost(rig, customer)


def record_sends(rig: Rig) -> list[tuple[float, UsageReport]]:
    """Return what is told to Stripe from now on, each with when its call went out."""
    sent: list[tuple[float, UsageReport]] = []
    sink = rig.product.stripe.usage[ReportWay.METER_EVENTS]
    send = sink.send

    def recording(dispatches: Sequence[Dispatch]) -> list[Attempt]:
        attempts = send(dispatches)
        sent.append((rig.clock.elapsed(), dispatches[0].report))
        return attempts

    sink.send = recording  # type: ignore[method-assign]  # one call a report, as it goes out
    return sent


def assert_nothing_is_lost(rig: Rig, customer: str) -> None:
    """Check that what was measured is at Stripe or parked as late usage, period by period."""
    meter_key = METERS[PRICES.get(customer, "metered")]
    meter = rig.product.catalog.meters().by_key[meter_key]
    reports = rig.product.book.reports(customer)
    for period in {one.period for one in reports}:
        inside = [one for one in reports if one.period == period]
        late = add_all(one.quantity for one in inside if one.state is ReportState.PARKED)
        measured = rig.product.usage.usage(meter, customer, period)
        counted = rig.customers.at_stripe(rig.product, customer, period)
        assert counted + late == quantity_of(measured, meter.aggregation), (customer, period)
        is_over = period.end_at + HOUR_US < rig.clock.now()
        assert is_over or not late


def test_a_month_of_stripe_being_down(rig: Rig) -> None:
    """Events are accepted, depth and age are seen, the late is parked."""
    rig.wait(HOUR_US)
    rig.faults({"kind": "cut_before", "path": "*/billing/meter_event*"})
    for _ in range(15):
        rig.use("ada", 2)
        rig.use("bob", 3)
        rig.flush()
        rig.wait(2 * DAY_US + 2 * HOUR_US)
    depth = rig.product.outbox.depth()
    assert depth.pending >= 10
    assert rig.clock.now() - (depth.oldest_at or 0) > 30 * DAY_US
    rig.faults()
    for _ in range(20):
        rig.use("ada", 1)
        rig.flush()
        rig.wait(HOUR_US)
        if not rig.product.outbox.depth().pending:
            break
    assert rig.product.outbox.depth().pending == 0
    for customer in ("ada", "bob"):
        reports = rig.product.book.reports(customer)
        assert sum(one.quantity for one in reports if one.state is ReportState.PARKED) > 0
        assert_nothing_is_lost(rig, customer)


@pytest.mark.parametrize(
    ("minutes", "now", "expected"),
    [
        (None, "2026-01-05T10:07:00Z", "2026-01-05T10:07:00Z"),
        (15, "2026-01-05T10:07:00Z", "2026-01-05T10:00:00Z"),
        (60, "2026-01-05T10:59:59Z", "2026-01-05T10:00:00Z"),
        (60, "2026-02-01T00:10:00Z", "2026-02-01T00:00:30Z"),  # January is over: to its end
    ],
)
def test_a_batch_ends_at_its_minutes_and_always_before_a_period_closes(
    minutes: int | None, now: str, expected: str
) -> None:
    meter = Meter("m", "M", "use", Aggregation.SUM, 0, minutes)
    assert batch_end(meter, (JANUARY,), parse_instant(now)) == parse_instant(expected)
