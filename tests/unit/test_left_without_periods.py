"""A customer whose known periods of a meter turn out never to have been, or not to be known yet.

What was reported of them is set aside, and its usage waits; nothing of it is lost, and nothing is
counted twice, once Stripe says that the period is there after all.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tallystick.billing.linking import ALL_TIME
from tallystick.billing.unbilled_usage import UnbilledUsage, uncovered
from tallystick.billing.usage_routes import Routes, UsageRouter
from tallystick.domain.aggregation import quantity_of
from tallystick.domain.instants import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from tallystick.domain.money import Money
from tallystick.domain.periods import Period
from tallystick.domain.quantity import add_all
from tallystick.domain.reports import ParkReason, ReportState
from tallystick.oversight.invariants import check_store, check_stripe
from tallystick.pipeline.report import DueOutcome
from tests.fixtures.billed_customers import METER, METERS, PRICES
from tests.fixtures.clocked_sandbox import ClockedSandbox
from tests.fixtures.reporting_rig import JANUARY, Rig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tallystick.domain.reports import UsageReport
    from tallystick.domain.subscriptions import CustomerLink

EVENTS_PATH = "*/billing/meter_event*"
ROUNDS_MAX = 20


@pytest.fixture(scope="module")
def clocked() -> Iterator[ClockedSandbox]:
    sandbox = ClockedSandbox()
    yield sandbox
    sandbox.stop()


class Case:
    """One customer who uses something, and what is known of the customer's periods."""

    def __init__(
        self, sandbox: ClockedSandbox, folder: Path, customer: str, patch: pytest.MonkeyPatch
    ) -> None:
        self.rig = Rig(sandbox, folder, "meter_events")
        self.product = self.rig.product
        self.customer = customer
        self.meter_key = METERS[PRICES[customer]]
        self.is_blind = False
        self._find_routes = UsageRouter.routes
        patch.setattr(UsageRouter, "routes", lambda *asked: self.routes(*asked))
        self.rig.wait(DAY_US)

    def routes(self, router: UsageRouter, link: CustomerLink, *more: Any) -> Routes:
        """Tell no route at all while this is blind: what is known speaks against every period."""
        found = self._find_routes(router, link, *more)
        return found._replace(routes=()) if self.is_blind else found

    def use(self, *values: int) -> None:
        for value in values:
            self.rig.wait(MINUTE_US)
            self.rig.use(self.customer, value)
        self.rig.wait(SECOND_US)

    def plan(self) -> set[DueOutcome]:
        return set(self.product.reporter.run(at_once=True))

    def reports(self, *states: ReportState) -> list[UsageReport]:
        return [one for one in self.product.book.reports(self.customer) if one.state in states]

    def lose_sight(self) -> None:
        """Have it turn out that no period is known, which the usage waits out."""
        self.is_blind = True
        self.rig.use(self.customer, 1)
        self.rig.wait(MINUTE_US)
        assert self.plan() == {DueOutcome.UNSUBSCRIBED}
        assert self.reports(ReportState.PENDING, ReportState.DELIVERED) == []
        told = self.product.deliverer.run()
        assert not told
        assert self.is_due()

    def see_again(self) -> None:
        self.is_blind = False

    def is_due(self) -> bool:
        due = self.product.book.due(None, None, 1_000)
        return (self.customer, self.meter_key) in [one[:2] for one in due]

    def settle(self) -> None:
        for _ in range(ROUNDS_MAX):
            self.plan()
            self.product.deliverer.run()
            self.product.confirmer.run()
            depth = self.product.outbox.depth()
            if not depth.pending and not depth.unverified:
                return
            self.rig.wait(2 * HOUR_US)
        raise AssertionError(f"still on the way: {self.product.outbox.depth()}")

    def at_stripe(self) -> Decimal:
        return self.rig.customers.at_stripe(self.product, self.customer, JANUARY)

    def measured(self) -> Decimal:
        meter = self.product.catalog.meters().by_key[self.meter_key]
        usage = self.product.usage.usage(meter, self.customer, JANUARY)
        return quantity_of(usage, meter.aggregation)

    def late(self) -> Decimal:
        return add_all(one.quantity for one in self.reports(ReportState.PARKED))

    def assert_nothing_is_lost(self) -> None:
        assert self.at_stripe() + self.late() == self.measured()
        with self.product.snapshots.snapshot() as snapshot:
            checks = check_store(snapshot, self.product.catalog.meters())
            reports = list(snapshot.reports())
        meter_ids = self.product.catalog.stripe_meter_ids()
        stripe = check_stripe(
            reports, meter_ids, self.product.stripe.summaries, self.product.recorded_items
        )
        assert [check.findings for check in (*checks, stripe) if not check.holds] == []


