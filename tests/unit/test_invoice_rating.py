"""Whole invoices: in which order caps, discounts, minimums, credits and tax apply."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tallystick.domain.money import MoneyError
from tallystick.domain.rating.commitments import Commitment
from tallystick.domain.rating.credits import CreditGrant
from tallystick.domain.rating.discounts import Discount
from tallystick.domain.rating.invoices import InvoiceTerms, RatedInvoice, rate_invoice
from tallystick.domain.rating.prices import Price, UsageType
from tallystick.domain.rating.spend_caps import SpendCap
from tallystick.domain.rating.tax import TaxRate

REQUESTS = Price(currency="usd", unit_amount=Decimal(1), key="requests", product_name="Requests")
BYTES = Price(currency="usd", unit_amount=Decimal("0.5"), key="bytes", product_name="Bytes")
SEATS = Price(currency="usd", unit_amount=Decimal(1000), usage_type=UsageType.LICENSED, key="seats")
ITEMS = [(REQUESTS, Decimal(1000)), (BYTES, Decimal(4001)), (SEATS, Decimal(2))]


def invoice(**terms: Any) -> RatedInvoice:
    return rate_invoice(ITEMS, InvoiceTerms(**terms), currency="usd")


def nets(rated: RatedInvoice) -> list[int]:
    return [line.net_minor for line in rated.lines]


def test_without_terms_the_lines_are_the_charges() -> None:
    rated = rate_invoice(ITEMS, currency="usd")
    assert nets(rated) == [1000, 2001, 2000]
    assert rated.subtotal_minor == rated.total_minor == 5001


def test_no_items_make_an_empty_invoice() -> None:
    rated = rate_invoice([], currency="usd")
    assert (rated.lines, rated.total_minor) == ((), 0)


def test_a_cap_holds_usage_and_leaves_seats_alone() -> None:
    rated = invoice(spend_cap=SpendCap(2500, "usd"))
    assert nets(rated) == [1000, 2001, 2000, -501]
    assert rated.lines[-1].description == "Spend cap of $25.00"


def test_a_minimum_counts_what_discounts_left_and_is_not_discounted() -> None:
    rated = invoice(discounts=(Discount(percent_off=Decimal(50)),), minimum=Commitment(4000, "usd"))
    assert nets(rated) == [500, 1000, 1000, 1500]  # half of 2001 is 1000.5: 1001 off
    assert rated.lines[-1].discounts_minor == (0,)
    assert rated.total_minor == 4000


def test_credits_pay_metered_lines_after_discounts_and_before_tax() -> None:
    rated = invoice(
        discounts=(Discount(amount_off=501), Discount(percent_off=Decimal(10))),
        credit_grants=(CreditGrant(key="g", left_minor=5000, currency="usd"),),
        tax_rates=(TaxRate(Decimal(20), inclusive=False, display_name="VAT"),),
    )
    assert [line.discounts_minor for line in rated.lines] == [(100, 90), (200, 180), (201, 180)]
    assert [line.credits_minor for line in rated.lines] == [810, 1621, 0]
    assert nets(rated) == [0, 0, 1619]
    assert [line.exclusive_tax_minor for line in rated.lines] == [0, 0, 324]
    assert rated.total_minor == 1943
    assert rated.credits.left_minor_by_grant == {"g": 5000 - 810 - 1621}


def test_credits_do_not_pay_a_true_up() -> None:
    rated = rate_invoice(
        [(REQUESTS, Decimal(100))],
        InvoiceTerms(
            minimum=Commitment(1000, "usd"),
            credit_grants=(CreditGrant(key="g", left_minor=5000, currency="usd"),),
        ),
        currency="usd",
    )
    assert nets(rated) == [0, 900]


def test_credits_do_not_pay_for_what_the_cap_takes_back() -> None:
    rated = invoice(
        spend_cap=SpendCap(2500, "usd"),
        credit_grants=(CreditGrant(key="g", left_minor=5000, currency="usd"),),
    )
    assert [line.credits_minor for line in rated.lines] == [1000, 1500, 0, 0]
    assert rated.total_minor == 2000


def test_expired_credits_pay_nothing_at_finalization() -> None:
    grant = CreditGrant(key="g", left_minor=5000, currency="usd", expires_at=10)
    assert invoice(credit_grants=(grant,), finalized_at=9).total_minor == 2000
    assert invoice(credit_grants=(grant,), finalized_at=10).total_minor == 5001


def test_inclusive_tax_does_not_change_the_total() -> None:
    rated = invoice(tax_rates=(TaxRate(Decimal(25), inclusive=True),))
    assert rated.total_minor == 5001
    assert [line.taxes[0].amount_minor for line in rated.lines] == [200, 400, 400]


def test_tax_is_rounded_on_each_line() -> None:
    price = Price(currency="usd", unit_amount=Decimal(1))
    rated = rate_invoice(
        [(price, Decimal(295)), (price, Decimal(750))],
        InvoiceTerms(tax_rates=(TaxRate(Decimal(21), inclusive=False),)),
        currency="usd",
    )
    assert rated.total_minor == 295 + 750 + 62 + 158


@pytest.mark.parametrize(
    ("items", "terms"),
    [
        ([(Price(currency="eur", unit_amount=Decimal(1)), Decimal(1))], InvoiceTerms()),
        ([], InvoiceTerms(spend_cap=SpendCap(1, "eur"))),
        ([], InvoiceTerms(minimum=Commitment(1, "eur"))),
    ],
)
def test_another_currency_is_refused(items: Any, terms: InvoiceTerms) -> None:
    with pytest.raises(MoneyError, match="eur"):
        rate_invoice(items, terms, currency="usd")


def test_the_trace_goes_from_the_quantities_to_the_total() -> None:
    rated = rate_invoice(
        [(REQUESTS, Decimal(1000))],
        InvoiceTerms(
            discounts=(Discount(percent_off=Decimal(10)),),
            minimum=Commitment(2000, "usd"),
            credit_grants=(CreditGrant(key="g", left_minor=100, currency="usd"),),
            tax_rates=(TaxRate(Decimal(20), inclusive=False, display_name="VAT"),),
        ),
        currency="usd",
    )
    assert rated.trace == (
        "Requests: 1000 per unit, in usd",
        "1000 × $0.01 = $10.00",
        "total $10.00",
        "line 1: $10.00; discount -$1.00, credits -$1.00, VAT 20% added $1.60",
        "line 2: Minimum commitment of $20.00: remaining amount $11.00",
        "line 2: $11.00; VAT 20% added $2.20",
        "credit g pays $1.00 of line 1",
        "subtotal $21.00, total $22.80",
    )
