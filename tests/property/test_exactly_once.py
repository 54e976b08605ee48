"""After any mixture of faults, Stripe's totals equal the measured usage to the unit.

A state machine over the real pipeline, on a real file, against the real sandbox over real HTTP, on
one clock that the machine moves. More of it: TALLYSTICK_EXACTLY_ONCE_EXAMPLES=200.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import stripe
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tallystick.billing.dead_letters import Remedy
from tallystick.config import Settings
from tallystick.domain.aggregation import quantity_of
from tallystick.domain.corrections import Correction
from tallystick.domain.events import DEFAULT_SOURCE
from tallystick.domain.instants import (
    DAY_US,
    HOUR_US,
    MINUTE_US,
    SECOND_US,
    format_instant,
    parse_instant,
)
from tallystick.domain.quantity import add_all
from tallystick.domain.reports import ParkReason, ReportState, told_to
from tallystick.domain.usage_records import RecordAggregation, figure_of, records_of
from tallystick.oversight.invariants import check_store, check_stripe, items_of, reports_by_period
from tallystick.pipeline.resolve import last_known_period
from tallystick.ports.errors import PortError
from tallystick.ports.outbox import Decision, StuckFilter
from tallystick.wiring import Tallystick
from tests.fixtures.billed_customers import METER, METERS, PRICES, BilledCustomers
from tests.fixtures.clocked_sandbox import ClockedSandbox
from tests.fixtures.postgres import fresh_database
from tests.property.broken_once import BROKEN_ONCE
from tests.property.crash_points import CRASH_POINTS, Crash, CrashPoints

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallystick.domain.periods import Period
    from tallystick.domain.reports import UsageReport
    from tallystick.domain.subscriptions import SubscriptionItem

EXAMPLES = int(os.environ.get("TALLYSTICK_EXACTLY_ONCE_EXAMPLES", "8"))
STEPS = 20

START = parse_instant("2026-01-28T09:30:30Z")
ROUNDS_MAX = 60

CUSTOMERS = ("ada", "bob", "cat", "liz", "leo")
WAYS = ("meter_events", "meter_event_stream")
HOWS = ("sum", "max", "last_during_period")
LEVEL_AGGREGATIONS = ("sum", "max", "last")
REQUEST_FAULTS = (
    "rate_limit",
    "rate_limit_bare",
    "conflict",
    "server_error",
    "server_error_after",
    "cut_before",
    "cut_after",
)
USAGE_PATHS = ("*/billing/meter_event*", "/v1/subscription_items/*")
WHILE_OPEN = (ParkReason.NOT_CANCELLABLE, ParkReason.NO_RECORD, ParkReason.NO_TIMESTAMP)
"""Reasons why usage of a period that is still open may be kept back."""

WITHHELD_OR_REPLACED = (ReportState.PARKED, ReportState.DEAD, ReportState.REPLACED)

USED = st.lists(st.tuples(st.sampled_from(CUSTOMERS), st.integers(1, 50)), min_size=1, max_size=3)
"""Who uses how much meanwhile: it comes with other steps, so that there is always something to
tell Stripe of."""


def shown(report: UsageReport) -> str:
    """Return the few fields of a report that say what became of it."""
    at = format_instant(report.timestamp * SECOND_US)
    told = report.quantity if report.level is None else f"{report.quantity} to {report.level}"
    return f"  {report.id} at {at}: {told}, {report.state} {report.reason or ''} {report.way}"


_sandbox: list[ClockedSandbox] = []


def the_sandbox() -> ClockedSandbox:
    """Return one sandbox for all runs: each has an account of its own."""
    if not _sandbox:
        _sandbox.append(ClockedSandbox())
    return _sandbox[0]


class ExactlyOnce(RuleBasedStateMachine):
    """A team's product and its customers, with everything going wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.sandbox = the_sandbox()
        self.clock = self.sandbox.clock
        self.clock.at = START
        self.folder = Path(tempfile.mkdtemp())
        self.databases = ExitStack()
        self.crashes = CrashPoints()
        self.product: Tallystick | None = None
        self.used: list[str] = []
        self.prices = dict(PRICES)
        self.added: dict[str, list[str]] = {customer: [] for customer in PRICES}
        self.cancelled: set[str] = set()
        self.failing: list[dict[str, Any]] = []

    @initialize(
        way=st.sampled_from(WAYS),
        how=st.sampled_from(HOWS),
        level=st.sampled_from(LEVEL_AGGREGATIONS),
        thresholds=st.booleans(),
        every=st.sampled_from((None, 60)),
        then=st.sampled_from(HOWS),
    )
    def begin(
        self,
        way: str,
        how: str,
        level: str,
        thresholds: bool,
        every: int | None = None,
        then: str | None = None,
    ) -> None:
        self.settings = Settings(
            database_url=self.new_database(),
            stripe_api_key=self.sandbox.new_key(),
            stripe_api_base=self.sandbox.url,
            stripe_rate=1_000_000,
            stripe_meter_events=way,  # type: ignore[arg-type]  # one of the two above
        )
        self.open()
        self.customers = BilledCustomers(
            self.running,
            self.settings,
            self.clock,
            how,
            level=level,
            thresholds=thresholds,
            every=every,
            then=then,
        )
        self.hows = {self.customers.price_ids[n]: h for n, h in self.customers.hows.items()}

    def new_database(self) -> str:
        return f"sqlite:///{self.folder / 'tallystick.db'}"

    def open(self) -> None:
        self.product = Tallystick(self.settings, self.clock)

    @property
    def running(self) -> Tallystick:
        assert self.product is not None
        return self.product

    @rule(
        customer=st.sampled_from(CUSTOMERS),
        value=st.integers(1, 50),
        age_us=st.integers(0, 3 * DAY_US),
    )
    def use(self, customer: str, value: int, age_us: int) -> None:
        at = max(self.clock.now() - age_us, START)
        self.used.append(self.customers.use(self.running, customer, at, value))

    @rule(newest=st.integers(0, 5), value=st.one_of(st.none(), st.integers(1, 50)))
    def replace(self, newest: int, value: int | None) -> None:
        """Void an event, or let it count for another value."""
        if newest < len(self.used):
            new = None if value is None else Decimal(value)
            correction = Correction(DEFAULT_SOURCE, self.used[-1 - newest], new, "ada", "a mistake")
            self.running.events.correct([correction], self.clock.now()).result()

    @rule(customer=st.sampled_from(CUSTOMERS), share=st.integers(1, 100))
    def correct(self, customer: str, share: int) -> None:
        """Take some of the present period's usage back, by an event of its own."""
        meter = self.running.catalog.meters().by_key[METER]
        items, _ = self.running.customers.items(self.customers.stripe_ids[customer])
        period = next((i.period for i in items if self.clock.now() - 1 in i.period), None)
        if period is None:
            return
        used = quantity_of(self.running.usage.usage(meter, customer, period), meter.aggregation)
        if taken := int(used) * share // 100:
            at = max(self.clock.now() - MINUTE_US, period.start_at)
            self.customers.use(self.running, customer, at, -taken)

    def go_on(self, used: list[tuple[str, int]]) -> None:
        """Let customers use something now; a minute later it is past."""
        for customer, value in used:
            self.used.append(self.customers.use(self.running, customer, self.clock.now(), value))
        self.clock.advance(MINUTE_US)
        self.calmly(lambda: self.customers.advance_to(self.clock.now()))

    @rule(at_once=st.booleans(), used=USED)
    def report(self, at_once: bool, used: list[tuple[str, int]] = []) -> None:  # noqa: B006 - never changed
        self.go_on(used)
        self.survive(lambda: self.running.reporter.run(at_once=at_once))

    @rule(used=USED)
    def deliver(self, used: list[tuple[str, int]] = []) -> None:  # noqa: B006 - never changed
        self.go_on(used)
        self.survive(lambda: self.running.reporter.run(at_once=True))
        self.survive(lambda: self.running.deliverer.run())

    @rule()
    def confirm(self) -> None:
        self.survive(lambda: self.running.confirmer.run())

    @rule(minutes=st.integers(1, 3_000), used=USED)
    def wait(self, minutes: int, used: list[tuple[str, int]]) -> None:
        self.go_on(used)
        self.clock.advance(minutes * MINUTE_US)
        self.calmly(lambda: self.customers.advance_to(self.clock.now()))

    @rule(
        kind=st.sampled_from(REQUEST_FAULTS),
        path=st.sampled_from((*USAGE_PATHS, "*")),
        times=st.integers(1, 4),
        skip=st.integers(0, 2),
    )
    def fail(self, kind: str, path: str, times: int, skip: int) -> None:
        rule = {"kind": kind, "path": path, "times": times, "skip": skip}
        self.faults([*self.failing, {**rule, "method": "POST"} if path != "*" else rule])

    @rule(times=st.integers(1, 3))
    def reject(self, times: int) -> None:
        """Let Stripe take events and never count them."""
        self.faults([*self.failing, {"kind": "meter_event_rejection", "times": times}])

    @rule(seconds=st.integers(60, 3_600))
    def lag(self, seconds: int) -> None:
        self.faults([*self.failing, {"kind": "summary_lag", "seconds": seconds, "times": 5}])

    @rule(
        kind=st.sampled_from(["cut_before", "cut_after", "server_error_after"]),
        days=st.integers(1, 4),
        rounds=st.integers(1, 3),
        used=USED,
    )
    def outage(self, kind: str, days: int, rounds: int, used: list[tuple[str, int]]) -> None:
        """Stripe is down for days, or works and its answers are lost for days.

        Its clock is not: in production it is nobody's.
        """
        self.go_on(used)
        self.report(at_once=True)
        self.faults([{"kind": kind, "path": path} for path in USAGE_PATHS])
        self.deliver()
        for _ in range(rounds):
            self.clock.advance(days * DAY_US // rounds)
            self.customers.advance_to(self.clock.now())  # the faults are not on its path
            self.report(at_once=True)
            self.deliver()
        self.faults([])

    @rule(point=st.sampled_from(CRASH_POINTS))
    def arm(self, point: str) -> None:
        self.calmly(lambda: self.crashes.install(self.running))  # it asks Stripe whose key it has
        self.crashes.armed = point

    @rule()
    def restart(self) -> None:
        self.running.close()
        self.open()

    @rule(
        customer=st.sampled_from(CUSTOMERS),
        name=st.sampled_from(sorted(METERS)),
        is_late=st.booleans(),
    )
    def change_price(self, customer: str, name: str, is_late: bool = False) -> None:
        """Move a customer to another price: of its meter, of another one, or without one."""
        others = {METERS[one] for one in self.added[customer]}
        if METERS[name] not in others:
            self.prices[customer] = name
            self.sell(lambda: self.customers.change_price(customer, name), is_late)

    @rule(
        customer=st.sampled_from(CUSTOMERS),
        name=st.sampled_from(sorted(METERS)),
        is_late=st.booleans(),
    )
    def add_item(self, customer: str, name: str, is_late: bool = False) -> None:
        """Sell a customer one price more; not of a meter that it has: that would bill twice."""
        held = {METERS[one] for one in (self.prices[customer], *self.added[customer])}
        if METERS[name] not in held:
            self.added[customer].append(name)
            self.sell(lambda: self.customers.add_item(customer, name), is_late)

    @rule(customer=st.sampled_from(CUSTOMERS), at_period_end=st.booleans(), is_late=st.booleans())
    def cancel(self, customer: str, at_period_end: bool, is_late: bool = False) -> None:
        self.cancelled.add(customer)
        self.sell(lambda: self.customers.cancel(customer, at_period_end=at_period_end), is_late)

    def sell(self, change: Callable[[], object], is_late: bool) -> None:
        """Change a subscription, if Stripe lets it be changed so; its webhooks may be late."""

        def attempt() -> None:
            with contextlib.suppress(stripe.InvalidRequestError):
                change()

        self.calmly(attempt)
        if not is_late:
            self.webhooks_arrive()

    @rule()
    def webhooks_arrive(self) -> None:
        """Let the product hear of all that became of subscriptions."""
        self.calmly(lambda: self.customers.let_webhooks_arrive(self.running))

    def faults(self, rules: list[dict[str, Any]]) -> None:
        self.failing = rules
        self.sandbox.set_faults(self.settings.stripe_api_key or "", rules)

    def calmly(self, work: Callable[[], object]) -> None:
        """Do what is no part of the product, and so is not what is to fail."""
        kept = self.failing
        self.faults([])
        work()
        self.faults(kept)

    def survive(self, work: Callable[[], object]) -> None:
        """Do a piece of a worker's work as a server does: failures pass, crashes end it."""
        try:
            work()
        except PortError:
            pass
        except Crash:
            self.restart()

    def settle(self) -> None:
        """Let everything get well, and time pass until nothing is on its way."""
        self.faults([])
        self.crashes.armed = None
        self.webhooks_arrive()
        self.clock.advance(2 * MINUTE_US)  # what was used just now is past then
        self.customers.advance_to(self.clock.now())
        for _ in range(ROUNDS_MAX):
            product = self.running
            product.reporter.run(at_once=True)
            product.deliverer.run()
            product.confirmer.run()
            is_decided = not self.decide(product)
            depth = product.outbox.depth()
            if is_decided and not depth.pending and not depth.unverified:
                return
            self.clock.advance(2 * HOUR_US)
            self.customers.advance_to(self.clock.now())
        raise AssertionError(f"still on the way: {self.running.outbox.depth()}")

    def decide(self, product: Tallystick) -> bool:
        """Do what an operator does: drive again what died, look up what is ambiguous.

        Tells whether anything was there to be moved on.
        """
        decision = Decision("operator", "settling", self.clock.now())
        dead = product.stuck_reports.find(StuckFilter(ReportState.DEAD), 0, 100)
        remedied = product.dead_letters.retry(
            [one.id for one in dead], decision, surely_missing=False
        )
        unresolved = product.stuck_reports.find(StuckFilter(ReportState.UNRESOLVED), 0, 100)
        for one in unresolved:
            if self.has_arrived(product, one):
                product.dead_letters.settle([one.id], ReportState.DELIVERED, decision)
            else:
                product.dead_letters.retry([one.id], decision, surely_missing=True)
        return bool(unresolved) or any(one.remedy is Remedy.REPLACED for one in remedied)

    def has_arrived(self, product: Tallystick, report: UsageReport) -> bool:
        if report.stripe_item_id is not None:  # as Stripe's support would say, who see all
            kept = self.sandbox.records(self.settings.stripe_api_key or "", report.stripe_item_id)
            return kept.get(report.timestamp) == report.level
        period = product.book.of_period(report.customer, report.meter_key, report.period)
        delivered = [one for one in told_to(None, period) if one.state is ReportState.DELIVERED]
        theirs = product.stripe.summaries.summarized(
            product.catalog.stripe_meter_ids()[report.meter_key],
            report.stripe_customer_id,
            last_known_period(product.book, report),
        )
        if report.level is None or report.record_aggregation is None:
            return theirs == add_all([report.quantity, *(one.quantity for one in delivered)])
        levels = {**records_of(delivered), report.timestamp: report.level}
        return theirs == figure_of(report.record_aggregation, levels)

    def present_periods(self, product: Tallystick, customer: str, meter_key: str) -> list[Period]:
        """Return the periods in which Stripe bills a meter, as all of its events tell them."""
        link = product.customers.find(customer)
        assert link is not None
        found = product.billing_periods().of_meter(link, meter_key)
        assert not found.conflict, found
        return list(found.periods)

    def check(self) -> None:
        product = self.running
        with product.snapshots.snapshot() as snapshot:
            checks = check_store(snapshot, product.catalog.meters())
            reports = list(snapshot.reports())
        stripe = check_stripe(
            reports,
            product.catalog.stripe_meter_ids(),
            product.stripe.summaries,
            product.recorded_items,
        )
        findings = [c.findings for c in (*checks, stripe) if not c.holds]
        assert not findings, findings
        grouped = reports_by_period(reports)
        records, events = {}, {}
        for key, rows in grouped.items():
            (item_id,) = items_of(rows)  # all that count are told to one
            if item_id is None:
                events[key] = rows
            else:
                records[key] = (item_id, rows)
        for customer, stripe_id in self.customers.stripe_ids.items():
            items = product.customers.items(stripe_id)[0]
            for item_id in {one.stripe_item_id for one in items}:
                of_item = [one for one in items if one.stripe_item_id == item_id]
                self.check_item(product, customer, of_item, records)
        for customer, stripe_id in self.customers.stripe_ids.items():
            for meter_key, stripe_meter in product.catalog.stripe_meter_ids().items():
                for period in self.present_periods(product, customer, meter_key):
                    rows = events.pop((customer, meter_key, period), [])
                    theirs = self.sandbox.billed(
                        self.settings.stripe_api_key or "", stripe_meter, stripe_id, period
                    )
                    self.check_period(product, customer, meter_key, period, rows, theirs)
        # of a period that never was, no more than late usage may be left
        left = [row for rows in events.values() for row in rows]
        left += [row for _, rows in records.values() for row in rows]
        assert all(row.state in WITHHELD_OR_REPLACED for row in left), left

    def check_item(
        self,
        product: Tallystick,
        customer: str,
        of_item: list[SubscriptionItem],
        records: dict[tuple[str, str, Period], tuple[str, list[UsageReport]]],
    ) -> None:
        """Compare with the records of an item: those of each stretch, and none besides."""
        item_id = of_item[0].stripe_item_id
        kept = self.sandbox.records(self.settings.stripe_api_key or "", item_id)
        for one in of_item:
            if one.stripe_meter_id is not None:
                continue
            told_item, rows = records.pop((customer, METER, one.period), (item_id, []))
            assert told_item == item_id
            # what was only added to stays where it is, and counts here
            moved = {r.timestamp for r in rows if r.state is ReportState.DELIVERED} - {
                at for at in kept if at * SECOND_US in one.period
            }
            if not any(row.is_increment for row in rows):
                assert all(kept.get(at, 0) == 0 for at in moved), (customer, one, moved)
            chosen = {at for at in kept if at * SECOND_US in one.period} | moved
            how = RecordAggregation(self.hows[one.stripe_price_id])
            theirs = figure_of(how, {at: kept.pop(at) for at in sorted(chosen)})
            self.check_period(product, customer, METER, one.period, rows, theirs)
        assert not any(kept.values()), (customer, item_id, kept)

    def check_period(
        self,
        product: Tallystick,
        customer: str,
        meter_key: str,
        period: Period,
        rows: list[UsageReport],
        theirs: Decimal,
    ) -> None:
        meter = product.catalog.meters().by_key[meter_key]
        measured = quantity_of(product.usage.usage(meter, customer, period), meter.aggregation)
        withheld = (ReportState.PARKED, ReportState.DEAD)
        late = add_all(r.quantity for r in rows if r.state in withheld)
        assert theirs == measured - late, (
            f"{customer}, {meter_key}, {period}: Stripe bills {theirs}, measured {measured}, late "
            f"{late}\n" + "\n".join(shown(row) for row in rows)
        )
        allowed = {ReportState.DELIVERED, ReportState.REPLACED, *withheld}
        assert {r.state for r in rows} <= allowed
        for row in rows:
            if row.state in withheld and row.reason not in WHILE_OPEN:
                is_over = row.period.end_at < self.clock.now()
                assert is_over or customer in self.cancelled, row

    def teardown(self) -> None:
        if self.product is None:
            return
        try:
            self.settle()
            self.check()
        finally:
            self.running.close()
            self.databases.close()
            shutil.rmtree(self.folder)


class ExactlyOnceOnPostgres(ExactlyOnce):
    """The same on PostgreSQL."""

    def new_database(self) -> str:
        return self.databases.enter_context(fresh_database())


def settings_for(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


@pytest.mark.timeout(1800)
class TestExactlyOnce(ExactlyOnce.TestCase):  # type: ignore[valid-type,misc]  # made at run time
    settings = settings_for(EXAMPLES)


@pytest.mark.timeout(1800)
class TestExactlyOnceOnPostgres(ExactlyOnceOnPostgres.TestCase):  # type: ignore[valid-type,misc]
    settings = settings_for(-(-EXAMPLES // 4))


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", BROKEN_ONCE)
def test_a_history_that_broke_it_once_does_no_more(name: str) -> None:
    machine = ExactlyOnce()
    try:
        for rule_name, arguments in BROKEN_ONCE[name]:
            getattr(machine, rule_name)(**arguments)
    finally:
        machine.teardown()
