"""The ways to report usage: v1 events, v2 events and the stream, legacy usage records."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import stripe

from tests.sandbox.rig import DAY_S, HOUR_S, client_for, instant

if TYPE_CHECKING:
    from tests.sandbox.rig import Rig

JAN, FEB = instant(2026, 1, 1), instant(2026, 2, 1)
ROUNDS = 20
ACACIA = {"stripe_version": "2025-02-24.acacia"}
CLOSED = (
    "Cannot create the usage record with this timestamp because timestamps must be after the "
    "subscription's last invoice period (or current period start time)."
)


def legacy_subscription(rig: Rig, how: str) -> tuple[Any, Any]:
    plan = rig.v1.plans.create(
        {
            "currency": "usd",
            "interval": "month",
            "amount": 100,
            "usage_type": "metered",
            "aggregate_usage": how,
            "product": {"name": "Legacy"},
        },
        ACACIA,
    )
    clock = rig.clock(JAN)
    subscription = rig.v1.subscriptions.create(
        {"customer": rig.customer(clock).id, "items": [{"plan": plan.id}]}, ACACIA
    )
    assert subscription.current_period_start == JAN
    return clock, subscription


def record(rig: Rig, subscription: Any, quantity: int, at: int | str, action: str) -> Any:
    item = subscription["items"].data[0].id
    answer = rig.client.raw_request(
        "post",
        f"/v1/subscription_items/{item}/usage_records",
        quantity=quantity,
        timestamp=at,
        action=action,
        stripe_version="2025-02-24.acacia",
    )
    return rig.client.deserialize(answer, api_mode="V1")


@pytest.mark.parametrize(
    ("how", "quantity"), [("sum", 36), ("last_during_period", 5), ("last_ever", 5), ("max", 20)]
)
def test_legacy_usage_records_are_aggregated_as_the_plan_says(
    rig: Rig, how: str, quantity: int
) -> None:
    clock, subscription = legacy_subscription(rig, how)
    rig.advance(clock, JAN + 5 * DAY_S)
    for day, value in enumerate((10, 20, 1, 5), start=1):
        record(rig, subscription, value, JAN + day * DAY_S, "increment")
    rig.advance(clock, FEB + 2 * HOUR_S)
    invoice = rig.invoices(subscription)[-1]
    assert [(line.quantity, line.amount) for line in invoice.lines.data] == [
        (quantity, quantity * 100)
    ]
    item = subscription["items"].data[0].id
    answer = rig.client.raw_request(
        "get",
        f"/v1/subscription_items/{item}/usage_record_summaries",
        stripe_version="2025-02-24.acacia",
    )
    totals: Any = rig.client.deserialize(answer, api_mode="V1")
    assert [row.total_usage for row in totals.data][:2] == [
        5 if how == "last_ever" else 0,
        quantity,
    ]
    rig.advance(clock, instant(2026, 3, 1) + 2 * HOUR_S)
    carried = 5 if how == "last_ever" else 0
    assert rig.invoices(subscription)[-1].lines.data[0].quantity == carried


def test_set_overwrites_its_second_and_a_closed_period_is_refused(rig: Rig) -> None:
    clock, subscription = legacy_subscription(rig, "sum")
    rig.advance(clock, JAN + DAY_S)
    record(rig, subscription, 5, JAN + 60, "set")
    record(rig, subscription, 7, JAN + 60, "set")
    record(rig, subscription, 1, JAN + 60, "increment")
    rig.advance(clock, FEB + 60)
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        record(rig, subscription, 1, FEB - 60, "increment")
    assert (refusal.value.user_message, refusal.value.param) == (CLOSED, "timestamp")
    assert refusal.value.code is None
    rig.advance(clock, FEB + 2 * HOUR_S)
    assert rig.invoices(subscription)[-1].total == 800


def test_usage_records_do_not_exist_in_newer_versions(rig: Rig) -> None:
    _, subscription = legacy_subscription(rig, "sum")
    item = subscription["items"].data[0].id
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        rig.client.raw_request("post", f"/v1/subscription_items/{item}/usage_records", quantity=1)
    assert refusal.value.http_status == 404


def test_a_metered_item_with_a_meter_takes_no_usage_records(rig: Rig) -> None:
    price = rig.price(rig.meter(), unit_amount=1)
    customer = rig.customer(rig.clock(JAN))
    subscription = rig.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id}]}
    )
    with pytest.raises(stripe.InvalidRequestError, match="not on the legacy metered billing"):
        record(rig, subscription, 1, "now", "increment")


def test_v2_events_and_the_stream_reach_the_invoice(rig: Rig) -> None:
    price = rig.price(rig.meter(), unit_amount=100)
    clock = rig.clock(JAN)
    customer = rig.customer(clock)
    subscription = rig.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id}]}
    )
    event: Any = {
        "event_name": "api_requests",
        "payload": {"stripe_customer_id": customer.id, "value": "2"},
        "timestamp": "2026-01-01T00:00:00Z",
    }
    metering: Any = rig.client.v2.billing.meter_events
    taken = metering.create({**event, "identifier": "one"})
    assert taken.identifier == "one"
    rig.stream(*({**event, "identifier": f"s{n}"} for n in range(100)))
    with pytest.raises(stripe.InvalidRequestError) as again:
        metering.create({**event, "identifier": "one"})
    assert again.value.code == "duplicate_meter_event"
    with pytest.raises(stripe.InvalidRequestError) as unnamed:
        metering.create({**event, "payload": {"value": "1"}})
    assert unnamed.value.code == "payload_no_customer_defined"
    rig.advance(clock, FEB + 2 * HOUR_S)
    assert rig.invoices(subscription)[-1].lines.data[0].quantity == 202


def test_a_stream_needs_a_session(rig: Rig) -> None:
    impostor = client_for(rig.url, "sk_test_not_a_session")
    event: Any = {"event_name": "x", "payload": {}}
    with pytest.raises(stripe.StripeError) as refusal:
        impostor.v2.billing.meter_event_stream.create({"events": [event]})
    assert refusal.value.http_status == 401


def test_an_adjustment_cancels_an_event_for_24_hours(rig: Rig) -> None:
    price = rig.price(rig.meter(), unit_amount=100)
    clock = rig.clock(JAN)
    customer = rig.customer(clock)
    subscription = rig.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id}]}
    )
    for name in ("kept", "cancelled", "old"):
        rig.report(customer, 1, JAN, identifier=name)

    def cancel(identifier: str) -> Any:
        return rig.v1.billing.meter_event_adjustments.create(
            {
                "event_name": "api_requests",
                "type": "cancel",
                "cancel": {"identifier": identifier},
            }
        )

    assert cancel("cancelled").status == "pending"
    rig.advance(clock, JAN + DAY_S + 60)
    with pytest.raises(stripe.InvalidRequestError, match="within 24 hours"):
        cancel("old")
    rig.advance(clock, FEB + 2 * HOUR_S)
    assert rig.invoices(subscription)[-1].total == 200


@pytest.mark.parametrize(("formula", "quantity"), [("sum", 8), ("count", 3), ("last", 1)])
def test_a_meter_aggregates_as_its_formula_says(rig: Rig, formula: str, quantity: int) -> None:
    price = rig.price(rig.meter(formula=formula), unit_amount=100)
    clock = rig.clock(JAN)
    customer = rig.customer(clock)
    subscription = rig.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id}]}
    )
    for second, value in enumerate((3, 4, 1)):
        rig.report(customer, value, JAN + second)
    rig.advance(clock, FEB + 2 * HOUR_S)
    assert rig.invoices(subscription)[-1].lines.data[0].quantity == quantity


def test_one_call_at_a_time_per_customer_and_meter(rig: Rig) -> None:
    rig.meter()
    customer = rig.customer(rig.clock(JAN), card=None)

    def attempt(name: str) -> int:
        try:
            rig.report(customer, 1, JAN, identifier=name)
        except stripe.StripeError as error:
            return error.http_status or 0
        return 200

    def attempt_both(number: int) -> list[int]:
        slow = {"kind": "slow", "path": "/v1/billing/meter_events", "seconds": 0.5, "times": 1}
        rig.faults(slow)
        with ThreadPoolExecutor(2) as pool:
            return sorted(pool.map(attempt, (f"a{number}", f"b{number}")))

    found = [200, 200]
    for number in range(ROUNDS):
        found = attempt_both(number)
        if found != [200, 200]:  # as it is where one of them was kept from running for so long
            break
    assert found == [200, 409]
