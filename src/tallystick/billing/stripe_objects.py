"""What is read out of Stripe's objects and events: the few fields that are looked up.

Fields moved between API versions: periods stood on the subscription until 2025-03-31.basil, prices
were plans before 2020. What events tell of the past may be in any version, so both are read.
"""

from __future__ import annotations

import msgspec

from tallystick.domain.instants import from_seconds
from tallystick.domain.item_history import (
    BilledUsage,
    ItemChange,
    ItemReading,
    ItemState,
    PriceTerms,
)
from tallystick.domain.json_types import prepare
from tallystick.domain.periods import Period
from tallystick.ports.mirror import ItemPast, ObjectKind, PresentItem

METERED = "metered"
OVER = frozenset({"canceled", "incomplete_expired"})
"""States of a subscription that never changes again."""

CLOSED_INVOICES = frozenset({"paid", "void", "uncollectible"})


class Recurring(msgspec.Struct):
    """How a price recurs."""

    meter: str | None = None
    usage_type: str | None = None


class Price(msgspec.Struct):
    """A price, or a plan, which is the same with ``usage_type`` on itself."""

    id: str
    recurring: Recurring | None = None
    usage_type: str | None = None
    meter: str | None = None

    def terms(self) -> PriceTerms:
        """Return what of it never changes."""
        source = self.recurring or self
        return PriceTerms(self.id, source.meter, source.usage_type == METERED)


class Item(msgspec.Struct):
    """A subscription item."""

    id: str
    created: int = 0
    current_period_start: int | None = None
    current_period_end: int | None = None
    price: Price | None = None
    plan: Price | None = None

    def priced(self) -> Price | None:
        """Return its price, or its plan in an old version."""
        return self.price or self.plan


class Items(msgspec.Struct):
    """A subscription's list of items."""

    data: list[Item] = []
    has_more: bool = False


class Subscription(msgspec.Struct):
    """A subscription."""

    id: str
    customer: str
    status: str = ""
    created: int = 0
    start_date: int = 0
    ended_at: int | None = None
    test_clock: str | None = None
    items: Items = msgspec.field(default_factory=Items)
    current_period_start: int | None = None
    current_period_end: int | None = None

    def state_of(self, item: Item) -> ItemState | None:
        """Return what an item bills, None where that does not stand in the object."""
        price = item.priced()
        start = item.current_period_start or self.current_period_start
        end = item.current_period_end or self.current_period_end
        if price is None or start is None or end is None or end <= start:
            return None
        return ItemState(price.id, Period(from_seconds(start), from_seconds(end)))

    def present(self) -> tuple[PresentItem, ...]:
        """Return the items as they are now; one of a subscription that is over has its end."""
        ended_at = None if self.ended_at is None else from_seconds(self.ended_at)
        found = []
        for item in self.items.data:
            state = self.state_of(item)
            if state and ended_at is not None and state.period.start_at >= ended_at:
                state = None  # a period that was drawn up and never came to be
            # items of the beginning count from the start, which may lie before their creation
            began_at = from_seconds(item.created) if item.created > self.created else None
            found.append(PresentItem(item.id, state, began_at, ended_at))
        return tuple(found)


class Span(msgspec.Struct):
    """A time, in seconds."""

    start: int
    end: int


class LineItemDetails(msgspec.Struct):
    """Which item an invoice line is of."""

    subscription_item: str | None = None
    proration: bool = False


class LineParent(msgspec.Struct):
    """Where an invoice line comes from."""

    subscription_item_details: LineItemDetails | None = None


class PriceDetails(msgspec.Struct):
    """At which price a line was made."""

    price: str | Price | None = None


class Pricing(msgspec.Struct):
    """How a line was priced."""

    price_details: PriceDetails | None = None


class Line(msgspec.Struct):
    """An invoice line."""

    id: str
    period: Span
    parent: LineParent | None = None
    pricing: Pricing | None = None

    def billed(self) -> tuple[str, BilledUsage] | None:
        """Return the item and what was billed of it, None for a proration or another line."""
        details = self.parent.subscription_item_details if self.parent else None
        priced = self.pricing.price_details if self.pricing else None
        price = priced.price if priced else None
        price_id = price.id if isinstance(price, Price) else price
        if details is None or details.proration or not details.subscription_item or not price_id:
            return None
        if self.period.end <= self.period.start:
            return None
        span = Period(from_seconds(self.period.start), from_seconds(self.period.end))
        return details.subscription_item, BilledUsage(span, price_id)


class Lines(msgspec.Struct):
    """An invoice's lines, or the beginning of them."""

    data: list[Line] = []
    has_more: bool = False


class SubscriptionDetails(msgspec.Struct):
    """The subscription behind an invoice."""

    subscription: str | None = None


