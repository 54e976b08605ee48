"""Items that were moved to a legacy price before we had read them: on the sandbox, with webhooks
that come late or never.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallystick.domain.instants import DAY_US, HOUR_US, MINUTE_US
from tallystick.domain.periods import Period
from tallystick.domain.reports import ReportState, StrayReason
from tallystick.oversight.invariants import check_store, check_stripe
from tallystick.ports.outbox import Decision
from tests.contract.planning import plan, planned
from tests.fixtures.billed_customers import METER
from tests.fixtures.clocked_sandbox import ClockedSandbox
from tests.fixtures.reporting_rig import JANUARY, START, Rig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tallystick.domain.reports import UsageReport


@pytest.fixture
def rig(clocked: ClockedSandbox, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    made = Rig(clocked, tmp_path, "meter_events", **getattr(request, "param", {}))
    yield made
    made.product.close()


def reports_in(rig: Rig, state: ReportState) -> list[tuple[int, str | None, str | None]]:
    """Return quantity, reason and item of the customer's reports in a state."""
    return [
        (int(one.quantity), one.reason, one.stripe_item_id)
        for one in rig.product.book.reports("bob")
        if one.state is state
    ]


def told(rig: Rig, period: Period) -> tuple[int, int]:
    """Return Stripe's figures of the meter and of the item, of what lies in a period."""
    key, item = rig.settings.stripe_api_key or "", rig.customers.items["bob"]
    stripe_meter_id = rig.product.catalog.stripe_meter_ids()[METER]
    metered = rig.sandbox.billed(key, stripe_meter_id, rig.customers.stripe_ids["bob"], period)
    return int(metered), int(rig.sandbox.recorded(key, item, "sum", period))


def findings(rig: Rig) -> list[str]:
    """Return what `tallystick verify` names."""
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
    return [finding for check in checks for finding in check.findings]


def move(rig: Rig) -> tuple[Period, Period]:
    """Move bob to the legacy price; return what is left of its period, and the new one."""
    rig.customers.change_price("bob", "recorded")
    at = rig.clock.now()
    return Period(START, at), Period(at, JANUARY.end_at)


def used_and_moved(rig: Rig, days: int = 2) -> tuple[Period, Period]:
    """Let bob use 40, be moved, use 21 more, and all of it be recorded of the item."""
    rig.wait(days * DAY_US)
    rig.use("bob", 40)
    before, after = move(rig)
    rig.wait(10 * MINUTE_US)
    rig.use("bob", 21)
    rig.flush()
    assert told(rig, JANUARY) == (0, 61)
    return before, after


def test_what_was_recorded_of_usage_before_the_change_goes_to_the_meter(rig: Rig) -> None:
    before, after = used_and_moved(rig)
    rig.customers.let_webhooks_arrive(rig.product)
    rig.flush()
    assert told(rig, before) == (40, 0)
    assert told(rig, after) == (0, 21)
    assert findings(rig) == []


@pytest.mark.parametrize("rig", [{"every": 60}], indirect=True)
def test_a_record_at_a_time_before_the_change_is_emptied(rig: Rig) -> None:
    rig.wait(2 * HOUR_US - 5 * MINUTE_US)
    rig.use("bob", 40)
    rig.wait(10 * MINUTE_US)
    before, after = move(rig)
    rig.wait(10 * MINUTE_US)
    rig.use("bob", 21)
    rig.product.reporter.run()  # until the hour's end, at which the item had its meter still
    rig.product.deliverer.run()
    assert told(rig, before) == (0, 40)
    rig.customers.let_webhooks_arrive(rig.product)
    rig.flush()
    assert told(rig, before) == (40, 0)
    assert told(rig, after) == (0, 21)
    assert findings(rig) == []


