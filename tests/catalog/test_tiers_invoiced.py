"""The tiers of the manual, rated here and invoiced by the sandbox: equal, line by line."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tallystick.domain.quantity import plain
from tallystick.domain.rating.charges import rate
from tests.catalog.shop import BASE, Shop
from tests.sandbox.rig import JUNE_2015, MAY_2015, Rig, client_for

if TYPE_CHECKING:
    from typing import Any

QUANTITIES = (0, 1, 999, 1_000, 1_001, 9_999, 10_000, 10_001, 10_000_000)
TOTALS_MINOR = (0, 1, 999, 1_000, 1_001, 8_199, 8_200, 8_201, 5_003_200)
HOUR_S = 3_600


def invoiced(shop: Shop, price_id: str, quantity: int) -> list[tuple[str, int, str]]:
    """Let the sandbox bill the quantity for May 2015; return the invoice's lines."""
    base, key = shop.settings.stripe_api_base or "", shop.settings.stripe_api_key or ""
    rig = Rig(base, key, client_for(base, key))
    clock = rig.clock(MAY_2015)
    customer: Any = rig.customer(clock)
    subscription = rig.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price_id}]}
    )
    rig.advance(clock, MAY_2015 + 2 * HOUR_S)
    if quantity:
        rig.report(customer, quantity, MAY_2015 + HOUR_S, event_name="calls")
    rig.advance(clock, JUNE_2015 + 2 * HOUR_S)
    (cycle,) = [one for one in rig.invoices(subscription) if one.billing_reason.endswith("cycle")]
    return [(str(line.quantity), line.amount, line.description) for line in cycle.lines.data]


@pytest.mark.parametrize(
    ("quantity", "total_minor"), list(zip(QUANTITIES, TOTALS_MINOR, strict=True))
)
def test_rated_here_and_invoiced_there_are_equal_line_by_line(
    shop: Shop, quantity: int, total_minor: int
) -> None:
    price_id = shop.apply(BASE).price_ids["calls_monthly"]
    price = shop.product.catalog.price(price_id)
    assert price is not None
    charge = rate(price, Decimal(quantity))
    assert charge.amount_minor == total_minor
    assert [
        (plain(line.quantity), line.amount_minor, line.description) for line in charge.lines
    ] == invoiced(shop, price_id, quantity)
