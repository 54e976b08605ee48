"""Golden cases of rating: text files, what is rated above a line of ``=`` and the result below.

Above the line is YAML: either a ``price`` with ``usages``, or the ``items`` of an invoice with the
``terms`` that apply to it. Below it is what a person would check: lines, amounts and trace.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import yaml

from tallystick.domain.quantity import parse_total, plain
from tallystick.domain.rating.charges import Charge, rate
from tallystick.domain.rating.commitments import Commitment
from tallystick.domain.rating.credits import CreditCategory, CreditGrant
from tallystick.domain.rating.discounts import Discount
from tallystick.domain.rating.invoices import InvoiceLine, InvoiceTerms, RatedInvoice, rate_invoice
from tallystick.domain.rating.prices import price_from_stripe
from tallystick.domain.rating.spend_caps import SpendCap
from tallystick.domain.rating.tax import TaxRate

RULE = "=" * 100


def split_case(text: str) -> tuple[str, str]:
    """Return the two halves of a case; a new case may lack the second."""
    given, _, expected = text.partition(f"{RULE}\n")
    return given, expected


def render(given: str) -> str:
    """Return what the second half of a case has to be."""
    case = yaml.safe_load(given)
    if "price" in case:
        price = price_from_stripe(case["price"])
        charges = [rate(price, parse_total(str(usage))) for usage in case["usages"]]
        return "\n".join(_render_charge(charge) for charge in charges)
    items = [
        (price_from_stripe(item["price"]), parse_total(str(item["usage"])))
        for item in case["items"]
    ]
    return _render_invoice(rate_invoice(items, _terms(case), currency=case["currency"]))


def _terms(case: dict[str, Any]) -> InvoiceTerms:
    currency = case["currency"]
    given = case.get("terms") or {}
    cap, minimum = given.get("spend_cap"), given.get("minimum")
    return InvoiceTerms(
        discounts=tuple(
            Discount(each.get("amount_off"), _decimal(each.get("percent_off")))
            for each in given.get("discounts", ())
        ),
        spend_cap=None if cap is None else SpendCap(cap, currency),
        minimum=None if minimum is None else Commitment(minimum, currency),
        credit_grants=tuple(_grant(each, currency) for each in given.get("credits", ())),
        tax_rates=tuple(
            TaxRate(Decimal(each["percentage"]), each["inclusive"], each["name"])
            for each in given.get("taxes", ())
        ),
    )


def _grant(given: dict[str, Any], currency: str) -> CreditGrant:
    return CreditGrant(
        key=given["key"],
        left_minor=given["left"],
        currency=currency,
        priority=given.get("priority", 50),
        category=CreditCategory(given.get("category", "paid")),
        expires_at=given.get("expires_at"),
    )


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _render_charge(charge: Charge) -> str:
    rows = [f"usage {plain(charge.measured)}"]
    rows.extend(
        f"  {plain(line.quantity):>14} {line.amount_minor:>12}  {line.description}"
        for line in charge.lines
    )
    rows.append(f"  {'total':>14} {charge.amount_minor:>12}")
    rows.extend(f"    {step}" for step in charge.trace)
    return "\n".join(rows) + "\n"


def _render_invoice(rated: RatedInvoice) -> str:
    rows = [f"{'quantity':>10} {'amount':>8} {'off':>8} {'credit':>8} {'tax':>14}  description"]
    rows.extend(_render_line(line) for line in rated.lines)
    rows.append(f"{'subtotal':>10} {rated.subtotal_minor:>8}")
    rows.append(f"{'total':>10} {rated.total_minor:>8}")
    rows.extend(f"    {step}" for step in rated.trace)
    return "\n".join(rows) + "\n"


def _render_line(line: InvoiceLine) -> str:
    taxes = " ".join(str(tax.amount_minor) for tax in line.taxes) or "0"
    return (
        f"{plain(line.quantity):>10} {line.amount_minor:>8} {-sum(line.discounts_minor):>8} "
        f"{-line.credits_minor:>8} {taxes:>14}  {line.description}"
    )