class InvoiceParent(msgspec.Struct):
    """Where an invoice comes from."""

    subscription_details: SubscriptionDetails | None = None


class Invoice(msgspec.Struct):
    """An invoice."""

    id: str
    customer: str | None = None
    status: str | None = None
    parent: InvoiceParent | None = None
    lines: Lines = msgspec.field(default_factory=Lines)

    def subscription(self) -> str | None:
        """Return the subscription that it bills."""
        details = self.parent.subscription_details if self.parent else None
        return details.subscription if details else None


class Customer(msgspec.Struct):
    """A customer."""

    id: str
    test_clock: str | None = None
    metadata: dict[str, str] = {}


class TestClock(msgspec.Struct):
    """A test clock; ``frozen_time`` is in seconds."""

    __test__ = False  # no test, whatever its name begins with

    id: str
    frozen_time: int
    status: str = "ready"


class Reference(msgspec.Struct):
    """Something that is named by type and id."""

    id: str | None = None
    type: str | None = None
    object: str | None = None


class _Previous(msgspec.Struct):
    items: Items | None = None
    current_period_start: int | None = None
    current_period_end: int | None = None


class _Data(msgspec.Struct):
    object: msgspec.Raw = msgspec.Raw(b"{}")
    previous_attributes: msgspec.Raw = msgspec.Raw(b"")


class Event(msgspec.Struct):
    """A snapshot or thin event; a thin one names the object that it is of."""

    id: str
    type: str
    object: str = "event"
    api_version: str | None = None
    livemode: bool = False
    created: int | str = 0
    data: msgspec.Raw = msgspec.Raw(b"{}")
    related_object: Reference | None = None

    @property
    def is_thin(self) -> bool:
        """Whether its data has to be fetched."""
        return self.object == "v2.core.event"

    def subject(self) -> tuple[ObjectKind, str] | None:
        """Return the object that the event is of, None for one that is not mirrored."""
        if self.is_thin:
            named = self.related_object or Reference()
            kind = named.type
        else:
            raw = msgspec.json.decode(self.data, type=_Data).object
            named = msgspec.json.decode(raw, type=Reference)
            kind = named.object
        if kind not in set(ObjectKind) or not named.id:
            return None
        return ObjectKind(kind), named.id

    def pasts(self) -> tuple[ItemPast, ...]:
        """Return what a subscription's snapshot tells of its items' pasts.

        The data is a fact of the instant at which the event was made, in whatever order events
        come: what it says of the present is never taken over.
        """
        if not self.type.startswith("customer.subscription.") or not isinstance(self.created, int):
            return ()
        data = msgspec.json.decode(self.data, type=_Data)
        shown = msgspec.json.decode(data.object, type=Subscription)
        if self.type == "customer.subscription.created":
            return _beginnings(shown)
        if not data.previous_attributes:
            return ()
        try:
            previous = msgspec.json.decode(data.previous_attributes, type=_Previous)
        except msgspec.ValidationError:
            return ()  # in an undocumented form: it tells nothing, the object is read anyway
        return _changes(shown, previous, from_seconds(self.created))


prepare(
    Customer,
    Event,
    Invoice,
    Item,
    Line,
    Price,
    Reference,
    Subscription,
    TestClock,
    _Data,
    _Previous,
)


def _beginnings(shown: Subscription) -> tuple[ItemPast, ...]:
    states = ((item, shown.state_of(item)) for item in shown.items.data)
    return tuple(
        ItemPast(item.id, shown.id, shown.customer, ItemReading(state.period.start_at, state))
        for item, state in states
        if state is not None
    )


def _changes(shown: Subscription, previous: _Previous, at: int) -> tuple[ItemPast, ...]:
    """Return what changed of each item; an item that stayed as it was tells nothing."""
    if previous.items is None and previous.current_period_start is None:
        return ()
    before = msgspec.structs.replace(
        shown,
        items=previous.items or shown.items,
        current_period_start=previous.current_period_start or shown.current_period_start,
        current_period_end=previous.current_period_end or shown.current_period_end,
    )
    was = {item.id: before.state_of(item) for item in before.items.data}
    now = {item.id: shown.state_of(item) for item in shown.items.data}
    return tuple(
        ItemPast(
            item_id,
            shown.id,
            shown.customer,
            _change(was.get(item_id), now.get(item_id), at),
        )
        for item_id in sorted(was.keys() | now.keys())
        if was.get(item_id) != now.get(item_id)
    )


def _change(before: ItemState | None, after: ItemState | None, at: int) -> ItemChange:
    """Return the change; where a period followed another one it happened at the boundary.

    Stripe tells of a renewal a little after it.
    """
    followed = (
        before is not None
        and after is not None
        and before.stripe_price_id == after.stripe_price_id
        and after.period.start_at > before.period.start_at
    )
    return ItemChange(after.period.start_at if followed and after else at, before, after)
