"""The asynchronous half of metering: accepted events are validated again and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.sandbox.lifecycle.meter_rules import (
    Refusal,
    active_meter,
    check_timestamp,
    mapped_customer,
    read_value,
)
from tallystick.sandbox.lifecycle.usage import count_event

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.records import MeterEvent


def settle_meter_events(account: Account, *, everything: bool = False) -> None:
    """Count the accepted meter events whose processing time has come, in order of acceptance.

    ``everything`` does not wait: advancing a clock and finalizing an invoice start from what was
    accepted before, as on Stripe both take longer than processing does.
    """
    pending = account.usage_pending
    if not pending:
        return
    now = account.real_now()
    while pending and (everything or pending[0].counts_at <= now):
        _count(account, pending.popleft())


def _count(account: Account, event: MeterEvent) -> None:
    """Count an event, or collect its failure for the next error report."""
    if event.is_cancelled:
        return
    failure = account.outlets.metering_failure(event)
    if failure is None and event.is_unchecked:
        failure = _check(account, event)
    if failure is not None:
        event.is_rejected = True
        account.outlets.report_meter_error(event, *failure)
        return
    meter = account.meters.get(account.meter_by_event_name[event.event_name])
    assert meter is not None, "an event name belongs to a meter for ever"
    count_event(account, meter, event)


def _check(account: Account, event: MeterEvent) -> tuple[str, str] | None:
    """Return (code, message) of an event that v2 took without looking closely."""
    try:
        meter = active_meter(account, event.event_name)
        customer = mapped_customer(meter, event.payload)
        if customer not in account.customers:
            return "meter_event_customer_not_found", f"Customer {customer} not found."
        check_timestamp(account, event.timestamp, event.received_at)
        event.value = read_value(account, meter, event.payload)
    except Refusal as refusal:
        return refusal.code, refusal.message
    return None