@pytest.mark.parametrize("rig", [{"thresholds": True, "limited": "bob"}], indirect=True)
def test_what_was_added_to_a_record_and_cannot_be_taken_back_is_named(rig: Rig) -> None:
    before, after = used_and_moved(rig)
    rig.customers.let_webhooks_arrive(rig.product)
    rig.flush()
    item = rig.customers.items["bob"]
    assert told(rig, before) == (40, 0)
    assert told(rig, after) == (0, 61)
    assert reports_in(rig, ReportState.PARKED) == [(-40, "no_record", item)]
    assert findings(rig) == []


def test_a_change_that_is_heard_of_after_the_invoice_is_late_usage_on_both_sides(rig: Rig) -> None:
    before, after = used_and_moved(rig, days=20)
    rig.wait(15 * DAY_US)
    rig.customers.let_webhooks_arrive(rig.product)
    rig.flush()
    item = rig.customers.items["bob"]
    assert told(rig, before) == (0, 0)
    assert told(rig, after) == (0, 61)
    parked = reports_in(rig, ReportState.PARKED)
    assert sorted(parked) == [(-40, "period_closed", item), (40, "period_closed", None)]
    assert findings(rig) == []


def test_a_change_whose_event_is_gone_leaves_all_with_the_item(rig: Rig) -> None:
    used_and_moved(rig)
    rig.wait(32 * DAY_US)  # events are listed for 30 days
    rig.customers.let_webhooks_arrive(rig.product)
    rig.use("bob", 5)
    rig.flush()
    assert told(rig, JANUARY) == (0, 61)
    assert {one.state for one in rig.product.book.reports("bob")} == {ReportState.DELIVERED}
    assert findings(rig) == []


def parked(rig: Rig) -> tuple[UsageReport, Period, Period]:
    """Have usage parked that no record can show, before the change is heard of."""
    rig.wait(2 * DAY_US)
    rig.use("bob", 10)
    before, after = move(rig)
    rig.wait(10 * MINUTE_US)
    rig.use("bob", 5)
    rig.flush()
    rig.use("bob", -50)  # a record cannot say less than nothing
    rig.flush()
    (late,) = [one for one in rig.product.book.reports("bob") if one.state is ReportState.PARKED]
    assert (int(late.quantity), late.reason) == (-50, "no_record")
    return late, before, after


def test_what_no_record_could_show_is_planned_again_where_it_goes_by_now(rig: Rig) -> None:
    late, before, after = parked(rig)
    rig.customers.let_webhooks_arrive(rig.product)
    rig.flush()
    found = rig.product.stuck_reports.get(late.id)
    assert found is not None
    assert (found.state, found.reason) == (ReportState.REPLACED, StrayReason.NOT_TAKEN)
    assert told(rig, before) == (10, 0)
    item = rig.customers.items["bob"]
    assert reports_in(rig, ReportState.PARKED) == [(-60, "no_record", item)]
    assert told(rig, after) == (0, 15)
    assert findings(rig) == []


def test_a_period_that_goes_another_way_is_sorted_where_its_bounds_stay(rig: Rig) -> None:
    late = planned(
        "bob", meter_key=METER, state=ReportState.PARKED, period=JANUARY, stripe_item_id="si_gone"
    )
    rig.wait(2 * DAY_US)
    plan(rig.product, late)
    rig.use("bob", 40)
    rig.flush()
    assert reports_in(rig, ReportState.REPLACED) == [(7, "stray", "si_gone")]
    assert told(rig, JANUARY) == (40, 0)
    assert findings(rig) == []


def test_what_a_person_waived_stays_waived_where_it_goes_by_now(rig: Rig) -> None:
    late, before, _ = parked(rig)
    decision = Decision("ada", "as agreed", rig.clock.now())
    rig.product.dead_letters.settle([late.id], ReportState.WAIVED, decision)
    rig.customers.let_webhooks_arrive(rig.product)
    rig.flush()
    (waived,) = [one for one in rig.product.book.reports("bob") if one.state is ReportState.WAIVED]
    assert (waived.quantity, waived.stripe_item_id) == (late.quantity, None)
    assert waived.period.start_at == before.start_at
    assert findings(rig) == []
