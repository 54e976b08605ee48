"""Past usage of all customers under another catalog: on the command line and over HTTP."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from tallystick.api.event_bodies import parse_events
from tallystick.billing.catalog_file import read_catalog_texts
from tallystick.billing.what_if import NOT_APPLIED, NOT_IN_OTHER, WhatIf, WhatIfAnswer
from tallystick.domain.catalog.objects import CatalogError
from tallystick.domain.instants import parse_instant
from tallystick.domain.periods import Period
from tallystick.domain.subscriptions import CustomerLink, SubscriptionItem
from tests.catalog.shop import BASE, write
from tests.fixtures.commands import tallystick
from tests.fixtures.mirrored import keep_items

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

    from tallystick.wiring import Tallystick

APRIL, MAY, JUNE = (parse_instant(f"2015-0{month}-01") for month in (4, 5, 6))
WHOLE_MAY = Period(MAY, JUNE)

NOW = """\
meters:
  calls: {event_type: call, aggregation: count}
  storage: {event_type: stored, aggregation: sum, decimals: 3}
products:
  api:
    prices:
      calls_monthly: {meter: calls, currency: usd, unit_amount: 2}
      storage_monthly:
        meter: storage
        currencies: {usd: {unit_amount: 10}, jpy: {unit_amount: 3}}
