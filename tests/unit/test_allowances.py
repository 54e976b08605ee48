"""Free allowances: in the price, or taken from the quantity."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tallystick.domain.rating.allowances import AllowanceDraw, draw_allowance, free_units
from tallystick.domain.rating.charges import rate
from tallystick.domain.rating.prices import (
    BillingScheme,
    Price,
    PriceError,
    Tier,
    TiersMode,
    TransformQuantity,
)

TIERS = (Tier(10, Decimal(5), Decimal(100)), Tier(None, Decimal(3)))
GRADUATED = Price(
    currency="usd",
    billing_scheme=BillingScheme.TIERED,
    tiers_mode=TiersMode.GRADUATED,
    tiers=TIERS,
)


def test_one_allowance_is_shared_in_order_until_it_is_used_up() -> None:
    draws = draw_allowance((Decimal(30), Decimal("-2"), Decimal("80.5"), Decimal(7)), Decimal(100))
    assert draws == (
        AllowanceDraw(Decimal(30), Decimal(0)),
        AllowanceDraw(Decimal(0), Decimal(-2)),
        AllowanceDraw(Decimal(70), Decimal("10.5")),
        AllowanceDraw(Decimal(0), Decimal(7)),
    )


def test_a_negative_allowance_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        draw_allowance((), Decimal(-1))


def test_free_units_come_before_the_tiers() -> None:
    price = free_units(GRADUATED, 100)
    assert (Tier(100), Tier(110, Decimal(5), Decimal(100)), Tier(None, Decimal(3))) == price.tiers
    assert rate(price, Decimal(100)).amount_minor == 0
    assert rate(price, Decimal(101)).amount_minor == 105


def test_free_units_of_a_per_unit_price_make_it_graduated() -> None:
    price = free_units(Price(currency="usd", unit_amount=Decimal(4)), 1000)
    assert rate(price, Decimal(3000)).amount_minor == 8000


@pytest.mark.parametrize(
    ("price", "units", "code"),
    [
        (GRADUATED, 0, "allowance_invalid"),
        (
            Price(
                currency="usd",
                billing_scheme=BillingScheme.TIERED,
                tiers_mode=TiersMode.VOLUME,
                tiers=TIERS,
            ),
            5,
            "allowance_not_expressible",
        ),
        (
            Price(currency="usd", unit_amount=Decimal(1), transform_quantity=TransformQuantity(5)),
            5,
            "allowance_not_expressible",
        ),
    ],
)
def test_what_stripe_cannot_bill_is_refused(price: Price, units: int, code: str) -> None:
    with pytest.raises(PriceError) as refused:
        free_units(price, units)
    assert code == refused.value.code
