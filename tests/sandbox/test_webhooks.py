"""Webhooks and events: signed, in the endpoint's version, retried, and with faults on request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import stripe

from tests.fixtures.patience import PATIENCE_SECONDS
from tests.sandbox.receiver import Receiver
from tests.sandbox.rig import HOUR_S, instant

if TYPE_CHECKING:
    from tests.sandbox.rig import Rig

JAN, FEB = instant(2026, 1, 1), instant(2026, 2, 1)


def listen(rig: Rig, receiver: Receiver, *types: str, **params: Any) -> Any:
    return rig.v1.webhook_endpoints.create(
        {"url": receiver.url, "enabled_events": list(types), **params}
    )


def test_a_webhook_verifies_with_the_whole_secret_in_the_endpoints_version(rig: Rig) -> None:
    with Receiver() as receiver:
        endpoint = listen(rig, receiver, "customer.created", api_version="2026-08-26.dahlia")
        customer = rig.customer(card=None, name="Ada")
        receiver.wait(bool)
        body, signature = receiver.received[0]
        event: Any = rig.client.construct_event(body, signature, endpoint.secret)
        assert event.type == "customer.created"
        assert event.api_version == "2026-08-26.dahlia"
        assert event.data.object.id == customer.id
        fetched = rig.v1.events.retrieve(event.id)
        assert fetched.data.object.name == "Ada"
        assert not hasattr(rig.v1.webhook_endpoints.retrieve(endpoint.id), "secret")


def test_a_refused_webhook_is_sent_again_and_signed_again(rig: Rig) -> None:
    with Receiver(500) as receiver:
        endpoint = listen(rig, receiver, "product.created")
        rig.v1.products.create({"name": "API"})
        first, second = receiver.wait(lambda events: len(events) >= 2)[:2]
        assert first["id"] == second["id"]
        received = receiver.received[:2]
        assert len({signature for _, signature in received}) == 2
        for body, signature in received:
            assert stripe.WebhookSignature.verify_header(
                body.decode(), signature, endpoint.secret, 300
            )


def test_an_invoice_finalizes_an_hour_after_its_webhook_was_answered(rig: Rig) -> None:
    with Receiver(503) as receiver:
        listen(rig, receiver, "invoice.created", "invoice.finalized", "invoice.paid")
        price = rig.price(rig.meter(), unit_amount=100)
        clock = rig.clock(JAN)
        subscription = rig.v1.subscriptions.create(
            {"customer": rig.customer(clock).id, "items": [{"price": price.id}]}
        )
        rig.advance(clock, FEB + HOUR_S - 1)
        (draft,) = rig.invoices(subscription)
        assert (draft.status, draft.webhooks_delivered_at) == ("draft", FEB)
        rig.advance(clock, FEB + HOUR_S)
        assert rig.invoices(subscription)[0].status == "paid"
        paid = {"invoice.finalized", "invoice.paid"}
        events = receiver.wait(lambda events: paid <= {event["type"] for event in events})
        assert [event["type"] for event in events].count("invoice.created") >= 2


def test_webhooks_are_lost_doubled_and_reordered_on_request(rig: Rig) -> None:
    with Receiver() as receiver:
        listen(rig, receiver, "product.created", "product.updated", "product.deleted")
        rig.faults(
            {"kind": "webhook_reorder", "event": "product.created", "seconds": PATIENCE_SECONDS},
            {"kind": "webhook_duplicate", "event": "product.updated", "times": 1},
            {"kind": "webhook_loss", "event": "product.deleted"},
        )
        product = rig.v1.products.create({"name": "API"})
        rig.v1.products.update(product.id, {"name": "API 2"})
        rig.v1.products.delete(product.id)

        def is_whole(events: list[dict[str, Any]]) -> bool:
            types = [event["type"] for event in events]
            return "product.created" in types and types.count("product.updated") >= 2

        events = receiver.wait(is_whole)
        assert events[0]["type"] == "product.updated"
        assert {event["type"] for event in receiver.events} == {
            "product.created",
            "product.updated",
        }
        assert events[0]["data"]["previous_attributes"]["name"] == "API"


def test_events_are_listed_by_type(rig: Rig) -> None:
    product = rig.v1.products.create({"name": "API"})
    rig.v1.products.update(product.id, {"name": "API 2"})
    assert [event.type for event in rig.v1.events.list({"types": ["product.*"]}).data] == [
        "product.updated",
        "product.created",
    ]
    assert len(rig.v1.events.list({"type": "product.updated"}).data) == 1


def test_thin_events_tell_why_meter_events_failed(rig: Rig) -> None:
    with Receiver() as receiver:
        destination = rig.client.v2.core.event_destinations.create(
            {
                "name": "metering",
                "type": "webhook_endpoint",
                "event_payload": "thin",
                "enabled_events": ["v1.billing.meter.*"],
                "webhook_endpoint": {"url": receiver.url},
                "include": ["webhook_endpoint.signing_secret"],
            }
        )
        assert destination.webhook_endpoint is not None
        secret = destination.webhook_endpoint.signing_secret
        meter = rig.meter()
        for name, customer in (("api_requests", "cus_nobody"), ("unheard_of", "cus_x")):
            rig.stream(
                {"event_name": name, "payload": {"stripe_customer_id": customer, "value": "1"}}
            )
        receiver.wait(lambda events: len({event["type"] for event in events}) == 2)
        found = {}
        for body, signature in receiver.received:
            notification: Any = rig.client.parse_event_notification(body, signature, secret)
            assert b"data" not in body
            found[notification.type] = (notification, notification.fetch_event())
        notification, event = found["v1.billing.meter.error_report_triggered"]
        assert notification.related_object.id == meter.id
        assert notification.fetch_related_object().event_name == "api_requests"
        assert event.data.reason.error_types[0].code == "meter_event_customer_not_found"
        _, event = found["v1.billing.meter.no_meter_found"]
        assert event.data.reason.error_types[0].code == "no_meter"
