"""A billing year: tiers, upgrades, cancellations and failed cards, twice with one seed.

The suite runs it with a few customers; TALLYSTICK_BILLING_YEAR_CUSTOMERS=1000 is the full size
(about two minutes; see docs/sandbox.md).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import stripe

from tests.sandbox.rig import DAY_S, HOUR_S, Rig, RunningSandbox, client_for, instant

CUSTOMERS = int(os.environ.get("TALLYSTICK_BILLING_YEAR_CUSTOMERS", "18"))
MONTHS = 12
START = instant(2026, 1, 1)
FIRST_DAYS = [instant(2026 + n // 12, n % 12 + 1, 1) for n in range(MONTHS + 1)]
KEY = "sk_test_billing_year"
TIERS = {
    "starter": [(1_000, "0.8"), ("inf", "0.5")],
    "team": [(5_000, "0.6"), (50_000, "0.45"), ("inf", "0.3")],
    "scale": [(100_000, "0.25"), ("inf", "0.125")],
}


class Year:
    """One run of the year on a fresh sandbox."""

    def __init__(self, url: str, customers: int) -> None:
        # plain clients: the exchanges of a whole year are too many to check each one
        self.rig = Rig(url, KEY, client_for(url, KEY, http_client=stripe.RequestsClient()))
        self.customers: list[Any] = []
        self.subscriptions: list[Any] = []
        self.clocks: list[Any] = []
        self.count = customers

    def prepare(self) -> None:
        """Make the plans, the customers and their subscriptions."""
        rig = self.rig
        meter = rig.meter()
        self.prices = {
            name: rig.price(
                meter,
                billing_scheme="tiered",
                tiers_mode="graduated",
                tiers=[{"up_to": top, "unit_amount_decimal": each} for top, each in tiers],
                product_data={"name": name},
            )
            for name, tiers in TIERS.items()
        }
        names = list(TIERS)
        for number in range(self.count):
            if number % 3 == 0:
                self.clocks.append(rig.clock(START))
            card = "pm_card_chargeCustomerFail" if number % 11 == 5 else "pm_card_visa"
            customer = rig.customer(self.clocks[-1], card=card, name=f"customer {number}")
            self.customers.append(customer)
            price = self.prices[names[number % 3]]
            self.subscriptions.append(
                rig.v1.subscriptions.create(
                    {"customer": customer.id, "items": [{"price": price.id}]}
                )
            )

    def month(self, number: int) -> None:
        """Report usage in the middle of a month, change some plans, and go on to its end."""
        begin, end = FIRST_DAYS[number], FIRST_DAYS[number + 1]
        middle = begin + 14 * DAY_S
        for clock in self.clocks:
            self._advance(clock, middle)
        self._settle()
        for index, customer in enumerate(self.customers):
            if self._is_cancelled(index, number):
                continue
            usage = (index * 7_919 + number * 104_729) % 150_000
            self.rig.report(customer, usage, middle, identifier=f"{index}-{number}")
            if number == 5 and index % 4 == 1:
                self._upgrade(index)
            if number == 8 and index % 9 == 4:
                self.rig.v1.subscriptions.cancel(
                    self.subscriptions[index].id, {"invoice_now": True}
                )
        for clock in self.clocks:
            self._advance(clock, end + 2 * HOUR_S)
        self._settle()

    @staticmethod
    def _is_cancelled(index: int, month: int) -> bool:
        return month > 8 and index % 9 == 4

    def _upgrade(self, index: int) -> None:
        subscription = self.subscriptions[index]
        self.rig.v1.subscriptions.update(
            subscription.id,
            {
                "items": [
                    {
                        "id": subscription["items"].data[0].id,
                        "price": self.prices["scale" if index % 3 != 2 else "team"].id,
                    }
                ]
            },
        )

    def _advance(self, clock: Any, to: int) -> None:
        self.rig.v1.test_helpers.test_clocks.advance(clock.id, {"frozen_time": to})

    def _settle(self) -> None:
        for clock in self.clocks:
            while self.rig.v1.test_helpers.test_clocks.retrieve(clock.id).status != "ready":
                time.sleep(0.001)

    def invoices(self) -> list[dict[str, Any]]:
        """Return every invoice, without what depends on the machine's own time."""
        found = self.rig.v1.invoices.list({"limit": 100}).auto_paging_iter()
        return [invoice.to_dict() for invoice in found]


def run_year(customers: int) -> tuple[str, list[dict[str, Any]], float]:
    started = time.monotonic()
    with RunningSandbox("--seed", "11") as running:
        year = Year(running.url, customers)
        year.prepare()
        for number in range(MONTHS):
            year.month(number)
        invoices = year.invoices()
    digest = hashlib.sha256(json.dumps(invoices, sort_keys=True, default=str).encode())
    return digest.hexdigest(), invoices, time.monotonic() - started


def test_two_runs_of_a_year_give_identical_invoices() -> None:
    with ThreadPoolExecutor(2) as pool:
        (first, invoices, took_s), (second, _, _) = pool.map(run_year, [CUSTOMERS, CUSTOMERS])
    print(f"{len(invoices)} invoices of {CUSTOMERS} customers in {took_s:.1f} s")  # noqa: T201
    assert first == second
    statuses = {invoice["status"] for invoice in invoices}
    assert statuses == {"open", "paid"}
    reasons = {invoice["billing_reason"] for invoice in invoices}
    assert reasons == {"subscription_cycle", "subscription_update"}
    assert len(invoices) >= CUSTOMERS * MONTHS * 9 // 10
