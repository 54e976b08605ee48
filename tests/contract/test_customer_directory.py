"""What every directory of customers promises, whichever backend it is."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tallystick.domain.events import UsageEvent
from tallystick.domain.instants import DAY_US
from tallystick.domain.meters import Aggregation, Meter
from tallystick.domain.periods import Period
from tallystick.domain.subscriptions import CustomerLink, SubscriptionItem
from tallystick.ports.errors import AlreadyLinked
from tests.contract.backends import NOW, put_in_force
from tests.contract.racing import race
from tests.fixtures.mirrored import keep_items

if TYPE_CHECKING:
    from tallystick.wiring import Tallystick

SEEN = Meter("seen", "", "seen", Aggregation.COUNT)
WEIGHT = Meter("weight", "", "seen", Aggregation.SUM)
OTHER = Meter("other", "", "other", Aggregation.COUNT)
ADA, BOB = CustomerLink("ada", "cus_ada"), CustomerLink("bob", "cus_bob", "clock_1")
PERIOD = Period(NOW, NOW + 30 * DAY_US)


def test_a_link_is_made_once_and_found(store: Tallystick) -> None:
    customers = store.customers
    assert customers.link([BOB, ADA], NOW) == 2
    assert customers.link([ADA, BOB], NOW + 1) == 0
    assert (customers.find("ada"), customers.find("bob")) == (ADA, BOB)
    assert customers.find("nobody") is None
    assert customers.links() == [ADA, BOB]


def test_customers_come_in_the_order_of_their_characters(store: Tallystick) -> None:
    names = ["b", "B", "a-2", "a", "a_1", "é", "aB", "Z", "10", "9"]
    store.customers.link([CustomerLink(name, f"cus_{name}") for name in names], NOW)
    assert sorted(names) == [link.customer for link in store.customers.links()]


@pytest.mark.parametrize(
    "wrong", [CustomerLink("ada", "cus_else"), CustomerLink("else", "cus_ada")]
)
def test_a_contradicting_link_is_refused_with_all_that_came_with_it(
    store: Tallystick, wrong: CustomerLink
) -> None:
    store.customers.link([ADA], NOW)
    with pytest.raises(AlreadyLinked, match="ada"):
        store.customers.link([BOB, wrong], NOW)
    assert store.customers.links() == [ADA]


def test_of_racing_contradictions_one_is_kept(store: Tallystick, other: Tallystick) -> None:
    def link(maker: Tallystick, stripe_customer_id: str) -> str:
        try:
            maker.customers.link([CustomerLink("ada", stripe_customer_id)], NOW)
        except AlreadyLinked:
            return "refused"
        return stripe_customer_id

    for _ in range(3):
        answers = race([lambda: link(store, "cus_1"), lambda: link(other, "cus_2")])
        kept = store.customers.find("ada")
        assert kept is not None
        assert kept.stripe_customer_id in answers
        assert "refused" in answers


def test_usage_from_before_a_link_becomes_due_with_it(store: Tallystick) -> None:
    put_in_force(store, (SEEN, WEIGHT, OTHER))
    for name in ("ada", "bob"):
        event = UsageEvent("s", name, "seen", name, NOW, Decimal(1))
        store.events.append([event], NOW).result()
    while store.book.notice(100):
        pass
    for due in store.book.due(None, None, 100):
        assert store.book.record(due, [], NOW, due_again_at=None)
    assert store.book.due(None, None, 100) == []
    store.customers.link([ADA], NOW)
    assert [due[:2] for due in store.book.due(None, None, 100)] == [
        ("ada", "seen"),
        ("ada", "weight"),
    ]


def test_items_are_what_the_mirror_knows_with_the_time_of_the_reading(store: Tallystick) -> None:
    assert store.customers.items("cus_ada") == ([], None)
    item = SubscriptionItem("si_1", "sub_1", "cus_ada", "price_1", "mtr_1", PERIOD, PERIOD)
    keep_items(store, "cus_ada", [item], NOW + 5)
    assert store.customers.items("cus_ada") == ([item], NOW + 5)
    assert store.customers.items("cus_bob") == ([], None)
