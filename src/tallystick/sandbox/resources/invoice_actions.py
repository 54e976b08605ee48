"""What can be done with invoices: create, change, finalize, pay, void, write off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.delivery.events import emit
from tallystick.sandbox.lifecycle.cancellation import finalize_and_collect, void_invoice
from tallystick.sandbox.lifecycle.invoicing import (
    add_invoice,
    emit_invoice,
    finalize_invoice,
    pending_items,
    schedule_finalization,
    total_invoice,
)
from tallystick.sandbox.lifecycle.lines import line_of_item
from tallystick.sandbox.lifecycle.payments import CARDS, collect, mark_paid, method_of
from tallystick.sandbox.resources.customer_references import find_customer
from tallystick.sandbox.resources.invoices import invoice_in_path
from tallystick.sandbox.resources.payment_methods import attach, usable_method
from tallystick.sandbox.resources.prices import read_currency
from tallystick.sandbox.resources.subscription_terms import (
    check_payment_method,
    check_tax_rates,
    require_clock_ready,
)
from tallystick.sandbox.shapes.invoices import render_invoice
from tallystick.sandbox.state.billing_records import Invoice
from tallystick.sandbox.wire.errors import StripeError, card_declined, missing, refused
from tallystick.sandbox.wire.metadata import merged_metadata
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.billing_records import Subscription
    from tallystick.sandbox.state.records import PaymentMethod
    from tallystick.sandbox.wire.operations import Call

CUSTOM_FIELDS_MAX = 4
FINALIZES_S_MAX = 5 * 366 * 86_400
"""DOC:api/invoices: ``automatically_finalizes_at`` at most five years ahead."""


def _shown(call: Call, invoice: Invoice) -> dict[str, Any]:
    return render_invoice(call.account, invoice)


def _draft_in_path(call: Call) -> Invoice:
    invoice = invoice_in_path(call)
    require_clock_ready(call.account, invoice.test_clock)
    if invoice.status != "draft":
        raise refused(
            "Finalized invoices can't be updated in this way.", code="invoice_not_editable"
        )
    return invoice


def create_invoice(call: Call) -> dict[str, Any]:
    """Create a draft by hand; pending items only join it with ``pending_invoice_items_behavior``.

    Raises:
        StripeError: 400, unknown customer or subscription, or neither given.
    """
    account, params = call.account, call.params
    subscription = _subscription(account, params)
    customer_id = params.get("customer") or (subscription.customer if subscription else None)
    if customer_id is None:
        raise refused("Missing required param: customer.", "customer", "parameter_missing")
    customer = find_customer(account, customer_id)
    require_clock_ready(account, customer.test_clock)
    now = call.now(customer.test_clock)
    currency = params.get("currency") or customer.currency or "usd"
    starts = [item.period_start for item in subscription.items] if subscription else []
    invoice = Invoice(
        id=account.ids.make("in"),
        created=now,
        customer=customer.id,
        currency=read_currency(subscription.currency if subscription else currency),
        billing_reason="manual",
        subscription=subscription.id if subscription else None,
        subscription_metadata=dict(subscription.metadata) if subscription else {},
        period_start=min(starts, default=now),
        period_end=now,
        auto_advance=params.get("auto_advance", False),
        test_clock=customer.test_clock,
    )
    _apply(account, invoice, params)
    takes_pending = params.get("pending_invoice_items_behavior") == "include"
    if takes_pending or subscription is not None:
        waiting = pending_items(account, customer.id, invoice.currency)
        for item in waiting:
            if subscription is None or item.subscription == subscription.id:
                item.invoice = invoice.id
                invoice.lines.append(line_of_item(account, item))
    total_invoice(account, invoice)
    add_invoice(account, invoice)
    if invoice.auto_advance:
        schedule_finalization(account, invoice)
    _schedule(account, invoice, params)
    return _shown(call, invoice)


def _subscription(account: Account, params: dict[str, Any]) -> Subscription | None:
    id_ = params.get("subscription")
    if id_ is None:
        return None
    subscription = account.subscriptions.get(id_)
    if subscription is None:
        raise missing("subscription", id_, "subscription", status=400)
    return subscription


def _apply(account: Account, invoice: Invoice, params: dict[str, Any]) -> None:
    for name in ("description", "footer"):
        if name in params:
            setattr(invoice, name, params[name] or None)
    for name in ("auto_advance", "collection_method", "days_until_due", "due_date"):
        if name in params:
            setattr(invoice, name, params[name])
    if "custom_fields" in params:
        _set_custom_fields(invoice, params["custom_fields"])
    if "metadata" in params:
        invoice.metadata = merged_metadata(invoice.metadata, params["metadata"])
    if "default_tax_rates" in params:
        invoice.default_tax_rates = check_tax_rates(
            account, params["default_tax_rates"], "default_tax_rates"
        )
    if "default_payment_method" in params:
        invoice.default_payment_method = check_payment_method(
            account, params["default_payment_method"], invoice.customer
        )


def _set_custom_fields(invoice: Invoice, given: Any) -> None:
    if given and len(given) > CUSTOM_FIELDS_MAX:
        raise refused(f"You can add up to {CUSTOM_FIELDS_MAX} custom fields.", "custom_fields")
    for n, field in enumerate(given or ()):
        if len(field["name"]) > 40 or len(field["value"]) > 140:
            raise refused(
                "A custom field's name can have 40 characters and its value 140.",
                f"custom_fields[{n}]",
            )
    invoice.custom_fields = given or None


def _schedule(account: Account, invoice: Invoice, params: dict[str, Any]) -> None:
    """Set when a draft finalizes by itself."""
    at = params.get("automatically_finalizes_at")
    if at is None:
        return
    now = account.now(invoice.test_clock)
    if not now < at <= now + FINALIZES_S_MAX:
        raise refused(
            "Invalid timestamp: must be in the future and at most five years ahead.",
            "automatically_finalizes_at",
        )
    invoice.auto_advance = True
    invoice.automatically_finalizes_at = at
    account.timeline(invoice.test_clock).schedule(at, "finalize", invoice.id)


def update_invoice(call: Call) -> dict[str, Any]:
    """Change a draft; of a final invoice only metadata and what does not touch its amounts."""
    invoice = invoice_in_path(call)
    require_clock_ready(call.account, invoice.test_clock)
    allowed = {"metadata", "auto_advance", "default_payment_method"}
    if invoice.status != "draft" and not set(call.params) <= allowed:
        raise refused(
            "Finalized invoices can't be updated in this way.", code="invoice_not_editable"
        )
    before = _shown(call, invoice)
    was_held = not invoice.auto_advance
    _apply(call.account, invoice, call.params)
    if invoice.status == "draft":
        total_invoice(call.account, invoice)
        if was_held and invoice.auto_advance:
            schedule_finalization(call.account, invoice)
        elif not invoice.auto_advance:
            invoice.automatically_finalizes_at = None
        _schedule(call.account, invoice, call.params)
    emit(
        call.account,
        "invoice.updated",
        _shown(call, invoice),
        before=before,
        test_clock=invoice.test_clock,
    )
    return _shown(call, invoice)


def delete_invoice(call: Call) -> dict[str, Any]:
    """Delete a draft that was made by hand (DOC:api/invoices/delete)."""
    invoice = _draft_in_path(call)
    if invoice.subscription is not None and invoice.billing_reason != "manual":
        raise refused("You can't delete invoices created by subscriptions.")
    for item in call.account.invoice_items.matching("customer", invoice.customer):
        if item.invoice == invoice.id:
            item.invoice = None
    call.account.invoices.remove(invoice.id)
    emit_invoice(call.account, "invoice.deleted", invoice)
    return {"id": invoice.id, "object": "invoice", "deleted": True}


def finalize(call: Call) -> dict[str, Any]:
    """Finalize a draft now; with ``auto_advance`` it is also collected."""
    invoice = invoice_in_path(call)
    require_clock_ready(call.account, invoice.test_clock)
    if invoice.status != "draft":
        raise refused(
            "This invoice is already finalized, you can't re-finalize a non-draft invoice.",
            code="invoice_not_editable",
        )
    advances = call.params.get("auto_advance", invoice.auto_advance)
    invoice.auto_advance = advances
    if advances:
        finalize_and_collect(call.account, invoice)
    else:
        finalize_invoice(call.account, invoice)
        if invoice.amount_due == 0:
            mark_paid(call.account, invoice)
    return _shown(call, invoice)


def pay(call: Call) -> dict[str, Any]:
    """Pay an invoice now; a draft is finalized first (recorded).

    Raises:
        StripeError: 400 for one that cannot be paid, 402 when the card declines.
    """
    account, params = call.account, call.params
    invoice = invoice_in_path(call)
    require_clock_ready(account, invoice.test_clock)
    if invoice.status == "paid":
        raise refused("Invoice is already paid", code="invoice_already_paid")
    if invoice.status == "void":
        raise refused("Voided invoices cannot be paid.", code="invoice_not_editable")
    method = _given_method(account, invoice, params)
    if invoice.status == "draft":
        finalize_invoice(account, invoice)
    if params.get("paid_out_of_band"):
        mark_paid(account, invoice, out_of_band=True)
        return _shown(call, invoice)
    if invoice.amount_due == 0:
        mark_paid(account, invoice)
        return _shown(call, invoice)
    method = method or method_of(account, invoice)
    if method is None:
        raise StripeError(
            "There is no `default_payment_method` set on this Customer or Invoice. Please set a "
            "`default_payment_method`.",
            code="missing",
            saved=True,
        )
    if not collect(account, invoice, method):
        card = CARDS[method.behaviour]
        if card.needs_action:
            raise StripeError(
                "This payment requires additional user action before it can be completed "
                "successfully.",
                status=402,
                type_="card_error",
                code="invoice_payment_intent_requires_action",
                saved=True,
            )
        raise card_declined(card.decline_code or "generic_decline", card.message)
    return _shown(call, invoice)


def _given_method(
    account: Account, invoice: Invoice, params: dict[str, Any]
) -> PaymentMethod | None:
    given = params.get("payment_method")
    if given is None:
        return None
    if given in CARDS:
        method = usable_method(account, given)
        attach(account, method, invoice.customer)
        return method
    check_payment_method(account, given, invoice.customer, "payment_method")
    return account.payment_methods.get(given)


def void(call: Call) -> dict[str, Any]:
    """Void an open or uncollectible invoice."""
    invoice = invoice_in_path(call)
    require_clock_ready(call.account, invoice.test_clock)
    if invoice.status not in ("open", "uncollectible"):
        raise refused(
            "You can only pass in open or uncollectible invoices. This invoice isn't "
            f"{invoice.status}."
            if invoice.status == "draft"
            else f"You can't void an invoice that is {invoice.status}.",
            code="invoice_not_editable",
        )
    void_invoice(call.account, invoice)
    return _shown(call, invoice)


def mark_uncollectible(call: Call) -> dict[str, Any]:
    """Write an open invoice off."""
    invoice = invoice_in_path(call)
    require_clock_ready(call.account, invoice.test_clock)
    if invoice.status != "open":
        raise refused(
            "You can only mark open invoices as uncollectible.", code="invoice_not_editable"
        )
    invoice.status = "uncollectible"
    invoice.auto_advance = False
    invoice.uncollectible_at = call.now(invoice.test_clock)
    emit_invoice(call.account, "invoice.updated", invoice)
    emit_invoice(call.account, "invoice.marked_uncollectible", invoice)
    return _shown(call, invoice)


def send(call: Call) -> dict[str, Any]:
    """Send an invoice: a draft is finalized, nothing is mailed (as in Stripe's test mode)."""
    invoice = invoice_in_path(call)
    require_clock_ready(call.account, invoice.test_clock)
    if invoice.collection_method != "send_invoice":
        raise refused(
            "You can only send invoices with `collection_method=send_invoice`.",
            code="invoice_not_editable",
        )
    if invoice.status == "draft":
        finalize_invoice(call.account, invoice)
    emit_invoice(call.account, "invoice.sent", invoice)
    return _shown(call, invoice)


_TERMS = (
    "auto_advance automatic_tax.enabled=false automatically_finalizes_at collection_method "
    "custom_fields days_until_due default_payment_method default_tax_rates description due_date "
    "footer metadata"
)
_ONE = "/v1/invoices/{invoice}"
OPERATIONS = (
    Operation(
        "POST",
        "/v1/invoices",
        create_invoice,
        f"{_TERMS} currency customer pending_invoice_items_behavior subscription",
    ),
    Operation("POST", _ONE, update_invoice, _TERMS),
    Operation("DELETE", _ONE, delete_invoice),
    Operation("POST", f"{_ONE}/finalize", finalize, "auto_advance"),
    Operation("POST", f"{_ONE}/pay", pay, "off_session paid_out_of_band payment_method"),
    Operation("POST", f"{_ONE}/void", void),
    Operation("POST", f"{_ONE}/mark_uncollectible", mark_uncollectible),
    Operation("POST", f"{_ONE}/send", send),
)
