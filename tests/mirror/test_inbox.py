"""What workers make of the events in the inbox."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tallystick.billing.inbox import ATTEMPTS_MAX, arrived
from tallystick.cli.local_servers import LocalServer
from tallystick.config import Settings
from tallystick.domain.instants import HOUR_US, from_seconds, to_seconds
from tallystick.domain.item_history import state_at
from tallystick.ports.errors import LeaseLost
from tallystick.ports.inbox import Brought, InboxState
from tallystick.ports.mirror import ObjectKind
from tallystick.wiring import Tallystick
from tests.fixtures.clock import FakeClock
from tests.fixtures.commands import answer_of, tallystick
from tests.fixtures.patience import PATIENCE_SECONDS
from tests.fixtures.ports import free_port
from tests.fixtures.stripe_account import environment_of
from tests.mirror.account import Account
from tests.mirror.test_sync import DAY_S, JANUARY

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def product(settings: Settings, clock: FakeClock) -> Iterator[Tallystick]:
    with Tallystick(settings, clock) as made:
        yield made


def tell(product: Tallystick, event: dict[str, Any]) -> None:
    """Let an event arrive."""
    body = json.dumps(event).encode()
    assert product.inbox.add(arrived(body, Brought.WEBHOOK), product.clock.now()).result()


def event_of(kind: str, shown: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": f"evt_{uuid.uuid4().hex}",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": JANUARY,
        "type": kind,
        "data": {"object": shown},
        **fields,
    }


def shown_by(product: Tallystick, stripe_id: str) -> dict[str, Any]:
    known = product.mirror.find(stripe_id)
    assert known is not None
    found: dict[str, Any] = json.loads(known.body or b"")
    return found


@pytest.mark.parametrize("version", ["2020-08-27", "2026-10-28.endive"])
def test_an_event_never_overwrites_whatever_its_age_and_version(
    product: Tallystick, account: Account, version: str
) -> None:
    customer = account.add_customer(None, name="Now")
    old = {"id": customer, "object": "customer", "name": "Before"}
    tell(product, event_of("customer.updated", old, api_version=version))
    assert product.inbox_worker.run() == {"settled": 1}
    assert shown_by(product, customer)["name"] == "Now"


def test_events_that_a_reading_includes_cost_no_call(product: Tallystick, account: Account) -> None:
    customer = account.add_customer(None)
    for _ in range(20):
        tell(product, event_of("customer.updated", {"id": customer, "object": "customer"}))
    assert product.inbox_worker.run() == {"settled": 20}
    asked = [one for one in account.requests() if one["path"] == f"/v1/customers/{customer}"]
    assert len(asked) == 1


def test_a_thin_event_names_what_is_fetched(product: Tallystick, account: Account) -> None:
    customer = account.add_customer(None, name="Ada")
    tell(
        product,
        {
            "id": "evt_test_thin",
            "object": "v2.core.event",
            "type": "v1.customer.updated",
            "created": "2026-01-01T00:00:00.000Z",
            "related_object": {"id": customer, "type": "customer", "url": "/v1/customers"},
        },
    )
    product.inbox_worker.run()
    assert shown_by(product, customer)["name"] == "Ada"


def test_what_is_not_mirrored_is_settled_with_a_remark(product: Tallystick) -> None:
    tell(product, event_of("charge.succeeded", {"id": "ch_1", "object": "charge"}))
    assert product.inbox_worker.run() == {"settled": 1}
    (event,) = product.inbox.events(None, 1)
    assert event.reason == "not mirrored"


def test_a_meter_error_is_kept_whole(account: Account, settings: Settings) -> None:
    """The notification has no data: the event is fetched, and tells what was not counted."""
    customer = account.add_customer(None)
    account.faults([{"kind": "meter_event_rejection", "code": "meter_event_customer_not_found"}])
    destination = account.call(
        "post",
        "/v2/core/event_destinations",
        name="errors",
        type="webhook_endpoint",
        event_payload="thin",
        enabled_events=["v1.billing.meter.error_report_triggered"],
        webhook_endpoint={"url": f"http://127.0.0.1:{(port := free_port())}/webhooks/stripe"},
        include=["webhook_endpoint.signing_secret"],
    )
    secret = destination["webhook_endpoint"]["signing_secret"]
    environment = {
        **environment_of(settings),
        "TALLYSTICK_WEBHOOK_SECRETS": secret,
    }
    answer_of("init", environment=environment)
    folder = settings.sqlite_path().parent
    with LocalServer("server", ["serve", "--port", str(port)], environment, folder):
        account.call(
            "post",
            "/v1/billing/meter_events",
            event_name="calls",
            identifier="report-1",
            payload={"stripe_customer_id": customer, "value": "3"},
        )
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        errors: list[dict[str, Any]] = []
        while not errors and time.monotonic() < give_up_at:
            errors = answer_of("inbox", "errors", environment=environment)["meter_errors"]
    (error,) = errors
    (kind,) = error["body"]["data"]["reason"]["error_types"]
    assert kind["code"] == "meter_event_customer_not_found"
    assert error["meter"] == error["body"]["related_object"]["id"]


def test_stripe_out_of_reach_is_waited_for_and_a_refusal_ends_dead(
    product: Tallystick, account: Account, clock: FakeClock, settings: Settings
) -> None:
    customer = account.add_customer(None)
    event = event_of("customer.updated", {"id": customer, "object": "customer"})
    tell(product, event)
    account.faults([{"kind": "server_error", "path": "/v1/customers/*"}])
    for _ in range(ATTEMPTS_MAX + 2):
        assert product.inbox_worker.run() == {"waiting": 1}
        assert product.inbox_worker.run() == {}  # not before its time
        clock.advance(HOUR_US)
    account.faults([])
    assert product.inbox_worker.run() == {"settled": 1}

    no_subscription = {"id": "sub_1", "object": "subscription"}
    tell(product, event_of("customer.subscription.created", no_subscription, id="evt_broken"))
    for _ in range(ATTEMPTS_MAX):
        product.inbox_worker.run()
        clock.advance(HOUR_US)
    assert product.inbox.counts() == {InboxState.SETTLED: 1, InboxState.DEAD: 1}
    environment = environment_of(settings)
    listed = tallystick("inbox", "dead", environment=environment)
    assert listed.returncode == 1
    assert "evt_broken" in listed.stdout
    shown = answer_of("inbox", "show", "evt_broken", environment=environment)
    assert (shown["state"], shown["attempts"]) == ("dead", ATTEMPTS_MAX)
    assert shown["body"]["id"] == "evt_broken"
    replayed = tallystick("inbox", "replay", "--dead", "--json", environment=environment)
    assert json.loads(replayed.stdout)["replayed"] == 1
    assert replayed.returncode == 1  # it is still what it was
    assert answer_of("inbox", "list", environment=environment)["counts"]["waiting"] == 1
    assert "inbox" in tallystick("doctor", environment=environment).stdout


def test_a_worker_that_lost_its_lease_cannot_settle(
    product: Tallystick, account: Account, clock: FakeClock
) -> None:
    customer = account.add_customer(None)
    tell(product, event_of("customer.updated", {"id": customer, "object": "customer"}))
    (first,) = product.inbox.claim(clock.now(), HOUR_US, 10)
    assert product.inbox.claim(clock.now(), HOUR_US, 10) == []
    clock.advance(HOUR_US)
    (second,) = product.inbox.claim(clock.now(), HOUR_US, 10)
    with pytest.raises(LeaseLost):
        product.inbox.settle(first, InboxState.SETTLED, None, clock.now(), clock.now())
    product.inbox.settle(second, InboxState.SETTLED, None, clock.now(), clock.now())


def test_a_plan_change_is_known_by_the_event_to_the_second(
    product: Tallystick, account: Account
) -> None:
    clock_id = account.add_clock(JANUARY)
    customer = account.add_customer(clock_id)
    subscription = account.subscribe(customer, account.prices[:1])
    (item,) = account.items(subscription)
    account.advance(clock_id, JANUARY + 9 * DAY_S)
    account.change(
        subscription,
        items=[{"id": item["id"], "price": account.prices[1]}],
        proration_behavior="none",
    )
    listed = account.call("get", "/v1/events", type="customer.subscription.updated")
    tell(product, listed["data"][0])
    product.inbox_worker.run()
    (known,) = product.mirror.items(customer)
    changed_at = from_seconds(JANUARY + 9 * DAY_S)
    before, after = state_at(known.facts, changed_at - 1), state_at(known.facts, changed_at)
    assert before is not None
    assert after is not None
    assert [before.stripe_price_id, after.stripe_price_id] == account.prices[:2]
    assert before.period == after.period
    assert to_seconds(after.period.start_at) == JANUARY


def test_a_deactivated_meter_and_a_deleted_product_are_told(
    product: Tallystick, account: Account
) -> None:
    meter = next(iter(account.every("billing.meter")))
    lonely = account.call("post", "/v1/products", name="Lonely")["id"]
    for kind, stripe_id in ((ObjectKind.METER, meter), (ObjectKind.PRODUCT, lonely)):
        product.stripe_mirror.refresh(kind, stripe_id)
    account.call("post", f"/v1/billing/meters/{meter}/deactivate")
    account.call("delete", f"/v1/products/{lonely}")
    tell(product, event_of("billing.meter.deactivated", {"id": meter, "object": "billing.meter"}))
    tell(product, event_of("product.deleted", {"id": lonely, "object": "product"}))
    product.inbox_worker.run()
    assert shown_by(product, meter)["status"] == "inactive"
    gone = product.mirror.find(lonely)
    assert gone is not None
    assert gone.body is None
