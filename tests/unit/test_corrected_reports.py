"""What corrections do to reports: an open period gets the difference, a closed one parks it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import httpx2
import pytest

from tallystick.config import Settings
from tallystick.domain.instants import DAY_US, HOUR_US, MINUTE_US, parse_instant
from tallystick.domain.periods import Period
from tallystick.domain.reports import ReportState
from tallystick.oversight.invariants import check_store
from tallystick.pipeline.report import DueOutcome
from tallystick.wiring import Tallystick
from tests.fixtures.billed_customers import METER, BilledCustomers
from tests.fixtures.clocked_sandbox import ClockedSandbox
from tests.fixtures.patience import PATIENCE_SECONDS
from tests.fixtures.served import served

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator
    from pathlib import Path

    from tallystick.domain.reports import UsageReport

START = parse_instant("2026-01-01T00:00:30Z")
JANUARY = Period(START, parse_instant("2026-02-01T00:00:30Z"))
FEBRUARY = Period(JANUARY.end_at, parse_instant("2026-03-01T00:00:30Z"))


@pytest.fixture(scope="module")
def clocked() -> Iterator[ClockedSandbox]:
    sandbox = ClockedSandbox()
    yield sandbox
    sandbox.stop()


class Billed:
    """Customers on one clock with Stripe: ``ada`` bills a meter, ``leo`` usage records."""

    def __init__(self, sandbox: ClockedSandbox, folder: Path) -> None:
        self.clock = sandbox.clock
        self.clock.at = START
        settings = Settings(
            database_url=f"sqlite:///{folder / 'tallystick.db'}",
            stripe_api_key=sandbox.new_key(),
            stripe_api_base=sandbox.url,
            stripe_rate=100_000,
        )
        self.product = Tallystick(settings, self.clock)
        self.customers = BilledCustomers(self.product, settings, self.clock)
        self._served = served(self.product)
        server = self._served.__enter__()
        self._http = httpx2.Client(
            base_url=server.url, headers=server.headers, timeout=PATIENCE_SECONDS
        )

    def close(self) -> None:
        self._http.close()
        self._served.__exit__(None, None, None)
        self.product.close()

    def use(self, customer: str, at: int, value: int) -> str:
        self.customers.use(self.product, customer, at, value)
        return f"e{self.customers.number}"

    def correct(self, what: str, **asked: object) -> None:
        answer = self._http.post(f"/v1/events/{what}", json={"reason": "a test", **asked}).json()
        assert [result["status"] for result in answer["results"]] == ["corrected"]

    def advance_to(self, at: int) -> None:
        self.clock.advance(at - self.clock.now())
        self.customers.advance_to(at)

    def flush(self) -> Counter[DueOutcome]:
        planned = self.product.reporter.run(at_once=True)
        del planned[DueOutcome.UNSUBSCRIBED]  # other meters count the same events, unbilled
        self.product.deliverer.run()
        return planned

    def reports(self, customer: str, state: ReportState) -> list[UsageReport]:
        return [one for one in self.product.book.reports(customer) if one.state is state]

    def quantities(self, customer: str, state: ReportState) -> list[Decimal]:
        return [report.quantity for report in self.reports(customer, state)]

    def at_stripe(self, customer: str, period: Period = JANUARY) -> Decimal:
        return self.customers.at_stripe(self.product, customer, period)

    def measured(self, customer: str) -> Decimal:
        meter = self.product.catalog.meters().by_key[METER]
        return self.product.usage.usage_and_history(meter, customer, JANUARY).reportable(
            meter.aggregation
        )


@pytest.fixture
def billed(clocked: ClockedSandbox, tmp_path: Path) -> Iterator[Billed]:
    made = Billed(clocked, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("customer", ["ada", "leo"])
def test_an_open_period_is_counted_anew_and_its_difference_reported(
    billed: Billed, customer: str
) -> None:
    first = billed.use(customer, START + HOUR_US, 10)
    second = billed.use(customer, START + 2 * HOUR_US, 25)
    billed.advance_to(START + DAY_US)
    billed.flush()
    assert billed.at_stripe(customer) == 35

    billed.correct("void", id=first)
    billed.advance_to(START + DAY_US + MINUTE_US)
    assert billed.flush() == {DueOutcome.REPORTED: 1}
    billed.correct("replace", id=second, value=18)
    billed.advance_to(START + DAY_US + 2 * MINUTE_US)
    assert billed.flush() == {DueOutcome.REPORTED: 1}

    assert billed.quantities(customer, ReportState.DELIVERED) == [35, -10, -7]
    assert billed.measured(customer) == billed.at_stripe(customer) == 18
    assert billed.flush() == {}


@pytest.mark.parametrize("customer", ["ada", "leo"])
def test_what_a_closed_period_counts_differently_is_parked_with_its_difference(
    billed: Billed, customer: str
) -> None:
    first = billed.use(customer, START + HOUR_US, 10)
    second = billed.use(customer, START + 2 * HOUR_US, 25)
    billed.advance_to(START + DAY_US)
    billed.flush()
    billed.advance_to(JANUARY.end_at + 3 * HOUR_US)
    billed.use(customer, JANUARY.end_at + HOUR_US, 4)
    billed.flush()

    billed.correct("void", id=first)
    assert billed.flush() == {DueOutcome.PARKED: 1}
    billed.correct("replace", id=second, value=40)
    assert billed.flush() == {DueOutcome.PARKED: 1}

    parked = billed.reports(customer, ReportState.PARKED)
    assert [one.quantity for one in parked] == [-10, 15]
    assert {(one.reason, one.period) for one in parked} == {("period_closed", JANUARY)}
    assert billed.at_stripe(customer) == 35
    assert billed.at_stripe(customer, FEBRUARY) == 4
    assert billed.measured(customer) == 40
    assert billed.flush() == {}
    with billed.product.snapshots.snapshot() as snapshot:
        checks = check_store(snapshot, billed.product.catalog.meters())
    assert [check.findings for check in checks if not check.holds] == []


def test_a_correction_that_is_taken_back_parks_the_opposite(billed: Billed) -> None:
    event = billed.use("ada", START + HOUR_US, 10)
    billed.advance_to(JANUARY.end_at + 3 * HOUR_US)
    billed.flush()
    assert billed.quantities("ada", ReportState.PARKED) == [10]
    billed.correct("void", id=event)
    billed.flush()
    billed.correct("replace", id=event, value="10.000")
    billed.flush()
    assert billed.quantities("ada", ReportState.PARKED) == [10, -10, 10]
    assert billed.measured("ada") == 10


def test_in_the_hour_in_which_an_invoice_is_open_its_period_still_gets_the_difference(
    billed: Billed,
) -> None:
    event = billed.use("ada", START + HOUR_US, 10)
    billed.advance_to(START + DAY_US)
    billed.flush()
    billed.advance_to(JANUARY.end_at + 30 * MINUTE_US)
    billed.correct("replace", id=event, value=3)
    assert billed.flush() == {DueOutcome.REPORTED: 1}
    assert billed.quantities("ada", ReportState.DELIVERED) == [10, -7]
    assert billed.at_stripe("ada") == 3
