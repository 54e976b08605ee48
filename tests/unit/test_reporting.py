"""Report and deliver against the sandbox: what Stripe holds is what was measured."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec
import pytest
from structlog.testing import capture_logs

from tallystick.billing.catalog_changes import apply_catalog
from tallystick.billing.catalog_file import read_catalog
from tallystick.billing.stripe_mirror import StripeMirror
from tallystick.domain.instants import HOUR_US, parse_instant, to_datetime
from tallystick.domain.periods import Period
from tallystick.domain.reports import ReportState
from tallystick.domain.subscriptions import CustomerLink
from tallystick.pipeline.deliver import dispatch_of
from tallystick.pipeline.event_draft import EventDraft
from tallystick.pipeline.report import DueOutcome
from tallystick.ports.errors import StripeKeyRefused, StripeRefused, WrongAccount
from tallystick.ports.stripe import AttemptResult
from tallystick.wiring import Tallystick
from tests.fixtures.mirrored import keep_items
from tests.fixtures.paths import CATALOG_FILE
from tests.fixtures.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallystick.config import Settings
    from tallystick.ports.stripe import Dispatch

START = parse_instant("2015-05-01")
END = parse_instant("2015-06-01")
MAY = Period(START, END)


class Team:
    """A team with the example's catalog and one customer on a test clock, in its own account."""

    def __init__(self, product: Tallystick) -> None:
        self.product = product
        self.rehearsal = product.stripe.rehearsal
        applied = apply_catalog(
            read_catalog(CATALOG_FILE), product.catalog, product.stripe.catalog, product.clock
        )
        self.clock_id = self.rehearsal.create_clock(START, "test")
        self.stripe_id = self.rehearsal.create_customer("acme", self.clock_id)
        self.rehearsal.subscribe(self.stripe_id, list(applied.price_ids.values()))

    def link(self) -> None:
        link = CustomerLink("acme", self.stripe_id, self.clock_id)
        self.product.customers.link([link], self.product.clock.now())
        self.product.billing_periods().items(link, START)

    def use(self, id_: str, at: int, value: int | str = 1) -> None:
        draft = EventDraft("http_request", "acme", to_datetime(at), id_, value=Decimal(value))
        (result,) = self.product.ingest.take([draft])
        assert result.code is None

    def advance(self, to_at: int) -> None:
        self.rehearsal.advance(self.clock_id, to_at)
        self.rehearsal.wait_until_ready(self.clock_id)

    def flush(self) -> Counter[DueOutcome]:
        planned = self.product.reporter.run()
        self.product.deliverer.run()
        return planned

    def assert_stripe_has(self, **expected: int) -> None:
        """Stripe's totals lag behind what it took: they are waited for, and then must stay."""
        meter_ids = self.product.catalog.stripe_meter_ids()
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            totals = {
                meter_key: self.product.stripe.summaries.summarized(
                    meter_ids[meter_key], self.stripe_id, MAY
                )
                for meter_key in expected
            }
            if totals == expected or time.monotonic() > give_up_at:
                break
            time.sleep(0.02)
        assert totals == expected

    def quantities(self, meter_key: str, state: ReportState) -> list[Decimal]:
        return [
            report.quantity
            for report in self.product.book.reports("acme")
            if report.meter_key == meter_key and report.state is state
        ]


def send(product: Tallystick, dispatch: Dispatch) -> AttemptResult:
    (attempt,) = product.stripe.usage[dispatch.report.way].send([dispatch])
    return attempt.result


@pytest.fixture
def team(stripe_settings: Settings) -> Iterator[Team]:
    with Tallystick(stripe_settings) as product:
        yield Team(product)


def test_usage_until_the_customers_present_is_reported_and_the_rest_later(team: Team) -> None:
    team.link()
    team.use("early", START + 5 * HOUR_US, 10)
    team.use("late", START + 50 * HOUR_US, 20)
    team.advance(START + 24 * HOUR_US)
    assert team.flush() == {DueOutcome.REPORTED: 2}
    team.assert_stripe_has(api_requests=1, bandwidth_bytes=10)

    team.advance(START + 72 * HOUR_US)
    assert team.flush() == {DueOutcome.REPORTED: 2}
    team.assert_stripe_has(api_requests=2, bandwidth_bytes=30)
    assert team.flush() == {}


