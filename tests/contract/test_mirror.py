"""What every mirror and every ledger of syncs promises, whichever backend it is."""

from __future__ import annotations

from functools import partial
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from tallystick.domain.instants import DAY_US
from tallystick.domain.item_history import (
    END_OF_TIME,
    BilledUsage,
    ItemChange,
    ItemReading,
    ItemState,
    PriceTerms,
)
from tallystick.domain.periods import Period
from tallystick.ports.mirror import (
    ItemPast,
    Kept,
    ObjectKind,
    ObjectReading,
    PresentItem,
    SyncState,
    SyncStep,
)
from tests.contract.backends import NOW
from tests.contract.racing import race

if TYPE_CHECKING:
    from tallystick.ports.mirror import Mirror
    from tallystick.wiring import Tallystick

VERSION = "2026-10-28.endive"
MAY = Period(NOW, NOW + 30 * DAY_US)
JUNE = Period(MAY.end_at, MAY.end_at + 30 * DAY_US)
TERMS = (PriceTerms("price_a", "mtr_1", is_metered=True), PriceTerms("price_b", None, False))


def read(
    stripe_id: str,
    body: bytes | None = b"{}",
    as_of: int = 0,
    read_at: int = NOW,
    *,
    kind: ObjectKind = ObjectKind.CUSTOMER,
    is_open: bool = True,
    customer: str | None = None,
    test_clock: str | None = None,
) -> ObjectReading:
    return ObjectReading(
        kind=kind,
        stripe_id=stripe_id,
        body=body,
        api_version=VERSION,
        as_of=as_of,
        read_at=read_at,
        seen_at=END_OF_TIME,
        is_open=is_open,
        customer=customer,
        test_clock=test_clock,
    )


def subscribed(
    *items: PresentItem, as_of: int = 0, seen_at: int = NOW, prices: tuple[PriceTerms, ...] = TERMS
) -> ObjectReading:
    return read("sub_1", as_of=as_of, customer="cus_1", kind=ObjectKind.SUBSCRIPTION)._replace(
        seen_at=seen_at, subscription="sub_1", items=items, prices=prices
    )


def state(price: str = "price_a", period: Period = MAY) -> ItemState:
    return ItemState(price, period)


