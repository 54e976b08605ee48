"""Random histories of an account under disorder: the mirror ends up equal to the account.

Webhooks come from the sandbox over HTTP and are lost, doubled, late and out of order; workers take
events and die. After a sweep every object is the account's, and at every past instant each item has
the price and the period that it had then. In the environment ``MIRROR_EXAMPLES`` and
``SEED`` choose how many histories and which.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import uuid
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
import stripe
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tallystick.config import Settings
from tallystick.domain.instants import from_seconds, parse_instant, to_seconds
from tallystick.domain.item_history import state_at
from tallystick.ports.inbox import InboxState
from tallystick.ports.mirror import ObjectKind
from tallystick.wiring import Tallystick
from tests.fixtures.postgres import fresh_database
from tests.fixtures.seeds import chosen_seed
from tests.fixtures.served import served
from tests.mirror.account import Account

if TYPE_CHECKING:
    from tallystick.cli.local_servers import LocalServer

DAY_S = 86_400
STARTS = [to_seconds(parse_instant(day)) for day in ("2024-01-31", "2023-11-15", "2024-02-29")]
DISORDER: list[dict[str, Any]] = [
    {"kind": "webhook_loss", "probability": "0.3"},
    {"kind": "webhook_duplicate", "probability": "0.3"},
    # late by different times: out of order too
    {"kind": "webhook_delay", "probability": "0.2", "seconds": "0.01"},
    {"kind": "webhook_delay", "probability": "0.1", "seconds": "0.04"},
    {"kind": "webhook_reorder", "event": "customer.*", "skip": 3, "times": 2},
]
LIVE_SUBSCRIPTIONS_MAX = 3
EXAMPLES = 3


class Histories(RuleBasedStateMachine):
    """One account, one product, and everything that may happen between them."""

    url: str
    kind: str

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.account = Account(self.url, f"sk_test_{uuid.uuid4().hex}")
        endpoint = self.account.call(
            "post", "/v1/webhook_endpoints", url="http://127.0.0.1:9/", enabled_events=["*"]
        )
        self.product = self.stack.enter_context(
            Tallystick(
                Settings(
                    database_url=self.new_database(folder),
                    stripe_api_key=self.account.key,
                    stripe_api_base=self.url,
                    stripe_rate=100_000,
                    webhook_secrets=("whsec_of_before", endpoint["secret"]),
                )
            )
        )
        server = self.stack.enter_context(served(self.product))
        self.account.call(
            "post",
            f"/v1/webhook_endpoints/{endpoint['id']}",
            url=f"{server.url}/webhooks/stripe",
        )

    def new_database(self, folder: Path) -> str:
        if self.kind == "sqlite":
            return f"sqlite:///{folder / 'mirror.db'}"
        return self.stack.enter_context(fresh_database())

    @initialize(chance=st.integers(0, 1_000), is_synced=st.booleans())
    def begin(self, chance: int, is_synced: bool) -> None:
        self.account.faults(DISORDER, chance)
        self.account.catalog()
        for start in STARTS[:2]:
            self.account.add_customer(self.account.add_clock(start), name="Ada")
        if is_synced:
            self.product.synchronizer.plan()
            self.product.synchronizer.sync_fully()
        for number, customer in enumerate(sorted(self.account.customers)):
            self.account.subscribe(customer, self.account.prices[number : number + 1])

    def change_plans(self) -> None:
        """End every history with a change of plan between two advances of its clock."""
        for subscription in self.live():
            clock = self.account.customers[self.account.subscriptions[subscription]]
            item = self.account.items(subscription)[0]
            price = next(one for one in self.account.prices if one != item["price"]["id"])
            self.attempt(self.account.advance, clock, self.account.clocks[clock] + 9 * DAY_S)
            self.attempt(
                self.account.change, subscription, items=[{"id": item["id"], "price": price}]
            )
            self.attempt(self.account.advance, clock, self.account.clocks[clock] + 3 * DAY_S)

    def live(self) -> list[str]:
        return [one for one in self.account.subscriptions if not self.account.is_over(one)]

    def attempt(self, change: Any, *arguments: Any, **fields: Any) -> None:
        """Do what may be refused for good reasons: such a history goes on without it."""
        try:
            change(*arguments, **fields)
        except stripe.InvalidRequestError:
            self.account.observe()

    @precondition(lambda self: len(self.live()) < LIVE_SUBSCRIPTIONS_MAX)
    @rule(data=st.data(), trial_days=st.sampled_from([0, 0, 10]), classic=st.booleans())
    def subscribe(self, data: st.DataObject, trial_days: int, classic: bool) -> None:
        customer = data.draw(st.sampled_from(sorted(self.account.customers)))
        chosen = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=2, unique=True))
        fields: dict[str, Any] = {}
        if trial_days:
            now = self.account.clocks[self.account.customers[customer]]
            fields["trial_end"] = now + trial_days * DAY_S
        if classic:
            fields["billing_mode"] = {"type": "classic"}
        prices = [self.account.prices[number] for number in chosen]
        self.attempt(self.account.subscribe, customer, prices, **fields)

    @precondition(lambda self: bool(self.live()))
    @rule(
        data=st.data(),
        number=st.integers(0, 4),
        behavior=st.sampled_from(["none", "create_prorations", "always_invoice"]),
    )
    def change_price(self, data: st.DataObject, number: int, behavior: str) -> None:
        subscription = data.draw(st.sampled_from(self.live()))
        item = data.draw(st.sampled_from([each["id"] for each in self.account.items(subscription)]))
        self.attempt(
            self.account.change,
            subscription,
            items=[{"id": item, "price": self.account.prices[number]}],
            proration_behavior=behavior,
        )

    @precondition(lambda self: bool(self.live()))
    @rule(data=st.data(), number=st.integers(0, 4))
    def add_item(self, data: st.DataObject, number: int) -> None:
        subscription = data.draw(st.sampled_from(self.live()))
        self.attempt(
            self.account.change, subscription, items=[{"price": self.account.prices[number]}]
        )

    @precondition(lambda self: bool(self.live()))
    @rule(data=st.data())
    def remove_item(self, data: st.DataObject) -> None:
        subscription = data.draw(st.sampled_from(self.live()))
        item = data.draw(st.sampled_from([each["id"] for each in self.account.items(subscription)]))
        self.attempt(self.account.change, subscription, items=[{"id": item, "deleted": True}])

    @precondition(lambda self: bool(self.live()))
    @rule(data=st.data())
    def reset_anchor(self, data: st.DataObject) -> None:
        subscription = data.draw(st.sampled_from(self.live()))
        self.attempt(self.account.change, subscription, billing_cycle_anchor={"type": "now"})

    @precondition(lambda self: bool(self.live()))
    @rule(data=st.data(), how=st.sampled_from(["now", "with an invoice", "at the end"]))
    def cancel(self, data: st.DataObject, how: str) -> None:
        subscription = data.draw(st.sampled_from(self.live()))
        if how == "at the end":
            self.attempt(self.account.change, subscription, cancel_at_period_end=True)
        else:
            fields = {"invoice_now": True} if how == "with an invoice" else {}
            self.attempt(self.account.cancel, subscription, **fields)

    @rule(data=st.data(), days=st.integers(1, 40), hours=st.integers(0, 23))
    def advance(self, data: st.DataObject, days: int, hours: int) -> None:
        clock = data.draw(st.sampled_from(sorted(self.account.clocks)))
        to_at = self.account.clocks[clock] + days * DAY_S + hours * 3_600
        self.attempt(self.account.advance, clock, to_at)

    @rule(text=st.sampled_from(["Ada", "Bea", "Cid"]), data=st.data())
    def rename(self, data: st.DataObject, text: str) -> None:
        customer = data.draw(st.sampled_from(sorted(self.account.customers)))
        self.account.call("post", f"/v1/customers/{customer}", name=text, metadata={"team": text})

    @rule()
    def work(self) -> None:
        self.product.inbox_worker.run()

    @rule(count=st.integers(1, 5))
    def die_at_work(self, count: int) -> None:
        """A worker takes events and is never heard of again; their leases are over at once."""
        self.product.inbox.claim(self.product.clock.now(), 0, count)

    @rule()
    def sweep(self) -> None:
        self.product.synchronizer.sweep()

    def teardown(self) -> None:
        try:
            self.account.faults([])
            if self.account.prices:
                self.change_plans()
                self.account.wait_until_told()
                self.product.synchronizer.plan()
                self.product.synchronizer.sync_fully()
                self.assert_true()
        finally:
            self.stack.close()

    def assert_true(self) -> None:
        """The mirror is the account; nothing is wrong any more, and every instant is known."""
        product = self.product
        product.synchronizer.sweep()
        assert product.synchronizer.sweep().wrong == []
        assert not product.inbox.counts().get(InboxState.DEAD)
        for kind in ObjectKind:
            ours = {
                known.stripe_id: json.loads(known.body)
                for known in product.mirror.objects(kind)
                if known.body is not None
            }
            assert ours == self.account.every(kind.value), kind
        self.assert_past()

    def assert_past(self) -> None:
        known = {
            item.stripe_item_id: item.facts
            for customer in self.account.customers
            for item in self.product.mirror.items(customer)
        }
        for item_id, moments in self.account.moments.items():
            ends = {(one.price, one.start): one.end for one in moments}
            now = self.account.clocks[self.account.clock_of_item[item_id]]
            for moment, following in pairwise([*moments, moments[-1]._replace(at=now + 1)]):
                if moment.at == following.at:
                    continue  # it was nothing but a step on the way to the next
                for at in {moment.at, (moment.at + following.at) // 2, following.at - 1}:
                    state = state_at(known[item_id], from_seconds(at))
                    shown = None
                    if state is not None:
                        period = to_seconds(state.period.start_at), to_seconds(state.period.end_at)
                        shown = (state.stripe_price_id, *period)
                    expected = None
                    if moment.price is not None:
                        # a period that was made longer later was always that long, in hindsight
                        end = ends[moment.price, moment.start]
                        expected = (moment.price, moment.start, end)
                    assert shown == expected, (item_id, at, moments)


@pytest.mark.parametrize(("kind", "share"), [("sqlite", 1), ("postgres", 3)])
def test_the_mirror_equals_the_account_after_any_history(
    sandbox: LocalServer, kind: str, share: int
) -> None:
    chosen = chosen_seed()
    examples = -(-int(os.environ.get("MIRROR_EXAMPLES", EXAMPLES)) // share)
    machine = type("Histories", (Histories,), {"url": sandbox.url, "kind": kind})
    sys.stdout.write(f"MIRROR_EXAMPLES={examples}\n")
    run_state_machine_as_test(
        seed(chosen)(machine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=20,
            deadline=None,
            phases=[Phase.generate],  # a history takes seconds: shrinking one takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
