"""The mirror's rows: what a reading changes, and the objects and items that rows hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tallystick.domain.item_history import (
    END_OF_TIME,
    BilledUsage,
    ItemChange,
    ItemFacts,
    ItemReading,
    ItemState,
    KnownItem,
)
from tallystick.domain.periods import Period
from tallystick.ports.mirror import Kept, MirroredObject, ObjectKind, PresentItem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tallystick.ports.mirror import ItemPast, ObjectReading

Row = tuple[Any, ...]


class ItemRows(NamedTuple):
    """What keeping a subscription's items writes: their former states, and how they are now.

    ``cuts``: some period begins or ends where none was known to; a renewal alone does not.
    """

    pasts: list[Row]
    items: list[Row]
    cuts: bool


def object_row(reading: ObjectReading, run: int) -> Row:
    """Return the columns of a reading's object."""
    return (
        reading.stripe_id,
        reading.kind,
        reading.customer,
        reading.subscription,
        reading.test_clock,
        reading.is_open,
        reading.body,
        reading.api_version,
        reading.as_of,
        reading.read_at,
        run,
    )


def object_of(row: Row) -> MirroredObject:
    """Return the object that a row holds."""
    kind, *rest = row
    return MirroredObject(ObjectKind(kind), *rest)


def is_older(reading: ObjectReading, standing: Row | None) -> bool:
    """Tell whether a later reading is kept: its as_of, read_at and body are ``standing``."""
    return standing is not None and standing[:2] > (reading.as_of, reading.read_at)


def kept(reading: ObjectReading, standing: Row | None) -> Kept:
    """Return what keeping a reading changed, given as_of, read_at and body of the one before."""
    if standing is None:
        return Kept.NEW
    return Kept.SAME if _is_same(standing[2], reading.body) else Kept.CHANGED


def _is_same(one: bytes | None, other: bytes | None) -> bool:
    """Tell whether two bodies say the same: a list and a single answer are spaced differently."""
    if one == other or one is None or other is None:
        return one == other
    return bool(msgspec.json.decode(one) == msgspec.json.decode(other))


def item_rows(reading: ObjectReading, standing: Iterable[Row]) -> ItemRows:
    """Return the rows that a subscription's reading writes, given those of its items before.

    One that is not among them any more is there no more.
    """
    before = {item_id: (_state(*state), since) for item_id, *state, since in standing}
    present = {item.stripe_item_id: item for item in reading.items}
    for item_id in before.keys() - present.keys():
        present[item_id] = PresentItem(item_id, None, None, None)
    pasts, items, cuts = [], [], False
    for item_id, item in present.items():
        was, since = before.get(item_id, (None, END_OF_TIME))
        if was is not None and was != item.state:
            pasts.append(_former(item_id, was, since))
        is_first = item_id not in before or was != item.state
        is_over = item.ended_at is not None  # it says so once: such a subscription never changes
        cuts = cuts or is_over or (is_first and not is_renewal(was, item.state))
        items.append(
            (
                item_id,
                reading.stripe_id,
                reading.customer or "",
                *_columns(item.state),
                reading.seen_at if is_first else since,
                item.began_at,
                item.ended_at,
            )
        )
    return ItemRows(pasts, items, cuts)


def is_renewal(before: ItemState | None, after: ItemState | None) -> bool:
    """Tell whether a period followed another one, at the same price."""
    return (
        before is not None
        and after is not None
        and before.stripe_price_id == after.stripe_price_id
        and before.period.end_at <= after.period.start_at
    )


def cut_customers(past: Iterable[ItemPast]) -> set[str]:
    """Return the Stripe customers for whom a period begins or ends where none may be known to."""
    return {
        each.customer
        for each in past
        if isinstance(each.fact, ItemChange) and not is_renewal(each.fact.before, each.fact.after)
    }


def _former(item_id: str, was: ItemState, since: int) -> Row:
    """Return that an item was read in a state, and when: a clock not known leaves it open.

    No instant is made up then. One late in the period could lie after the item's removal.
    """
    if since == END_OF_TIME:
        source = f"read {was.stripe_price_id} {was.period.start_at} {was.period.end_at}"
        return past_row(source, item_id, ItemReading(since, was))
    at = min(max(since, was.period.start_at), was.period.end_at - 1)
    return past_row(f"read {at}", item_id, ItemReading(at, was))


def past_row(source: str, item_id: str, fact: ItemChange | ItemReading) -> Row:
    """Return the columns of a fact of an item's past."""
    is_change = isinstance(fact, ItemChange)
    before, after = fact[1:] if isinstance(fact, ItemChange) else (fact.state, fact.state)
    return (source, item_id, fact.at, is_change, *_columns(before), *_columns(after))


def known_items(
    stripe_customer_id: str, items: Iterable[Row], pasts: Iterable[Row], billed: Iterable[Row]
) -> list[KnownItem]:
    """Return a customer's items with all that rows hold of them."""
    found: dict[str, tuple[Row, list[Row], list[Row]]] = {row[0]: (row, [], []) for row in items}
    for item_id, *rest in pasts:
        found[item_id][1].append(tuple(rest))
    for item_id, *rest in billed:
        found[item_id][2].append(tuple(rest))
    return [
        KnownItem(row[0], row[1], stripe_customer_id, _facts(row, own_pasts, own_billed))
        for row, own_pasts, own_billed in found.values()
    ]


def _facts(row: Row, pasts: list[Row], billed: list[Row]) -> ItemFacts:
    price_id, start_at, end_at, read_since, began_at, ended_at = row[2:]
    return ItemFacts(
        changes=tuple(
            ItemChange(at, _state(*rest[:3]), _state(*rest[3:]))
            for at, is_change, *rest in pasts
            if is_change
        ),
        readings=tuple(
            ItemReading(at, state)
            for at, is_change, *rest in pasts
            if not is_change and (state := _state(*rest[:3])) is not None
        ),
        billed=tuple(BilledUsage(Period(*span), price) for *span, price in billed),
        present=_state(price_id, start_at, end_at),
        read_since=read_since,
        began_at=began_at,
        ended_at=ended_at,
    )


def _state(price_id: str | None, start_at: int | None, end_at: int | None) -> ItemState | None:
    if price_id is None or start_at is None or end_at is None:
        return None
    return ItemState(price_id, Period(start_at, end_at))


def _columns(state: ItemState | None) -> tuple[str | None, int | None, int | None]:
    if state is None:
        return None, None, None
    return state.stripe_price_id, state.period.start_at, state.period.end_at
