"""Minimum commitments: per invoice, over a term, and as a base fee with included units."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tallystick.domain.rating.charges import rate
from tallystick.domain.rating.commitments import (
    Commitment,
    CommitmentDraw,
    CommitmentError,
    base_fee_price,
    draw_commitment,
    true_up_invoice,
)
from tallystick.domain.rating.prices import Price

MONTHLY = Commitment(10_000, "usd")
QUARTERLY = Commitment(30_000, "usd", periods_count=3)


def test_an_invoice_below_its_minimum_is_lifted_to_it() -> None:
    line = true_up_invoice(MONTHLY, 7_301)
    assert line is not None
    assert line.amount_minor == 2_699
    assert line.description == "Minimum commitment of $100.00: remaining amount"


@pytest.mark.parametrize("charged", [10_000, 10_001])
def test_an_invoice_that_reaches_its_minimum_has_no_true_up(charged: int) -> None:
    assert true_up_invoice(MONTHLY, charged) is None


def test_an_invoice_of_credits_is_lifted_to_the_whole_minimum() -> None:
    line = true_up_invoice(MONTHLY, -500)
    assert line is not None
    assert line.amount_minor == 10_500


def test_a_term_is_drawn_month_by_month_and_trued_up_at_its_end() -> None:
    statement = draw_commitment(QUARTERLY, (12_000, 5_000))
    assert statement.draws == (
        CommitmentDraw(12_000, 12_000, 0, 18_000),
        CommitmentDraw(5_000, 5_000, 0, 13_000),
    )
    assert statement.true_up is None
    ended = draw_commitment(QUARTERLY, (12_000, 5_000, 1_000))
    assert ended.true_up is not None
    assert ended.true_up.amount_minor == 12_000
    assert ended.trace == (
        "period 1 of 3: charged $120.00, $180.00 of the commitment left",
        "period 2 of 3: charged $50.00, $130.00 of the commitment left",
        "period 3 of 3: charged $10.00, $120.00 of the commitment left",
        "true-up $120.00",
    )


def test_what_lies_beyond_the_commitment_is_said() -> None:
    statement = draw_commitment(QUARTERLY, (29_000, 5_000, 100))
    assert statement.draws[1:] == (
        CommitmentDraw(5_000, 1_000, 4_000, 0),
        CommitmentDraw(100, 0, 100, 0),
    )
    assert statement.left_minor == 0
    assert statement.true_up is None


def test_a_correction_gives_back_what_it_takes_away() -> None:
    statement = draw_commitment(QUARTERLY, (31_000, -2_000, 0))
    assert statement.draws[1] == CommitmentDraw(-2_000, -1_000, -1_000, 1_000)
    assert statement.true_up is not None
    assert statement.true_up.amount_minor == 1_000


def test_a_term_that_has_not_begun_has_everything_left() -> None:
    assert draw_commitment(QUARTERLY, ()).left_minor == 30_000


def test_a_base_fee_with_included_units_bills_the_fee_at_zero_usage() -> None:
    overage = Price(currency="usd", unit_amount=Decimal("0.02"), product_name="Reading")
    price = base_fee_price(overage, base_fee=Decimal(999), included_units=100_000)
    amounts = {
        usage: rate(price, Decimal(usage)).amount_minor for usage in (0, 1, 100_000, 100_050)
    }
    assert amounts == {0: 999, 1: 999, 100_000: 999, 100_050: 1000}


@pytest.mark.parametrize(
    ("minimum", "periods", "code"), [(-1, 1, "minimum_invalid"), (1, 0, "periods_invalid")]
)
def test_a_commitment_that_cannot_be_is_refused(minimum: int, periods: int, code: str) -> None:
    with pytest.raises(CommitmentError) as refused:
        Commitment(minimum, "usd", periods)
    assert code == refused.value.code


def test_more_periods_than_the_term_has_are_refused() -> None:
    with pytest.raises(CommitmentError) as refused:
        draw_commitment(MONTHLY, (1, 2))
    assert refused.value.code == "periods_too_many"
