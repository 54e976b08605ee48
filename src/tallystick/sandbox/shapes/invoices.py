"""How invoices, their lines and invoice items look on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.domain.quantity import plain
from tallystick.sandbox.arithmetic.rating import whole_part
from tallystick.sandbox.shapes.prices import decimal_or_none
from tallystick.sandbox.shapes.subscriptions import render_tax_rates
from tallystick.sandbox.wire.lists import whole_list

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.billing_records import (
        Invoice,
        InvoiceItem,
        InvoiceLine,
        LineTax,
    )

LINES_SHOWN_MAX = 10
"""Lines embedded in an invoice; the rest comes from its lines address (recorded)."""


def render_line(invoice: Invoice, line: InvoiceLine) -> dict[str, Any]:
    """Return an invoice line; ``quantity`` is truncated, ``quantity_decimal`` is exact."""
    quantity = line.quantity
    inclusive = sum(tax.amount for tax in line.taxes if tax.inclusive)
    return {
        "id": line.id,
        "object": "line_item",
        "amount": line.amount,
        "currency": invoice.currency,
        "description": line.description,
        "discount_amounts": [],
        "discountable": line.discountable,
        "discounts": [],
        "invoice": invoice.id,
        "livemode": False,
        "metadata": line.metadata,
        "parent": _line_parent(line),
        "period": {"end": line.period_end, "start": line.period_start},
        "pretax_credit_amounts": [],
        "pricing": _pricing(line.price, line.product, decimal_or_none(line.unit_amount)),
        "quantity": None if quantity is None else whole_part(quantity),
        "quantity_decimal": None if quantity is None else plain(quantity),
        "subscription": line.subscription,
        "subtotal": line.amount - inclusive,
        "taxes": [_tax(tax) for tax in line.taxes],
    }


def _line_parent(line: InvoiceLine) -> dict[str, Any]:
    """Return where a line comes from; a proration names the item only under its own details."""
    credited = None
    if line.credited_invoice is not None:
        credited = {"invoice": line.credited_invoice, "invoice_line_items": line.credited_lines}
    if line.item is not None:
        return {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": line.invoice_item,
                "proration": line.is_proration,
                "proration_details": {"credited_items": credited},
                "subscription": line.subscription,
                "subscription_item": line.item,
            },
            "type": "subscription_item_details",
        }
    return {
        "invoice_item_details": {
            "invoice_item": line.invoice_item or "",
            "proration": line.is_proration,
            "proration_details": {"credited_items": credited},
            "subscription": line.subscription,
        },
        "subscription_item_details": None,
        "type": "invoice_item_details",
    }


def _pricing(price: str | None, product: str | None, unit: str | None) -> dict[str, Any] | None:
    if price is None:
        return None
    return {
        "price_details": {"price": price, "product": product or ""},
        "type": "price_details",
        "unit_amount_decimal": unit,
    }


def _tax(tax: LineTax) -> dict[str, Any]:
    return {
        "amount": tax.amount,
        "tax_behavior": "inclusive" if tax.inclusive else "exclusive",
        "tax_rate_details": {"tax_rate": tax.rate},
        "taxability_reason": "not_available",
        "taxable_amount": tax.taxable_amount,
        "type": "tax_rate_details",
    }


def _total_taxes(lines: Iterable[InvoiceLine]) -> list[dict[str, Any]]:
    """Return the lines' taxes, added up by rate."""
    totals: dict[str, dict[str, Any]] = {}
    for line in lines:
        for tax in line.taxes:
            total = totals.get(tax.rate)
            if total is None:
                totals[tax.rate] = _tax(tax)
            else:
                total["amount"] += tax.amount
                total["taxable_amount"] += tax.taxable_amount
    return list(totals.values())


