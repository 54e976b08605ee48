"""Full syncs and sweeps against the sandbox: what they read, what they cost, what they find."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

import pytest

from tallystick.billing.synchronizing import ABSENCE_US_MAX, PlanExceeded
from tallystick.config import Settings
from tallystick.domain.instants import DAY_US, from_seconds, parse_instant, to_seconds
from tallystick.domain.periods import Period
from tallystick.domain.subscriptions import CustomerLink
from tallystick.ports.clock import SystemClock
from tallystick.ports.mirror import ObjectKind
from tallystick.wiring import Tallystick
from tests.fixtures.commands import answer_of, tallystick
from tests.fixtures.stripe_account import environment_of
from tests.mirror.account import Account

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tallystick.cli.local_servers import LocalServer

JANUARY = to_seconds(parse_instant("2024-01-31"))
DAY_S = 86_400
CUSTOMERS = int(os.environ.get("MIRROR_CUSTOMERS", "600"))
"""How many customers the first sync reads; 10,000 takes about a minute."""


class LaterClock(SystemClock):
    """The machine's clock, moved."""

    def __init__(self) -> None:
        self.ahead_us = 0

    def now(self) -> int:
        return super().now() + self.ahead_us


@pytest.fixture
def account(sandbox: LocalServer) -> Account:
    made = Account(sandbox.url, f"sk_test_{uuid.uuid4().hex}")
    made.catalog()
    return made


@pytest.fixture
def later() -> LaterClock:
    return LaterClock()


@pytest.fixture
def product(account: Account, tmp_path: Path, later: LaterClock) -> Iterator[Tallystick]:
    with Tallystick(settings_of(account, tmp_path), later) as made:
        yield made


def settings_of(account: Account, folder: Path) -> Settings:
    return Settings(
        database_url=f"sqlite:///{folder / 'tallystick.db'}",
        stripe_api_key=account.key,
        stripe_api_base=account.url,
        stripe_rate=100_000,
    )


def sync(product: Tallystick) -> None:
    product.synchronizer.plan()
    product.synchronizer.sync_fully()


def assert_equal(product: Tallystick, account: Account) -> None:
    for kind in ObjectKind:
        ours = {
            known.stripe_id: json.loads(known.body or b"") for known in product.mirror.objects(kind)
        }
        assert ours == account.every(kind.value), kind


def test_a_sweep_finds_what_no_webhook_told(product: Tallystick, account: Account) -> None:
    customer = account.add_customer(account.add_clock(JANUARY))
    sync(product)
    subscription = account.subscribe(customer, account.prices[:1])
    account.call("post", f"/v1/customers/{customer}", name="Ada")
    found = product.synchronizer.sweep()
    assert found.missed > 0
    assert found.wrong == []
    assert_equal(product, account)
    account.cancel(subscription)
    assert product.synchronizer.sweep().missed > 0
    assert_equal(product, account)
    quiet = product.synchronizer.sweep()
    assert (quiet.missed, quiet.wrong, quiet.new) == (0, [], 0)


def test_an_object_that_was_altered_here_is_found_wrong_and_made_right(
    product: Tallystick, account: Account
) -> None:
    customer = account.add_customer(account.add_clock(JANUARY))
    subscription = account.subscribe(customer, account.prices[:1])
    sync(product)
    known = product.mirror.find(subscription)
    assert known is not None
    altered = json.loads(known.body or b"") | {"description": "not Stripe's"}
    begun = product.stripe_mirror.begin()
    body = json.dumps(altered).encode()
    product.stripe_mirror.keep_page(ObjectKind.SUBSCRIPTION, [body], begun)
    assert product.synchronizer.sweep().wrong == [subscription]
    assert product.synchronizer.sweep().wrong == []
    assert_equal(product, account)


def test_what_was_deleted_is_gone_with_all_that_hangs_on_it(
    product: Tallystick, account: Account
) -> None:
    clock = account.add_clock(JANUARY)
    account.subscribe(account.add_customer(clock), account.prices[:1])
    loose = account.add_customer(None)
    sync(product)
    account.call("delete", f"/v1/test_helpers/test_clocks/{clock}")
    account.call("delete", f"/v1/customers/{loose}")
    del account.clocks[clock]
    product.synchronizer.sweep()
    assert list(product.mirror.objects(ObjectKind.CUSTOMER)) == []
    assert list(product.mirror.objects(ObjectKind.SUBSCRIPTION)) == []
    assert list(product.mirror.objects(ObjectKind.TEST_CLOCK)) == []