def test_a_late_event_and_a_negative_one_become_further_reports(team: Team) -> None:
    team.link()
    team.advance(START + 24 * HOUR_US)
    team.use("a", START + 20 * HOUR_US, 100)
    team.flush()
    team.use("b", START + 2 * HOUR_US, -40)
    team.flush()
    team.assert_stripe_has(bandwidth_bytes=60)
    assert team.quantities("bandwidth_bytes", ReportState.DELIVERED) == [100, -40]
    assert team.quantities("api_requests", ReportState.DELIVERED) == [1, 1]


def test_usage_of_an_unlinked_customer_waits_until_it_is_linked(team: Team) -> None:
    team.advance(START + 24 * HOUR_US)
    team.use("a", START + HOUR_US, 5)
    assert team.flush() == {DueOutcome.UNLINKED: 2}
    team.link()
    assert team.flush() == {DueOutcome.REPORTED: 2}
    team.assert_stripe_has(bandwidth_bytes=5)


def test_usage_in_no_known_period_waits_and_is_named(team: Team) -> None:
    team.link()
    team.advance(START + 24 * HOUR_US)
    team.use("before", START - HOUR_US, 5)
    assert team.flush() == {DueOutcome.OUTSIDE_PERIODS: 2}
    team.use("inside", START + HOUR_US, 7)
    assert team.flush() == {DueOutcome.REPORTED: 2}
    team.assert_stripe_has(bandwidth_bytes=7)
    assert team.flush() == {DueOutcome.OUTSIDE_PERIODS: 2}


def test_usage_of_a_closed_period_is_parked_and_never_sent(team: Team) -> None:
    team.link()
    team.advance(START + 24 * HOUR_US)
    team.use("a", START + HOUR_US, 5)
    team.flush()
    team.advance(END + 2 * HOUR_US)
    team.use("b", END - HOUR_US, 7)
    assert team.flush() == {DueOutcome.PARKED: 2}
    team.assert_stripe_has(bandwidth_bytes=5)
    assert team.quantities("bandwidth_bytes", ReportState.PARKED) == [7]
    assert team.flush() == {}


