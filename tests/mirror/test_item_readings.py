"""What the mirror keeps of items that were read while their customer's clock was not known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.item_history import (
    END_OF_TIME,
    ItemChange,
    ItemReading,
    ItemState,
    item_segments,
)
from tallystick.domain.periods import Period
from tallystick.ports.mirror import ItemPast, ObjectKind, ObjectReading, PresentItem

if TYPE_CHECKING:
    from tallystick.domain.item_history import ItemFacts
    from tallystick.wiring import Tallystick

MARCH = Period(100, 200)
ITEM, SUBSCRIPTION, CUSTOMER = "si_1", "sub_1", "cus_1"


def read(product: Tallystick, number: int, state: ItemState | None, seen_at: int) -> None:
    """Read the subscription: with its item in a state, or without it."""
    items = (PresentItem(ITEM, state, None, None),) if state else ()
    reading = ObjectReading(
        kind=ObjectKind.SUBSCRIPTION,
        stripe_id=SUBSCRIPTION,
        body=b"{}",
        api_version="2026-10-28.endive",
        as_of=number,
        read_at=number,
        seen_at=seen_at,
        is_open=True,
        customer=CUSTOMER,
        subscription=SUBSCRIPTION,
        items=items,
    )
    product.mirror.keep([reading])


def facts_of(product: Tallystick) -> ItemFacts:
    (item,) = product.mirror.items(CUSTOMER)
    return item.facts


def test_a_removed_item_is_gone_from_its_removal_on_though_its_clock_was_not_known(
    product: Tallystick,
) -> None:
    state = ItemState("price_a", MARCH)
    read(product, 1, state, END_OF_TIME)
    read(product, 2, None, 150)
    removal = ItemPast(ITEM, SUBSCRIPTION, CUSTOMER, ItemChange(150, state, None))
    product.mirror.remember("evt_1", [removal])
    assert [span for span, _ in item_segments(facts_of(product))] == [Period(100, 150)]


def test_every_state_that_was_read_at_an_unknown_instant_is_kept(product: Tallystick) -> None:
    states = [ItemState(price, MARCH) for price in ("price_a", "price_b")]
    for number, state in enumerate([*states, None], start=1):
        read(product, number, state, END_OF_TIME)
    expected = {ItemReading(END_OF_TIME, state) for state in states}
    assert set(facts_of(product).readings) == expected
