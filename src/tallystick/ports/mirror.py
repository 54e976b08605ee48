"""Stripe's objects as they are known here, and where they are read from."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tallystick.domain.item_history import (
        BilledUsage,
        ItemChange,
        ItemReading,
        ItemState,
        KnownItem,
        PriceTerms,
    )


class ObjectKind(StrEnum):
    """What is mirrored, by Stripe's name, in the order in which a first sync reads it."""

    METER = "billing.meter"
    PRODUCT = "product"
    PRICE = "price"
    TEST_CLOCK = "test_helpers.test_clock"
    CUSTOMER = "customer"
    SUBSCRIPTION = "subscription"
    INVOICE = "invoice"


class Kept(StrEnum):
    """What keeping a reading of an object changed."""

    NEW = "new"
    SAME = "same"
    CHANGED = "changed"
    OLDER = "older"
    """A later reading is kept already; this one changed nothing."""


class PresentItem(NamedTuple):
    """An item of a subscription as it was read; ``state`` is None where it bills nothing."""

    stripe_item_id: str
    state: ItemState | None
    began_at: int | None
    ended_at: int | None


class ObjectReading(NamedTuple):
    """An object as Stripe gave it, with the fields that are looked up.

    ``as_of`` is the number of the last event in the inbox when the request began: whatever that
    and earlier events told is in this reading. ``read_at`` is when the request began, ``seen_at``
    the same on the clock of the object's customer, END_OF_TIME while that clock is not known.
    ``body`` is None for an object that is gone. ``items`` and ``prices`` are a subscription's,
    ``billed`` is an invoice's, by item.
    """

    kind: ObjectKind
    stripe_id: str
    body: bytes | None
    api_version: str
    as_of: int
    read_at: int
    seen_at: int
    is_open: bool
    customer: str | None = None
    subscription: str | None = None
    test_clock: str | None = None
    items: tuple[PresentItem, ...] = ()
    prices: tuple[PriceTerms, ...] = ()
    billed: tuple[tuple[str, BilledUsage], ...] = ()


class MirroredObject(NamedTuple):
    """An object as it is known; ``body`` is None once it is gone from Stripe."""

    kind: ObjectKind
    stripe_id: str
    body: bytes | None
    api_version: str
    as_of: int
    read_at: int


class ItemPast(NamedTuple):
    """What an event tells of an item's past, whenever it comes."""

    stripe_item_id: str
    stripe_subscription_id: str
    customer: str
    fact: ItemChange | ItemReading


class ObjectPage(NamedTuple):
    """A page of a list, newest first: each object as received."""

    bodies: tuple[bytes, ...]
    has_more: bool


class ObjectSource(Protocol):
    """Stripe, read object by object. Every method raises StripeUnreachable or StripeRefused."""

    api_version: str
    """The version that every object is read in."""

    @property
    def calls_per_second(self) -> int:
        """How fast it may be read, at present."""
        ...

    def read(self, kind: ObjectKind, stripe_id: str) -> bytes | None:
        """Return the object, or None where there is none any more."""
        ...

    def page(
        self, kind: ObjectKind, after: str | None = None, where: Mapping[str, str] | None = None
    ) -> ObjectPage:
        """Return the next objects of a list from beyond ``after``, filtered as Stripe filters."""
        ...

    def parts(self, path: str, after: str | None, where: Mapping[str, str]) -> ObjectPage:
        """Return more of a list that an object showed only the beginning of."""
        ...

    def events(self, after: str | None = None, pattern: str | None = None) -> ObjectPage:
        """Return the events of the last 30 days from beyond ``after``.

        ``pattern`` is a type of events, or the beginning of types and ``.*``.
        """
        ...

    def thin_event(self, event_id: str) -> bytes:
        """Return the whole of an event whose notification had no data."""
        ...


class Mirror(Protocol):
    """What is known of Stripe's objects."""

    def keep(self, readings: Sequence[ObjectReading], run: int = 0) -> list[Kept]:
        """Keep readings, all or none, and say for each what it changed.

        A later reading is never overwritten by an earlier one, in whatever order they are kept.
        ``run`` numbers the full sync that read them, 0 for none.
        """
        ...

    def find(self, stripe_id: str) -> MirroredObject | None:
        """Return an object."""
        ...

    def objects(
        self, kind: ObjectKind, *, only_open: bool = False, unseen_in: int | None = None
    ) -> Iterator[MirroredObject]:
        """Return the objects of a kind that are not gone, in the order of their ids.

        ``unseen_in`` leaves out those that a full sync of this or a later number has read.
        """
        ...

    def related(self, kind: ObjectKind, *, customer: str = "", clock: str = "") -> list[str]:
        """Return the ids of a customer's objects of a kind, or of those on a test clock."""
        ...

    def remember(self, event_id: str, past: Sequence[ItemPast]) -> None:
        """Keep what an event tells of items' pasts; an event that is known changes nothing."""
        ...

    def items(self, stripe_customer_id: str) -> list[KnownItem]:
        """Return the items that the customer has or had."""
        ...

    def prices(self) -> dict[str, PriceTerms]:
        """Return the terms of every price that is known."""
        ...


class SyncStep(NamedTuple):
    """How far a full sync has come with one kind of object; ``after`` is the last id read."""

    kind: ObjectKind
    after: str | None
    is_done: bool
    objects: int
    calls: int


class SyncState(NamedTuple):
    """Where the mirror stands.

    ``run`` numbers full syncs; ``newest_event`` is where the next sweep may stop. ``began_at`` is
    set while a full sync is under way, ``synced_at`` when one has ended, ``swept_at`` when a sweep
    has.
    """

    run: int
    newest_event: str | None
    began_at: int | None
    synced_at: int | None
    swept_at: int | None
    calls_max: int


class SyncLedger(Protocol):
    """What was synced, and when."""

    def state(self) -> SyncState:
        """Return where the mirror stands."""
        ...

    def begin(self, newest_event: str | None, calls_max: int, now: int) -> None:
        """Begin a full sync; ``newest_event`` is the account's at its beginning.

        While one is under way it goes on, and only ``calls_max`` becomes another one.
        """
        ...

    def steps(self) -> list[SyncStep]:
        """Return the steps of the sync that is under way, or of the last one, in their order."""
        ...

    def advance(self, step: SyncStep) -> None:
        """Write down how far a step has come."""
        ...

    def finish(self, newest_event: str | None, now: int, *, is_full: bool) -> None:
        """Write down that a full sync or a sweep has ended."""
        ...

    def customer_read_at(self, stripe_customer_id: str) -> int | None:
        """Return when all of a customer's subscriptions were read last."""
        ...

    def customer_read(self, stripe_customer_id: str, at: int) -> None:
        """Write down that all of a customer's subscriptions were read."""
        ...
