"""Changes of a running subscription: items, prices, quantities, anchors and trials.

Licensed items are prorated to the second. A metered item that changes its price bills the usage so
far in flexible mode and loses it in classic mode, as Stripe does (DOC:usage-based/manage-billing).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tallystick.sandbox.lifecycle.cancellation import finalize_and_collect
from tallystick.sandbox.lifecycle.invoicing import (
    Draft,
    build_invoice,
    pending_items,
    store_invoice,
)
from tallystick.sandbox.lifecycle.periods import (
    full_period,
    is_metered,
    period_end,
    recurring_of,
    schedule_renewal,
)
from tallystick.sandbox.lifecycle.prorations import (
    bill_usage_so_far,
    charge_remaining,
    credit_unused,
    store_item,
)
from tallystick.sandbox.lifecycle.renewal import cycle_draft

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.billing_records import (
        Invoice,
        InvoiceItem,
        Subscription,
        SubscriptionItem,
    )


@dataclass(slots=True)
class ItemChange:
    """What shall become of an item: ``old`` None adds one, ``new`` None removes one."""

    old: SubscriptionItem | None
    new: SubscriptionItem | None


@dataclass(slots=True)
class Change:
    """An update of a subscription, as far as it touches billing."""

    at: int
    items: list[ItemChange] = field(default_factory=list)
    proration_behavior: str = "create_prorations"
    resets_anchor: bool = False
    trial_end: int | None = None
    """A new end of the trial; equal to ``at`` ends it now."""

    @property
    def prorates(self) -> bool:
        """Say whether time and usage so far are settled."""
        return self.proration_behavior != "none"


@dataclass(slots=True)
class Effect:
    """What a change bills: items that wait or are invoiced now, and a cycle that starts anew."""

    items: list[InvoiceItem] = field(default_factory=list)
    draft: Draft | None = None


def change_subscription(account: Account, subscription: Subscription, change: Change) -> Effect:
    """Change a subscription in place and return what that bills; nothing else is stored.

    A preview calls this on a copy.
    """
    effect = Effect()
    mode_resets = _interval_changes(account, subscription, change.items)
    for item_change in change.items:
        effect.items.extend(_settle_old(account, subscription, item_change, change))
    resets = change.resets_anchor or (mode_resets and not subscription.is_flexible)
    for item_change in change.items:
        effect.items.extend(
            _start_new(account, subscription, item_change, change, charges=not resets)
        )
    changed = {id(c.new) for c in change.items if c.new is not None}
    if resets and change.prorates:
        for item in subscription.items:
            if id(item) not in changed and not is_metered(account, item):
                effect.items.extend(credit_unused(account, subscription, item, change.at))
    if change.trial_end is not None:
        resets = _move_trial(account, subscription, change, effect) or resets
    if resets:
        effect.draft = restart_cycle(account, subscription, change.at)
    return effect


def _interval_changes(
    account: Account, subscription: Subscription, changes: list[ItemChange]
) -> bool:
    """Say whether an item changes to another interval: classic mode then starts a new cycle."""
    for change in changes:
        if change.old is None or change.new is None:
            continue
        old, new = recurring_of(account, change.old.price), recurring_of(account, change.new.price)
        if (old.interval, old.interval_count) != (new.interval, new.interval_count):
            return subscription.status != "trialing"
    return False


def _is_same(change: ItemChange) -> bool:
    old, new = change.old, change.new
    return (
        old is not None
        and new is not None
        and (old.price, old.quantity) == (new.price, new.quantity)
    )


def _settle_old(
    account: Account, subscription: Subscription, item_change: ItemChange, change: Change
) -> list[InvoiceItem]:
    """Return the credit or the usage of an item that ends or changes."""
    old = item_change.old
    if old is None or _is_same(item_change) or not change.prorates:
        return []
    if not is_metered(account, old):
        return credit_unused(account, subscription, old, change.at)
    new = item_change.new
    if new is not None and new.price == old.price:
        return []
    if subscription.is_flexible and subscription.status != "trialing":
        return bill_usage_so_far(account, subscription, old, change.at)
    return []


def _start_new(
    account: Account,
    subscription: Subscription,
    item_change: ItemChange,
    change: Change,
    *,
    charges: bool,
) -> list[InvoiceItem]:
    """Put the new item in place and return the charge for the rest of its period."""
    old, new = item_change.old, item_change.new
    if new is None:
        subscription.items = [i for i in subscription.items if old is None or i.id != old.id]
        return []
    if old is None:
        subscription.items.append(new)
    else:
        subscription.items = [new if i.id == old.id else i for i in subscription.items]
    if old is None or old.price != new.price:
        new.usage_from = change.at
        _set_period(account, subscription, new, change.at)
    if _is_same(item_change) or not change.prorates or not charges or is_metered(account, new):
        return []
    return charge_remaining(account, subscription, new, change.at)


def _set_period(
    account: Account, subscription: Subscription, item: SubscriptionItem, at: int
) -> None:
    """Place a new or changed item in the period that runs from the subscription's anchor.

    Recorded: a monthly item changed to a yearly one keeps the anchor, and its period starts there.
    """
    if subscription.status == "trialing" and subscription.trial_end is not None:
        item.period_start = max(subscription.trial_start or at, subscription.start_date)
        item.period_end = subscription.trial_end
        return
    start, end = full_period(account, subscription, item.price, at)
    item.period_start = max(start, subscription.start_date)
    item.period_end = end


def _move_trial(
    account: Account, subscription: Subscription, change: Change, effect: Effect
) -> bool:
    """End, extend or begin a trial; say whether a cycle starts now."""
    end = change.trial_end
    assert end is not None
    if end <= change.at:
        if subscription.status != "trialing":
            return False
        subscription.trial_end = change.at
        return True
    if subscription.status != "trialing":
        if change.prorates:
            for item in subscription.items:
                if not is_metered(account, item):
                    effect.items.extend(credit_unused(account, subscription, item, change.at))
        subscription.trial_start = change.at
        subscription.status = "trialing"
    subscription.trial_end = subscription.anchor = end
    for item in subscription.items:
        item.period_end = end
    return False


def restart_cycle(account: Account, subscription: Subscription, at: int) -> Draft:
    """Start a new billing cycle now: usage so far is billed, licences for the whole next period."""
    is_trial = subscription.status == "trialing"
    subscription.anchor = at
    subscription.anchor_config = None
    draft = cycle_draft(account, subscription, list(subscription.items), now=at, is_trial=is_trial)
    draft.reason = "subscription_update"
    draft.waits = False
    draft.pending = []
    for item in subscription.items:
        item.period_start = item.usage_from = at
        item.period_end = period_end(account, subscription, item.price, at)
    if is_trial:
        subscription.status = "active"
    return draft


def bill_change(
    account: Account, subscription: Subscription, change: Change, effect: Effect
) -> Invoice | None:
    """Store what a change bills: now with ``always_invoice`` or a new cycle, else later."""
    for item in effect.items:
        store_item(account, item)
    schedule_renewal(account, subscription)
    draft = effect.draft
    if draft is None and (change.proration_behavior != "always_invoice" or not effect.items):
        return None
    if draft is None:
        draft = Draft("subscription_update")
        starts = [item.period_start for item in subscription.items]
        draft.period = (min(starts, default=change.at), change.at)
    draft.pending = pending_items(account, subscription.customer, subscription.currency)
    invoice = build_invoice(account, subscription, draft)
    store_invoice(account, invoice, draft)
    finalize_and_collect(account, invoice)
    return invoice


def preview_change(account: Account, subscription: Subscription, effect: Effect) -> Invoice:
    """Return the invoice that would come of a change, stored nowhere."""
    draft = effect.draft or Draft("subscription_update")
    draft.pending = [
        *effect.items,
        *pending_items(account, subscription.customer, subscription.currency),
    ]
    return build_invoice(account, subscription, draft)
