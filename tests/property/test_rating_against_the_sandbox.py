"""The sandbox's arithmetic was written on its own from Stripe's facts: both must come out equal."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from hypothesis import given

from tallystick.domain.rating.charges import rate
from tallystick.domain.rating.prices import Price
from tallystick.domain.rating.proration import LicensedItem, PeriodShare, charge_remaining
from tallystick.sandbox.arithmetic import rating as sandbox
from tallystick.sandbox.arithmetic.rounding import share
from tallystick.sandbox.state import records
from tests.property import strategies


def at_the_sandbox(price: Price) -> records.Price:
    """Return the price as the sandbox keeps it."""
    transform = price.transform_quantity
    return records.Price(
        id="price_1",
        created=0,
        currency=price.currency,
        product="prod_1",
        amounts=records.Amounts(
            unit_amount=price.unit_amount,
            tiers=[
                records.Tier(tier.up_to, tier.unit_amount, tier.flat_amount) for tier in price.tiers
            ],
        ),
        billing_scheme=str(price.billing_scheme),
        tiers_mode=None if price.tiers_mode is None else str(price.tiers_mode),
        divide_by=transform.divide_by if transform else None,
        divide_round=str(transform.round) if transform else "up",
    )


@given(strategies.prices_at_edges(strategies.metered_prices()))
def test_both_charge_the_same_lines(case: tuple[Price, Decimal]) -> None:
    price, quantity = case
    theirs = at_the_sandbox(price)
    expected = sandbox.rate(theirs, theirs.amounts, quantity, "ROUND_HALF_UP")
    assert [
        (charge.quantity, charge.amount, charge.tier, charge.is_flat) for charge in expected
    ] == [
        (line.quantity, line.amount_minor, line.tier, line.is_flat)
        for line in rate(price, quantity).lines
    ]


@given(strategies.licensed_prices(), strategies.INTEGERS, strategies.period_shares())
def test_both_prorate_the_same(price: Price, quantity: Decimal, part: PeriodShare) -> None:
    theirs = at_the_sandbox(price)
    whole = sandbox.exact_amount(theirs, theirs.amounts, quantity)
    expected = share(whole, part.remaining_seconds, part.period_seconds)
    line = charge_remaining(LicensedItem(price, quantity), part, date(2026, 2, 28))
    assert expected == line.amount_minor