def test_keeping_says_what_changed(store: Tallystick) -> None:
    mirror = store.mirror
    assert mirror.keep([read("cus_1", b'{"a": 1}'), read("cus_2")]) == [Kept.NEW, Kept.NEW]
    assert mirror.keep([read("cus_1", b'{"a":1}', as_of=1)]) == [Kept.SAME]
    assert mirror.keep([read("cus_1", b'{"a":2}', as_of=3)]) == [Kept.CHANGED]
    assert mirror.keep([read("cus_1", b'{"a":1}', as_of=2)]) == [Kept.OLDER]
    assert mirror.keep([read("cus_1", None, as_of=4)]) == [Kept.CHANGED]
    found = mirror.find("cus_1")
    assert found == (ObjectKind.CUSTOMER, "cus_1", None, VERSION, 4, NOW)
    assert mirror.find("cus_3") is None


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_latest_reading_stays_in_whatever_order_they_are_kept(
    store: Tallystick, order: tuple[int, ...]
) -> None:
    readings = [read("cus_1", str(n).encode(), as_of=n // 2, read_at=NOW + n) for n in range(3)]
    for number in order:
        store.mirror.keep([readings[number]])
    found = store.mirror.find("cus_1")
    assert found is not None
    assert found.body == b"2"


def test_the_latest_of_racing_readings_stays(store: Tallystick, other: Tallystick) -> None:
    def keep(mirror: Mirror, numbers: range) -> None:
        for number in numbers:
            mirror.keep([read("cus_1", str(number).encode(), as_of=number)])

    race(
        [
            lambda: keep(store.mirror, range(0, 60, 2)),
            lambda: keep(other.mirror, range(59, 0, -2)),
        ]
    )
    found = store.mirror.find("cus_1")
    assert found is not None
    assert (found.as_of, found.body) == (59, b"59")


def test_racing_readings_of_the_same_objects_in_other_orders_are_all_kept(
    store: Tallystick, other: Tallystick
) -> None:
    """Two workers that read the same objects must not wait for each other for ever."""
    ids = [f"cus_{number}" for number in range(20)]

    def keep(mirror: Mirror, ordered: list[str]) -> None:
        for turn in range(10):
            mirror.keep([read(one, as_of=turn) for one in ordered])

    race([lambda: keep(store.mirror, ids), lambda: keep(other.mirror, ids[::-1])])
    kept = [known.stripe_id for known in store.mirror.objects(ObjectKind.CUSTOMER)]
    assert sorted(ids) == kept


def test_objects_are_listed_by_kind_in_order_without_what_is_gone(store: Tallystick) -> None:
    mirror = store.mirror
    invoice = ObjectKind.INVOICE
    mirror.keep([read("cus_b"), read("cus_a"), read("cus_B"), read("in_1", kind=invoice)])
    mirror.keep([read("in_2", is_open=False, kind=invoice), read("in_3", None, kind=invoice)])
    customers = [known.stripe_id for known in mirror.objects(ObjectKind.CUSTOMER)]
    assert customers == ["cus_B", "cus_a", "cus_b"]
    assert [known.stripe_id for known in mirror.objects(invoice)] == ["in_1", "in_2"]
    assert [known.stripe_id for known in mirror.objects(invoice, only_open=True)] == ["in_1"]


def test_a_long_list_is_whole(store: Tallystick) -> None:
    ids = [f"cus_{number:04}" for number in range(1_100)]
    store.mirror.keep([read(one) for one in ids])
    assert ids == [known.stripe_id for known in store.mirror.objects(ObjectKind.CUSTOMER)]


def test_what_a_sync_has_read_is_told_apart(store: Tallystick) -> None:
    mirror = store.mirror
    mirror.keep([read("cus_1"), read("cus_2", as_of=5), read("cus_3")])
    mirror.keep([read("cus_1", as_of=1), read("cus_2", as_of=1)], run=2)  # of the second: older
    unseen = [known.stripe_id for known in mirror.objects(ObjectKind.CUSTOMER, unseen_in=2)]
    assert unseen == ["cus_3"]


def test_related_objects_are_found(store: Tallystick) -> None:
    mirror = store.mirror
    invoice = ObjectKind.INVOICE
    mirror.keep([read("in_2", customer="cus_1", kind=invoice, test_clock="clock_1")])
    mirror.keep([read("in_1", customer="cus_1", kind=invoice)])
    mirror.keep([read("in_3", None, customer="cus_1", kind=invoice)])
    mirror.keep([read("in_2", as_of=1, kind=invoice)])  # what is not said stays known
    assert mirror.related(invoice, customer="cus_1") == ["in_1", "in_2"]
    assert mirror.related(invoice, clock="clock_1") == ["in_2"]
    assert mirror.related(ObjectKind.CUSTOMER, clock="clock_1") == []


def test_an_item_keeps_what_it_was(store: Tallystick) -> None:
    mirror = store.mirror
    mirror.keep([subscribed(PresentItem("si_1", state(), None, None))])
    assert mirror.prices() == {terms.stripe_price_id: terms for terms in TERMS}
    changed = PresentItem("si_1", state("price_b"), NOW - 5, None)
    mirror.keep([subscribed(changed, as_of=1, seen_at=NOW + DAY_US)])
    mirror.keep([subscribed(as_of=2, seen_at=NOW + 2 * DAY_US)])
    (item,) = mirror.items("cus_1")
    assert item[:3] == ("si_1", "sub_1", "cus_1")
    facts = item.facts
    assert (facts.present, facts.read_since) == (None, NOW + 2 * DAY_US)
    assert (facts.began_at, facts.ended_at) == (NOW - 5, None)
    assert sorted(facts.readings) == [
        ItemReading(NOW, state()),
        ItemReading(NOW + DAY_US, state("price_b")),
    ]
    assert mirror.items("cus_2") == []


def test_an_older_reading_changes_no_item(store: Tallystick) -> None:
    mirror = store.mirror
    mirror.keep([subscribed(PresentItem("si_1", state("price_b"), None, None), as_of=2)])
    before = mirror.items("cus_1")
    older = subscribed(PresentItem("si_1", state(), None, None), as_of=1)
    assert mirror.keep([older]) == [Kept.OLDER]
    assert before == mirror.items("cus_1")


def test_what_an_event_tells_is_remembered_once(store: Tallystick) -> None:
    mirror = store.mirror
    change = ItemChange(NOW + 7, state(), state("price_b", JUNE))
    past = [ItemPast("si_1", "sub_1", "cus_1", change)]
    mirror.remember("evt_1", past)
    mirror.remember("evt_1", [past[0]._replace(fact=ItemReading(NOW, state("price_b")))])
    added = ItemChange(NOW, None, state())
    mirror.remember("evt_0", [ItemPast("si_1", "sub_1", "cus_1", added)])
    (item,) = mirror.items("cus_1")
    assert sorted(item.facts.changes, key=lambda each: each.at) == [added, change]
    assert (item.facts.readings, item.facts.present) == ((), None)


def test_billed_usage_is_kept_once_and_licences_are_left_out(store: Tallystick) -> None:
    mirror = store.mirror
    mirror.keep([subscribed(PresentItem("si_1", state(), None, None))])
    usage = BilledUsage(MAY, "price_a")
    lines = (("si_1", usage), ("si_1", BilledUsage(JUNE, "price_b")), ("si_1", usage))
    invoice = read("in_1", kind=ObjectKind.INVOICE, customer="cus_1")
    mirror.keep([invoice._replace(billed=lines)])
    mirror.keep([invoice._replace(billed=lines, as_of=1)])
    (item,) = mirror.items("cus_1")
    assert item.facts.billed == (usage,)


def test_a_sync_goes_on_where_it_was(store: Tallystick, other: Tallystick) -> None:
    ledger = store.sync_ledger
    assert ledger.state() == SyncState(0, None, None, None, None, 0)
    assert ledger.steps() == []
    ledger.begin("evt_9", 50, NOW)
    assert [step.kind for step in ledger.steps()] == list(ObjectKind)
    step = SyncStep(ObjectKind.PRICE, "price_7", is_done=False, objects=7, calls=2)
    ledger.advance(step)
    other.sync_ledger.begin("evt_10", 80, NOW + 1)  # one is under way: only the limit changes
    assert step in other.sync_ledger.steps()
    assert ledger.state() == SyncState(1, "evt_9", NOW, None, None, 80)
    ledger.finish(None, NOW + 2, is_full=True)
    assert ledger.state() == SyncState(1, "evt_9", None, NOW + 2, None, 80)
    ledger.finish("evt_11", NOW + 3, is_full=False)
    ledger.finish(None, NOW + 4, is_full=False)
    assert ledger.state() == SyncState(1, "evt_11", None, NOW + 2, NOW + 4, 80)
    ledger.begin("evt_12", 10, NOW + 5)
    assert (ledger.state().run, ledger.state().newest_event) == (2, "evt_12")
    assert {(step.after, step.is_done, step.objects) for step in ledger.steps()} == {
        (None, False, 0)
    }


def test_racing_beginnings_are_one_sync(store: Tallystick, other: Tallystick) -> None:
    race([partial(one.sync_ledger.begin, "evt_1", 9, NOW) for one in (store, other)])
    assert store.sync_ledger.state().run == 1
    assert [step.kind for step in store.sync_ledger.steps()] == list(ObjectKind)


def test_when_a_customer_was_read_is_known(store: Tallystick) -> None:
    ledger = store.sync_ledger
    assert ledger.customer_read_at("cus_1") is None
    ledger.customer_read("cus_1", NOW)
    ledger.customer_read("cus_1", NOW + 1)
    assert ledger.customer_read_at("cus_1") == NOW + 1