def render_invoice(account: Account, invoice: Invoice) -> dict[str, Any]:
    """Return an invoice as Stripe shows it; payments only on request."""
    customer = account.customers.get(invoice.customer)
    shown = [render_line(invoice, line) for line in invoice.lines[:LINES_SHOWN_MAX]]
    lines = whole_list(shown, f"/v1/invoices/{invoice.id}/lines")
    lines["has_more"] = len(invoice.lines) > LINES_SHOWN_MAX
    lines["total_count"] = len(invoice.lines)
    is_draft = invoice.status == "draft"
    page = f"https://invoice.stripe.com/i/{account.id}/test_{invoice.id}?s=ap"
    document = f"https://pay.stripe.com/invoice/{account.id}/test_{invoice.id}/pdf?s=ap"
    return {
        "id": invoice.id,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Sandbox",
        "account_tax_ids": None,
        "amount_due": invoice.amount_due,
        "amount_overpaid": 0,
        "amount_paid": invoice.amount_paid,
        "amount_paid_off_stripe": invoice.amount_paid if invoice.paid_out_of_band else 0,
        "amount_remaining": invoice.amount_remaining,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": invoice.attempt_count,
        "attempted": invoice.attempted,
        "auto_advance": invoice.auto_advance,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        "automatically_finalizes_at": invoice.automatically_finalizes_at if is_draft else None,
        "billing_reason": invoice.billing_reason,
        "collection_method": invoice.collection_method,
        "created": invoice.created,
        "currency": invoice.currency,
        "custom_fields": invoice.custom_fields,
        "customer": invoice.customer,
        "customer_address": customer.address if customer else None,
        "customer_email": customer.email if customer else None,
        "customer_name": customer.name if customer else None,
        "customer_phone": customer.phone if customer else None,
        "customer_shipping": customer.shipping if customer else None,
        "customer_tax_exempt": customer.tax_exempt if customer else None,
        "customer_tax_ids": [],
        "default_payment_method": invoice.default_payment_method,
        "default_source": None,
        "default_tax_rates": render_tax_rates(account, invoice.default_tax_rates),
        "description": invoice.description,
        "discounts": [],
        "due_date": invoice.due_date,
        "effective_at": invoice.finalized_at,
        "ending_balance": invoice.ending_balance,
        "footer": invoice.footer,
        "from_invoice": None,
        "hosted_invoice_url": None if is_draft else page,
        "invoice_pdf": None if is_draft else document,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "lines": lines,
        "livemode": False,
        "metadata": invoice.metadata,
        "next_payment_attempt": invoice.next_payment_attempt,
        "number": invoice.number,
        "on_behalf_of": None,
        "parent": _invoice_parent(invoice),
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": invoice.period_end,
        "period_start": invoice.period_start,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": _rendering(invoice),
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": invoice.starting_balance,
        "statement_descriptor": None,
        "status": invoice.status,
        "status_transitions": {
            "finalized_at": invoice.finalized_at,
            "marked_uncollectible_at": invoice.uncollectible_at,
            "paid_at": invoice.paid_at,
            "voided_at": invoice.voided_at,
        },
        "subtotal": invoice.subtotal,
        "subtotal_excluding_tax": invoice.subtotal_excluding_tax,
        "test_clock": invoice.test_clock,
        "total": invoice.total,
        "total_discount_amounts": [],
        "total_excluding_tax": invoice.total_excluding_tax,
        "total_pretax_credit_amounts": [],
        "total_taxes": _total_taxes(invoice.lines),
        "webhooks_delivered_at": invoice.webhooks_delivered_at,
    }


def _rendering(invoice: Invoice) -> dict[str, Any] | None:
    """Return the rendering of an invoice made by hand; subscriptions have none (recorded)."""
    if invoice.billing_reason != "manual":
        return None
    return {
        "amount_tax_display": None,
        "pdf": {"page_size": "letter"},
        "template": None,
        "template_version": None,
    }


def _invoice_parent(invoice: Invoice) -> dict[str, Any] | None:
    if invoice.subscription is None:
        return None
    return {
        "quote_details": None,
        "subscription_details": {
            "metadata": invoice.subscription_metadata,
            "subscription": invoice.subscription,
        },
        "type": "subscription_details",
    }


def render_invoice_item(account: Account, item: InvoiceItem) -> dict[str, Any]:
    """Return an invoice item."""
    parent = None
    if item.subscription is not None:
        details = {"subscription": item.subscription}
        if item.subscription_item is not None:
            details["subscription_item"] = item.subscription_item
        parent = {"subscription_details": details, "type": "subscription_details"}
    return {
        "id": item.id,
        "object": "invoiceitem",
        "amount": item.amount,
        "currency": item.currency,
        "customer": item.customer,
        "date": item.created,
        "description": item.description,
        "discountable": item.discountable,
        "discounts": [],
        "invoice": item.invoice,
        "livemode": False,
        "metadata": item.metadata,
        "net_amount": item.amount,
        "parent": parent,
        "period": {"end": item.period_end, "start": item.period_start},
        "pricing": _pricing(item.price, item.product, decimal_or_none(item.unit_amount)),
        "proration": item.is_proration,
        "quantity": whole_part(item.quantity),
        "quantity_decimal": plain(item.quantity),
        "tax_rates": render_tax_rates(account, item.tax_rates),
        "test_clock": item.test_clock,
    }