"""
USAGE = {"ada": (5, "1.5"), "bob": (1, "0"), "cyd": (0, "7")}


def prices_of(customer: str) -> list[str]:
    return (
        ["storage_monthly_jpy"] if customer == "cyd" else ["calls_monthly", "storage_monthly_usd"]
    )


@pytest.fixture
def used(product: Tallystick) -> Tallystick:
    """Three customers with subscriptions and usage in May 2015."""
    catalog = read_catalog_texts([("now.yaml", NOW)])
    meter_ids = {meter.key: f"mtr_{meter.key}" for meter in catalog.meters}
    price_ids = {price.key: f"price_{price.key}" for price in catalog.prices}
    product.catalog.keep(catalog, meter_ids, price_ids, MAY)
    links = [CustomerLink(customer, f"cus_{customer}") for customer in USAGE]
    product.customers.link(links, MAY)
    for link in links:
        items = [item_of(link.customer, key, WHOLE_MAY) for key in prices_of(link.customer)]
        keep_items(product, link.stripe_customer_id, items, MAY)
    events = [
        event
        for customer, (calls, stored) in USAGE.items()
        for event in (
            *(event_of(customer, "call", "1", number) for number in range(calls)),
            event_of(customer, "stored", stored, 0),
        )
    ]
    batch = product.ingest.check(drafts(events))
    product.ingest.append(batch.events).result()
    return product


def drafts(events: list[dict[str, Any]]) -> Any:
    return parse_events("application/json", json.dumps(events).encode())


def event_of(customer: str, type_: str, value: str, number: int) -> dict[str, Any]:
    return {
        "id": f"{customer}-{type_}-{number}",
        "type": type_,
        "customer": customer,
        "time": "2015-05-10T12:00:00Z",
        "value": value,
    }


def item_of(customer: str, key: str, period: Period) -> SubscriptionItem:
    meter = "calls" if key.startswith("calls") else "storage"
    return SubscriptionItem(
        stripe_item_id=f"si_{customer}_{key}",
        stripe_subscription_id=f"sub_{customer}",
        stripe_customer_id=f"cus_{customer}",
        stripe_price_id=f"price_{key}",
        stripe_meter_id=f"mtr_{meter}",
        period=period,
        cycle=period,
    )


def ask(product: Tallystick, text: str, within: Period = WHOLE_MAY) -> WhatIfAnswer:
    other = read_catalog_texts([("other.yaml", text)])
    return WhatIf(product.usage, product.catalog, product.customers, other).rerate(within)


def test_the_same_catalog_changes_nothing(used: Tallystick) -> None:
    answer = ask(used, NOW)
    assert answer.unrated == ()
    # ada: 5 calls at 2 and 1.5 stored at 10; bob: one call; cyd: 7 stored at 3 yen
    assert answer.rows == (("ada", "usd", 25, 25), ("bob", "usd", 2, 2), ("cyd", "jpy", 21, 21))
    assert answer.totals == (("", "jpy", 21, 21), ("", "usd", 27, 27))


def test_other_prices_give_the_difference_for_each_customer_and_in_total(used: Tallystick) -> None:
    dearer = NOW.replace("unit_amount: 2}", "unit_amount: 3}").replace(
        "jpy: {unit_amount: 3}", "jpy: {unit_amount: 1}"
    )
    answer = ask(used, dearer)
    assert [(row.customer, row.difference_minor) for row in answer.rows] == [
        ("ada", 5),
        ("bob", 1),
        ("cyd", -14),
    ]
    assert [(row.currency, row.difference_minor) for row in answer.totals] == [
        ("jpy", -14),
        ("usd", 6),
    ]


def test_a_price_may_bill_another_meter_that_is_measured(used: Tallystick) -> None:
    other = NOW.replace("{meter: calls, currency", "{meter: storage, currency")
    answer = ask(used, other)
    assert answer.rows[0] == ("ada", "usd", 25, 18)  # 1.5 at 2 and at 10


def test_a_meter_that_never_measured_is_refused(used: Tallystick) -> None:
    with pytest.raises(CatalogError, match=r"other.yaml:2: meters.calls: usage was never measured"):
        ask(used, NOW.replace("aggregation: count", "aggregation: sum"))


def test_minimum_and_cap_of_the_plan_with_exactly_these_prices_apply(used: Tallystick) -> None:
    plans = "plans:\n  p: {items: [calls_monthly, storage_monthly_usd], %s}\n"
    text = NOW.replace(
        "      storage_monthly:\n        meter: storage\n"
        "        currencies: {usd: {unit_amount: 10}, jpy: {unit_amount: 3}}\n",
        "      storage_monthly_usd: {meter: storage, currency: usd, unit_amount: 10}\n"
        "      storage_monthly_jpy: {meter: storage, currency: jpy, unit_amount: 3}\n",
    )
    minimum = ask(used, text + plans % "commitments: {usd: {minimum: 20}}")
    assert minimum.rows == (("ada", "usd", 25, 25), ("bob", "usd", 2, 20), ("cyd", "jpy", 21, 21))
    capped = ask(used, text + plans % "spend_caps: {usd: 12}")
    assert capped.rows[0] == ("ada", "usd", 25, 12)
    yearly = ask(used, text + plans % "commitments: {usd: {minimum: 2000, periods: 12}}")
    assert yearly.rows[1] == ("bob", "usd", 2, 2)  # one month does not decide a year


def test_items_that_cannot_be_compared_are_in_neither_sum(used: Tallystick) -> None:
    strange = item_of("bob", "calls_strange", WHOLE_MAY)
    keep_items(used, "cus_bob", [strange], MAY)
    without = NOW[: NOW.index("      storage_monthly")]
    answer = ask(used, without)
    assert {(item.customer, item.reason) for item in answer.unrated} == {
        ("ada", NOT_IN_OTHER),
        ("bob", NOT_APPLIED),
        ("bob", NOT_IN_OTHER),
        ("cyd", NOT_IN_OTHER),
    }
    assert answer.rows == (("ada", "usd", 10, 10), ("bob", "usd", 2, 2))


@pytest.mark.parametrize(
    ("within", "customers"),
    [(Period(MAY, JUNE), 3), (Period(APRIL, JUNE - 1), 0), (Period(JUNE, JUNE + 1), 0)],
)
def test_periods_count_that_ended_after_the_start_and_by_the_end(
    used: Tallystick, within: Period, customers: int
) -> None:
    assert len(ask(used, NOW, within).rows) == customers


def test_the_command_prints_a_table_json_and_csv(used: Tallystick, tmp_path: Path) -> None:
    cheaper = write(tmp_path, NOW.replace("unit_amount: 2}", "unit_amount: 1}"))
    environment = {"TALLYSTICK_DATABASE_URL": used.settings.database_url}
    arguments = ("whatif", "--catalog", str(cheaper), "--from", "2015-05-01", "--to", "2015-06-01")
    table = tallystick(*arguments, environment=environment)
    assert table.returncode == 0, table.stderr
    rows = [" ".join(line.split()) for line in table.stdout.splitlines()]
    assert "ada 0.25 USD 0.20 USD -0.05 USD" in rows
    assert "total 0.27 USD 0.21 USD -0.06 USD" in rows

    answer = json.loads(tallystick(*arguments, "--json", environment=environment).stdout)
    assert answer["from"] == "2015-05-01T00:00:00Z"
    assert answer["totals"] == [
        {"currency": "jpy", "before": 21, "after": 21, "difference": 0},
        {"currency": "usd", "before": 27, "after": 21, "difference": -6},
    ]
    text = tallystick(*arguments, "--csv", environment=environment).stdout
    assert list(csv.reader(io.StringIO(text))) == [
        ["customer", "currency", "before", "after", "difference"],
        ["ada", "usd", "25", "20", "-5"],
        ["bob", "usd", "2", "1", "-1"],
        ["cyd", "jpy", "21", "21", "0"],
        ["", "jpy", "21", "21", "0"],
        ["", "usd", "27", "21", "-6"],
    ]
    assert tallystick(*arguments, "--csv", "--json", environment=environment).returncode == 2


def test_http_answers_the_same_question(used: Tallystick, api: httpx2.Client) -> None:
    asked = {"from": "2015-05-01T00:00:00Z", "to": "2015-06-01T00:00:00Z"}
    answer = api.post("/v1/whatif", params=asked, content=NOW.replace("amount: 2}", "amount: 1}"))
    assert answer.status_code == 200, answer.text
    assert answer.json()["customers"][0] == {
        "customer": "ada",
        "currency": "usd",
        "before": 25,
        "after": 20,
        "difference": -5,
    }


def test_http_names_every_problem_of_a_catalog(api: httpx2.Client) -> None:
    refused = api.post("/v1/whatif", content=BASE.replace("count", "counts"))
    assert refused.status_code == 400
    problem = refused.json()
    assert (problem["code"], problem["problems"][0]["line"]) == ("bad_catalog", 2)
    assert problem["problems"][0]["field"] == "meters.calls.aggregation"
    assert api.post("/v1/whatif", content=b"\xff").json()["code"] == "bad_catalog"
    assert api.post("/v1/whatif?from=never", content=NOW).json()["code"] == "invalid_period"


PRICE = {
    "currency": "usd",
    "billing_scheme": "tiered",
    "tiers_mode": "graduated",
    "product_data": {"name": "API requests"},
    "tiers": [
        {"up_to": 1000, "unit_amount": 1},
        {"up_to": 10000, "unit_amount_decimal": "0.8"},
        {"up_to": "inf", "unit_amount_decimal": "0.5"},
    ],
}


@pytest.mark.parametrize("usage", ["10001", 10001])
def test_http_rates_as_the_command_does(api: httpx2.Client, tmp_path: Path, usage: object) -> None:
    answer = api.post("/v1/rate", json={"price": PRICE, "usage": usage})
    assert answer.status_code == 200, answer.text
    file = write(tmp_path, json.dumps(PRICE), "price.json")
    printed = tallystick("rate", "--price", str(file), "--usage", "10001", "--json")
    assert answer.json() == json.loads(printed.stdout)
    assert answer.json()["amount"] == 8201


def test_http_reads_numbers_exactly(api: httpx2.Client) -> None:
    body = b'{"price": {"currency": "usd", "unit_amount_decimal": 0.1}, "usage": 0.3}'
    answer = api.post("/v1/rate", content=body).json()
    assert answer["lines"][0]["quantity"] == "0.3"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"price": {**PRICE, "tiers": PRICE["tiers"][:2]}, "usage": 1},  # type: ignore[index]  # a list
         "tiers_not_ending_in_inf", "tiers[1][up_to]"),
        ({"price": [], "usage": 1}, "price_not_an_object", None),
        ({"price": PRICE, "usage": "many"}, "value_not_a_number", "usage"),
        ({"price": PRICE, "usage": True}, "value_not_a_number", "usage"),
        ({"price": PRICE, "usage": None}, "value_not_a_number", "usage"),
    ],
)  # fmt: skip
def test_http_refuses_with_the_error_of_the_command(
    api: httpx2.Client, body: dict[str, Any], code: str, param: str | None
) -> None:
    refused = api.post("/v1/rate", json=body)
    assert refused.status_code == 400
    problem = refused.json()
    assert (problem["code"], problem["status"]) == (code, 400)
    assert set(problem["error"]) == {"code", "message", "param"}
    assert (problem["error"]["code"], problem["error"]["param"]) == (code, param)


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"price": {}}', b"[" * 100_000, b"\xff"])
def test_http_refuses_what_is_no_question(api: httpx2.Client, body: bytes) -> None:
    refused = api.post("/v1/rate", content=body)
    assert refused.status_code == 400
    assert refused.json()["code"] in ("invalid_json", "invalid_body")


@pytest.mark.parametrize("path", ["/v1/rate", "/v1/whatif"])
def test_a_key_is_needed(api: httpx2.Client, path: str) -> None:
    assert api.post(path, headers={"Authorization": "Bearer no"}).status_code == 401
