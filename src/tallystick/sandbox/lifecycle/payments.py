"""Collecting an invoice: test cards, declines, and what a payment does to the subscription.

Test cards as in DOC:testing; which of them fail on attaching is recorded for
``pm_card_chargeDeclined`` (402 on attach) and documented for ``pm_card_chargeCustomerFail``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tallystick.sandbox.delivery.events import emit
from tallystick.sandbox.lifecycle.invoicing import emit_invoice
from tallystick.sandbox.shapes.customers import render_customer
from tallystick.sandbox.shapes.payments import (
    render_charge,
    render_invoice_payment,
    render_payment_intent,
)
from tallystick.sandbox.shapes.subscriptions import render_subscription
from tallystick.sandbox.state.billing_records import Payment
from tallystick.sandbox.state.ids import token

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.billing_records import Invoice, Subscription
    from tallystick.sandbox.state.records import PaymentMethod


@dataclass(frozen=True, slots=True)
class CardBehaviour:
    """What a test card does."""

    brand: str
    last4: str
    decline_code: str | None = None
    message: str = "Your card was declined."
    fails_on_attach: bool = False
    needs_action: bool = False


_INSUFFICIENT = "Your card has insufficient funds."
CARDS = {
    "pm_card_visa": CardBehaviour("visa", "4242"),
    "pm_card_visa_debit": CardBehaviour("visa", "5556"),
    "pm_card_mastercard": CardBehaviour("mastercard", "4444"),
    "pm_card_amex": CardBehaviour("amex", "8431"),
    "pm_card_us": CardBehaviour("visa", "4242"),
    "pm_card_chargeCustomerFail": CardBehaviour("visa", "0341", "generic_decline"),
    "pm_card_visa_chargeCustomerFail": CardBehaviour("visa", "0341", "generic_decline"),
    "pm_card_chargeDeclined": CardBehaviour(
        "visa", "0002", "generic_decline", fails_on_attach=True
    ),
    "pm_card_visa_chargeDeclined": CardBehaviour(
        "visa", "0002", "generic_decline", fails_on_attach=True
    ),
    "pm_card_chargeDeclinedInsufficientFunds": CardBehaviour(
        "visa", "9995", "insufficient_funds", _INSUFFICIENT, fails_on_attach=True
    ),
    "pm_card_visa_chargeDeclinedInsufficientFunds": CardBehaviour(
        "visa", "9995", "insufficient_funds", _INSUFFICIENT, fails_on_attach=True
    ),
    "pm_card_chargeDeclinedExpiredCard": CardBehaviour(
        "visa", "0069", "expired_card", "Your card has expired.", fails_on_attach=True
    ),
    "pm_card_authenticationRequired": CardBehaviour("visa", "3184", needs_action=True),
}


def method_of(account: Account, invoice: Invoice) -> PaymentMethod | None:
    """Return what an invoice is charged to: its own, the subscription's, the customer's default."""
    subscription = account.subscriptions.get(invoice.subscription or "")
    customer = account.customers.get(invoice.customer)
    candidates = (
        invoice.default_payment_method,
        subscription.default_payment_method if subscription else None,
        customer.default_payment_method if customer else None,
    )
    for id_ in candidates:
        method = account.payment_methods.get(id_) if id_ else None
        if method is not None and method.customer == invoice.customer:
            return method
    return None


def collect(account: Account, invoice: Invoice, method: PaymentMethod | None = None) -> bool:
    """Try to pay an open invoice now; say whether it is paid."""
    if invoice.amount_due - invoice.amount_paid <= 0:
        mark_paid(account, invoice)
        return True
    method = method or method_of(account, invoice)
    payment = _payment_for(account, invoice)
    invoice.attempted = True
    if method is not None:
        invoice.attempt_count += 1
    behaviour = CARDS[method.behaviour] if method else None
    if method is None or behaviour is None:
        _fail(account, invoice, payment, None)
        return False
    payment.payment_method = method.id
    if behaviour.needs_action:
        payment.status = "requires_action"
        emit_payment(account, "payment_intent.requires_action", payment)
        emit_invoice(account, "invoice.payment_action_required", invoice)
        _fail(account, invoice, payment, None)
        return False
    payment.charge = account.ids.make("ch")
    account.payment_by_charge[payment.charge] = payment.id
    if behaviour.decline_code is not None:
        _fail(account, invoice, payment, behaviour)
        return False
    _succeed(account, invoice, payment)
    return True


def _payment_for(account: Account, invoice: Invoice) -> Payment:
    """Return the invoice's open payment: one intent serves all attempts."""
    for id_ in invoice.payments:
        payment = account.payments.get(id_)
        if payment is not None and payment.status not in ("succeeded", "canceled"):
            return payment
    intent = account.ids.make("pi")
    payment = Payment(
        id=account.ids.make("inpay"),
        created=account.now(invoice.test_clock),
        customer=invoice.customer,
        currency=invoice.currency,
        amount=invoice.amount_remaining,
        intent=intent,
        status="requires_payment_method",
        invoice=invoice.id,
        test_clock=invoice.test_clock,
        secret=f"{intent}_secret_{token(intent, 25)}",
        description=_describe(invoice),
    )
    account.payments.add(payment)
    account.payment_by_intent[intent] = payment.id
    invoice.payments.append(payment.id)
    emit_payment(account, "payment_intent.created", payment)
    return payment


