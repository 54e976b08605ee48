"""The commands around the inbox and the mirror, as processes against the sandbox."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tallystick.billing.webhook_setup import wanted_types
from tallystick.cli.local_servers import LocalServer
from tallystick.config import Settings
from tallystick.domain.instants import format_instant, from_seconds, to_datetime
from tallystick.pipeline.event_draft import EventDraft
from tallystick.ports.mirror import ObjectKind
from tallystick.wiring import Tallystick
from tests.fixtures.commands import answer_of, tallystick
from tests.fixtures.paths import CATALOG_FILE
from tests.fixtures.patience import PATIENCE_SECONDS
from tests.fixtures.ports import free_port
from tests.fixtures.stripe_account import environment_of
from tests.mirror.account import Account
from tests.mirror.test_sync import DAY_S, JANUARY

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    environment = environment_of(settings)
    answer_of("init", environment=environment)
    return environment


def refusal_of(*arguments: str, environment: dict[str, str]) -> tuple[int, str]:
    done = tallystick(*arguments, "--json", environment=environment)
    return done.returncode, json.loads(done.stdout)["error"]["code"]


def test_customers_are_linked_by_a_file_and_conflicts_are_named(
    account: Account, environment: dict[str, str], tmp_path: Path
) -> None:
    ids = [account.add_customer(None) for _ in range(3)]
    file = tmp_path / "mapping.csv"
    pairs = [("ada", ids[0]), ("bob", ids[1]), ("ada", ids[2]), ("cyd", "cus_none")]
    file.write_text("customer,stripe\n" + "".join(f"{ours},{theirs}\n" for ours, theirs in pairs))
    done = tallystick("customers", "link", "--file", str(file), "--json", environment=environment)
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert (answer["new"], answer["known"]) == (2, 0)
    assert {one["stripe_customer_id"] for one in answer["refused"]} == {ids[2], "cus_none"}
    again = tallystick("customers", "link", "--file", str(file), "--json", environment=environment)
    assert json.loads(again.stdout)["known"] == 2


def test_what_cannot_be_linked_is_refused_by_name(
    environment: dict[str, str], tmp_path: Path
) -> None:
    def refused(*arguments: str) -> tuple[int, str]:
        return refusal_of("customers", "link", *arguments, environment=environment)

    assert refused() == (2, "what_to_link")
    assert refused("acme") == (2, "what_to_link")
    assert refused("acme", "cus_1", "--metadata-key", "x") == (2, "what_to_link")
    assert refused("--metadata-key", "ours") == (2, "not_synced")
    bad = tmp_path / "bad.csv"
    bad.write_text("ada,cus_1\nbob\n")
    assert refused("--file", str(bad)) == (2, "bad_mapping")
    assert refused("--file", str(tmp_path / "none.csv")) == (2, "bad_mapping")


def test_usage_of_unlinked_customers_is_listed_until_they_are_linked(
    account: Account, settings: Settings, environment: dict[str, str]
) -> None:
    answer_of("apply", str(CATALOG_FILE), environment=environment)
    with Tallystick(settings) as product:
        for customer in ("ada", "bob"):
            at = to_datetime(from_seconds(JANUARY))
            draft = EventDraft("http_request", customer, at, f"e-{customer}")
            assert product.ingest.take([draft])[0].code is None
    shown = answer_of("customers", "unlinked", environment=environment)
    assert shown["unlinked"][0] == {
        "customer": "ada",
        "events": 1,
        "usage": {"api_requests": "1", "bandwidth_bytes": "1"},
    }
    answer_of("customers", "link", "ada", account.add_customer(None), environment=environment)
    left = answer_of("customers", "unlinked", environment=environment)
    assert [one["customer"] for one in left["unlinked"]] == ["bob"]
    waiting = answer_of("customers", "unbilled", "--meter", "api_requests", environment=environment)
    ada = {"customer": "ada", "meter": "api_requests", "from": None, "to": None}
    row = {**ada, "events": 1, "quantity": "1", "at_stake": None}  # she never had a price
    assert waiting == {"unbilled": [row], "more": False}
    asked = ("customers", "unbilled", "--meter", "none")
    assert refusal_of(*asked, environment=environment) == (2, "unknown_meter")


def test_the_periods_of_a_customer_at_an_instant(
    account: Account, environment: dict[str, str]
) -> None:
    clock = account.add_clock(JANUARY)
    customer = account.add_customer(clock)
    account.subscribe(customer, account.prices[:1])
    account.advance(clock, JANUARY + 45 * DAY_S)
    answer_of("customers", "link", "acme", customer, environment=environment)

    def periods(*at: str) -> list[dict[str, Any]]:
        shown = answer_of("customers", "periods", "acme", *at, environment=environment)
        found: list[dict[str, Any]] = shown["periods"]
        return found

    assert [one["from"] for one in periods()] == [
        format_instant(from_seconds(JANUARY)),
        "2024-02-29T00:00:00Z",
    ]
    (leap_day,) = periods("--at", "2024-02-29T23:59:59Z")
    assert (leap_day["from"], leap_day["to"]) == ("2024-02-29T00:00:00Z", "2024-03-31T00:00:00Z")
    assert leap_day["price"] == account.prices[0]
    assert periods("--at", "2020-01-01") == []


def test_endpoints_are_made_once_and_what_they_lack_is_said(
    account: Account, environment: dict[str, str]
) -> None:
    made = answer_of("webhooks", "setup", "https://ours.example", environment=environment)
    assert made["url"] == "https://ours.example/webhooks/stripe"
    assert [one["new"] for one in made["endpoints"]] == [True, True]
    assert all(one["secret"].startswith("whsec_") for one in made["endpoints"])
    again = answer_of("webhooks", "setup", "https://ours.example", environment=environment)
    assert [(one["new"], one["secret"]) for one in again["endpoints"]] == [(False, None)] * 2

    snapshot = made["endpoints"][0]["id"]
    shown = account.call("get", f"/v1/webhook_endpoints/{snapshot}")
    assert set(shown["enabled_events"]) == set(wanted_types(is_thin=False, livemode=False))
    account.call(
        "post",
        f"/v1/webhook_endpoints/{snapshot}",
        enabled_events=["invoice.paid", "charge.failed"],
    )
    done = tallystick(
        "webhooks", "setup", "https://ours.example", "--json", environment=environment
    )
    assert done.returncode == 1
    (lacking, whole) = json.loads(done.stdout)["endpoints"]
    assert "customer.subscription.updated" in lacking["lacking"]
    assert lacking["needless"] == ["charge.failed"]
    assert whole["lacking"] == []
    answer_of("webhooks", "setup", "https://ours.example", "--update", environment=environment)
    shown = account.call("get", f"/v1/webhook_endpoints/{snapshot}")
    assert set(shown["enabled_events"]) >= set(wanted_types(is_thin=False, livemode=False))
    assert refusal_of("webhooks", "setup", "ours.example", environment=environment) == (
        2,
        "invalid_url",
    )


def test_a_server_that_is_killed_while_it_works_loses_nothing(
    account: Account, settings: Settings, environment: dict[str, str], tmp_path: Path
) -> None:
    """Real webhooks, a real server, killed with SIGKILL twice while events come in."""
    port = free_port()
    made = answer_of("webhooks", "setup", f"http://127.0.0.1:{port}", environment=environment)
    secrets = ",".join(one["secret"] for one in made["endpoints"])
    serving = {**environment, "TALLYSTICK_WEBHOOK_SECRETS": secrets}
    customers = [account.add_customer(account.add_clock(JANUARY)) for _ in range(2)]

    def serve_while_changing(name: str) -> LocalServer:
        server = LocalServer(name, ["serve", "--port", str(port)], serving, tmp_path)
        for customer in customers:
            subscription = account.subscribe(customer, account.prices[:1])
            account.change(subscription, metadata={"server": name})
        return server

    for name in ("first", "second"):
        serve_while_changing(name).kill()
    server = serve_while_changing("third")
    try:
        # an event that was leased when its worker died waits for the lease; a sync does not
        answer = json.loads(tallystick("sync", "--json", environment=serving).stdout)
        assert answer["dead"] == 0
        wait_until_known(settings, account)
    finally:
        server.stop()


def wait_until_known(settings: Settings, account: Account) -> None:
    """Wait until every subscription is mirrored as the account has it."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        theirs = account.every("subscription")
        with Tallystick(settings) as product:
            ours = {
                known.stripe_id: json.loads(known.body or b"")
                for known in product.mirror.objects(ObjectKind.SUBSCRIPTION)
            }
        if ours == theirs or time.monotonic() > give_up_at:
            break
        time.sleep(0.1)
    assert ours == theirs
