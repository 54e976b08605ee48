"""Charges line by line: what invariants and worked examples do not spell out."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from tallystick.domain.quantity import QuantityError, plain
from tallystick.domain.rating.charges import Charge, rate
from tallystick.domain.rating.prices import Price, UsageType, price_from_stripe

EXAMPLE: dict[str, Any] = {
    "currency": "usd",
    "billing_scheme": "tiered",
    "tiers_mode": "graduated",
    "tiers": [
        {"up_to": 1000, "unit_amount_decimal": "1"},
        {"up_to": 10_000, "unit_amount_decimal": "0.8"},
        {"up_to": "inf", "unit_amount_decimal": "0.5"},
    ],
    "recurring": {"interval": "month", "usage_type": "metered"},
    "product_data": {"name": "API", "unit_label": "call"},
}


def lines_of(charge: Charge) -> list[tuple[str, int]]:
    return [(plain(line.quantity), line.amount_minor) for line in charge.lines]


@pytest.mark.parametrize(
    ("usage", "lines"),
    [
        ("0", [("0", 0)]),
        ("1", [("1", 1)]),
        ("999", [("999", 999)]),
        ("1000", [("1000", 1000)]),
        ("1001", [("1000", 1000), ("1", 1)]),
        ("9999", [("1000", 1000), ("8999", 7199)]),
        ("10000", [("1000", 1000), ("9000", 7200)]),
        ("10001", [("1000", 1000), ("9000", 7200), ("1", 1)]),
        ("10000000", [("1000", 1000), ("9000", 7200), ("9990000", 4_995_000)]),
        ("1000.25", [("1000", 1000), ("0.25", 0)]),
        ("0.5", [("0.5", 1)]),
    ],
)
def test_the_example_tiers_at_and_beside_their_boundaries(
    usage: str, lines: list[tuple[str, int]]
) -> None:
    charge = rate(price_from_stripe(EXAMPLE), Decimal(usage))
    assert lines == lines_of(charge)


def test_a_flat_line_follows_its_tier_even_where_it_is_zero() -> None:
    tiers = [
        {"up_to": 5, "unit_amount": 10, "flat_amount": 0},
        {"up_to": 8, "unit_amount": 9},
        {"up_to": "inf", "flat_amount": 700},
    ]
    charge = rate(price_from_stripe(EXAMPLE | {"tiers": tiers}), Decimal(9))
    assert lines_of(charge) == [("5", 50), ("0", 0), ("3", 27), ("1", 0), ("0", 700)]
    assert [(line.tier, line.is_flat) for line in charge.lines] == [
        (1, False),
        (1, True),
        (2, False),
        (3, False),
        (3, True),
    ]


def test_volume_charges_all_units_and_only_the_reached_tiers_flat_amount() -> None:
    tiers = [
        {"up_to": 5, "unit_amount": 500, "flat_amount": 1000},
        {"up_to": "inf", "unit_amount": 300, "flat_amount": 3000},
    ]
    price = price_from_stripe(EXAMPLE | {"tiers": tiers, "tiers_mode": "volume"})
    assert lines_of(rate(price, Decimal(5))) == [("5", 2500), ("0", 1000)]
    assert lines_of(rate(price, Decimal("5.01"))) == [("5.01", 1503), ("0", 3000)]


@pytest.mark.parametrize(
    ("usage", "up", "down"),
    [("0", 0, 0), ("0.1", 10, 0), ("59", 10, 0), ("60", 10, 10), ("60.5", 20, 10), ("121", 30, 20)],
)
def test_packages_round_up_or_down_and_the_line_keeps_the_raw_quantity(
    usage: str, up: int, down: int
) -> None:
    for direction, expected in (("up", up), ("down", down)):
        price = price_from_stripe(
            {
                "currency": "usd",
                "unit_amount": 10,
                "transform_quantity": {"divide_by": 60, "round": direction},
            }
        )
        charge = rate(price, Decimal(usage))
        assert lines_of(charge) == [(usage, expected)]
        assert charge.lines[0].unit_amount == 10


@pytest.mark.parametrize(
    ("currency", "amount", "description"),
    [
        ("jpy", 123, "1234 × Usage (at ¥0.1)"),
        ("usd", 123, "1234 × Usage (at $0.001)"),
        ("kwd", 123, "1234 × Usage (at KWD 0.0001)"),
    ],
)
def test_amounts_are_minor_units_of_currencies_of_none_two_and_three_places(
    currency: str, amount: int, description: str
) -> None:
    price = Price(currency=currency, unit_amount=Decimal("0.1"))
    (line,) = rate(price, Decimal(1234)).lines
    assert (amount, description) == (line.amount_minor, line.description)


def test_a_twelve_place_unit_amount_of_a_huge_quantity_is_exact() -> None:
    price = price_from_stripe(
        {"currency": "usd", "unit_amount_decimal": "999999999999.123456789012"}
    )
    charge = rate(price, Decimal("999999999999999.999999999999"))
    picos_squared = 999999999999123456789012 * 999999999999999999999999999
    assert Fraction(charge.lines[0].exact_amount) == Fraction(picos_squared, 10**24)


def test_twenty_nine_hundredths_at_fifty_cents_are_fifteen() -> None:
    """0.29 x 50 is 14.499999999999998 in floats, and was billed 14 elsewhere."""
    price = Price(currency="usd", unit_amount=Decimal(50))
    assert rate(price, Decimal("0.29")).amount_minor == 15


def test_licensed_quantities_are_rated_like_usage() -> None:
    price = price_from_stripe(
        {
            "currency": "usd",
            "unit_amount": 2500,
            "recurring": {"interval": "month"},
            "product_data": {"name": "Test Subscription", "unit_label": "user"},
        }
    )
    (line,) = rate(price, Decimal(3)).lines
    assert line.amount_minor == 7500
    assert line.description == "3 user × Test Subscription (at $25.00 / month)"


@pytest.mark.parametrize(
    ("quantity", "code"), [("-1", "quantity_negative"), ("1.5", "quantity_not_an_integer")]
)
def test_a_licensed_quantity_is_a_count(quantity: str, code: str) -> None:
    price = Price(currency="usd", unit_amount=Decimal(1), usage_type=UsageType.LICENSED)
    with pytest.raises(QuantityError) as refused:
        rate(price, Decimal(quantity))
    assert code == refused.value.code


@pytest.mark.parametrize("quantity", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_refused(quantity: str) -> None:
    with pytest.raises(QuantityError) as refused:
        rate(Price(currency="usd", unit_amount=Decimal(1)), Decimal(quantity))
    assert refused.value.code == "value_not_finite"


def test_a_negative_total_is_billed_as_zero_and_the_trace_says_so() -> None:
    charge = rate(price_from_stripe(EXAMPLE), Decimal("-3.5"))
    assert lines_of(charge) == [("0", 0)]
    assert charge.measured == Decimal("-3.5")
    assert "measured -3.5: a negative total is billed as 0" in charge.trace


def test_the_trace_names_tier_quantity_unit_amount_and_rounding() -> None:
    assert rate(price_from_stripe(EXAMPLE), Decimal(10_001)).trace == (
        "API: 10001 graduated over 3 tiers, in usd",
        "tier 1 (above 0 up to 1000): 1000 × $0.01 = $10.00",
        "tier 2 (above 1000 up to 10000): 9000 × $0.008 = $72.00",
        "tier 3 (above 10000): 1 × $0.005 = $0.005, rounded half up to $0.01",
        "total $10.00 + $72.00 + $0.01 = $82.01",
    )


def test_the_trace_of_packages_says_how_many_were_begun() -> None:
    price = price_from_stripe(
        {
            "currency": "usd",
            "unit_amount": 1000,
            "transform_quantity": {"divide_by": 60, "round": "up"},
        }
    )
    assert rate(price, Decimal(150)).trace[1:] == (
        "150 in packages of 60, rounded up: 3 × $10.00 = $30.00",
        "total $30.00",
    )
