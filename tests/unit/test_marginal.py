"""What a late or corrected quantity adds to a closed period, tier by tier."""

from __future__ import annotations

from decimal import Decimal

from tallystick.domain.rating.marginal import rate_difference
from tallystick.domain.rating.prices import (
    BillingScheme,
    Price,
    Tier,
    TiersMode,
    TransformQuantity,
)

TIERS = (
    Tier(1000, Decimal(1)),
    Tier(10_000, Decimal("0.8"), Decimal(500)),
    Tier(None, Decimal("0.5")),
)


def tiered(mode: TiersMode) -> Price:
    return Price(
        currency="usd",
        billing_scheme=BillingScheme.TIERED,
        tiers_mode=mode,
        tiers=TIERS,
        product_name="API",
        interval="month",
    )


def test_late_usage_is_charged_in_the_tiers_it_reaches() -> None:
    late = rate_difference(tiered(TiersMode.GRADUATED), Decimal(900), Decimal(10_001))
    assert [tuple(line)[:3] for line in late.lines] == [
        (Decimal(100), 100, "100 × API (Tier 1 at $0.01 / month)"),
        (Decimal(9000), 7200, "9000 × API (Tier 2 at $0.008 / month)"),
        (Decimal(0), 500, "API (Tier 2 at $5.00 / month)"),
        (Decimal(1), 1, "1 × API (Tier 3 at $0.005 / month)"),
    ]
    assert late.amount_minor == 7801


def test_a_correction_takes_back_from_the_highest_tier_down() -> None:
    correction = rate_difference(tiered(TiersMode.GRADUATED), Decimal(1100), Decimal(950))
    assert [(line.tier, line.quantity, line.amount_minor) for line in correction.lines] == [
        (1, Decimal(-50), -50),
        (2, Decimal(-100), -80),
        (2, Decimal(0), -500),
    ]
    assert correction.trace == (
        "billed 1100 for $15.80, corrected 950 for $9.50",
        "-50 × API (Tier 1 at $0.01 / month): -$0.50",
        "-100 × API (Tier 2 at $0.008 / month): -$0.80",
        "API (Tier 2 at $5.00 / month): -$5.00",
        "difference -$6.30",
    )


def test_volume_moves_every_unit_to_the_tier_now_reached() -> None:
    late = rate_difference(tiered(TiersMode.VOLUME), Decimal(1000), Decimal(1001))
    assert [(line.tier, line.quantity, line.amount_minor) for line in late.lines] == [
        (1, Decimal(-1000), -1000),
        (2, Decimal(1001), 801),
        (2, Decimal(0), 500),
    ]
    assert late.amount_minor == 301


def test_usage_within_a_begun_package_adds_a_line_of_nothing() -> None:
    price = Price(
        currency="usd", unit_amount=Decimal(1000), transform_quantity=TransformQuantity(60)
    )
    within = rate_difference(price, Decimal(61), Decimal(119))
    assert [(line.quantity, line.amount_minor) for line in within.lines] == [(Decimal(58), 0)]
    assert rate_difference(price, Decimal(119), Decimal(121)).amount_minor == 1000


def test_nothing_changed_is_no_line() -> None:
    same = rate_difference(tiered(TiersMode.GRADUATED), Decimal(5), Decimal(5))
    assert same.lines == ()
    assert same.amount_minor == 0


def test_a_total_that_stays_below_zero_changes_nothing() -> None:
    price = Price(currency="usd", unit_amount=Decimal(3))
    assert rate_difference(price, Decimal(-5), Decimal(-1)).lines == ()
    assert rate_difference(price, Decimal(-5), Decimal(2)).amount_minor == 6
