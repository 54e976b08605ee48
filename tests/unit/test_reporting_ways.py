"""When usage is reported, and by which way: on the sandbox, on a clock that the test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallystick.domain.instants import DAY_US, HOUR_US, MINUTE_US, SECOND_US, parse_instant
from tallystick.domain.meters import Aggregation, Meter
from tallystick.domain.reports import ReportState
from tallystick.pipeline.report import batch_end
from tests.fixtures.clocked_sandbox import ClockedSandbox
from tests.fixtures.reporting_rig import JANUARY, Rig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def clocked() -> Iterator[ClockedSandbox]:
    sandbox = ClockedSandbox()
    yield sandbox
    sandbox.stop()


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


def test_a_month_of_stripe_being_down(rig: Rig) -> None:
    """Events are accepted, depth and age are seen, the urgent goes first, the late is parked."""
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
        late = sum(r.quantity for r in reports if r.state is ReportState.PARKED)
        counted = sum(
            rig.customers.at_stripe(rig.product, customer, period)
            for period in {r.period for r in reports}
        )
        assert late > 0
        assert counted + late == sum(r.quantity for r in reports)


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
