"""Idempotency, and everything that goes wrong on purpose."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import stripe

from tests.fixtures.patience import PATIENCE_SECONDS
from tests.sandbox.rig import DAY_S, HOUR_S, MAY_2015, Rig, client_for

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = {"idempotency_key": "key-1"}


def status_of(work: Callable[[], Any]) -> int:
    try:
        work()
    except stripe.APIConnectionError:
        return 0
    except stripe.StripeError as error:
        return error.http_status or -1
    return 200


def names(rig: Rig) -> list[str]:
    return [customer.name for customer in rig.v1.customers.list({"limit": 100}).data]


def test_a_key_refuses_other_parameters(rig: Rig) -> None:
    rig.v1.customers.create({"name": "Ada"}, KEY)
    with pytest.raises(stripe.IdempotencyError, match="same parameters"):
        rig.v1.customers.create({"name": "Bob"}, KEY)


def test_refused_parameters_do_not_use_a_key_up(rig: Rig) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        rig.v1.customers.create({"wat": "1"}, KEY)
    assert rig.v1.customers.create({"name": "Ada"}, KEY).name == "Ada"


def test_a_500_is_replayed_in_v1_and_run_again_in_v2(rig: Rig) -> None:
    rig.faults({"kind": "server_error", "method": "POST", "path": "/v1/customers", "times": 1})
    assert status_of(lambda: rig.v1.customers.create({"name": "Ada"}, KEY)) == 500
    assert status_of(lambda: rig.v1.customers.create({"name": "Ada"}, KEY)) == 500
    assert names(rig) == []
    rig.meter()
    rig.faults({"kind": "server_error", "path": "/v2/*", "times": 1})
    event: Any = {
        "event_name": "api_requests",
        "payload": {"stripe_customer_id": rig.customer(card=None).id, "value": "1"},
    }
    create = rig.client.v2.billing.meter_events.create
    assert status_of(lambda: create(event, {"idempotency_key": "v2"})) == 500
    assert status_of(lambda: create(event, {"idempotency_key": "v2"})) == 200


@pytest.mark.parametrize(("kind", "made"), [("cut_before", 0), ("cut_after", 1)])
def test_a_cut_connection_before_or_after_the_work(rig: Rig, kind: str, made: int) -> None:
    rig.faults({"kind": kind, "path": "/v1/customers", "method": "POST", "times": 1})
    assert status_of(lambda: rig.v1.customers.create({"name": "Ada"}, KEY)) == 0
    assert len(names(rig)) == made
    assert rig.v1.customers.create({"name": "Ada"}, KEY).name == "Ada"
    assert names(rig) == ["Ada"]


def test_a_cut_meter_event_was_counted_and_its_identifier_is_taken(rig: Rig) -> None:
    meter = rig.meter()
    customer = rig.customer(rig.clock(), card=None)
    rig.faults({"kind": "cut_after", "path": "/v1/billing/meter_events", "times": 1})
    report = {"identifier": "r1"}
    assert status_of(lambda: rig.report(customer, 5, MAY_2015, **report)) == 0
    with pytest.raises(stripe.InvalidRequestError, match="already exists with identifier r1"):
        rig.report(customer, 5, MAY_2015, **report)
    assert rig.counted(meter, customer, MAY_2015, MAY_2015 + 60, 5)


def test_rate_limits_come_with_and_without_headers(rig: Rig) -> None:
    rig.faults(
        {"kind": "rate_limit", "times": 1}, {"kind": "rate_limit_bare", "times": 1, "skip": 0}
    )
    with pytest.raises(stripe.RateLimitError) as limited:
        rig.v1.customers.list()
    assert limited.value.headers is not None
    assert limited.value.headers["stripe-rate-limited-reason"] == "global-rate"
    with pytest.raises(stripe.RateLimitError) as bare:
        rig.v1.customers.list()
    body: Any = bare.value.json_body
    assert body["error"]["code"] == "lock_timeout"
    assert bare.value.headers is not None
    assert "stripe-rate-limited-reason" not in bare.value.headers
    rig.faults({"kind": "conflict", "times": 1})
    assert status_of(rig.v1.customers.list) == 409
    assert status_of(rig.v1.customers.list) == 200


def test_a_slow_first_request_holds_its_key(rig: Rig) -> None:
    rig.faults({"kind": "slow", "seconds": "0.3", "times": 1})
    started = time.monotonic()
    rig.v1.customers.create({"name": "Ada"})
    assert time.monotonic() - started > 0.29  # the event loop counts whole milliseconds


def test_summaries_lag_by_hours_of_the_customers_clock_and_the_invoice_does_not(rig: Rig) -> None:
    meter = rig.meter()
    price = rig.price(meter, unit_amount=100)
    clock = rig.clock()
    customer = rig.customer(clock)
    subscription = rig.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id}]}
    )
    rig.faults({"kind": "summary_lag", "seconds": 3 * HOUR_S})
    rig.report(customer, 5, MAY_2015)
    span = {"customer": customer.id, "start_time": MAY_2015, "end_time": MAY_2015 + 60}

    def seen(at: int) -> Any:
        rig.advance(clock, at)
        return rig.v1.billing.meters.event_summaries.list(meter.id, span).data[0].aggregated_value

    assert [seen(MAY_2015 + 2 * HOUR_S), seen(MAY_2015 + 3 * HOUR_S)] == [0, 5]
    rig.advance(clock, MAY_2015 + 31 * DAY_S + 2 * HOUR_S)
    assert rig.invoices(subscription)[-1].total == 500


def test_accepted_events_are_rejected_later_on_request(rig: Rig) -> None:
    meter = rig.meter()
    customer = rig.customer(rig.clock(), card=None)
    rig.faults({"kind": "meter_event_rejection", "identifier": "bad-*", "code": "archived_meter"})
    for name in ("good-1", "bad-1", "bad-2"):
        rig.report(customer, 1, MAY_2015, identifier=name)
    deadline = time.monotonic() + PATIENCE_SECONDS
    errors: list[Any] = []
    while sum(error.error_count for error in errors) < 2:  # told together, or in two events
        assert time.monotonic() < deadline
        found: Any = rig.client.v2.core.events.list({"object_id": meter.id}).data
        errors = [error for event in found for error in event.data.reason.error_types]
        time.sleep(0.05)
    assert {error.code for error in errors} == {"archived_meter"}
    assert sum(error.error_count for error in errors) == 2
    span = {"customer": customer.id, "start_time": MAY_2015, "end_time": MAY_2015 + 60}
    assert rig.v1.billing.meters.event_summaries.list(meter.id, span).data[0].aggregated_value == 1


def test_the_same_seed_gives_the_same_faults(rig: Rig) -> None:
    def run(seed: int) -> list[int]:
        rule = {"kind": "server_error", "method": "GET", "probability": "0.5"}
        rig.faults(rule, seed=seed)
        return [status_of(rig.v1.customers.list) for _ in range(20)]

    first = run(7)
    assert first == run(7)
    assert first != run(8)
    assert {200, 500} == set(first)


def test_keys_are_accounts_of_their_own(rig: Rig) -> None:
    rig.v1.customers.create({"name": "Ada"})
    other = Rig.fresh(rig.url, f"{rig.key}-other")
    assert names(other) == []
    nobody = client_for(rig.url, "sk_live_123456")
    with pytest.raises(stripe.AuthenticationError, match="Invalid API Key"):
        nobody.v1.customers.list()
    log = [
        (row["method"], row["path"], row["status"]) for row in rig.own("GET", "requests")["data"]
    ]
    assert log == [("POST", "/v1/customers", 200)]
    rig.own("POST", "reset")
    assert names(rig) == []
