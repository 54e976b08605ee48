"""Only what is settled leaves: closed periods whose usage is reported and confirmed by Stripe."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tallystick.billing.archive_holds import HoldReason
from tallystick.domain.events import UsageEvent
from tallystick.domain.instants import DAY_US
from tallystick.domain.meters import Aggregation, Meter
from tallystick.domain.periods import Period
from tallystick.domain.reports import ReportState
from tallystick.domain.subscriptions import CustomerLink, SubscriptionItem
from tallystick.ports.outbox import Decision, Outcome, Settlement
from tests.contract.backends import NOW, put_in_force
from tests.contract.planning import LEASE_US, plan, planned
from tests.fixtures.mirrored import keep_items

if TYPE_CHECKING:
    from tallystick.wiring import Tallystick

SEEN = Meter("seen", "", "seen", Aggregation.COUNT)
TODAY = NOW - NOW % DAY_US
CLOSED = Period(TODAY - 130 * DAY_US, TODAY - 100 * DAY_US)
OPEN = Period(TODAY - 100 * DAY_US, NOW + DAY_US)
IN_CLOSED, IN_OPEN = CLOSED.start_at + 5 * DAY_US, OPEN.start_at + 2 * DAY_US


@pytest.fixture(autouse=True)
def meters(store: Tallystick) -> None:
    put_in_force(store, (SEEN,))


def use(store: Tallystick, *places: int, is_history: bool = False) -> None:
    """Store an event of acme at each instant, and one of nobody's today, and notice them."""
    number = store.events.count()
    events = [
        UsageEvent("s", f"{number + place}", "seen", "acme", at, Decimal(1))
        for place, at in enumerate(places)
    ]
    store.events.append(events, NOW, is_history=is_history).result()
    newest = UsageEvent("s", f"newest{number}", "seen", "nobody", NOW, Decimal(1))
    store.events.append([newest], NOW).result()
    while store.book.notice(1_000) == 1_000:
        pass


def subscribe(store: Tallystick, *periods: Period) -> None:
    """Link acme, with a metered item that had these billing periods."""
    store.customers.link([CustomerLink("acme", "cus_acme")], NOW)
    items = [
        SubscriptionItem("si_1", "sub_1", "cus_acme", "price_1", "mtr_seen", period, period)
        for period in periods
    ]
    keep_items(store, "cus_acme", items, NOW)


def archived(store: Tallystick) -> tuple[dict[int, int], Counter[HoldReason]]:
    """Archive what may leave; return how many events of which day did, and what was held."""
    held: Counter[HoldReason] = Counter()
    events = {}
    archiver = store.archiver
    for day_at in archiver.days():
        done = archiver.archive(day_at)
        assert not done.findings
        held.update(done.held)
        if done.event_count:
            events[day_at] = done.event_count
    return events, held


def report(store: Tallystick, quantity: str, state: ReportState) -> None:
    """Report usage of acme's closed period, in a state that no worker has touched yet."""
    plan(store, planned(quantity=quantity, period=CLOSED, state=state))


def deliver(store: Tallystick) -> None:
    claims = store.outbox.claim(NOW, LEASE_US, 10)
    settled = Settlement(ReportState.DELIVERED, wake_at=NOW)
    assert store.outbox.settle([Outcome(claim, settled) for claim in claims], NOW) == []


def test_days_within_the_retention_stay(store: Tallystick) -> None:
    use(store, TODAY - 90 * DAY_US, TODAY - 91 * DAY_US, is_history=True)
    events, _ = archived(store)
    assert events == {TODAY - 91 * DAY_US: 1}


def test_usage_of_a_customer_without_a_link_stays(store: Tallystick) -> None:
    use(store, IN_CLOSED)
    assert archived(store) == ({}, {HoldReason.UNLINKED: 1})


def test_history_which_is_never_reported_leaves(store: Tallystick) -> None:
    use(store, IN_CLOSED, is_history=True)
    assert archived(store) == ({IN_CLOSED: 1}, {})


def test_an_open_period_stays_whole(store: Tallystick) -> None:
    subscribe(store, CLOSED, OPEN)
    use(store, IN_OPEN, is_history=True)  # so that it is not held because it is not reported
    assert archived(store) == ({}, {HoldReason.OPEN_PERIOD: 1})


def test_usage_outside_of_every_period_stays(store: Tallystick) -> None:
    subscribe(store, CLOSED)
    use(store, CLOSED.start_at - DAY_US)
    assert archived(store) == ({}, {HoldReason.UNREPORTED: 1})


def test_a_closed_period_leaves_once_it_is_reported_and_verified(store: Tallystick) -> None:
    subscribe(store, CLOSED, OPEN)
    use(store, IN_CLOSED, IN_CLOSED, IN_OPEN)
    both = {HoldReason.UNREPORTED: 1, HoldReason.OPEN_PERIOD: 1}
    assert archived(store) == ({}, both)
    report(store, "1", ReportState.PENDING)
    deliver(store)
    store.confirmations.verify(store.book.reports("acme"), NOW)
    assert archived(store) == ({}, both)  # one of two is reported
    plan(store, planned(quantity="1", sequence=1, period=CLOSED))
    unverified = {HoldReason.UNVERIFIED: 1, HoldReason.OPEN_PERIOD: 1}
    assert archived(store) == ({}, unverified)
    deliver(store)
    assert archived(store) == ({}, unverified)
    store.confirmations.verify(store.book.reports("acme"), NOW)
    assert archived(store) == ({IN_CLOSED: 2}, {HoldReason.OPEN_PERIOD: 1})


def test_usage_that_waits_for_a_decision_stays(store: Tallystick) -> None:
    subscribe(store, CLOSED)
    use(store, IN_CLOSED)
    report(store, "1", ReportState.PARKED)
    assert archived(store) == ({}, {HoldReason.UNVERIFIED: 1})
    (parked,) = store.book.reports("acme")
    assert store.stuck_reports.close(parked, ReportState.WAIVED, Decision("ann", "a test", NOW))
    assert archived(store) == ({IN_CLOSED: 1}, {})


def test_a_late_event_for_a_day_that_left_stays_until_it_is_settled(store: Tallystick) -> None:
    subscribe(store, CLOSED)
    use(store, IN_CLOSED)
    report(store, "1", ReportState.PARKED)
    (parked,) = store.book.reports("acme")
    store.stuck_reports.close(parked, ReportState.WAIVED, Decision("ann", "a test", NOW))
    archived(store)
    use(store, IN_CLOSED)
    assert archived(store) == ({}, {HoldReason.UNREPORTED: 1})
    plan(store, planned(quantity="1", sequence=1, period=CLOSED, state=ReportState.PARKED))
    (_, parked) = store.book.reports("acme")
    store.stuck_reports.close(parked, ReportState.WAIVED, Decision("ann", "a test", NOW))
    assert archived(store) == ({IN_CLOSED: 1}, {})
