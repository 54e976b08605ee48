"""Prorations: the recorded amounts, the wording, and that usage is left alone."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from tallystick.domain.money import PRORATION_ROUNDING, round_to_minor
from tallystick.domain.rating.prices import (
    BillingScheme,
    Price,
    PriceError,
    Tier,
    TiersMode,
    UsageType,
)
from tallystick.domain.rating.proration import (
    LicensedItem,
    PeriodShare,
    charge_remaining,
    credit_unused,
    prorate,
    prorate_change,
)

CHANGED_ON = date(2025, 11, 9)


def licensed(unit_amount: str, quantity: int = 1, currency: str = "usd") -> LicensedItem:
    price = Price(
        currency=currency,
        unit_amount=Decimal(unit_amount),
        usage_type=UsageType.LICENSED,
        product_name="Test Subscription",
        interval="month",
    )
    return LicensedItem(price, Decimal(quantity))


@pytest.mark.parametrize(
    ("exact", "billed"),
    [
        ("-2.5", -3),
        ("4.5", 4),
        ("7.5", 7),
        ("-666.67", -667),
        ("333.33", 333),
        ("9999.548", 10000),
        ("-10999.503", -11000),
        ("19999.096", 19999),
        ("24999.997", 25000),
        ("-166.35", -166),
        ("540.96", 541),
    ],
)
def test_rounding_fits_every_amount_that_stripe_was_seen_to_prorate(
    exact: str, billed: int
) -> None:
    assert billed == round_to_minor(Decimal(exact), PRORATION_ROUNDING)


def test_an_upgrade_halfway_credits_and_charges_one_half() -> None:
    credit, debit = prorate_change(
        licensed("1000"), licensed("2000"), PeriodShare(1, 2), CHANGED_ON
    )
    assert (credit.amount_minor, debit.amount_minor) == (-500, 1000)
    assert credit.description == "Unused time on Test Subscription after 09 Nov 2025"
    assert debit.description == "Remaining time on Test Subscription after 09 Nov 2025"


def test_a_quantity_is_named_where_it_is_not_one() -> None:
    debit = charge_remaining(licensed("1000", 3), PeriodShare(1, 3), CHANGED_ON)
    assert debit.amount_minor == 1000
    assert debit.quantity == 3
    assert debit.description == "Remaining time on 3 × Test Subscription after 09 Nov 2025"


def test_sub_cent_items_are_rounded_once_after_they_are_prorated() -> None:
    item = licensed("0.6", 5)  # 3 minor units in all, of which a half remains
    assert charge_remaining(item, PeriodShare(1, 2), CHANGED_ON).amount_minor == 1
    tiers = (Tier(1, Decimal("0.5")), Tier(None, Decimal("0.5")))
    price = Price(
        currency="usd",
        billing_scheme=BillingScheme.TIERED,
        tiers_mode=TiersMode.GRADUATED,
        tiers=tiers,
        usage_type=UsageType.LICENSED,
    )
    whole = charge_remaining(LicensedItem(price, Decimal(2)), PeriodShare(1, 1), CHANGED_ON)
    assert whole.amount_minor == 1  # two tiers of half a cent: one, where two lines would be two


def test_the_trace_says_what_remained() -> None:
    credit = credit_unused(licensed("1000"), PeriodShare(6480, 2592000), CHANGED_ON)
    assert credit.trace[-1] == (
        "6480 of 2592000 seconds remain: -0.03 USD, rounded to the nearest, a half down"
    )


def test_usage_is_never_prorated() -> None:
    metered = LicensedItem(Price(currency="usd", unit_amount=Decimal(100)), Decimal(5))
    for prorated in (credit_unused, charge_remaining):
        with pytest.raises(PriceError) as refused:
            prorated(metered, PeriodShare(1, 2), CHANGED_ON)
        assert refused.value.code == "metered_not_prorated"


def test_a_change_of_currency_is_refused() -> None:
    with pytest.raises(PriceError) as refused:
        prorate_change(
            licensed("1000"), licensed("1000", currency="eur"), PeriodShare(1, 2), CHANGED_ON
        )
    assert refused.value.code == "currencies_differ"


@pytest.mark.parametrize(("remaining", "period"), [(-1, 2), (3, 2), (0, 0), (1, -1)])
def test_a_share_is_a_part_of_its_period(remaining: int, period: int) -> None:
    with pytest.raises(ValueError, match="no part of a period"):
        PeriodShare(remaining, period)


def test_an_amount_is_prorated_alone_too() -> None:
    assert prorate(1000, PeriodShare(6480, 2592000)) == 2  # 2.5: a half goes down
    assert prorate(-1000, PeriodShare(6480, 2592000)) == -3
