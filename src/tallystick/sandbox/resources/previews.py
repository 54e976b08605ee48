"""Invoice previews: what the next invoice would be, stored nowhere (DOC:api/invoices)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from tallystick.sandbox.lifecycle.cancellation import final_draft
from tallystick.sandbox.lifecycle.changes import change_subscription, preview_change
from tallystick.sandbox.lifecycle.invoicing import build_invoice, total_invoice
from tallystick.sandbox.lifecycle.lines import line_of_item
from tallystick.sandbox.lifecycle.metering import settle_meter_events
from tallystick.sandbox.lifecycle.periods import is_metered
from tallystick.sandbox.lifecycle.prorations import credit_unused
from tallystick.sandbox.lifecycle.renewal import cycle_draft
from tallystick.sandbox.resources.invoice_items import new_invoice_item
from tallystick.sandbox.resources.subscription_terms import check_items, check_tax_rates
from tallystick.sandbox.resources.subscription_updates import changed_items, read_change
from tallystick.sandbox.resources.subscriptions import draft_subscription
from tallystick.sandbox.shapes.invoices import render_invoice
from tallystick.sandbox.wire.errors import StripeError, missing, refused, unsupported
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.state.billing_records import Invoice, InvoiceItem, Subscription
    from tallystick.sandbox.state.records import Customer
    from tallystick.sandbox.wire.operations import Call

PREVIEW_PREFIX = "upcoming_in"


def create_preview(call: Call) -> dict[str, Any]:
    """Return the next invoice of a subscription, as it is or after a change.

    Usage is what has been counted so far; meter totals lag (DOC:create_preview).

    Raises:
        StripeError: 400, neither a customer nor a subscription, or one that has ended.
    """
    account, params = call.account, call.params
    settle_meter_events(account)
    subscription = _subscription(call)
    ids_made = account.ids.made
    owners = dict(account.item_owner)
    try:
        if subscription is None:
            invoice = _of_customer(call)
        else:
            invoice = _of_subscription(call, copy.deepcopy(subscription))
        _add_items(call, invoice)
        invoice.status = "draft"
        invoice.billing_reason = "upcoming" if _is_plain(params) else invoice.billing_reason
        invoice.id = f"{PREVIEW_PREFIX}_{invoice.id.removeprefix('in_')}"
        return render_invoice(account, invoice)
    finally:
        account.ids.made = ids_made
        account.item_owner = owners


def _is_plain(params: dict[str, Any]) -> bool:
    return not params.get("subscription_details")


def _subscription(call: Call) -> Subscription | None:
    id_ = call.params.get("subscription")
    if id_ is None:
        return None
    subscription = call.account.subscriptions.get(id_)
    if subscription is None:
        raise missing("subscription", id_, "subscription", status=400)
    if subscription.is_ended:
        raise StripeError(
            "No upcoming invoices for customer: the subscription has ended.",
            status=400,
            code="invoice_upcoming_none",
        )
    return subscription


def _customer(call: Call) -> Customer:
    id_ = call.params.get("customer")
    if id_ is None:
        raise refused(
            "You must either provide a `customer` or a `subscription` to the upcoming invoice "
            "endpoint."
        )
    customer = call.account.customers.get(id_)
    if customer is None:
        raise missing("customer", id_, "customer", status=400)
    return customer


def _of_customer(call: Call) -> Invoice:
    """Preview a new subscription, or else the customer's only one, or pending items alone."""
    account, params = call.account, call.params
    customer = _customer(call)
    details = params.get("subscription_details", {})
    if details.get("items"):
        given = {"customer": customer.id, **details}
        if "currency" in params:
            given["currency"] = params["currency"]
        subscription, draft = draft_subscription(call, given)
        for item in subscription.items:
            account.item_owner[item.id] = subscription.id
        if not (draft.lines or draft.pending):
            draft = cycle_draft(account, subscription, subscription.items, now=_end(subscription))
        return build_invoice(account, subscription, draft)
    running = [s for s in account.subscriptions.matching("customer", customer.id) if not s.is_ended]
    if not running:
        raise StripeError(
            f"No upcoming invoices for customer: {customer.id}",
            status=400,
            code="invoice_upcoming_none",
        )
    return _of_subscription(call, copy.deepcopy(min(running, key=_end)))


