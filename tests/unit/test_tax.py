"""Tax per line, added or contained."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tallystick.domain.rating.tax import TaxError, TaxRate, tax_line


def rate(percentage: str, *, inclusive: bool = False) -> TaxRate:
    return TaxRate(Decimal(percentage), inclusive)


@pytest.mark.parametrize(
    ("amount", "percentage", "expected"),
    [(295, "21", 62), (750, "21", 158), (999, "21", 210), (-295, "21", -62), (0, "21", 0)],
)
def test_exclusive_tax_is_added_to_the_line(amount: int, percentage: str, expected: int) -> None:
    (tax,) = tax_line(amount, [rate(percentage)])
    assert (amount, expected) == (tax.taxable_minor, tax.amount_minor)


@pytest.mark.parametrize(
    ("amount", "percentage", "taxable", "expected"),
    [(1210, "21", 1000, 210), (1000, "19", 840, 160), (100, "8.875", 92, 8), (1, "21", 1, 0)],
)
def test_inclusive_tax_is_contained_in_the_line(
    amount: int, percentage: str, taxable: int, expected: int
) -> None:
    (tax,) = tax_line(amount, [rate(percentage, inclusive=True)])
    assert (taxable, expected) == (tax.taxable_minor, tax.amount_minor)


def test_rates_beside_each_other_are_each_rounded() -> None:
    taxes = tax_line(1000, [rate("5"), rate("9.975")])
    assert [tax.amount_minor for tax in taxes] == [50, 100]


def test_inclusive_rates_share_and_an_exclusive_one_is_taken_from_the_rest() -> None:
    taxes = tax_line(1300, [rate("10", inclusive=True), rate("5"), rate("20", inclusive=True)])
    assert [tax.amount_minor for tax in taxes] == [100, 50, 200]
    assert {1000} == {tax.taxable_minor for tax in taxes}


def test_no_rate_is_no_tax() -> None:
    assert tax_line(1000, []) == ()


@pytest.mark.parametrize("percentage", ["-1", "100.0001", "0.00001", "NaN", "Infinity"])
def test_a_rate_that_cannot_be_is_refused(percentage: str) -> None:
    with pytest.raises(TaxError) as refused:
        rate(percentage)
    assert refused.value.code == "percentage_invalid"