def test_usage_up_to_the_last_minute_is_billed_in_its_own_period(team: Team) -> None:
    team.link()
    team.use("last", END - 1, 11)
    team.use("next", END, 13)
    team.advance(END + HOUR_US // 2)
    team.flush()
    team.assert_stripe_has(bandwidth_bytes=11)
    team.advance(END + 3 * HOUR_US)
    totals = {
        invoice.total_minor: {(line.quantity, line.amount_minor) for line in invoice.lines}
        for invoice in team.product.stripe.invoices.invoices()
        if invoice.billing_reason == "subscription_cycle"
    }
    assert totals == {1: {("1", 1), ("11", 0)}}


def test_a_quantity_over_15_digits_goes_in_parts(team: Team) -> None:
    team.link()
    team.advance(START + 24 * HOUR_US)
    for number in range(3):
        team.use(f"e{number}", START + HOUR_US, "999999999999999")
    team.flush()
    parts = team.quantities("bandwidth_bytes", ReportState.DELIVERED)
    assert len(parts) == 3
    assert sum(parts) == 3 * 999_999_999_999_999
    assert team.flush() == {}


def test_reporters_that_race_report_once(team: Team) -> None:
    team.link()
    team.advance(START + 24 * HOUR_US)
    for number in range(20):
        team.use(f"e{number}", START + number * HOUR_US, 3)
    runs = [threading.Thread(target=team.product.reporter.run) for _ in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    team.flush()
    assert team.quantities("bandwidth_bytes", ReportState.DELIVERED) == [60]
    team.assert_stripe_has(bandwidth_bytes=60)


def test_a_report_whose_worker_died_before_it_wrote_the_answer_counts_once(team: Team) -> None:
    team.link()
    team.advance(START + 24 * HOUR_US)
    team.use("a", START + HOUR_US, 5)
    product = team.product
    product.reporter.run()
    for claim in product.outbox.claim(product.clock.now(), 0, 100):
        # the lease is over at once, and the outcome is written down nowhere
        assert send(product, dispatch_of(claim.report)) is AttemptResult.TAKEN
    team.assert_stripe_has(bandwidth_bytes=5)
    assert product.deliverer.run() == {"delivered": 2}
    team.assert_stripe_has(bandwidth_bytes=5)
    assert [report.attempts for report in product.book.reports()] == [2, 2]


def test_a_repeat_under_another_request_key_is_known_by_its_identifier(team: Team) -> None:
    team.link()
    team.advance(START + 24 * HOUR_US)
    team.use("a", START + HOUR_US, 5)
    product = team.product
    product.reporter.run()
    (claim, _) = product.outbox.claim(product.clock.now(), 0, 100)
    dispatch = dispatch_of(claim.report)
    assert send(product, dispatch) is AttemptResult.TAKEN
    assert send(product, dispatch._replace(request_key="another")) is AttemptResult.KNOWN


def test_usage_that_stripe_will_not_take_is_dead_with_its_reason(team: Team) -> None:
    gone = CustomerLink("acme", "cus_gone", team.clock_id)
    product = team.product
    product.customers.link([gone], product.clock.now())
    product.stripe_mirror.read_customer(team.stripe_id)
    items = [
        replace(
            item, stripe_item_id=f"{item.stripe_item_id}_gone", stripe_subscription_id="sub_gone"
        )
        for item in product.customers.items(team.stripe_id)[0]
    ]
    keep_items(product, "cus_gone", items, product.clock.now())
    team.advance(START + 24 * HOUR_US)
    team.use("a", START + HOUR_US, 5)
    team.flush()
    dead = [report for report in product.book.reports() if report.state is ReportState.DEAD]
    assert [report.customer for report in dead] == ["acme", "acme"]
    assert [report.reason for report in dead] == [
        "refused: resource_missing: No such customer: 'cus_gone'"
    ] * 2


def use_as_stranger(team: Team, link: CustomerLink) -> None:
    """Link a customer whom the team does not know to something at Stripe, and let it use once."""
    product = team.product
    product.customers.link([link], product.clock.now())
    draft = EventDraft("http_request", link.customer, to_datetime(START + HOUR_US), "s")
    (result,) = product.ingest.take([draft])
    assert result.code is None


def test_a_customer_that_is_gone_at_stripe_does_not_hold_up_the_others(team: Team) -> None:
    use_as_stranger(team, CustomerLink("a_stranger", "cus_deleted", "clock_deleted"))
    team.link()
    team.advance(START + 24 * HOUR_US)
    team.use("a", START + HOUR_US, 5)
    assert team.flush() == {DueOutcome.UNSUBSCRIBED: 2, DueOutcome.REPORTED: 2}
    team.assert_stripe_has(bandwidth_bytes=5)


def test_a_customer_that_stripe_refuses_to_show_does_not_hold_up_the_others(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_as_stranger(team, CustomerLink("a_stranger", "cus_typo"))
    read = StripeMirror.read_subscriptions

    def read_or_refuse(mirror: StripeMirror, stripe_customer_id: str) -> None:
        if stripe_customer_id == "cus_typo":
            raise StripeRefused("No such customer: 'cus_typo'")
        read(mirror, stripe_customer_id)

    monkeypatch.setattr(StripeMirror, "read_subscriptions", read_or_refuse)
    team.link()
    team.advance(START + 24 * HOUR_US)
    team.use("a", START + HOUR_US, 5)
    for planned in ({DueOutcome.REFUSED: 2, DueOutcome.REPORTED: 2}, {DueOutcome.REFUSED: 2}):
        with capture_logs() as logged:
            assert team.flush() == planned
        assert [(one["event"], one["customer"], one["error"]) for one in logged] == [
            ("report.refused", "a_stranger", "No such customer: 'cus_typo'")
        ] * 2
    team.assert_stripe_has(bandwidth_bytes=5)


def test_a_key_that_stripe_refuses_is_said_once_and_not_for_each_customer(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_mirror: StripeMirror, _stripe_customer_id: str) -> None:
        raise StripeKeyRefused("Stripe refused: Expired API Key provided")

    use_as_stranger(team, CustomerLink("a_stranger", "cus_any"))
    monkeypatch.setattr(StripeMirror, "read_subscriptions", refuse)
    with capture_logs() as logged, pytest.raises(StripeKeyRefused, match="Expired"):
        team.flush()
    assert "report.refused" not in [one["event"] for one in logged]


def test_applying_the_catalog_again_creates_nothing(team: Team) -> None:
    product = team.product
    declared = read_catalog(CATALOG_FILE)
    again = apply_catalog(declared, product.catalog, product.stripe.catalog, product.clock)
    assert again.created == ()


def test_a_database_refuses_another_account(team: Team) -> None:
    product = team.product
    assert product.installation.account() is not None
    other = msgspec.structs.replace(product.settings, stripe_api_key="sk_test_somebody_else")
    with Tallystick(other) as stranger, pytest.raises(WrongAccount, match="another database"):
        _ = stranger.stripe


def test_a_wrong_key_is_refused_by_name(team: Team) -> None:
    wrong = msgspec.structs.replace(team.product.settings, stripe_api_key="pk_wrong")
    with Tallystick(wrong) as product, pytest.raises(StripeKeyRefused):
        _ = product.stripe
