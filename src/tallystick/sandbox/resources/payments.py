"""Payment intents, charges and invoice payments, as far as an invoice shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.shapes.payments import (
    render_charge,
    render_invoice_payment,
    render_payment_intent,
)
from tallystick.sandbox.wire.errors import missing
from tallystick.sandbox.wire.lists import in_range, list_page
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.wire.operations import Call


def retrieve_intent(call: Call) -> dict[str, Any]:
    """Return a payment intent."""
    id_ = call.path["intent"]
    payment = call.account.payments.get(call.account.payment_by_intent.get(id_, ""))
    if payment is None:
        raise missing("payment_intent", id_, "intent")
    return render_payment_intent(payment)


def list_intents(call: Call) -> dict[str, Any]:
    """List payment intents."""
    wanted = call.params
    return list_page(
        call,
        call.account.payments,
        render_payment_intent,
        noun="payment_intent",
        where=lambda p: in_range(p.created, wanted.get("created")),
        customer=wanted.get("customer"),
    )


def retrieve_charge(call: Call) -> dict[str, Any]:
    """Return a charge."""
    id_ = call.path["charge"]
    payment = call.account.payments.get(call.account.payment_by_charge.get(id_, ""))
    if payment is None:
        raise missing("charge", id_, "charge")
    return render_charge(call.account, payment)


def retrieve_invoice_payment(call: Call) -> dict[str, Any]:
    """Return an invoice payment."""
    payment = call.account.payments.get(call.path["invoice_payment"])
    if payment is None:
        raise missing("invoice_payment", call.path["invoice_payment"], "invoice_payment")
    return render_invoice_payment(payment)


def list_invoice_payments(call: Call) -> dict[str, Any]:
    """List invoice payments, by invoice, payment intent or status."""
    wanted = call.params
    intent = (wanted.get("payment") or {}).get("payment_intent")
    status = wanted.get("status")
    return list_page(
        call,
        call.account.payments,
        render_invoice_payment,
        noun="invoice_payment",
        where=lambda p: (
            in_range(p.created, wanted.get("created"))
            and intent in (None, p.intent)
            and status in (None, render_invoice_payment(p)["status"])
        ),
        invoice=wanted.get("invoice"),
    )


_ID = {"type": "object", "properties": {"expand": {"type": "array", "items": {"type": "string"}}}}
OPERATIONS = (
    Operation("GET", "/v1/payment_intents/{intent}", retrieve_intent),
    Operation(
        "GET",
        "/v1/payment_intents",
        list_intents,
        "created customer ending_before limit starting_after",
    ),
    Operation("GET", "/v1/charges/{charge}", retrieve_charge, schema=_ID),
    Operation("GET", "/v1/invoice_payments/{invoice_payment}", retrieve_invoice_payment),
    Operation(
        "GET",
        "/v1/invoice_payments",
        list_invoice_payments,
        "created ending_before invoice limit payment.payment_intent payment.type starting_after "
        "status",
    ),
)
