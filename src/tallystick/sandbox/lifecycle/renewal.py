"""What happens when a period ends: trials end, usage and the next licences are invoiced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.sandbox.lifecycle.cancellation import end_subscription
from tallystick.sandbox.lifecycle.invoicing import (
    Draft,
    build_invoice,
    pending_items,
    store_invoice,
)
from tallystick.sandbox.lifecycle.lines import licence_lines, window_of
from tallystick.sandbox.lifecycle.payments import emit_subscription
from tallystick.sandbox.lifecycle.periods import is_metered, period_end, schedule_renewal
from tallystick.sandbox.shapes.subscriptions import render_subscription

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.billing_records import Subscription, SubscriptionItem


def renew(account: Account, subscription: Subscription, now: int) -> None:
    """Close the periods that end now, start the next ones, and draft one invoice for both.

    Metered items are billed in arrears, licensed ones in advance. A subscription that ends here
    bills its last usage and nothing ahead (DOC:usage-based/manage-billing).
    """
    due = [item for item in subscription.items if item.period_end <= now]
    if subscription.is_ended or subscription.status in ("incomplete", "paused") or not due:
        return
    before = render_subscription(account, subscription)
    is_trial = subscription.status == "trialing"
    if is_trial and _trial_stops_it(account, subscription):
        return
    is_last = subscription.cancel_at is not None and subscription.cancel_at <= now
    draft = cycle_draft(account, subscription, due, now=now, is_trial=is_trial, is_last=is_last)
    for item in due:
        item.usage_from = item.period_start = now
        item.period_end = period_end(account, subscription, item.price, now)
    if is_trial:
        subscription.status = "active"
    has_content = bool(draft.windows or draft.lines or draft.pending)
    if has_content:
        invoice = build_invoice(account, subscription, draft)
        store_invoice(account, invoice, draft)
    if is_last:
        end_subscription(account, subscription, reason="cancellation_requested")
        return
    emit_subscription(account, "customer.subscription.updated", subscription, before=before)
    schedule_renewal(account, subscription)


def cycle_draft(
    account: Account,
    subscription: Subscription,
    due: list[SubscriptionItem],
    *,
    now: int,
    is_trial: bool = False,
    is_last: bool = False,
) -> Draft:
    """Return what the invoice of a period's end holds: pending items, usage, then licences.

    DOC:api/invoices/object#lines: subscription items stand in reverse chronological order.
    """
    draft = Draft("subscription_cycle", waits=True)
    draft.pending = pending_items(account, subscription.customer, subscription.currency)
    draft.period = (min(item.period_start for item in due), now)
    for item in sorted(due, key=lambda one: -one.created):
        if is_metered(account, item):
            draft.windows.append(window_of(subscription, item, now, is_trial=is_trial))
        elif not is_last:
            ahead = (now, period_end(account, subscription, item.price, now))
            draft.lines.extend(licence_lines(account, subscription, item, ahead))
    return draft


def _trial_stops_it(account: Account, subscription: Subscription) -> bool:
    """Cancel or pause a subscription whose trial ends without a payment method, if set so."""
    behaviour = subscription.missing_payment_method
    customer = account.customers.get(subscription.customer)
    has_method = subscription.default_payment_method or (
        customer is not None and customer.default_payment_method
    )
    if has_method or behaviour == "create_invoice":
        return False
    if behaviour == "cancel":
        end_subscription(account, subscription, reason=None)
    else:
        before = render_subscription(account, subscription)
        subscription.status = "paused"
        emit_subscription(account, "customer.subscription.paused", subscription, before=before)
    return True
