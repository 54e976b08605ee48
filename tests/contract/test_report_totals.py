"""What the reports of a period add up to, and the events that stand behind a count."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.domain.corrections import Correction
from tallystick.domain.events import UsageEvent
from tallystick.domain.instants import DAY_US, HOUR_US, SECOND_US
from tallystick.domain.meters import Aggregation, Meter, PropertyFilter
from tallystick.domain.periods import Period
from tallystick.domain.quantity import add_all
from tallystick.domain.reports import EventKey, PlannedReport, ReportState, report_identifier
from tallystick.oversight.invariants import check_store
from tallystick.ports.outbox import Decision, Due, Outcome, Reported, Settlement
from tests.contract.backends import BACKENDS, NOW, Backend, put_in_force
from tests.contract.planning import record_only

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tallystick.wiring import Tallystick

PERIOD = Period(NOW - 10 * DAY_US, NOW + 20 * DAY_US)
LEASE_US = HOUR_US
DECISION = Decision("ada", "why not", NOW)
CALLS = Meter("calls", "", "call", Aggregation.COUNT, filters=(PropertyFilter("region", ("eu",)),))


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Each backend in turn."""
    made = BACKENDS[request.param](tmp_path)
    put_in_force(made.product, (CALLS,))
    yield made
    made.close()


def planned(
    sequence: int, quantity: str = "1", *, customer: str = "acme", event: EventKey | None = None
) -> PlannedReport:
    window = Period(PERIOD.start_at, NOW)
    value = Decimal(quantity)
    return PlannedReport(
        customer=customer,
        stripe_customer_id=f"cus_{customer}",
        meter_key="calls",
        period=PERIOD,
        window=window,
        sequence=sequence,
        quantity=value,
        timestamp=NOW // SECOND_US,
        identifier=report_identifier(f"cus_{customer}", "calls", window, sequence, value),
        state=ReportState.PENDING,
        reason=None,
        closes_at=PERIOD.end_at,
        event=event,
        cancels="ts1-another" if value < 0 else None,
    )


def record(product: Tallystick, *reports: PlannedReport) -> bool:
    due = Due(reports[0].customer, "calls", 0)
    return product.book.record(due, reports, NOW, due_again_at=None)


def total(product: Tallystick, customer: str = "acme") -> Reported:
    return product.book.reported(customer, "calls", PERIOD)


def broken_totals(product: Tallystick) -> list[str]:
    with product.snapshots.snapshot() as snapshot:
        checks = check_store(snapshot, product.catalog.meters())
    (check,) = [check for check in checks if check.name == "report_totals"]
    return list(check.findings)


quantities = st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places),
    st.integers(-(10**15) + 1, 10**15 - 1),
    st.integers(0, 12),
)


@given(parts=st.lists(quantities, min_size=1, max_size=5), dropped=st.integers(0, 4))
@settings(
    max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_the_running_total_is_the_exact_sum_of_what_counts(
    backend: Backend, parts: list[Decimal], dropped: int
) -> None:
    product = backend.product
    customer = f"c{len(product.book.reports())}"
    reports = [planned(number, f"{part:f}", customer=customer) for number, part in enumerate(parts)]
    assert record(product, *reports)
    assert total(product, customer) == Reported(add_all(parts), len(parts))
    kept = product.book.reports(customer)
    chosen = kept[dropped % len(kept)]
    product.confirmations.reject(chosen.identifier, "no", NOW)
    assert product.stuck_reports.replace(chosen, None, DECISION)
    left = add_all(one.quantity for one in kept if one.id != chosen.id)
    assert total(product, customer) == Reported(left, len(parts))
    assert broken_totals(product) == []


def test_nothing_is_written_out_of_sequence(backend: Backend) -> None:
    product = backend.product
    assert not record(product, planned(1))
    assert record(product, planned(0), planned(1, "2.5"))
    assert not record(product, planned(1, "3"))
    assert not record(product, planned(3))
    assert not record(product, planned(2), planned(4))
    assert total(product) == Reported(Decimal("3.5"), 2)
    backend.crash()
    assert total(backend.product) == Reported(Decimal("3.5"), 2)


def test_a_report_keeps_its_event_and_what_it_cancels(backend: Backend) -> None:
    product = backend.product
    record(product, planned(0, event=EventKey("shop", "e\u00e91")), planned(1, "-1"))
    first, second = product.book.reports("acme")
    assert (first.event, first.cancels) == (EventKey("shop", "e\u00e91"), None)
    assert (second.event, second.cancels) == (None, "ts1-another")


def test_an_attempt_that_is_replaced_counts_no_more_and_its_usage_is_due(
    backend: Backend,
) -> None:
    product = backend.product
    record_only(product, planned(0, "7"), planned(1, "-2"))
    assert product.book.due(None, None, 10) == []
    (first,) = product.outbox.claim(NOW, LEASE_US, 10)
    product.outbox.settle([Outcome(first, Settlement(ReportState.DELIVERED))], NOW)
    (second,) = product.outbox.claim(NOW, LEASE_US, 10)
    lost = product.outbox.settle([Outcome(second, Settlement(ReportState.REPLACED, "no"))], NOW)
    assert lost == []
    assert total(product) == Reported(Decimal(7), 2)
    assert [due[:2] for due in product.book.due(None, None, 10)] == [("acme", "calls")]
    assert product.book.reports()[1].reason == "no"
    assert broken_totals(product) == []


def test_what_is_planned_meanwhile_does_not_clear_what_a_replacement_marked(
    backend: Backend,
) -> None:
    product = backend.product
    record(product, planned(0, "7"), planned(1, "8"))
    one, other = product.book.reports()
    for report in (one, other):
        product.confirmations.reject(report.identifier, "no", NOW)
    product.stuck_reports.replace(one, None, DECISION)
    (due,) = product.book.due(None, None, 10)
    product.stuck_reports.replace(other, None, DECISION)
    assert product.book.record(due, [], NOW, due_again_at=None)
    assert len(product.book.due(None, None, 10)) == 1


def test_the_events_behind_a_count_come_in_order_without_what_does_not_count(
    backend: Backend,
) -> None:
    product = backend.product
    rows = [
        ("late", NOW + 3 * HOUR_US, b'{"region":"eu"}'),
        ("first", NOW, b'{"region":"eu"}'),
        ("twin", NOW, b'{"region":"eu"}'),
        ("us", NOW + 1, b'{"region":"us"}'),
        ("void", NOW + 2, b'{"region":"eu"}'),
        ("after", NOW + 5 * DAY_US, b'{"region":"eu"}'),
        ("before", NOW - 1, b'{"region":"eu"}'),
    ]
    events = [UsageEvent("s", id_, "call", "acme", at, Decimal(1), raw) for id_, at, raw in rows]
    product.events.append(events, NOW).result()
    void = Correction("s", "void", None, "ada", "why not")
    product.events.correct([void], NOW).result()

    def ids(start_at: int, end_at: int, customer: str = "acme") -> list[str]:
        found = product.counted_events.counted(CALLS, customer, Period(start_at, end_at))
        return [stored.event.id for stored in found]

    assert ids(NOW, NOW + 5 * DAY_US) == ["first", "twin", "late"]
    assert ids(NOW - HOUR_US, NOW + 6 * DAY_US) == ["before", "first", "twin", "late", "after"]
    assert ids(NOW + 10 * DAY_US, NOW + 11 * DAY_US) == []
    assert ids(NOW, NOW + DAY_US, "nobody") == []