def open_payment(account: Account, invoice: Invoice) -> Payment:
    """Prepare the intent of an invoice that waits for its first payment."""
    return _payment_for(account, invoice)


def _describe(invoice: Invoice) -> str | None:
    words = {
        "subscription_create": "Subscription creation",
        "subscription_update": "Subscription update",
        "subscription_cycle": "Subscription update",
    }
    return words.get(invoice.billing_reason)


def emit_payment(account: Account, kind: str, payment: Payment) -> None:
    """Record a payment intent's event."""
    emit(account, kind, render_payment_intent(payment), test_clock=payment.test_clock)


def _fail(
    account: Account, invoice: Invoice, payment: Payment, behaviour: CardBehaviour | None
) -> None:
    clock = invoice.test_clock
    if behaviour is not None:
        payment.decline_code, payment.decline_message = behaviour.decline_code, behaviour.message
        payment.status = "requires_payment_method"
        emit(account, "charge.failed", render_charge(account, payment), test_clock=clock)
        emit_payment(account, "payment_intent.payment_failed", payment)
    _set_delinquent(account, invoice.customer, True)
    emit_invoice(account, "invoice.payment_failed", invoice)
    emit_invoice(account, "invoice.updated", invoice)
    subscription = account.subscriptions.get(invoice.subscription or "")
    if subscription is not None and subscription.status in ("active", "trialing"):
        set_status(account, subscription, "past_due")


def _succeed(account: Account, invoice: Invoice, payment: Payment) -> None:
    clock = invoice.test_clock
    payment.status = "succeeded"
    payment.paid_at = account.now(clock)
    payment.decline_code = payment.decline_message = None
    invoice.amount_paid = invoice.amount_due
    emit(account, "charge.succeeded", render_charge(account, payment), test_clock=clock)
    emit_payment(account, "payment_intent.succeeded", payment)
    mark_paid(account, invoice)
    emit(account, "invoice_payment.paid", render_invoice_payment(payment), test_clock=clock)


def mark_paid(account: Account, invoice: Invoice, *, out_of_band: bool = False) -> None:
    """Close an invoice as paid, and bring its subscription back from past_due or incomplete."""
    invoice.status = "paid"
    invoice.paid_at = account.now(invoice.test_clock)
    invoice.attempted = True
    invoice.auto_advance = False
    invoice.next_payment_attempt = None
    invoice.paid_out_of_band = out_of_band
    if out_of_band:
        invoice.amount_paid = invoice.amount_due
    emit_invoice(account, "invoice.updated", invoice)
    emit_invoice(account, "invoice.paid", invoice)
    emit_invoice(account, "invoice.payment_succeeded", invoice)
    _set_delinquent(account, invoice.customer, False)
    revive(account, invoice)


def revive(account: Account, invoice: Invoice) -> None:
    """Make the subscription active once its latest invoice is no longer owed.

    DOC:billing/subscriptions/overview: past_due follows the latest invoice, incomplete the first.
    """
    subscription = account.subscriptions.get(invoice.subscription or "")
    if subscription is None or invoice.id != subscription.latest_invoice:
        return
    if subscription.status in ("past_due", "unpaid", "incomplete"):
        set_status(account, subscription, "active")


def set_status(account: Account, subscription: Subscription, status: str) -> None:
    """Change a subscription's status and tell the webhooks."""
    before = render_subscription(account, subscription)
    subscription.status = status
    emit_subscription(account, "customer.subscription.updated", subscription, before=before)


def emit_subscription(
    account: Account,
    kind: str,
    subscription: Subscription,
    *,
    before: dict[str, object] | None = None,
) -> None:
    """Record a subscription's event."""
    body = render_subscription(account, subscription)
    emit(account, kind, body, before=before, test_clock=subscription.test_clock)


def _set_delinquent(account: Account, customer_id: str, is_delinquent: bool) -> None:
    customer = account.customers.get(customer_id)
    if customer is None or customer.delinquent == is_delinquent:
        return
    before = render_customer(customer)
    customer.delinquent = is_delinquent
    emit(
        account,
        "customer.updated",
        render_customer(customer),
        before=before,
        test_clock=customer.test_clock,
    )
