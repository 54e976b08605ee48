"""Discounts: how they are split over lines."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tallystick.domain.rating.discounts import (
    Discount,
    DiscountError,
    apply_discounts,
    split_discount,
)


def test_the_last_line_takes_what_flooring_left() -> None:
    assert split_discount((1000, 2000), Discount(amount_off=500)) == (166, 334)
    assert split_discount((100, 100, 100), Discount(amount_off=100)) == (33, 33, 34)


def test_no_line_falls_below_zero_and_the_line_before_takes_what_is_over() -> None:
    assert split_discount((1, 1, 1), Discount(amount_off=2)) == (0, 1, 1)
    assert split_discount((0, 1000, 1, 0), Discount(amount_off=100)) == (0, 99, 1, 0)


def test_lines_of_nothing_and_credits_get_no_share() -> None:
    assert split_discount((-500, 1000, 0), Discount(amount_off=100)) == (0, 100, 0)
    assert split_discount((-500, 1000, 0), Discount(percent_off=Decimal(10))) == (0, 100, 0)


def test_more_than_there_is_takes_all_there_is() -> None:
    assert split_discount((100, 50), Discount(amount_off=1000)) == (100, 50)
    assert split_discount((0, -5), Discount(amount_off=1000)) == (0, 0)
    assert split_discount((), Discount(amount_off=1000)) == ()


def test_a_percentage_is_rounded_on_each_line() -> None:
    assert split_discount((5, 5, 5), Discount(percent_off=Decimal(10))) == (1, 1, 1)
    assert split_discount((100, 1), Discount(percent_off=Decimal("33.33"))) == (33, 0)


def test_discounts_apply_one_after_the_other() -> None:
    splits = apply_discounts(
        (10_000,), [Discount(percent_off=Decimal(50)), Discount(percent_off=Decimal(50))]
    )
    assert splits == ((5000,), (2500,))


@pytest.mark.parametrize(
    ("amount_off", "percent_off", "code"),
    [
        (None, None, "discount_not_one_of"),
        (5, Decimal(5), "discount_not_one_of"),
        (0, None, "amount_off_invalid"),
        (-5, None, "amount_off_invalid"),
        (None, Decimal(0), "percent_off_invalid"),
        (None, Decimal("100.01"), "percent_off_invalid"),
        (None, Decimal("0.001"), "percent_off_invalid"),
        (None, Decimal("NaN"), "percent_off_invalid"),
    ],
)
def test_a_discount_that_cannot_be_is_refused(
    amount_off: int | None, percent_off: Decimal | None, code: str
) -> None:
    with pytest.raises(DiscountError) as refused:
        Discount(amount_off=amount_off, percent_off=percent_off)
    assert code == refused.value.code