@pytest.fixture(params=["ada", "cat", "liz"])
def case(
    clocked: ClockedSandbox,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Case]:
    """A customer of each kind of meter: one that adds, counts, or takes the last value."""
    made = Case(clocked, tmp_path, request.param, monkeypatch)
    yield made
    made.product.close()


def test_what_was_never_sent_waits_and_is_reported_once_there_is_a_period(case: Case) -> None:
    case.use(5, 7)
    case.plan()
    case.lose_sight()
    assert case.at_stripe() == 0
    case.see_again()
    case.settle()
    assert case.at_stripe() == case.measured() > 0
    case.assert_nothing_is_lost()
    assert not case.is_due()


def test_what_stripe_has_counts_again_once_there_is_a_period(case: Case) -> None:
    case.use(5, 7)
    case.rig.flush()
    told = case.at_stripe()
    case.lose_sight()
    case.see_again()
    case.use(3)
    case.settle()
    assert case.at_stripe() == case.measured() > told > 0
    case.assert_nothing_is_lost()


def test_what_stripe_may_have_is_told_once(case: Case) -> None:
    case.rig.faults({"kind": "cut_after", "path": EVENTS_PATH})
    case.use(5, 7)
    case.rig.flush()
    case.rig.faults()
    case.lose_sight()
    case.see_again()
    case.settle()
    assert case.at_stripe() == case.measured() > 0
    case.assert_nothing_is_lost()


def test_what_is_over_when_its_period_appears_is_parked_as_late_usage(case: Case) -> None:
    case.use(5, 7)
    case.rig.flush()
    told = case.at_stripe()
    case.use(9)
    case.plan()
    case.lose_sight()
    case.rig.wait(JANUARY.end_at + 3 * HOUR_US - case.rig.clock.now())
    assert case.plan() == {DueOutcome.UNSUBSCRIBED}
    case.see_again()
    case.settle()
    parked = case.reports(ReportState.PARKED)
    assert {one.reason for one in parked} == {ParkReason.PERIOD_CLOSED}
    assert case.at_stripe() == told
    assert case.late() == case.measured() - told != 0
    case.assert_nothing_is_lost()


@pytest.fixture
def rig(clocked: ClockedSandbox, tmp_path: Path) -> Iterator[Rig]:
    """Every kind of customer, with nothing in the way."""
    made = Rig(clocked, tmp_path, "meter_events")
    yield made
    made.product.close()


def test_usage_in_no_period_is_shown_with_the_money_at_stake(rig: Rig) -> None:
    rig.wait(DAY_US)
    rig.use("ada", 3)  # inside
    rig.customers.use(rig.product, "ada", JANUARY.start_at - HOUR_US, 5)
    rig.flush()
    rig.customers.cancel("ada", at_period_end=False)  # now, by the test clock
    rig.wait(2 * HOUR_US)
    rig.use("ada", 7)
    rig.flush()
    began = Period(ALL_TIME.start_at, JANUARY.start_at)
    ended = Period(JANUARY.start_at + DAY_US, ALL_TIME.end_at)
    assert list(rig.product.unbilled_usages.find(METER)) == [
        UnbilledUsage("ada", METER, began, 1, Decimal(5), Money(5, "usd")),
        UnbilledUsage("ada", METER, ended, 1, Decimal(7), Money(7, "usd")),
    ]
    never = [one for one in rig.product.unbilled_usages.find() if one.meter_key != METER]
    assert {(one.customer, one.at_stake) for one in never} == {("ada", None)}


def test_what_periods_do_not_cover() -> None:
    first, last = ALL_TIME.start_at, ALL_TIME.end_at
    assert list(uncovered([])) == [ALL_TIME]
    periods = [Period(30, 40), Period(10, 20), Period(15, 25), Period(25, 30)]
    assert list(uncovered(periods)) == [Period(first, 10), Period(40, last)]
    assert list(uncovered([Period(10, 20), Period(30, 40)]))[1] == Period(20, 30)