def _end(subscription: Subscription) -> int:
    return min(item.period_end for item in subscription.items)


def _of_subscription(call: Call, subscription: Subscription) -> Invoice:
    account = call.account
    details = call.params.get("subscription_details", {})
    now = call.now(subscription.test_clock)
    if call.params.get("currency", subscription.currency) != subscription.currency:
        raise refused("The currency of a subscription cannot be changed.", "currency")
    if "billing_mode" in details:
        raise unsupported("A preview with another `billing_mode`", "subscription_details")
    if "default_tax_rates" in details:
        subscription.default_tax_rates = check_tax_rates(
            account, details["default_tax_rates"], "subscription_details[default_tax_rates]"
        )
    if details.get("cancel_now"):
        return _cancelled(call, subscription, now)
    if details:
        change = read_change(call, subscription, details)
        check_items(account, changed_items(subscription, change))
        effect = change_subscription(account, subscription, change)
        invoices_now = details.get("proration_behavior") == "always_invoice"
        if effect.draft is not None or invoices_now:
            return preview_change(account, subscription, effect)
        return _next_cycle(call, subscription, effect.items)
    return _next_cycle(call, subscription, [])


def _cancelled(call: Call, subscription: Subscription, now: int) -> Invoice:
    account = call.account
    draft = final_draft(account, subscription, now)
    behaviour = call.params["subscription_details"].get("proration_behavior")
    if behaviour != "none":
        for item in subscription.items:
            if not is_metered(account, item):
                draft.pending[:0] = credit_unused(account, subscription, item, now)
    return build_invoice(account, subscription, draft)


def _next_cycle(call: Call, subscription: Subscription, extra: list[InvoiceItem]) -> Invoice:
    """Return the invoice of the next period's end, with usage as counted up to now."""
    account = call.account
    end = _end(subscription)
    due = [item for item in subscription.items if item.period_end <= end]
    is_last = subscription.cancel_at is not None and subscription.cancel_at <= end
    draft = cycle_draft(
        account,
        subscription,
        due,
        now=end,
        is_trial=subscription.status == "trialing",
        is_last=is_last,
    )
    draft.pending = [*extra, *draft.pending]
    if call.params.get("preview_mode") == "recurring":
        draft.pending = []
    invoice = build_invoice(account, subscription, draft)
    invoice.created = end
    return invoice


def _add_items(call: Call, invoice: Invoice) -> None:
    """Add the request's own invoice items, priced but not stored."""
    customer = call.account.customers.get(invoice.customer)
    assert customer is not None
    for given in call.params.get("invoice_items") or ():
        terms = dict(given)
        if "price" in terms:
            terms["pricing"] = {"price": terms.pop("price")}
        item = new_invoice_item(call, customer, terms)
        invoice.lines.append(line_of_item(call.account, item))
    if call.params.get("invoice_items"):
        total_invoice(call.account, invoice)


OPERATIONS = (
    Operation(
        "POST",
        "/v1/invoices/create_preview",
        create_preview,
        "automatic_tax.enabled=false currency customer invoice_items.amount invoice_items.currency "
        "invoice_items.description invoice_items.metadata invoice_items.period invoice_items.price "
        "invoice_items.quantity invoice_items.quantity_decimal "
        "invoice_items.tax_rates invoice_items.unit_amount_decimal preview_mode subscription "
        "subscription_details.billing_cycle_anchor subscription_details.billing_mode "
        "subscription_details.cancel_now "
        "subscription_details.default_tax_rates "
        "subscription_details.items.deleted subscription_details.items.id "
        "subscription_details.items.metadata subscription_details.items.price "
        "subscription_details.items.quantity "
        "subscription_details.items.tax_rates "
        "subscription_details.proration_behavior subscription_details.proration_date "
        "subscription_details.trial_end",
    ),
)
