"""Reports that tests of the outbox plan."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tallystick.domain.instants import DAY_US, HOUR_US
from tallystick.domain.periods import Period
from tallystick.domain.reports import PlannedReport, ReportState, report_identifier
from tallystick.ports.outbox import Due
from tests.contract.backends import NOW

if TYPE_CHECKING:
    from tallystick.wiring import Tallystick

PERIOD = Period(NOW - 10 * DAY_US, NOW + 20 * DAY_US)
LEASE_US = HOUR_US


def planned(
    customer: str = "acme",
    sequence: int = 0,
    *,
    meter_key: str = "seen",
    quantity: str = "7",
    state: ReportState = ReportState.PENDING,
    closes_at: int = PERIOD.end_at,
    period: Period = PERIOD,
    stripe_item_id: str | None = None,
) -> PlannedReport:
    """Return a report of a customer's meter, to be written."""
    window = Period(period.start_at, period.start_at + HOUR_US)
    value = Decimal(quantity)
    return PlannedReport(
        customer=customer,
        stripe_customer_id=f"cus_{customer}",
        meter_key=meter_key,
        period=period,
        window=window,
        sequence=sequence,
        quantity=value,
        timestamp=NOW // 1_000_000,
        identifier=report_identifier(f"cus_{customer}", meter_key, window, sequence, value),
        state=state,
        reason=None,
        closes_at=closes_at,
        stripe_item_id=stripe_item_id,
    )


def plan(product: Tallystick, *reports: PlannedReport, now: int = NOW) -> None:
    """Write reports to the outbox."""
    for report in reports:
        record_only(product, report, now=now)


def record_only(product: Tallystick, *reports: PlannedReport, now: int = NOW) -> None:
    """Write reports of one customer and meter to the outbox; whatever is due stays so, no more."""
    key = (reports[0].customer, reports[0].meter_key)
    before = marks(product)
    assert product.book.record(Due(*key, -1), reports, now, due_again_at=None)
    if key not in before:
        assert product.book.record(Due(*key, marks(product)[key]), [], now, due_again_at=None)


def marks(product: Tallystick) -> dict[tuple[str, str], int]:
    """Return what is due, each with its mark."""
    return {one[:2]: one.mark for one in product.book.due(None, None, 10_000)}
