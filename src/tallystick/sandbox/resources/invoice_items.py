"""Invoice items: what a customer is charged beside the subscription."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tallystick.domain.quantity import exact
from tallystick.sandbox.arithmetic.rounding import round_usage
from tallystick.sandbox.delivery.events import emit
from tallystick.sandbox.lifecycle.invoicing import LINES_MAX, total_invoice
from tallystick.sandbox.lifecycle.lines import line_of_item
from tallystick.sandbox.lifecycle.prorations import store_item
from tallystick.sandbox.resources.customer_references import find_customer
from tallystick.sandbox.resources.prices import find_or_make_price, find_price, read_currency
from tallystick.sandbox.resources.subscription_terms import check_tax_rates, require_clock_ready
from tallystick.sandbox.shapes.invoices import render_invoice_item
from tallystick.sandbox.state.billing_records import InvoiceItem
from tallystick.sandbox.wire.errors import missing, refused
from tallystick.sandbox.wire.lists import in_range, list_page
from tallystick.sandbox.wire.metadata import merged_metadata
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.billing_records import Invoice
    from tallystick.sandbox.state.records import Customer, Price
    from tallystick.sandbox.wire.operations import Call


def create_invoice_item(call: Call) -> dict[str, Any]:
    """Create an item: for a draft when ``invoice`` is given, else for the next invoice.

    Raises:
        StripeError: 400, contradicting amounts, an invoice that is not a draft or is full.
    """
    account, params = call.account, call.params
    if "customer" not in params:
        raise refused("Missing required param: customer.", "customer", "parameter_missing")
    customer = find_customer(account, params["customer"])
    require_clock_ready(account, customer.test_clock)
    invoice = _draft(account, params.get("invoice"), customer)
    item = new_invoice_item(call, customer, params)
    if invoice is not None:
        _require_currency(invoice, item.currency)
        item.invoice = invoice.id
        invoice.lines.append(line_of_item(account, item))
        total_invoice(account, invoice)
    store_item(account, item)
    return render_invoice_item(account, item)


def _require_currency(invoice: Invoice, currency: str) -> None:
    if currency != invoice.currency:
        raise refused(
            f"The currency of the invoice is {invoice.currency}; this item is in {currency}.",
            "currency",
        )


def _draft(account: Account, id_: str | None, customer: Customer) -> Invoice | None:
    if not id_:
        return None
    invoice = account.invoices.get(id_)
    if invoice is None or invoice.customer != customer.id:
        raise missing("invoice", id_, "invoice", status=400)
    if invoice.status != "draft":
        raise refused(
            "The specified invoice is already finalized and cannot be edited.",
            "invoice",
            "invoice_not_editable",
        )
    if len(invoice.lines) >= LINES_MAX:
        raise refused(f"An invoice can have at most {LINES_MAX} items.", "invoice")
    return invoice


def new_invoice_item(call: Call, customer: Customer, params: dict[str, Any]) -> InvoiceItem:
    """Return an item that is not stored yet."""
    account = call.account
    now = call.now(customer.test_clock)
    amount, quantity, unit_amount, price = _amounts(call, params)
    currency = price.currency if price else params.get("currency") or customer.currency or "usd"
    period = params.get("period", {"start": now, "end": now})
    if period["end"] < period["start"]:
        raise refused("`period[end]` must not be before `period[start]`.", "period[end]")
    subscription = params.get("subscription")
    if subscription is not None and subscription not in account.subscriptions:
        raise missing("subscription", subscription, "subscription", status=400)
    return InvoiceItem(
        id=account.ids.make("ii"),
        created=now,
        test_clock=customer.test_clock,
        customer=customer.id,
        currency=read_currency(currency),
        amount=amount,
        period_start=period["start"],
        period_end=period["end"],
        quantity=quantity,
        unit_amount=unit_amount,
        description=params.get("description") or _product_name(account, price),
        price=price.id if price else None,
        product=price.product if price else None,
        subscription=subscription,
        discountable=params.get("discountable", True),
        tax_rates=check_tax_rates(account, params.get("tax_rates"), "tax_rates"),
        metadata=merged_metadata({}, params.get("metadata")),
    )


def _product_name(account: Account, price: Price | None) -> str | None:
    product = account.products.get(price.product) if price else None
    return product.name if product else None


def _amounts(
    call: Call, params: dict[str, Any]
) -> tuple[int, Decimal, Decimal | None, Price | None]:
    """Return (amount, quantity, unit amount, price) from one of the ways to give an amount."""
    given = params.get("pricing", {}).get("price")
    ways = [n for n in ("amount", "unit_amount_decimal", "price_data", "pricing") if n in params]
    if len(ways) > 1:
        raise refused(f"You may only specify one of these parameters: {', '.join(ways)}.")
    if "quantity" in params and "quantity_decimal" in params:
        raise refused("You may only specify one of these parameters: quantity, quantity_decimal.")
    quantity = Decimal(params.get("quantity_decimal", params.get("quantity", 1)))
    if quantity < 0:
        raise refused("Invalid non-negative integer", "quantity", "parameter_invalid_integer")
    if "amount" in params:
        if "quantity" in params or "quantity_decimal" in params:
            raise refused("You may not specify a quantity together with `amount`.", "quantity")
        return params["amount"], Decimal(1), Decimal(params["amount"]), None
    price = None
    if given:
        price = find_price(call.account, given, "pricing[price]")
    elif "price_data" in params:
        price = find_or_make_price(call, params, "", is_recurring=False)
    if price is not None and (price.recurring is not None or price.amounts.tiers):
        raise refused("The price must be a one-time price without tiers.", "pricing[price]")
    unit_amount = price.amounts.unit_amount if price else params.get("unit_amount_decimal")
    if unit_amount is None:
        raise refused("Missing required param: amount.", "amount", "parameter_missing")
    with exact():
        total = unit_amount * quantity
    amount = round_usage(total, call.account.settings.usage_rounding)
    return amount, quantity, unit_amount, price


def _in_path(call: Call) -> InvoiceItem:
    item = call.account.invoice_items.get(call.path["invoiceitem"])
    if item is None:
        raise missing("invoiceitem", call.path["invoiceitem"])
    return item


def retrieve_invoice_item(call: Call) -> dict[str, Any]:
    """Return an item."""
    return render_invoice_item(call.account, _in_path(call))


def _owner(account: Account, item: InvoiceItem) -> Invoice | None:
    invoice = account.invoices.get(item.invoice or "")
    if invoice is not None and invoice.status != "draft":
        raise refused(
            "The invoice of this item is already finalized and cannot be edited.",
            code="invoice_not_editable",
        )
    return invoice


def update_invoice_item(call: Call) -> dict[str, Any]:
    """Change an item whose invoice is not final."""
    item, account, params = _in_path(call), call.account, call.params
    invoice = _owner(account, item)
    if "description" in params:
        item.description = params["description"] or None
    if "metadata" in params:
        item.metadata = merged_metadata(item.metadata, params["metadata"])
    if "tax_rates" in params:
        item.tax_rates = check_tax_rates(account, params["tax_rates"], "tax_rates")
    if "discountable" in params:
        item.discountable = params["discountable"]
    if "period" in params:
        item.period_start, item.period_end = params["period"]["start"], params["period"]["end"]
    amounts = {"amount", "quantity", "quantity_decimal", "unit_amount_decimal"}
    if amounts & set(params):
        _reprice(call, item)
    if invoice is not None:
        fresh = line_of_item(account, item)
        for place, line in enumerate(invoice.lines):
            if line.invoice_item == item.id:
                fresh.id = line.id
                invoice.lines[place] = fresh
        total_invoice(account, invoice)
    return render_invoice_item(account, item)


def _reprice(call: Call, item: InvoiceItem) -> None:
    params = dict(call.params)
    if "amount" not in params and "unit_amount_decimal" not in params:
        params["unit_amount_decimal"] = item.unit_amount
    item.amount, item.quantity, item.unit_amount, _ = _amounts(call, params)


def delete_invoice_item(call: Call) -> dict[str, Any]:
    """Delete an item whose invoice is not final."""
    item, account = _in_path(call), call.account
    invoice = _owner(account, item)
    if invoice is not None:
        invoice.lines = [line for line in invoice.lines if line.invoice_item != item.id]
        total_invoice(account, invoice)
    account.invoice_items.remove(item.id)
    emit(
        account,
        "invoiceitem.deleted",
        render_invoice_item(account, item),
        test_clock=item.test_clock,
    )
    return {"id": item.id, "object": "invoiceitem", "deleted": True}


def list_invoice_items(call: Call) -> dict[str, Any]:
    """List items."""
    wanted = call.params
    pending = wanted.get("pending")
    return list_page(
        call,
        call.account.invoice_items,
        lambda item: render_invoice_item(call.account, item),
        noun="invoiceitem",
        where=lambda i: (
            in_range(i.created, wanted.get("created"))
            and wanted.get("invoice", i.invoice) == i.invoice
            and (pending is None or pending == (i.invoice is None))
        ),
        customer=wanted.get("customer"),
    )


_TERMS = "amount description discountable metadata period quantity quantity_decimal tax_rates "
_ONE = "/v1/invoiceitems/{invoiceitem}"
OPERATIONS = (
    Operation(
        "POST",
        "/v1/invoiceitems",
        create_invoice_item,
        f"{_TERMS} currency customer invoice price_data pricing subscription unit_amount_decimal",
    ),
    Operation(
        "GET",
        "/v1/invoiceitems",
        list_invoice_items,
        "created customer ending_before invoice limit pending starting_after",
    ),
    Operation("GET", _ONE, retrieve_invoice_item),
    Operation("POST", _ONE, update_invoice_item, f"{_TERMS} unit_amount_decimal"),
    Operation("DELETE", _ONE, delete_invoice_item),
)
