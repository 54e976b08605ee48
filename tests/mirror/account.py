"""A Stripe account in the sandbox that a test changes, and what is true of it at each moment."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any, NamedTuple

import stripe

from tests.fixtures.patience import PATIENCE_SECONDS

METERED = {"interval": "month", "usage_type": "metered"}

LISTS = {
    "billing.meter": "/v1/billing/meters",
    "product": "/v1/products",
    "price": "/v1/prices",
    "test_helpers.test_clock": "/v1/test_helpers/test_clocks",
    "customer": "/v1/customers",
    "subscription": "/v1/subscriptions",
    "invoice": "/v1/invoices",
}


class Moment(NamedTuple):
    """What an item was from an instant of its clock on, in seconds; a price of None: not there."""

    at: int
    price: str | None
    start: int
    end: int


class Account:
    """One account: changes it, and writes down what every item was, and when."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key
        self.client = stripe.StripeClient(
            key, base_addresses={"api": url, "meter_events": url}, max_network_retries=0
        )
        self.moments: dict[str, list[Moment]] = {}
        self.customers: dict[str, str] = {}
        self.clocks: dict[str, int] = {}
        self.subscriptions: dict[str, str] = {}
        self.prices: list[str] = []
        self.clock_of_item: dict[str, str] = {}

    def call(self, method: str, path: str, **parameters: Any) -> dict[str, Any]:
        """Call the account; return the answer as plain data."""
        answer = self.client.raw_request(method, path, **parameters)
        found: dict[str, Any] = json.loads(answer.body)
        return found

    def every(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return every object of a kind as the account shows it, by id."""
        every = {"status": "all"} if kind == "subscription" else {}
        asked = [every]
        if kind in ("customer", "subscription"):  # lists leave those on clocks out
            asked += [{**every, "test_clock": clock} for clock in self.clocks]
        found: dict[str, dict[str, Any]] = {}
        for where in asked:
            after: dict[str, str] = {}
            while True:
                page = self.call("get", LISTS[kind], limit=100, **where, **after)
                found |= {each["id"]: each for each in page["data"]}
                if not page["has_more"]:
                    break
                after = {"starting_after": page["data"][-1]["id"]}
        return found

    def catalog(self) -> None:
        """Make a meter and prices: two a month, one a week, one a year, and a licence."""
        meter = self.call(
            "post",
            "/v1/billing/meters",
            display_name="Calls",
            event_name="calls",
            default_aggregation={"formula": "sum"},
        )["id"]
        product = self.call("post", "/v1/products", name="Plan")["id"]
        for interval, amount, metered in (
            ("month", 5, True),
            ("month", 7, True),
            ("week", 3, True),
            ("year", 2, True),
            ("month", 900, False),
        ):
            recurring: dict[str, Any] = {"interval": interval}
            if metered:
                recurring |= {"usage_type": "metered", "meter": meter}
            self.prices.append(
                self.call(
                    "post",
                    "/v1/prices",
                    currency="usd",
                    unit_amount=amount,
                    product=product,
                    recurring=recurring,
                )["id"]
            )

    def faults(self, rules: list[dict[str, Any]], seed: int = 0) -> None:
        """Let the sandbox go wrong for this account."""
        request = urllib.request.Request(
            f"{self.url}/_sandbox/faults",
            data=json.dumps({"rules": rules, "seed": seed}).encode(),
            headers={"Authorization": f"Bearer {self.key}"},
            method="POST",
        )
        with urllib.request.urlopen(request) as answer:
            answer.read()

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests that the sandbox had from this account."""
        request = urllib.request.Request(
            f"{self.url}/_sandbox/requests", headers={"Authorization": f"Bearer {self.key}"}
        )
        with urllib.request.urlopen(request) as answer:
            found: list[dict[str, Any]] = json.loads(answer.read())["data"]
        return found

    def add_clock(self, frozen_time: int) -> str:
        """Make a test clock."""
        clock = self.call("post", "/v1/test_helpers/test_clocks", frozen_time=frozen_time)["id"]
        self.clocks[clock] = frozen_time
        return str(clock)

    def add_customer(self, clock: str | None, **fields: Any) -> str:
        """Make a customer."""
        where = {"test_clock": clock} if clock else {}
        customer = self.call("post", "/v1/customers", **where, **fields)["id"]
        if clock:
            self.customers[customer] = clock
        return str(customer)

    def subscribe(self, customer: str, prices: list[str], **fields: Any) -> str:
        """Subscribe a customer, by sent invoices."""
        subscription = self.call(
            "post",
            "/v1/subscriptions",
            customer=customer,
            items=[{"price": price} for price in prices],
            collection_method="send_invoice",
            days_until_due=30,
            **fields,
        )["id"]
        self.subscriptions[subscription] = customer
        self.observe()
        return str(subscription)

    def change(self, subscription: str, **fields: Any) -> None:
        """Change a subscription."""
        self.call("post", f"/v1/subscriptions/{subscription}", **fields)
        self.observe()

    def cancel(self, subscription: str, **fields: Any) -> None:
        """Cancel a subscription now."""
        self.call("delete", f"/v1/subscriptions/{subscription}", **fields)
        self.observe()

    def items(self, subscription: str) -> list[dict[str, Any]]:
        """Return a subscription's items."""
        shown = self.call("get", f"/v1/subscriptions/{subscription}")
        found: list[dict[str, Any]] = shown["items"]["data"]
        return found

    def is_over(self, subscription: str) -> bool:
        """Tell whether a subscription has ended."""
        shown = self.call("get", f"/v1/subscriptions/{subscription}")
        return shown["status"] in ("canceled", "incomplete_expired")

    def advance(self, clock: str, to_at: int) -> None:
        """Advance a test clock, and stop at the end of each period on the way to look around."""
        while self.clocks[clock] < to_at:
            ends = [
                moment.end
                for item_moments in self.moments.values()
                for moment in item_moments[-1:]
                if moment.price is not None and self.clocks[clock] < moment.end
            ]
            step = min([to_at, *ends])
            self.call("post", f"/v1/test_helpers/test_clocks/{clock}/advance", frozen_time=step)
            self.wait_until_ready(clock)
            self.clocks[clock] = step
            self.observe()

    def wait_until_ready(self, clock: str) -> None:
        """Wait until a test clock has arrived."""
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while self.call("get", f"/v1/test_helpers/test_clocks/{clock}")["status"] != "ready":
            assert time.monotonic() < give_up_at
            time.sleep(0.005)

    def wait_until_told(self) -> None:
        """Wait until no webhook is on its way: an invoice changes when the one of its creation has
        been answered.
        """
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        after: dict[str, str] = {}
        while True:
            page = self.call("get", "/v1/events", limit=100, **after)
            if any(event["pending_webhooks"] for event in page["data"]):
                assert time.monotonic() < give_up_at
                time.sleep(0.02)
            elif page["has_more"]:
                after = {"starting_after": page["data"][-1]["id"]}
            else:
                return

    def observe(self) -> None:
        """Write down what every item on a clock is now."""
        seen: set[str] = set()
        for subscription, customer in self.subscriptions.items():
            shown = self.call("get", f"/v1/subscriptions/{subscription}")
            now = self.clocks[self.customers[customer]]
            if shown["status"] in ("canceled", "incomplete_expired"):
                continue
            for item in shown["items"]["data"]:
                seen.add(item["id"])
                self.clock_of_item[item["id"]] = self.customers[customer]
                period = item["current_period_start"], item["current_period_end"]
                moments = self.moments.setdefault(item["id"], [])
                moment = Moment(now, item["price"]["id"], *period)
                if not moments or moments[-1][1:] != moment[1:]:
                    moments.append(moment)
        for item_id, moments in self.moments.items():
            if item_id not in seen and moments[-1].price is not None:
                now = self.clocks[self.clock_of_item[item_id]]
                moments.append(Moment(now, None, 0, 0))
