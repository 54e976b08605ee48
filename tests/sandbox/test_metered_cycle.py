"""From a metered price to a paid invoice, through the official SDK."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import stripe

from tests.sandbox.rig import DAY_S, HOUR_S, JUNE_2015, MAY_2015

if TYPE_CHECKING:
    from tests.sandbox.rig import Rig

TIERS = [
    {"up_to": 100, "unit_amount_decimal": "1"},
    {"up_to": 300, "unit_amount_decimal": "0.8"},
    {"up_to": "inf", "unit_amount_decimal": "0.5"},
]


def graduated(rig: Rig, meter: Any) -> Any:
    return rig.price(meter, billing_scheme="tiered", tiers_mode="graduated", tiers=TIERS)


def test_graduated_usage_bills_a_rounded_line_per_entered_tier(rig: Rig) -> None:
    price = graduated(rig, rig.meter())
    clock = rig.clock()
    customer = rig.customer(clock, card=None)
    subscription = rig.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id}]}
    )
    assert subscription.latest_invoice is None
    item = subscription["items"].data[0]
    assert (item.current_period_start, item.current_period_end) == (MAY_2015, JUNE_2015)
    rig.advance(clock, MAY_2015 + DAY_S)
    rig.report(customer, 301, MAY_2015 + DAY_S)

    rig.advance(clock, JUNE_2015 + 60)
    (draft,) = rig.invoices(subscription)
    assert draft.status == "draft"
    assert [(line.quantity, line.amount) for line in draft.lines.data] == [
        (100, 100),
        (200, 160),
        (1, 1),
    ]
    assert draft.automatically_finalizes_at == JUNE_2015 + HOUR_S

    rig.report(customer, 100, JUNE_2015 - 1)
    rig.advance(clock, JUNE_2015 + HOUR_S)
    (final,) = rig.invoices(subscription)
    assert final.status == "open"
    assert final.total == 100 + 160 + 51
    assert rig.v1.subscriptions.retrieve(subscription.id).status == "past_due"


def test_zero_usage_shows_a_zero_line_and_is_paid(rig: Rig) -> None:
    price = rig.price(rig.meter(), unit_amount_decimal="0.000000000001")
    clock = rig.clock()
    customer = rig.customer(clock, card=None)
    subscription = rig.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id}]}
    )
    rig.advance(clock, JUNE_2015 + 2 * HOUR_S)
    (invoice,) = rig.invoices(subscription)
    assert [(line.quantity, line.amount) for line in invoice.lines.data] == [(0, 0)]
    assert (invoice.status, invoice.amount_due) == ("paid", 0)


def test_repeated_identifier_is_refused_and_same_key_replays(rig: Rig) -> None:
    meter = rig.meter()
    customer = rig.customer(card=None)
    now = int(time.time())
    body = {
        "event_name": meter.event_name,
        "identifier": "report-1",
        "timestamp": now,
        "payload": {"stripe_customer_id": customer.id, "value": "7"},
    }
    first = rig.v1.billing.meter_events.create(body, {"idempotency_key": "key-1"})
    again = rig.v1.billing.meter_events.create(body, {"idempotency_key": "key-1"})
    assert first.identifier == again.identifier
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        rig.v1.billing.meter_events.create(body)
    assert str(refusal.value.user_message) == "An event already exists with identifier report-1."
    assert refusal.value.code is None
    assert refusal.value.headers is not None
    assert refusal.value.headers["stripe-should-retry"] == "false"


@pytest.mark.parametrize(
    ("offset_s", "words"),
    [(-35 * DAY_S - 60, "more than 35 days in past"), (400, "more than 5 minutes in the future")],
)
def test_timestamp_outside_the_limits_is_refused(rig: Rig, offset_s: int, words: str) -> None:
    rig.meter()
    customer = rig.customer(rig.clock(), card=None)
    rig.report(customer, 1, MAY_2015 - 35 * DAY_S)
    with pytest.raises(stripe.InvalidRequestError, match=words):
        rig.report(customer, 1, MAY_2015 + offset_s)


def test_a_clock_takes_three_customers_and_two_intervals(rig: Rig) -> None:
    price = graduated(rig, rig.meter())
    clock = rig.clock()
    customers = [rig.customer(clock, card=None) for _ in range(3)]
    with pytest.raises(stripe.InvalidRequestError, match="at most 3 customers"):
        rig.customer(clock, card=None)
    rig.v1.subscriptions.create({"customer": customers[0].id, "items": [{"price": price.id}]})
    with pytest.raises(stripe.InvalidRequestError, match="two intervals"):
        rig.advance(clock, JUNE_2015 + 40 * DAY_S)
    assert rig.advance(clock, JUNE_2015 + 30 * DAY_S).frozen_time == JUNE_2015 + 30 * DAY_S


def test_lists_page_in_both_directions_and_filter(rig: Rig) -> None:
    price = graduated(rig, rig.meter())
    clock = rig.clock()
    made = []
    for _ in range(3):
        customer = rig.customer(clock, card=None)
        made.append(
            rig.v1.subscriptions.create({"customer": customer.id, "items": [{"price": price.id}]})
        )
    assert rig.v1.subscriptions.list().data == []  # those on clocks only show when asked for
    here = {"test_clock": clock.id}
    listing = rig.v1.subscriptions.list({"limit": 2, **here})
    assert [one.id for one in listing.data] == [made[2].id, made[1].id]
    assert listing.has_more
    following = rig.v1.subscriptions.list({"limit": 2, "starting_after": made[1].id, **here})
    assert [one.id for one in following.data] == [made[0].id]
    assert not following.has_more
    before = rig.v1.subscriptions.list({"limit": 1, "ending_before": made[0].id, **here})
    assert [one.id for one in before.data] == [made[1].id]
    assert before.has_more
    assert len(list(rig.v1.subscriptions.list({"limit": 1, **here}).auto_paging_iter())) == 3
    mine = rig.v1.subscriptions.list({"customer": made[0].customer, "test_clock": clock.id})
    assert [one.id for one in mine.data] == [made[0].id]


def test_summaries_show_the_counted_value_exactly(rig: Rig) -> None:
    meter = rig.meter()
    customer = rig.customer(rig.clock(), card=None)
    for value in ("0.1", "0.2", "-0.05"):
        rig.report(customer, value, MAY_2015)
    assert rig.counted(meter, customer, MAY_2015, MAY_2015 + HOUR_S, 0.25)


def test_unknown_and_unsupported_parameters_are_told_apart(rig: Rig) -> None:
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        rig.v1.customers.create({"wat": "1"})
    assert unknown.value.code == "parameter_unknown"
    with pytest.raises(stripe.InvalidRequestError, match="not supported by the sandbox") as known:
        rig.v1.customers.create({"cash_balance": {"settings": {"reconciliation_mode": "manual"}}})
    assert known.value.param == "cash_balance"
