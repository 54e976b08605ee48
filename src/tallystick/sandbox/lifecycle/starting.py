"""How subscriptions start: trials, anchors, and the first invoice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tallystick.sandbox.lifecycle.cancellation import finalize_and_collect
from tallystick.sandbox.lifecycle.invoicing import (
    Draft,
    build_invoice,
    finalize_invoice,
    pending_items,
    store_invoice,
)
from tallystick.sandbox.lifecycle.lines import free_line, licence_lines, line_of_item
from tallystick.sandbox.lifecycle.payments import (
    CARDS,
    collect,
    emit_subscription,
    method_of,
    open_payment,
)
from tallystick.sandbox.lifecycle.periods import is_metered, period_end, schedule_renewal
from tallystick.sandbox.lifecycle.prorations import charge_remaining
from tallystick.sandbox.wire.errors import StripeError, card_declined

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.billing_records import Invoice, Subscription

TRIAL_NOTICE_S = 3 * 86_400
"""DOC:billing/subscriptions/trials: trial_will_end comes three days ahead."""


@dataclass(frozen=True, slots=True)
class Start:
    """How the creation of a subscription was asked for."""

    payment_behavior: str = "allow_incomplete"
    proration_behavior: str = "create_prorations"


def start_subscription(account: Account, subscription: Subscription, start: Start) -> None:
    """Store a new subscription and bill what is due at its start.

    Raises:
        StripeError: 402 when the first payment fails and must not, 400 when there is nothing to
            charge. Nothing is stored then.
    """
    now = subscription.created
    for item in subscription.items:
        account.item_owner[item.id] = subscription.id
    trial_end = subscription.trial_end if subscription.status == "trialing" else None
    for item in subscription.items:
        item.period_start = item.usage_from = now
        item.period_end = trial_end or period_end(account, subscription, item.price, now)
    draft = first_draft(account, subscription, start, now)
    invoice = None
    if draft.lines or draft.pending:
        invoice = build_invoice(account, subscription, draft)
        _check_payment(account, subscription, invoice, start)
    account.subscriptions.add(subscription)
    if invoice is not None:
        _bill_first(account, subscription, invoice, draft, start)
    emit_subscription(account, "customer.subscription.created", subscription)
    schedule_renewal(account, subscription)
    timeline = account.timeline(subscription.test_clock)
    if trial_end is not None:
        timeline.schedule(max(now, trial_end - TRIAL_NOTICE_S), "trial_will_end", subscription.id)
    if subscription.cancel_at is not None:
        timeline.schedule(subscription.cancel_at, "cancel", subscription.id)


def first_draft(account: Account, subscription: Subscription, start: Start, now: int) -> Draft:
    """Return the first invoice's content.

    Licensed items are billed in advance, for a part of the period up to a later anchor. Classic
    mode shows metered items with a 0 line; flexible mode does not, and makes no invoice for
    metered items alone (DOC:billing-mode/compare).
    """
    draft = Draft("subscription_create", period=(now, now))
    draft.pending = pending_items(account, subscription.customer, subscription.currency)
    is_trial = subscription.status == "trialing"
    for item in subscription.items:
        span = (now, item.period_end)
        if is_metered(account, item):
            if not subscription.is_flexible:
                draft.lines.append(free_line(account, subscription, item, span))
        elif is_trial:
            draft.lines.append(free_line(account, subscription, item, span))
        elif subscription.anchor > now:
            if start.proration_behavior != "none":
                stubs = charge_remaining(account, subscription, item, now)
                for stub in stubs:
                    line = line_of_item(account, stub)
                    line.invoice_item = None
                    draft.lines.append(line)
        else:
            draft.lines.extend(licence_lines(account, subscription, item, span))
    return draft


def _check_payment(
    account: Account, subscription: Subscription, invoice: Invoice, start: Start
) -> None:
    """Refuse what Stripe refuses before it creates anything (recorded: 400 without a method)."""
    if subscription.collection_method == "send_invoice" or invoice.amount_due == 0:
        return
    if start.payment_behavior == "default_incomplete":
        return
    method = _method_for(account, subscription, invoice)
    if method is None:
        raise StripeError(
            "This customer has no attached payment source or default payment method. Please "
            "consider adding a default payment method. For more information, visit "
            "https://stripe.com/docs/billing/subscriptions/payment-methods-setting"
            "#payment-method-priority.",
            code="resource_missing",
        )
    behaviour = CARDS[method]
    if start.payment_behavior == "error_if_incomplete":
        if behaviour.decline_code is not None:
            raise card_declined(behaviour.decline_code, behaviour.message)
        if behaviour.needs_action:
            raise StripeError(
                "Payment for this subscription requires additional user action before it can be "
                "completed successfully.",
                status=402,
                type_="card_error",
                code="subscription_payment_intent_requires_action",
            )


def _method_for(account: Account, subscription: Subscription, invoice: Invoice) -> str | None:
    own = account.payment_methods.get(subscription.default_payment_method or "")
    method = own or method_of(account, invoice)
    return method.behaviour if method else None


def _bill_first(
    account: Account, subscription: Subscription, invoice: Invoice, draft: Draft, start: Start
) -> None:
    """Finalize the first invoice at once; an unpaid one makes the subscription incomplete."""
    owed = invoice.amount_due > 0 and subscription.collection_method == "charge_automatically"
    if owed and subscription.status == "active":
        subscription.status = "incomplete"
    store_invoice(account, invoice, draft)
    if owed and start.payment_behavior == "default_incomplete":
        finalize_invoice(account, invoice)
        open_payment(account, invoice)
    elif subscription.collection_method == "charge_automatically":
        finalize_invoice(account, invoice)
        collect(account, invoice)
    elif invoice.amount_due == 0:
        finalize_and_collect(account, invoice)
    else:
        # an invoice that is sent stays a draft for the delay, also the first one
        draft.waits = True
        store_again = account.timeline(invoice.test_clock)
        delay_s = account.settings.finalization_delay_s
        invoice.automatically_finalizes_at = invoice.created + delay_s
        store_again.schedule(invoice.automatically_finalizes_at, "finalize", invoice.id)
    if subscription.status == "incomplete":
        due_at = subscription.created + account.settings.incomplete_s_max
        account.timeline(subscription.test_clock).schedule(due_at, "expire", subscription.id)
