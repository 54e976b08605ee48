"""Legacy usage records and their summaries: API 2025-02-24.acacia and older."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tallystick.sandbox.arithmetic.rating import whole_part
from tallystick.sandbox.lifecycle.periods import recurring_of
from tallystick.sandbox.lifecycle.usage import recorded_quantity
from tallystick.sandbox.resources.subscription_items import find_item
from tallystick.sandbox.state.records import UsageRecord
from tallystick.sandbox.wire.errors import StripeError, refused
from tallystick.sandbox.wire.lists import list_of
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.state.billing_records import Subscription, SubscriptionItem
    from tallystick.sandbox.wire.operations import Call


def _legacy_item(call: Call) -> tuple[Subscription, SubscriptionItem]:
    if not call.version.has_usage_records:
        raise StripeError(
            f"Unrecognized request URL (POST: {call.url}). Please see https://stripe.com/docs or "
            "we can help at https://support.stripe.com/.",
            status=404,
        )
    subscription, item = find_item(call, call.path["subscription_item"])
    recurring = recurring_of(call.account, item.price)
    if recurring.meter is not None:
        raise refused(
            f"Cannot create a usage record for `{item.id}` because it is not on the legacy metered "
            "billing system. Call /v1/billing/meter_events instead."
        )
    if not recurring.is_metered:
        raise refused(
            "Usage records can only be created for subscription items with a metered plan."
        )
    return subscription, item


def create_usage_record(call: Call) -> dict[str, Any]:
    """Record usage: ``increment`` adds at its second, ``set`` replaces what is there.

    Raises:
        StripeError: 400, a cancelled subscription, a timestamp before the period (its sentence is
            recorded, without a code) or in the future, a negative quantity, ``set`` on a
            subscription with billing thresholds (SDK11: "not allowed with billing_thresholds"; the
            sentence is the sandbox's own).
    """
    subscription, item = _legacy_item(call)
    now = call.now(subscription.test_clock)
    if subscription.is_ended:
        raise refused("Cannot create the usage record because the subscription has been canceled.")
    timestamp = call.params.get("timestamp", now)
    if timestamp == "now":
        timestamp = now
    if timestamp < item.period_start:
        raise refused(
            "Cannot create the usage record with this timestamp because timestamps must be after "
            "the subscription's last invoice period (or current period start time).",
            "timestamp",
        )
    if timestamp > now:
        raise refused(
            "Cannot create the usage record with this timestamp because it is in the future.",
            "timestamp",
        )
    if subscription.billing_thresholds and call.params.get("action") == "set":
        raise refused(
            "Usage records cannot be set on a subscription with billing thresholds; use "
            "`action=increment`.",
            "action",
        )
    quantity = call.params["quantity"]
    if quantity < 0:
        raise refused("Invalid non-negative integer", "quantity", "parameter_invalid_integer")
    record = _store(call, item, quantity, timestamp)
    return {
        "id": record.id,
        "object": "usage_record",
        "livemode": False,
        "quantity": record.quantity,
        "subscription_item": item.id,
        "timestamp": timestamp,
    }


def _store(call: Call, item: SubscriptionItem, quantity: int, timestamp: int) -> UsageRecord:
    """Put a record in order of its second; one second holds one record, increments add to it."""
    records = call.account.usage_records.setdefault(item.id, [])
    same = next((r for r in records if r.timestamp == timestamp), None)
    adds = call.params.get("action", "increment") == "increment"
    if same is not None:
        same.quantity = same.quantity + quantity if adds else quantity
        return same
    record = UsageRecord(
        id=call.account.ids.make("mbur"),
        item=item.id,
        quantity=quantity,
        timestamp=timestamp,
        received_at=timestamp,
    )
    insort(records, record, key=lambda r: r.timestamp)
    return record


@dataclass(frozen=True, slots=True)
class _Summary:
    id: str
    invoice: str | None
    start: int | None
    end: int | None
    total: int


def list_usage_summaries(call: Call) -> dict[str, Any]:
    """List an item's totals: the current period first, then the invoiced ones.

    The current one is of all its records, whatever price the item had at their time; an invoiced
    one is of what was billed, at the price at which it was.
    """
    _, item = _legacy_item(call)
    account = call.account
    spans: list[tuple[str | None, str, int, int]] = [
        (None, item.price, item.period_start, item.period_end)
    ]
    for invoice in account.invoices.matching("subscription", item.subscription):
        for window in invoice.windows:
            if window.item == item.id and recurring_of(account, window.price).meter is None:
                spans.insert(1, (invoice.id, window.price, window.start, window.end))
    rows = [
        _Summary(
            id=f"sis_{item.id}_{start}",
            invoice=invoice_id,
            start=start if invoice_id else None,
            end=end if invoice_id else None,
            total=whole_part(recorded_quantity(account, item.id, _how(call, price), start, end)),
        )
        for invoice_id, price, start, end in spans
    ]

    def render(row: _Summary) -> dict[str, Any]:
        return {
            "id": row.id,
            "object": "usage_record_summary",
            "invoice": row.invoice,
            "livemode": False,
            "period": {"end": row.end, "start": row.start},
            "subscription_item": item.id,
            "total_usage": row.total,
        }

    return list_of(call, rows, render, noun="usage_record_summary")


def _how(call: Call, price: str) -> str:
    return recurring_of(call.account, price).aggregate_usage or "sum"


_ITEM = "/v1/subscription_items/{subscription_item}"
OPERATIONS = (
    Operation("POST", f"{_ITEM}/usage_records", create_usage_record, "action quantity timestamp"),
    Operation(
        "GET",
        f"{_ITEM}/usage_record_summaries",
        list_usage_summaries,
        "ending_before limit starting_after",
    ),
)
