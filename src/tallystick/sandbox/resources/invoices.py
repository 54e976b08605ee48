"""Invoices: read and listed, with their lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.shapes.invoices import render_invoice, render_line
from tallystick.sandbox.wire.errors import missing
from tallystick.sandbox.wire.lists import in_range, list_of, list_page
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.state.billing_records import Invoice
    from tallystick.sandbox.wire.operations import Call


def invoice_in_path(call: Call) -> Invoice:
    """Return the invoice of the address.

    Raises:
        StripeError: 404 resource_missing.
    """
    invoice = call.account.invoices.get(call.path["invoice"])
    if invoice is None:
        raise missing("invoice", call.path["invoice"], "invoice")
    return invoice


def retrieve_invoice(call: Call) -> dict[str, Any]:
    """Return an invoice."""
    return render_invoice(call.account, invoice_in_path(call))


def list_invoices(call: Call) -> dict[str, Any]:
    """List invoices."""
    wanted = call.params
    return list_page(
        call,
        call.account.invoices,
        lambda invoice: render_invoice(call.account, invoice),
        noun="invoice",
        where=lambda i: (
            in_range(i.created, wanted.get("created"))
            and (wanted.get("due_date") is None or in_range(i.due_date, wanted["due_date"]))
            and wanted.get("status", i.status) == i.status
            and wanted.get("collection_method", i.collection_method) == i.collection_method
        ),
        customer=wanted.get("customer"),
        subscription=wanted.get("subscription"),
    )


def list_lines(call: Call) -> dict[str, Any]:
    """List an invoice's lines, in its order."""
    invoice = invoice_in_path(call)
    return list_of(
        call, invoice.lines, lambda line: render_line(invoice, line), noun="invoice line item"
    )


OPERATIONS = (
    Operation(
        "GET",
        "/v1/invoices",
        list_invoices,
        "collection_method created customer due_date ending_before limit starting_after status "
        "subscription",
    ),
    Operation("GET", "/v1/invoices/{invoice}", retrieve_invoice),
    Operation(
        "GET", "/v1/invoices/{invoice}/lines", list_lines, "ending_before limit starting_after"
    ),
)
