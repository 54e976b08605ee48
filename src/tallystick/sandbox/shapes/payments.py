"""How payments look on the wire: the invoice payment, the intent and the charge of one attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.billing_records import Payment
    from tallystick.sandbox.state.records import PaymentMethod

_NO_ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))


def render_payment_method(method: PaymentMethod) -> dict[str, Any]:
    """Return a card."""
    return {
        "id": method.id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {
            "address": dict(_NO_ADDRESS),
            "email": None,
            "name": None,
            "phone": None,
            "tax_id": None,
        },
        "card": {
            "brand": method.brand,
            "checks": {
                "address_line1_check": None,
                "address_postal_code_check": None,
                "cvc_check": "pass",
            },
            "country": method.country,
            "display_brand": method.brand,
            "exp_month": 12,
            "exp_year": 2034,
            "fingerprint": f"fp{method.last4}{method.brand}",
            "funding": method.funding,
            "generated_from": None,
            "last4": method.last4,
            "networks": {"available": [method.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        "created": method.created,
        "customer": method.customer,
        "customer_account": None,
        "livemode": False,
        "metadata": method.metadata,
        "type": "card",
    }


def render_invoice_payment(payment: Payment) -> dict[str, Any]:
    """Return what an invoice's payment list shows."""
    is_paid = payment.status == "succeeded"
    status = "paid" if is_paid else "canceled" if payment.status == "canceled" else "open"
    return {
        "id": payment.id,
        "object": "invoice_payment",
        "amount_paid": payment.amount if is_paid else None,
        "amount_requested": payment.amount,
        "created": payment.created,
        "currency": payment.currency,
        "invoice": payment.invoice,
        "is_default": True,
        "livemode": False,
        "payment": {"payment_intent": payment.intent, "type": "payment_intent"},
        "status": status,
        "status_transitions": {"canceled_at": payment.canceled_at, "paid_at": payment.paid_at},
    }


def _decline(payment: Payment) -> dict[str, Any] | None:
    if payment.decline_code is None:
        return None
    body: dict[str, Any] = {
        "code": "card_declined",
        "decline_code": payment.decline_code,
        "message": payment.decline_message or "Your card was declined.",
        "type": "card_error",
    }
    if payment.charge is not None:
        body["charge"] = payment.charge
    return body


def render_payment_intent(payment: Payment) -> dict[str, Any]:
    """Return the payment intent."""
    is_paid = payment.status == "succeeded"
    return {
        "id": payment.intent,
        "object": "payment_intent",
        "amount": payment.amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": payment.amount if is_paid else 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": payment.canceled_at,
        "cancellation_reason": "void_invoice" if payment.canceled_at else None,
        "capture_method": "automatic",
        "client_secret": payment.secret,
        "confirmation_method": "automatic",
        "created": payment.created,
        "currency": payment.currency,
        "customer": payment.customer,
        "description": payment.description,
        "last_payment_error": _decline(payment),
        "latest_charge": payment.charge,
        "livemode": False,
        "metadata": payment.metadata,
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": payment.payment_method if is_paid else None,
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": payment.status,
        "transfer_data": None,
        "transfer_group": None,
    }


def render_charge(account: Account, payment: Payment) -> dict[str, Any]:
    """Return the charge of a payment that was tried."""
    is_paid = payment.status == "succeeded"
    method = account.payment_methods.get(payment.payment_method or "")
    card = render_payment_method(method)["card"] if method else {}
    decline = _decline(payment)
    return {
        "id": payment.charge,
        "object": "charge",
        "amount": payment.amount,
        "amount_captured": payment.amount if is_paid else 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": {
            "address": dict(_NO_ADDRESS),
            "email": None,
            "name": None,
            "phone": None,
            "tax_id": None,
        },
        "calculated_statement_descriptor": "SANDBOX",
        "captured": is_paid,
        "created": payment.created,
        "currency": payment.currency,
        "customer": payment.customer,
        "description": payment.description,
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": decline["code"] if decline else None,
        "failure_message": decline["message"] if decline else None,
        "fraud_details": {},
        "livemode": False,
        "metadata": payment.metadata,
        "on_behalf_of": None,
        "outcome": {
            "advice_code": None,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "approved_by_network" if is_paid else "declined_by_network",
            "reason": None if is_paid else payment.decline_code,
            "risk_level": "normal",
            "seller_message": "Payment complete."
            if is_paid
            else "The bank did not return any further details with this decline.",
            "type": "authorized" if is_paid else "issuer_declined",
        },
        "paid": is_paid,
        "payment_intent": payment.intent,
        "payment_method": payment.payment_method,
        "payment_method_details": {
            "card": {
                "amount_authorized": payment.amount if is_paid else None,
                "brand": card.get("brand"),
                "checks": card.get("checks"),
                "country": card.get("country"),
                "exp_month": card.get("exp_month", 12),
                "exp_year": card.get("exp_year", 2034),
                "fingerprint": card.get("fingerprint"),
                "funding": card.get("funding"),
                "installments": None,
                "last4": card.get("last4"),
                "mandate": None,
                "network": card.get("brand"),
                "three_d_secure": None,
                "wallet": None,
            },
            "type": "card",
        },
        "radar_options": {},
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "succeeded" if is_paid else "failed",
        "transfer_data": None,
        "transfer_group": None,
    }
