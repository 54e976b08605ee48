"""How subscriptions end, and what is still billed or credited then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.sandbox.lifecycle.invoicing import (
    Draft,
    build_invoice,
    emit_invoice,
    finalize_invoice,
    pending_items,
    store_invoice,
)
from tallystick.sandbox.lifecycle.lines import window_of
from tallystick.sandbox.lifecycle.payments import collect, emit_subscription
from tallystick.sandbox.lifecycle.periods import is_metered
from tallystick.sandbox.lifecycle.prorations import credit_unused, store_item

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.billing_records import Invoice, Subscription


def end_subscription(account: Account, subscription: Subscription, *, reason: str | None) -> None:
    """Mark a subscription as cancelled now."""
    now = account.now(subscription.test_clock)
    subscription.status = "canceled"
    subscription.ended_at = now
    if subscription.canceled_at is None:
        subscription.canceled_at = now
    if reason is not None and subscription.cancellation_reason is None:
        subscription.cancellation_reason = reason
    emit_subscription(account, "customer.subscription.deleted", subscription)


def cancel_now(
    account: Account, subscription: Subscription, *, invoice_now: bool, prorate: bool
) -> None:
    """Cancel at once.

    Usage is billed only with ``invoice_now``; unused licensed time is credited only with
    ``prorate`` (DOC:api/subscriptions/cancel). Without ``invoice_now`` a credit waits for the
    customer's next invoice. Flat fees of usage are billed whole (asserted live).
    """
    now = account.now(subscription.test_clock)
    if prorate:
        for item in subscription.items:
            if not is_metered(account, item):
                for credit in credit_unused(account, subscription, item, now):
                    store_item(account, credit)
    if invoice_now:
        draft = final_draft(account, subscription, now)
        if draft.windows or draft.pending:
            invoice = build_invoice(account, subscription, draft)
            store_invoice(account, invoice, draft)
            finalize_and_collect(account, invoice)
    subscription.cancel_at_period_end = False
    subscription.cancel_at = None
    end_subscription(account, subscription, reason="cancellation_requested")


def final_draft(account: Account, subscription: Subscription, now: int) -> Draft:
    """Return what an immediate cancellation with ``invoice_now`` bills."""
    draft = Draft("subscription_update")
    draft.pending = pending_items(account, subscription.customer, subscription.currency)
    starts = [item.period_start for item in subscription.items]
    draft.period = (min(starts, default=now), now)
    is_trial = subscription.status == "trialing"
    draft.windows = [
        window_of(subscription, item, now, is_trial=is_trial)
        for item in sorted(subscription.items, key=lambda one: -one.created)
        if is_metered(account, item)
    ]
    return draft


def finalize_and_collect(account: Account, invoice: Invoice) -> None:
    """Finalize an invoice and, where it is charged automatically, try to collect it."""
    finalize_invoice(account, invoice)
    if invoice.collection_method == "charge_automatically" or invoice.amount_due == 0:
        collect(account, invoice)


def void_invoice(account: Account, invoice: Invoice) -> None:
    """Void an open invoice and cancel its intent."""
    now = account.now(invoice.test_clock)
    invoice.status = "void"
    invoice.voided_at = now
    invoice.auto_advance = False
    for id_ in invoice.payments:
        payment = account.payments.get(id_)
        if payment is not None and payment.status != "succeeded":
            payment.status = "canceled"
            payment.canceled_at = now
    emit_invoice(account, "invoice.updated", invoice)
    emit_invoice(account, "invoice.voided", invoice)
