"""`tallystick archive` on a whole installation: what people see is the same after it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tallystick.billing.catalog_file import read_catalog_texts
from tallystick.billing.what_if import WhatIf
from tallystick.billing.what_if_answer import answer_what_if
from tallystick.domain.corrections import Correction, CorrectionStatus
from tallystick.domain.events import UsageEvent
from tallystick.domain.instants import DAY_US, parse_instant
from tallystick.domain.periods import Period
from tallystick.domain.subscriptions import CustomerLink, SubscriptionItem
from tallystick.oversight.invariants import check_store
from tallystick.oversight.usage_view import usage_view
from tallystick.wiring import Tallystick
from tests.fixtures.commands import answer_of, tallystick
from tests.fixtures.mirrored import keep_items

if TYPE_CHECKING:
    from tallystick.config import Settings

CUSTOMERS = ("ada", "bob", "cyd")
MAY = Period(parse_instant("2015-05-03T07:20:11Z"), parse_instant("2015-06-03T07:20:11Z"))
INSIDE = Period(parse_instant("2015-05-05T08:00:30Z"), parse_instant("2015-05-16T16:05:00Z"))
CATALOG = """\
meters:
  bytes: {{event_type: sent, aggregation: sum, decimals: 2, group_by: [region]}}
  most: {{event_type: sent, aggregation: max, decimals: 2}}
products:
  api:
    prices:
      bytes_monthly: {{meter: bytes, currency: usd, unit_amount: {cents}}}
      most_monthly: {{meter: most, currency: usd, unit_amount: 7}}
"""


@pytest.fixture
def filled(settings: Settings) -> dict[str, str]:
    """The environment of an installation with 90 events of May 2015, which were imported as history
    so that nothing of them is to be reported, and one of today.
    """
    declared = read_catalog_texts([("now.yaml", CATALOG.format(cents=3))])
    with Tallystick(settings) as product:
        now = product.clock.now()
        meter_ids = {meter.key: f"mtr_{meter.key}" for meter in declared.meters}
        price_ids = {price.key: f"price_{price.key}" for price in declared.prices}
        product.catalog.keep(declared, meter_ids, price_ids, now)
        links = [CustomerLink(customer, f"cus_{customer}") for customer in CUSTOMERS]
        product.customers.link(links, now)
        for link in links:
            keep_items(product, link.stripe_customer_id, _items(link), now)
        product.events.append([event(number) for number in range(90)], now, is_history=True)
        product.events.append([event(90, at=now)], now).result()
        product.book.notice(1_000)
    return {"TALLYSTICK_DATABASE_URL": settings.database_url}


def _items(link: CustomerLink) -> list[SubscriptionItem]:
    owner = link.customer
    return [
        SubscriptionItem(
            f"si_{owner}_{meter}",
            f"sub_{owner}",
            link.stripe_customer_id,
            f"price_{meter}_monthly",
            f"mtr_{meter}",
            MAY,
            MAY,
        )
        for meter in ("bytes", "most")
    ]


def event(number: int, *, at: int | None = None) -> UsageEvent:
    properties = b'{"region":"%s", "n":%d}' % ((b"eu", b"us")[number % 2], number)
    spread = MAY.start_at + number * DAY_US // 4 + number * 1_234_567
    owner = CUSTOMERS[number % 3]
    value = Decimal(number).scaleb(-2)
    return UsageEvent("s", f"e{number}", "sent", owner, at or spread, value, properties)


def archive(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    return answer_of("archive", *arguments, environment=environment)


def shown(settings: Settings) -> list[Any]:
    """Return what people see, in periods that begin and end inside of hours too."""
    other = read_catalog_texts([("other.yaml", CATALOG.format(cents=5))])
    with Tallystick(settings) as product:
        meters = product.catalog.meters()
        views: list[Any] = [
            usage_view(product.usage, meters.by_key.values(), customer, period, None)
            for customer in CUSTOMERS
            for period in (MAY, INSIDE)
        ]
        rerated = WhatIf(product.usage, product.catalog, product.customers, other)
        ever = Period(0, MAY.end_at + DAY_US)
        views.append(answer_what_if(rerated.rerate(ever), ever))
        views.append(product.events.count())
        with product.snapshots.snapshot() as snapshot:
            checks = check_store(snapshot, meters)
    assert [finding for check in checks for finding in check.findings] == []
    return views


def test_nothing_that_people_see_changes_when_days_leave_and_come_back(
    filled: dict[str, str], settings: Settings
) -> None:
    before = shown(settings)
    assert archive(filled, "verify") == {"ok": True, "days": []}

    done = archive(filled, "run")
    assert done["ok"]
    assert sum(day["events"] for day in done["days"]) == 90
    assert all(day["files"][0].startswith(f"day={day['day']}/") for day in done["days"])
    with Tallystick(settings) as product:  # nobody asked for lateness yet
        assert product.lateness.waiting(product.lateness_tally.selections()) == 0
    assert before == shown(settings)
    assert archive(filled, "run") == {"ok": True, "days": []}

    with Tallystick(settings) as product:
        voided = Correction("s", "e44", None, "ann", "a test")
        assert product.events.correct([voided], 0).result() == [CorrectionStatus.CORRECTED]
    changed = shown(settings)
    assert changed != before
    assert archive(filled, "verify")["ok"]

    first, last = done["days"][0]["day"], done["days"][-1]["day"]
    restored = archive(filled, "restore", first, last)
    assert sum(day["events"] for day in restored["days"]) == 90
    assert changed == shown(settings)
    assert archive(filled, "verify") == {"ok": True, "days": []}


def test_damage_is_named_and_the_exit_code_says_so(
    filled: dict[str, str], settings: Settings
) -> None:
    day = archive(filled, "run")["days"][0]
    file = settings.archive_path() / day["files"][0]
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    checked = tallystick("archive", "verify", day["day"], "--json", environment=filled)
    assert checked.returncode == 1
    assert str(file) in json.loads(checked.stdout)["days"][0]["findings"][0]
    in_words = tallystick("archive", "verify", environment=filled)
    assert in_words.returncode == 1
    assert f"FAIL {day['day']}" in in_words.stdout
    refused = tallystick("archive", "restore", day["day"], environment=filled)
    assert refused.returncode == 1
    assert "was altered" in refused.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("verify", "2015-05-18T10:00:00Z"), "invalid_day"),
        (("restore", "2015-05-18", "2015-05-17"), "invalid_day"),
        (("restore", "2015-05-18"), "not_archived"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    settings: Settings, arguments: tuple[str, ...], code: str
) -> None:
    Tallystick(settings).close()
    environment = {"TALLYSTICK_DATABASE_URL": settings.database_url}
    refused = tallystick("archive", *arguments, "--json", environment=environment)
    assert (refused.returncode, json.loads(refused.stdout)["error"]["code"]) == (2, code)


def test_a_retention_that_cannot_be_is_refused(settings: Settings) -> None:
    environment = {
        "TALLYSTICK_DATABASE_URL": settings.database_url,
        "TALLYSTICK_RETENTION_DAYS": "0",
    }
    refused = tallystick("archive", "run", environment=environment)
    assert refused.returncode == 2
    assert "RETENTION_DAYS" in refused.stderr
