"""Stripe's invoices against our own bills: what matches says nothing, what differs is named."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tallystick.billing.usage_bill import Biller
from tallystick.cli.demo_run import print_comparison
from tallystick.domain.instants import parse_instant, to_datetime
from tallystick.domain.periods import Period
from tallystick.domain.subscriptions import CustomerLink, SubscriptionItem
from tallystick.oversight.invoice_comparison import ComparedInvoice, compare_cycle_invoices
from tallystick.pipeline.event_draft import EventDraft
from tallystick.ports.stripe import Invoice, InvoiceLine
from tests.fixtures.mirrored import keep_items

if TYPE_CHECKING:
    from tallystick.wiring import Tallystick

MAY = Period(parse_instant("2015-05-01"), parse_instant("2015-06-01"))
PRICES = {
    "api_requests": "price_test_web_api_requests_monthly",
    "bandwidth_bytes": "price_test_web_api_bandwidth_monthly",
}


@pytest.fixture
def invoice(product: Tallystick) -> Invoice:
    """A customer with 120 requests of a megabyte each, and Stripe's right invoice for them."""
    product.customers.link([CustomerLink("acme", "cus_1")], 0)
    keep_items(
        product,
        "cus_1",
        [
            SubscriptionItem(f"si_{key}", "sub_1", "cus_1", price_id, f"mtr_test_{key}", MAY, MAY)
            for key, price_id in PRICES.items()
        ],
        product.clock.now(),
    )
    at = to_datetime(parse_instant("2015-05-18"))
    drafts = [
        EventDraft("http_request", "acme", at, f"e{number}", value=Decimal(1_000_000))
        for number in range(120)
    ]
    assert len(product.ingest.take(drafts)) == 120
    amounts = (("api_requests", "100", 100), ("api_requests", "20", 16))
    return Invoice(
        stripe_invoice_id="in_1",
        stripe_customer_id="cus_1",
        stripe_subscription_id="sub_1",
        billing_reason="subscription_cycle",
        status="open",
        currency="usd",
        total_minor=716,
        period_end_at=MAY.end_at,
        lines=tuple(
            InvoiceLine("", quantity, amount, PRICES[key], f"si_{key}")
            for key, quantity, amount in (*amounts, ("bandwidth_bytes", "120000000", 600))
        ),
    )


def compare(product: Tallystick, *invoices: Invoice) -> list[ComparedInvoice]:
    biller = Biller(product.usage, product.catalog)
    return list(compare_cycle_invoices(invoices, product.customers, biller))


def test_halves_that_match_leave_nothing_to_say(product: Tallystick, invoice: Invoice) -> None:
    (compared,) = compare(product, invoice)
    assert compared.differences == ()
    assert (compared.ours_minor, compared.stripe_minor) == (716, 716)
    assert compared.quantities == {"api_requests": 120, "bandwidth_bytes": 120_000_000}


def test_another_total_is_a_difference(product: Tallystick, invoice: Invoice) -> None:
    (compared,) = compare(product, replace(invoice, total_minor=717))
    assert compared.differences == ("we bill 716, Stripe 717",)
    assert compared.difference_minor == 1


def test_lines_that_differ_under_an_equal_total_are_a_difference(
    product: Tallystick, invoice: Invoice
) -> None:
    first, second, third = invoice.lines
    swapped = (replace(first, amount_minor=99), replace(second, amount_minor=17), third)
    (compared,) = compare(product, replace(invoice, lines=swapped))
    (difference,) = compared.differences
    assert difference.startswith("api_requests: our lines are")


def test_another_currency_and_an_unknown_price_are_differences(
    product: Tallystick, invoice: Invoice
) -> None:
    (compared,) = compare(product, replace(invoice, currency="eur"))
    assert compared.differences == ("we bill in usd, Stripe in eur",)
    items, _ = product.customers.items("cus_1")
    strange = [replace(item, stripe_price_id="price_strange") for item in items]
    keep_items(product, "cus_1", strange, product.clock.now())
    (compared,) = compare(product, invoice)
    assert compared.ours_minor is None
    assert "price price_strange is not in the catalog" in compared.differences


def test_a_customer_without_an_invoice_is_a_difference(
    product: Tallystick, invoice: Invoice
) -> None:
    first_of_all = replace(invoice, billing_reason="subscription_create")
    for invoices in ((), (first_of_all,)):
        (compared,) = compare(product, *invoices)
        assert compared.differences == ("Stripe has no invoice for the customer",)


def test_the_demo_names_who_differs_and_counts_them(
    product: Tallystick, invoice: Invoice, capsys: pytest.CaptureFixture[str]
) -> None:
    assert print_comparison(compare(product, invoice)) == 0
    assert capsys.readouterr().out.endswith("0 of 1 invoices differ\n")
    assert print_comparison(compare(product, replace(invoice, total_minor=717))) == 1
    printed = capsys.readouterr().out
    assert "acme: we bill 716, Stripe 717\n1 of 1 invoices differ\n" in printed
