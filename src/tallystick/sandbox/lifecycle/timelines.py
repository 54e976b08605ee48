"""Timelines: what falls due happens in order, on test clocks and in real time."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from tallystick.sandbox.delivery.events import emit
from tallystick.sandbox.lifecycle.cancellation import (
    end_subscription,
    finalize_and_collect,
    void_invoice,
)
from tallystick.sandbox.lifecycle.invoicing import emit_invoice
from tallystick.sandbox.lifecycle.metering import settle_meter_events
from tallystick.sandbox.lifecycle.payments import emit_subscription, set_status
from tallystick.sandbox.lifecycle.renewal import renew
from tallystick.sandbox.shapes.subscriptions import render_subscription
from tallystick.sandbox.shapes.test_clocks import render_test_clock

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.records import ScheduledAction, TestClock


_LOG = logging.getLogger(__name__)


def act(account: Account, action: ScheduledAction) -> None:
    """Do what fell due; an action whose reason is gone does nothing."""
    _ACTIONS[action.kind](account, action.target, action.due_at)


def _renew(account: Account, target: str, now: int) -> None:
    subscription = account.subscriptions.get(target)
    if subscription is not None:
        renew(account, subscription, now)


def _finalize(account: Account, target: str, now: int) -> None:
    invoice = account.invoices.get(target)
    if invoice is None or invoice.status != "draft" or not invoice.auto_advance:
        return
    if invoice.automatically_finalizes_at is None or invoice.automatically_finalizes_at > now:
        return
    if invoice.webhooks_delivered_at is None and account.outlets.awaits(invoice.id):
        return  # its webhooks are still on their way: answering them schedules it again
    finalize_and_collect(account, invoice)


def _cancel(account: Account, target: str, now: int) -> None:
    """End a subscription at its ``cancel_at``; usage until then is billed (see renewal)."""
    subscription = account.subscriptions.get(target)
    if subscription is None or subscription.is_ended or subscription.cancel_at is None:
        return
    if subscription.cancel_at > now:
        return
    for item in subscription.items:
        item.period_end = min(item.period_end, now)
    renew(account, subscription, now)
    if not subscription.is_ended:
        end_subscription(account, subscription, reason="cancellation_requested")


def _trial_will_end(account: Account, target: str, _: int) -> None:
    subscription = account.subscriptions.get(target)
    if subscription is not None and subscription.status == "trialing":
        emit_subscription(account, "customer.subscription.trial_will_end", subscription)


def _expire(account: Account, target: str, now: int) -> None:
    """Give up on an incomplete subscription: its invoice is voided."""
    subscription = account.subscriptions.get(target)
    if subscription is None or subscription.status != "incomplete":
        return
    invoice = account.invoices.get(subscription.latest_invoice or "")
    if invoice is not None and invoice.status == "open":
        void_invoice(account, invoice)
    before = render_subscription(account, subscription)
    subscription.status = "incomplete_expired"
    subscription.ended_at = now
    emit_subscription(account, "customer.subscription.updated", subscription, before=before)


def _overdue(account: Account, target: str, _: int) -> None:
    """Tell that a sent invoice is past its due date."""
    invoice = account.invoices.get(target)
    if invoice is None or invoice.status != "open":
        return
    emit_invoice(account, "invoice.overdue", invoice)
    subscription = account.subscriptions.get(invoice.subscription or "")
    if (
        subscription is not None
        and subscription.status == "active"
        and subscription.latest_invoice == invoice.id
    ):
        set_status(account, subscription, "past_due")


_ACTIONS = {
    "renew": _renew,
    "finalize": _finalize,
    "cancel": _cancel,
    "trial_will_end": _trial_will_end,
    "expire": _expire,
    "overdue": _overdue,
}

_BREATH = 20
"""Actions between two turns for other requests while a clock advances."""


async def advance(account: Account, clock: TestClock) -> None:
    """Advance a test clock to its target; a bug on the way makes it an ``internal_failure``."""
    try:
        await _advance(account, clock)
    except Exception:  # the one place that waits for nobody: the clock tells what happened
        _LOG.exception("the test clock %s could not advance", clock.id)
        clock.target = None
        clock.is_failed = True
        emit_clock(account, "test_helpers.test_clock.internal_failure", clock)


async def _advance(account: Account, clock: TestClock) -> None:
    """Do everything that falls due on the way, in order, and wait for webhooks to be answered.

    A cycle invoice finalizes an hour after its webhooks are answered, so no time passes on the
    clock while one is on its way (DOC:billing/testing/test-clocks).
    """
    assert clock.target is not None
    emit_clock(account, "test_helpers.test_clock.advancing", clock)
    await asyncio.sleep(0)
    settle_meter_events(account, everything=True)
    timeline = account.timeline(clock.id)
    done = 0
    while True:
        action = timeline.pop_due(clock.target)
        if action is None:
            break
        if action.due_at > clock.frozen_time:
            await account.outlets.answered(clock.id)
            clock.frozen_time = action.due_at
        act(account, action)
        done += 1
        if done % _BREATH == 0:
            await asyncio.sleep(0)
    await account.outlets.answered(clock.id)
    clock.frozen_time = clock.target
    clock.target = None
    emit_clock(account, "test_helpers.test_clock.ready", clock)


def emit_clock(account: Account, kind: str, clock: TestClock) -> None:
    """Record a test clock's event."""
    emit(account, kind, render_test_clock(clock), test_clock=clock.id)


def run_real_time(account: Account) -> None:
    """Do what fell due in real time."""
    timeline = account.timeline(None)
    settle_meter_events(account)
    while True:
        action = timeline.pop_due(int(account.real_now()))
        if action is None:
            return
        act(account, action)
