"""What must hold of every charge, whatever the price."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, FloatOperation, Inexact, localcontext
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tallystick.domain.money import Rounding
from tallystick.domain.quantity import ZERO, add_all, plain
from tallystick.domain.rating.charges import Charge, rate, rate_all, reached_tier
from tallystick.domain.rating.prices import (
    BillingScheme,
    Price,
    PriceError,
    Tier,
    TiersMode,
    price_from_stripe,
)
from tests.property import strategies


def exact_total(charge: Charge) -> Fraction:
    return sum((Fraction(line.exact_amount) for line in charge.lines), Fraction(0))


@given(strategies.graduated_prices(), st.lists(strategies.QUANTITIES, min_size=2, max_size=6))
def test_graduated_is_monotonic(price: Price, quantities: list[Decimal]) -> None:
    charges = [rate(price, quantity) for quantity in sorted(quantities)]
    for lower, higher in pairwise(charges):
        assert lower.amount_minor <= higher.amount_minor
        assert exact_total(lower) <= exact_total(higher)


@given(strategies.graduated_prices(), st.data())
def test_graduated_at_a_boundary_rises_by_the_entered_tiers_flat_amount(
    price: Price, data: st.DataObject
) -> None:
    assume(len(price.tiers) > 1)
    index = data.draw(st.integers(0, len(price.tiers) - 2))
    boundary = price.tier_ends[index]
    assert boundary is not None
    step = Decimal("1E-12")
    entered = price.tiers[index + 1]
    rise = exact_total(rate(price, boundary + step)) - exact_total(rate(price, boundary))
    assert Fraction(entered.flat_amount or 0) + Fraction(step * entered.unit_amount) == rise


@given(strategies.prices_at_edges(strategies.volume_prices()))
def test_volume_equals_per_unit_in_the_tier_reached(case: tuple[Price, Decimal]) -> None:
    price, quantity = case
    tier = price.tiers[reached_tier(price, quantity)]
    per_unit = Price(currency=price.currency, unit_amount=tier.unit_amount)
    flat = rate(
        replace(price, tiers=(Tier(None, ZERO, tier.flat_amount),)), quantity
    )  # a flat amount and nothing else
    expected = rate(per_unit, quantity).amount_minor + flat.amount_minor
    assert expected == rate(price, quantity).amount_minor


@given(strategies.prices_at_edges(strategies.volume_prices()))
def test_volume_reaches_the_first_tier_that_holds_the_quantity(
    case: tuple[Price, Decimal],
) -> None:
    price, quantity = case
    holding = [
        number
        for number, tier in enumerate(price.tiers, 1)
        if tier.up_to is None or quantity <= tier.up_to
    ]
    assert {holding[0]} == {line.tier for line in rate(price, quantity).lines}


@given(strategies.prices_at_edges(strategies.metered_prices()))
def test_sum_of_the_lines_is_the_charge(case: tuple[Price, Decimal]) -> None:
    charge = rate(*case)
    assert charge.amount_minor == sum(line.amount_minor for line in charge.lines)


@given(strategies.prices_at_edges(strategies.metered_prices()))
def test_unit_lines_hold_the_whole_quantity_and_flat_lines_none(
    case: tuple[Price, Decimal],
) -> None:
    price, quantity = case
    charge = rate(price, quantity)
    assert quantity == add_all(line.quantity for line in charge.lines if not line.is_flat)
    assert all(line.quantity == 0 for line in charge.lines if line.is_flat)


@given(strategies.prices_at_edges(strategies.graduated_prices()))
def test_graduated_has_a_unit_line_for_each_tier_entered_and_its_flat_line_after_it(
    case: tuple[Price, Decimal],
) -> None:
    price, quantity = case
    expected: list[tuple[int, bool]] = []
    entered_above = ZERO
    for number, tier in enumerate(price.tiers, 1):
        if number > 1 and quantity <= entered_above:
            break
        expected.append((number, False))
        if tier.flat_amount is not None:
            expected.append((number, True))
        entered_above = Decimal(tier.up_to or 0)
    assert expected == [(line.tier, line.is_flat) for line in rate(price, quantity).lines]


@given(strategies.metered_prices(), strategies.splits(), st.randoms(use_true_random=False))
def test_however_a_period_was_split_on_arrival_the_charge_is_the_same(
    price: Price, pieces: list[Decimal], random: Random
) -> None:
    whole = rate(price, add_all(pieces))
    shuffled = sorted(pieces, key=lambda _: random.random())
    running = ZERO
    for piece in shuffled:
        running = add_all((running, piece))
    assert whole.amount_minor == rate(price, running).amount_minor
    assert [line.amount_minor for line in whole.lines] == [
        line.amount_minor for line in rate(price, running).lines
    ]


@given(strategies.prices_at_edges(strategies.metered_prices()))
def test_rating_again_gives_the_same_charge_and_trace(case: tuple[Price, Decimal]) -> None:
    first, second = rate(*case), rate(*case)
    assert first == second
    assert first.trace == second.trace


@given(st.lists(strategies.prices_at_edges(strategies.metered_prices()), max_size=5))
def test_rating_all_equals_rating_each(cases: list[tuple[Price, Decimal]]) -> None:
    assert rate_all(cases) == [rate(*case) for case in cases]


@given(strategies.prices_at_edges(strategies.metered_prices()), st.sampled_from(Rounding))
def test_each_line_is_the_exact_product_and_lies_within_one_minor_unit(
    case: tuple[Price, Decimal], rounding: Rounding
) -> None:
    price, quantity = case
    for line in rate(price, quantity, rounding=rounding).lines:
        exact_amount = Fraction(line.exact_amount)
        if price.transform_quantity is None and not line.is_flat:
            assert Fraction(line.quantity) * Fraction(line.unit_amount) == exact_amount
        assert abs(exact_amount - line.amount_minor) < 1


@given(strategies.prices_at_edges(strategies.metered_prices()))
def test_rating_is_exact_even_where_the_callers_context_rounds_to_three_digits(
    case: tuple[Price, Decimal],
) -> None:
    expected = rate(*case)
    with localcontext() as context:
        context.prec = 3
        context.traps[Inexact] = True
        context.traps[FloatOperation] = True
        assert expected == rate(*case)
        assert expected.trace == rate(*case).trace


def test_a_quantity_that_is_a_float_is_never_rated() -> None:
    price = Price(currency="usd", unit_amount=Decimal(1))
    quantity: Any = 0.1
    with pytest.raises((TypeError, AttributeError, FloatOperation)):
        rate(price, quantity)


@given(strategies.prices_at_edges(strategies.metered_prices()))
def test_stripes_request_form_of_a_price_is_read_back_as_the_same_price(
    case: tuple[Price, Decimal],
) -> None:
    price, quantity = case
    assert rate(price_from_stripe(request_form(price)), quantity).lines == rate(*case).lines


def request_form(price: Price) -> dict[str, object]:
    """Write a price as it would be sent to Stripe."""
    form: dict[str, object] = {
        "currency": price.currency,
        "billing_scheme": str(price.billing_scheme),
        "product_data": {"name": price.product_name},
        "usage_type": str(price.usage_type),
    }
    if price.interval is not None:
        form["recurring"] = {"interval": price.interval, "usage_type": str(price.usage_type)}
    if price.transform_quantity is not None:
        form["transform_quantity"] = {
            "divide_by": price.transform_quantity.divide_by,
            "round": str(price.transform_quantity.round),
        }
    if price.unit_amount is not None:
        return form | {"unit_amount_decimal": plain(price.unit_amount)}
    rows: list[dict[str, object]] = []
    for tier in price.tiers:
        row: dict[str, object] = {
            "up_to": tier.up_to or "inf",
            "unit_amount_decimal": plain(tier.unit_amount),
        }
        if tier.flat_amount is not None:
            row["flat_amount_decimal"] = plain(tier.flat_amount)
        rows.append(row)
    return form | {"tiers_mode": str(price.tiers_mode), "tiers": rows}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "currency",
                        "tiers",
                        "tiers_mode",
                        "up_to",
                        "unit_amount",
                        "recurring",
                        "product",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=12,
    )
)
def test_anything_at_all_is_either_a_price_or_refused(value: Any) -> None:
    try:
        price = price_from_stripe(value)
    except PriceError as error:
        refused = error
    else:
        assert rate(price, Decimal(3)).amount_minor >= 0
        return
    assert refused.code.islower()
    assert refused.message.endswith((".", *"0123456789")) or ":" in refused.message


@given(strategies.tier_tables(), st.data())
def test_a_table_that_does_not_ascend_to_inf_cannot_be_made(
    tiers: tuple[Tier, ...], data: st.DataObject
) -> None:
    shuffled = tuple(data.draw(st.permutations(tiers)))
    assume(shuffled != tiers)
    with pytest.raises(PriceError) as refused:
        Price(
            currency="usd",
            billing_scheme=BillingScheme.TIERED,
            tiers_mode=TiersMode.GRADUATED,
            tiers=shuffled,
        )
    assert refused.value.code in {
        "tiers_not_ascending",
        "tiers_not_ending_in_inf",
        "tier_inf_not_last",
    }
