"""What must hold of prorations, discounts, tax, commitments, credits, corrections and invoices."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tallystick.domain.money import Rounding, round_to_minor
from tallystick.domain.quantity import add_all
from tallystick.domain.rating.allowances import draw_allowance, free_units
from tallystick.domain.rating.charges import rate
from tallystick.domain.rating.commitments import Commitment, draw_commitment
from tallystick.domain.rating.credits import CreditableLine, CreditGrant, draw_credits
from tallystick.domain.rating.discounts import Discount, apply_discounts, split_discount
from tallystick.domain.rating.invoices import InvoiceTerms, rate_invoice
from tallystick.domain.rating.marginal import rate_difference
from tallystick.domain.rating.prices import Price
from tallystick.domain.rating.proration import LicensedItem, PeriodShare, charge_remaining, prorate
from tallystick.domain.rating.spend_caps import SpendCap, cap_spend
from tallystick.domain.rating.tax import TaxRate, tax_line
from tests.property import strategies

AMOUNT_LISTS = st.lists(strategies.AMOUNTS_MINOR, max_size=8)


@given(strategies.decimals(10_000, 4), st.booleans(), st.sampled_from(Rounding))
def test_decimals_and_fractions_leave_by_the_same_door(
    amount: Decimal, is_negative: bool, mode: Rounding
) -> None:
    signed = -amount if is_negative else amount
    rounded = round_to_minor(signed, mode)
    assert rounded == round_to_minor(Fraction(signed), mode)
    furthest = 1 if mode is Rounding.FLOOR else Fraction(1, 2)
    assert abs(Fraction(signed) - rounded) <= furthest


@given(strategies.period_shares(), st.integers(-100_000, 100_000))
def test_a_proration_is_nearest_and_the_two_parts_miss_the_whole_by_at_most_one(
    share: PeriodShare, amount: int
) -> None:
    used = replace(share, remaining_seconds=share.period_seconds - share.remaining_seconds)
    part = prorate(amount, share)
    exact_part = Fraction(amount * share.remaining_seconds, share.period_seconds)
    assert -Fraction(1, 2) <= part - exact_part < Fraction(1, 2)  # a half goes down
    assert abs(part + prorate(amount, used) - amount) <= 1


@given(strategies.licensed_prices(), strategies.INTEGERS, st.integers(1, 10_000_000))
def test_a_whole_period_is_prorated_to_the_whole_amount(
    price: Price, quantity: Decimal, seconds: int
) -> None:
    line = charge_remaining(
        LicensedItem(price, quantity), PeriodShare(seconds, seconds), date(2026, 1, 31)
    )
    whole = sum((Fraction(each.exact_amount) for each in rate(price, quantity).lines), Fraction(0))
    assert abs(line.amount_minor - whole) <= Fraction(1, 2)


@given(AMOUNT_LISTS, strategies.DISCOUNTS)
def test_a_discount_takes_what_it_should_and_no_line_below_zero(
    amounts: list[int], discount: Discount
) -> None:
    split = split_discount(amounts, discount)
    positive = [max(amount, 0) for amount in amounts]
    assert all(0 <= taken <= most for taken, most in zip(split, positive, strict=True))
    if discount.amount_off is not None:
        assert sum(split) == min(discount.amount_off, sum(positive))


@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=8), st.integers(1, 50_000))
def test_every_line_but_the_last_is_shared_by_flooring_where_the_rest_fits(
    amounts: list[int], amount_off: int
) -> None:
    taken = min(amount_off, sum(amounts))
    floors = [taken * amount // sum(amounts) for amount in amounts]
    rest = taken - sum(floors)
    split = split_discount(amounts, Discount(amount_off=amount_off))
    if floors[-1] + rest <= amounts[-1]:
        assert split == (*floors[:-1], floors[-1] + rest)


@given(AMOUNT_LISTS, st.lists(strategies.DISCOUNTS, max_size=3))
def test_discounts_together_never_take_more_than_there_is(
    amounts: list[int], discounts: list[Discount]
) -> None:
    splits = apply_discounts(amounts, discounts)
    for index, amount in enumerate(amounts):
        assert sum(split[index] for split in splits) <= max(amount, 0)


@given(strategies.AMOUNTS_MINOR, strategies.PERCENTAGES)
def test_exclusive_tax_on_the_net_of_an_inclusive_rate_is_that_rates_tax(
    amount: int, percentage: Decimal
) -> None:
    (contained,) = tax_line(amount, [TaxRate(percentage, inclusive=True)])
    assert contained.taxable_minor + contained.amount_minor == amount
    (added,) = tax_line(contained.taxable_minor, [TaxRate(percentage, inclusive=False)])
    assert abs(added.amount_minor - contained.amount_minor) <= 1


@given(strategies.AMOUNTS_MINOR, st.lists(strategies.TAX_RATES, max_size=4))
def test_tax_of_a_credit_is_the_tax_of_the_charge_with_its_sign_turned(
    amount: int, rates: list[TaxRate]
) -> None:
    charged, credited = tax_line(amount, rates), tax_line(-amount, rates)
    assert [-tax.amount_minor for tax in charged] == [tax.amount_minor for tax in credited]


@given(st.integers(0, 50_000), st.lists(strategies.AMOUNTS_MINOR, min_size=1, max_size=12))
def test_a_term_ends_at_its_commitment_or_above(minimum: int, charged: list[int]) -> None:
    commitment = Commitment(minimum, "usd", periods_count=len(charged))
    statement = draw_commitment(commitment, charged)
    lifted = statement.true_up.amount_minor if statement.true_up else 0
    assert sum(charged) + lifted == max(minimum, sum(charged))
    assert sum(draw.drawn_minor for draw in statement.draws) + statement.left_minor == minimum
    assert all(draw.drawn_minor + draw.over_minor == draw.charged_minor for draw in statement.draws)


@given(st.integers(0, 50_000), strategies.AMOUNTS_MINOR)
def test_a_capped_charge_is_the_smaller_of_the_two(cap: int, charged: int) -> None:
    line = cap_spend(SpendCap(cap, "usd"), charged)
    assert charged + (line.amount_minor if line else 0) == min(cap, charged)


@given(strategies.graduated_prices() | strategies.per_unit_prices(), strategies.QUANTITIES)
def test_free_units_cost_nothing_and_the_rest_what_it_cost_before(
    price: Price, quantity: Decimal
) -> None:
    with_free = free_units(price, 50)
    charge = rate(with_free, quantity)
    if quantity <= 50:
        assert charge.amount_minor == 0
    else:
        assert charge.amount_minor == rate(price, quantity - 50).amount_minor


@given(st.lists(strategies.QUANTITIES, max_size=5), strategies.QUANTITIES)
def test_an_allowance_splits_and_loses_nothing(quantities: list[Decimal], units: Decimal) -> None:
    draws = draw_allowance(quantities, units)
    assert [add_all((draw.free, draw.billable)) for draw in draws] == quantities
    total = add_all(quantities)
    assert add_all(draw.free for draw in draws) == min(units, total)


@given(
    strategies.CREDIT_GRANTS,
    st.lists(st.tuples(strategies.AMOUNTS_MINOR, st.sampled_from(["a", "b", "c"])), max_size=6),
    st.integers(0, 30),
)
def test_credits_pay_no_more_than_there_is_and_leave_none_idle(
    grants: list[CreditGrant], rows: list[tuple[int, str]], at: int
) -> None:
    lines = [CreditableLine(*row) for row in rows]
    statement = draw_credits(grants, lines, currency="usd", at=at)
    for grant in grants:
        drawn = sum(d.amount_minor for d in statement.draws if d.grant_key == grant.key)
        left = statement.left_minor_by_grant[grant.key]
        assert drawn + left == grant.left_minor
        assert left >= 0
        assert grant.is_usable(at, "usd") or not drawn
        for index, line in enumerate(lines):
            paid = sum(d.amount_minor for d in statement.draws if d.line == index)
            assert paid <= max(line.amount_minor, 0)
            is_covered = grant.price_keys is None or line.price_key in grant.price_keys
            if grant.is_usable(at, "usd") and left and is_covered:
                assert paid == max(line.amount_minor, 0)


@given(strategies.metered_prices(), st.lists(strategies.QUANTITIES, min_size=2, max_size=5))
def test_corrections_lead_to_what_would_have_been_billed_at_once(
    price: Price, totals: list[Decimal]
) -> None:
    billed = rate(price, totals[0]).amount_minor
    for before, after in pairwise(totals):
        difference = rate_difference(price, before, after)
        assert difference.amount_minor == sum(line.amount_minor for line in difference.lines)
        assert -difference.amount_minor == rate_difference(price, after, before).amount_minor
        quantity = add_all(line.quantity for line in difference.lines)
        assert quantity == after - before
        billed += difference.amount_minor
    assert billed == rate(price, totals[-1]).amount_minor


@given(
    st.lists(st.tuples(strategies.metered_prices(), strategies.QUANTITIES), max_size=4),
    st.lists(strategies.DISCOUNTS, max_size=2),
    strategies.CREDIT_GRANTS,
    st.lists(strategies.TAX_RATES, max_size=2),
    st.none() | st.integers(0, 100_000),
    st.none() | st.integers(0, 100_000),
)
def test_the_sum_of_the_lines_is_the_invoice(
    cases: list[tuple[Price, Decimal]],
    discounts: list[Discount],
    grants: list[CreditGrant],
    rates: list[TaxRate],
    cap: int | None,
    minimum: int | None,
) -> None:
    items = [(replace(price, currency="usd"), quantity) for price, quantity in cases]
    terms = InvoiceTerms(
        discounts=tuple(discounts),
        spend_cap=None if cap is None else SpendCap(cap, "usd"),
        minimum=None if minimum is None else Commitment(minimum, "usd"),
        credit_grants=tuple(grants),
        finalized_at=10,
        tax_rates=tuple(rates),
    )
    rated = rate_invoice(items, terms, currency="usd")
    added = sum(
        tax.amount_minor for line in rated.lines for tax in line.taxes if not tax.rate.inclusive
    )
    taken = sum(sum(line.discounts_minor) for line in rated.lines)
    drawn = sum(draw.amount_minor for draw in rated.credits.draws)
    charged = sum(charge.amount_minor for charge in rated.charges)
    after_items = sum(line.amount_minor for line in rated.lines)
    assert rated.subtotal_minor == after_items
    assert rated.total_minor == after_items - taken - drawn + added
    rated_lines = rated.lines[: sum(len(charge.lines) for charge in rated.charges)]
    of_usage = sum(line.net_minor + line.credits_minor for line in rated_lines)
    above_cap = max(0, charged - cap) if cap is not None else 0
    assert drawn <= max(0, of_usage - above_cap)
    if minimum is not None:
        assert after_items - taken >= minimum
    elif cap is not None:
        assert after_items == min(cap, charged)
    else:
        assert after_items == charged
    assert rated == rate_invoice(items, terms, currency="usd")