def test_a_long_absence_asks_for_a_full_sync(
    product: Tallystick, account: Account, later: LaterClock
) -> None:
    assert product.synchronizer.needs_full()
    assert product.synchronizer.repair() == {}  # the first one is the command's
    sync(product)
    assert not product.synchronizer.needs_full()
    account.add_customer(account.add_clock(JANUARY))
    later.ahead_us += ABSENCE_US_MAX + DAY_US
    assert product.synchronizer.needs_full()
    product.synchronizer.repair()
    assert not product.synchronizer.needs_full()
    assert_equal(product, account)


def test_a_sync_stops_at_its_plan_and_goes_on_with_another(
    product: Tallystick, account: Account
) -> None:
    for _ in range(101):
        account.add_customer(None)
    product.synchronizer.plan(calls_max=6)
    with pytest.raises(PlanExceeded, match="6 calls are used up while reading customer"):
        product.synchronizer.sync_fully()
    assert product.synchronizer.needs_full()
    resumed = product.synchronizer.plan(calls_max=100)
    assert resumed.is_resumed
    assert resumed.calls_made == 6
    product.synchronizer.sync_fully()
    assert_equal(product, account)


@pytest.mark.parametrize("is_known_before", [True, False])
def test_periods_that_ended_while_we_were_offline_are_found_on_invoices(
    product: Tallystick, account: Account, is_known_before: bool
) -> None:
    """From month ends over a leap day; nothing here knows a calendar."""
    clock = account.add_clock(JANUARY)
    customer = account.add_customer(clock)
    account.subscribe(customer, account.prices[:1])
    link = CustomerLink("acme", customer, clock)
    product.customers.link([link], product.clock.now())
    if is_known_before:
        product.billing_periods().items(link, from_seconds(JANUARY))
    account.advance(clock, JANUARY + 50 * DAY_S)
    account.advance(clock, JANUARY + 100 * DAY_S)
    now = product.billing_periods().now_of(link)
    items = product.billing_periods().items(link, now)
    days = ("2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30", "2024-05-31")
    at = [parse_instant(day) for day in days]
    assert [item.period for item in items] == [Period(start, end) for start, end in pairwise(at)]


def test_a_killed_first_sync_goes_on_within_its_plan(account: Account, tmp_path: Path) -> None:
    def subscribe(number: int) -> None:
        customer = account.add_customer(None, metadata={"ours": f"customer-{number}"})
        account.call(
            "post",
            "/v1/subscriptions",
            customer=customer,
            items=[{"price": account.prices[0]}],
            collection_method="send_invoice",
            days_until_due=30,
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(subscribe, range(CUSTOMERS)))
    environment = environment_of(settings_of(account, tmp_path))
    answer_of("init", environment=environment)
    plan = 10 + 5 * -(-CUSTOMERS // 100)
    for kind in ("customer", "subscription"):
        # the next pages take their time: the kill comes before the end, however late it comes
        account.faults([{"kind": "slow", "path": f"/v1/{kind}s", "skip": 1, "seconds": "30"}])
        kill_at(f"{kind}:", environment, plan)
    account.faults([])
    done = tallystick("sync", "--json", environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"goes on with: at most {plan:,} calls" in " ".join(done.stderr.split())
    since_made = takewhile(lambda request: request["method"] == "GET", reversed(account.requests()))
    made_at_stripe = Counter(request["path"] for request in since_made)
    with Tallystick(settings_of(account, tmp_path)) as product:
        assert_equal_in_number(product, account)
        made = 1 + sum(step.calls for step in product.sync_ledger.steps())
    # each process asks once whose account it is
    reading = sum(made_at_stripe.values()) - made_at_stripe["/v1/account"]
    sys.stdout.write(f"{CUSTOMERS} customers: {reading} calls of {made} counted, plan {plan}\n")
    assert reading <= made <= plan, made_at_stripe
    linked = answer_of("customers", "link", "--metadata-key", "ours", environment=environment)
    assert linked == {"new": CUSTOMERS, "known": 0, "refused": []}


def kill_at(kind: str, environment: dict[str, str], plan: int) -> None:
    """Run a sync and kill it when it says that it has read a page of a kind."""
    inherited = {key: value for key, value in os.environ.items() if "TALLYSTICK" not in key}
    process = subprocess.Popen(
        [sys.executable, "-m", "tallystick.cli.main", "sync", "--calls-max", str(plan)],
        env={**inherited, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.strip().startswith(kind) and "calls so far" in line:
            process.kill()
            break
    process.stderr.close()
    assert process.wait() == -9, said


def assert_equal_in_number(product: Tallystick, account: Account) -> None:
    ours = {known.stripe_id for known in product.mirror.objects(ObjectKind.SUBSCRIPTION)}
    assert len(ours) == CUSTOMERS
    for kind in (ObjectKind.CUSTOMER, ObjectKind.PRICE, ObjectKind.INVOICE):
        known = {
            each.stripe_id: json.loads(each.body or b"") for each in product.mirror.objects(kind)
        }
        assert known == account.every(kind.value)
