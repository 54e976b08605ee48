"""Anchors, versions, taxes, currencies, invoices by hand: the terms of billing, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import stripe

from tests.sandbox.receiver import Receiver
from tests.sandbox.rig import DAY_S, HOUR_S, instant

if TYPE_CHECKING:
    from tests.sandbox.rig import Rig

JAN, FEB = instant(2026, 1, 1), instant(2026, 2, 1)
ACACIA = {"stripe_version": "2025-02-24.acacia"}
DAHLIA = {"stripe_version": "2026-08-26.dahlia"}


def subscribe(rig: Rig, customer: Any, *prices: Any, **params: Any) -> Any:
    return rig.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id} for price in prices], **params}
    )


def test_a_later_anchor_bills_a_part_of_the_first_period(rig: Rig) -> None:
    price = rig.price(unit_amount=3100)
    clock = rig.clock(JAN)
    subscription = subscribe(rig, rig.customer(clock), price, billing_cycle_anchor=JAN + 10 * DAY_S)
    (first,) = rig.invoices(subscription)
    assert (first.total, first.status) == (1000, "paid")
    rig.advance(clock, JAN + 10 * DAY_S)
    item = rig.v1.subscriptions.retrieve(subscription.id)["items"].data[0]
    assert item.current_period_end == instant(2026, 2, 11)


def test_an_anchor_config_names_the_day_and_the_hour(rig: Rig) -> None:
    price = rig.price(rig.meter(), unit_amount=1)
    clock = rig.clock(instant(2026, 1, 30))
    subscription = subscribe(
        rig,
        rig.customer(clock),
        price,
        billing_cycle_anchor_config={"day_of_month": 31, "hour": 6, "minute": 0, "second": 0},
    )
    ends = [subscription["items"].data[0].current_period_end]
    for _ in range(2):
        rig.advance(clock, ends[-1])
        item = rig.v1.subscriptions.retrieve(subscription.id)["items"].data[0]
        ends.append(item.current_period_end)
    assert ends == [instant(2026, 1, 31, 6), instant(2026, 2, 28, 6), instant(2026, 3, 31, 6)]


def test_a_new_anchor_is_a_hash_in_endive_and_a_string_in_dahlia(rig: Rig) -> None:
    usage, seats = rig.price(rig.meter(), unit_amount=100), rig.price(unit_amount=3100)
    clock = rig.clock(JAN)
    customer = rig.customer(clock)
    subscription = subscribe(rig, customer, usage, seats)
    rig.report(customer, 3, JAN)
    rig.advance(clock, JAN + 10 * DAY_S)
    with pytest.raises(stripe.InvalidRequestError):
        rig.v1.subscriptions.update(subscription.id, {"billing_cycle_anchor": "now"})
    updated = rig.v1.subscriptions.update(
        subscription.id, {"billing_cycle_anchor": {"type": "now"}}
    )
    assert updated.billing_cycle_anchor == JAN + 10 * DAY_S
    invoice = rig.invoices(subscription)[-1]
    assert sorted(line.amount for line in invoice.lines.data) == [-2100, 300, 3100]
    rig.advance(clock, JAN + 20 * DAY_S)
    older = rig.v1.subscriptions.update(subscription.id, {"billing_cycle_anchor": "now"}, DAHLIA)
    assert older.billing_cycle_anchor == JAN + 20 * DAY_S


def test_acacia_shows_objects_as_they_were(rig: Rig) -> None:
    price = rig.price(unit_amount=1000)
    customer = rig.customer(rig.clock(JAN))
    subscription = rig.v1.subscriptions.create(
        {
            "customer": customer.id,
            "items": [{"price": price.id}],
            "expand": ["latest_invoice.payment_intent"],
        },
        ACACIA,
    )
    assert (subscription.current_period_start, subscription.current_period_end) == (JAN, FEB)
    invoice = subscription.latest_invoice
    assert invoice.paid
    assert invoice.payment_intent.status == "succeeded"
    assert invoice.subscription == subscription.id
    assert invoice.lines.data[0].price.id == price.id
    assert invoice.lines.data[0].proration is False
    newer = rig.v1.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]})
    assert newer.billing_mode.type == "classic"
    assert not hasattr(newer, "current_period_start")
    assert newer.latest_invoice.parent.subscription_details.subscription == subscription.id


def test_a_webhook_of_an_older_version_has_the_older_shape(rig: Rig) -> None:
    with Receiver() as receiver:
        rig.v1.webhook_endpoints.create(
            {
                "url": receiver.url,
                "enabled_events": ["invoice.paid"],
                "api_version": "2025-02-24.acacia",
            }
        )
        subscribe(rig, rig.customer(rig.clock(JAN)), rig.price(unit_amount=1000))
        event = receiver.wait(bool)[0]
        assert event["api_version"] == "2025-02-24.acacia"
        assert event["data"]["object"]["paid"] is True
        assert "parent" not in event["data"]["object"]


def test_other_versions_are_refused(rig: Rig) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="not supported by the sandbox"):
        rig.v1.customers.list({}, {"stripe_version": "2020-08-27"})
    with pytest.raises(stripe.InvalidRequestError, match="Invalid Stripe API version: wat"):
        rig.v1.customers.list({}, {"stripe_version": "wat"})


def test_a_currency_option_bills_in_its_own_currency(rig: Rig) -> None:
    price = rig.price(
        unit_amount=1000, currency_options={"jpy": {"unit_amount": 1500}, "eur": {"unit_amount": 9}}
    )
    shown = rig.v1.prices.retrieve(price.id, {"expand": ["currency_options"]})
    assert shown.currency_options["jpy"].unit_amount == 1500
    subscription = subscribe(rig, rig.customer(rig.clock(JAN)), price, currency="jpy")
    (invoice,) = rig.invoices(subscription)
    assert (invoice.currency, invoice.total) == ("jpy", 1500)
    with pytest.raises(stripe.InvalidRequestError, match="only supports"):
        subscribe(rig, rig.customer(rig.clock(JAN)), price, currency="gbp")


def test_inclusive_tax_is_taken_out_of_the_amount(rig: Rig) -> None:
    rate = rig.v1.tax_rates.create({"display_name": "VAT", "percentage": 20, "inclusive": True})
    price = rig.price(unit_amount=1200)
    customer = rig.customer(rig.clock(JAN))
    subscription = subscribe(rig, customer, price, default_tax_rates=[rate.id])
    (invoice,) = rig.invoices(subscription)
    assert (invoice.total, invoice.total_excluding_tax) == (1200, 1000)
    assert invoice.lines.data[0].taxes[0].amount == 200


def test_a_lookup_key_moves_only_when_asked(rig: Rig) -> None:
    first = rig.price(unit_amount=1, lookup_key="standard")
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        rig.price(unit_amount=2, lookup_key="standard")
    second = rig.price(unit_amount=2, lookup_key="standard", transfer_lookup_key=True)
    assert rig.v1.prices.list({"lookup_keys": ["standard"]}).data[0].id == second.id
    assert rig.v1.prices.retrieve(first.id).lookup_key is None


def test_a_draft_takes_items_and_the_rest_waits_for_the_next_cycle(rig: Rig) -> None:
    price = rig.price(rig.meter(), unit_amount=100)
    clock = rig.clock(JAN)
    customer = rig.customer(clock)
    subscription = subscribe(rig, customer, price)
    rig.advance(clock, FEB)
    (draft,) = rig.invoices(subscription)
    rig.v1.invoice_items.create(
        {"customer": customer.id, "invoice": draft.id, "amount": 700, "currency": "usd"}
    )
    rig.v1.invoice_items.create({"customer": customer.id, "amount": 900, "currency": "usd"})
    held = rig.v1.invoices.update(draft.id, {"auto_advance": False})
    assert held.automatically_finalizes_at is None
    rig.advance(clock, FEB + DAY_S)
    assert rig.v1.invoices.retrieve(draft.id).status == "draft"
    final = rig.v1.invoices.finalize_invoice(draft.id, {"auto_advance": True})
    assert (final.status, final.total) == ("paid", 700)
    rig.advance(clock, instant(2026, 3, 1) + 2 * HOUR_S)
    assert rig.invoices(subscription)[-1].total == 900


def test_an_invoice_by_hand_is_finalized_voided_or_written_off(rig: Rig) -> None:
    customer = rig.customer(rig.clock(JAN))

    def invoice() -> Any:
        rig.v1.invoice_items.create({"customer": customer.id, "amount": 500, "currency": "usd"})
        made = rig.v1.invoices.create(
            {"customer": customer.id, "pending_invoice_items_behavior": "include"}
        )
        return rig.v1.invoices.finalize_invoice(made.id)

    first = invoice()
    assert (first.status, first.number[-4:]) == ("open", "0001")
    assert rig.v1.invoices.void_invoice(first.id).status == "void"
    second = rig.v1.invoices.mark_uncollectible(invoice().id)
    assert (second.status, second.number[-4:]) == ("uncollectible", "0002")
    assert rig.v1.invoices.pay(second.id, {"paid_out_of_band": True}).status == "paid"
    with pytest.raises(stripe.InvalidRequestError, match="already finalized"):
        rig.v1.invoices.finalize_invoice(first.id)
    draft = rig.v1.invoices.create({"customer": customer.id})
    assert rig.v1.invoices.delete(draft.id).deleted


def test_items_are_added_and_removed_with_prorations(rig: Rig) -> None:
    price, extra = rig.price(unit_amount=3100), rig.price(unit_amount=310)
    clock = rig.clock(JAN)
    subscription = subscribe(rig, rig.customer(clock), price)
    rig.advance(clock, JAN + 21 * DAY_S)
    item = rig.v1.subscription_items.create(
        {"subscription": subscription.id, "price": extra.id, "quantity": 2}
    )
    rig.v1.subscription_items.update(item.id, {"quantity": 1})
    assert len(rig.v1.subscription_items.list({"subscription": subscription.id}).data) == 2
    assert rig.v1.subscription_items.delete(item.id).deleted
    waiting = rig.v1.invoice_items.list({"customer": subscription.customer, "pending": True}).data
    assert sorted(one.amount for one in waiting) == [-200, -100, 100, 200]


def test_a_cancellation_credits_unused_time_only_when_asked(rig: Rig) -> None:
    price = rig.price(unit_amount=3100)
    clock = rig.clock(JAN)
    subscription = subscribe(rig, rig.customer(clock), price)
    rig.advance(clock, JAN + 21 * DAY_S)
    rig.v1.subscriptions.cancel(subscription.id, {"prorate": True, "invoice_now": True})
    last = rig.invoices(subscription)[-1]
    assert (last.total, last.amount_due, last.ending_balance) == (-1000, 0, -1000)


def test_classic_becomes_flexible_and_not_back(rig: Rig) -> None:
    price = rig.price(rig.meter(), unit_amount=1)
    customer = rig.customer(rig.clock(JAN))
    subscription = subscribe(rig, customer, price, billing_mode={"type": "classic"})
    (first,) = rig.invoices(subscription)
    assert [(line.quantity, line.amount) for line in first.lines.data] == [(0, 0)]
    migrated = rig.v1.subscriptions.migrate(subscription.id, {"billing_mode": {"type": "flexible"}})
    assert migrated.billing_mode.type == "flexible"
    with pytest.raises(stripe.InvalidRequestError, match="can only be migrated"):
        rig.v1.subscriptions.migrate(subscription.id, {"billing_mode": {"type": "flexible"}})


def test_an_incomplete_subscription_expires_after_23_hours(rig: Rig) -> None:
    price = rig.price(unit_amount=1000)
    clock = rig.clock(JAN)
    customer = rig.customer(clock, card="pm_card_chargeCustomerFail")
    subscription = subscribe(rig, customer, price)
    assert subscription.status == "incomplete"
    rig.advance(clock, JAN + 23 * HOUR_S)
    assert rig.v1.subscriptions.retrieve(subscription.id).status == "incomplete_expired"
    assert rig.invoices(subscription)[0].status == "void"


def test_a_trial_without_a_card_can_cancel_itself(rig: Rig) -> None:
    price = rig.price(rig.meter(), unit_amount=100)
    clock = rig.clock(JAN)
    subscription = subscribe(
        rig,
        rig.customer(clock, card=None),
        price,
        trial_period_days=7,
        trial_settings={"end_behavior": {"missing_payment_method": "cancel"}},
    )
    rig.advance(clock, JAN + 8 * DAY_S)
    assert rig.v1.subscriptions.retrieve(subscription.id).status == "canceled"


def test_sent_invoices_are_open_until_paid_and_then_overdue(rig: Rig) -> None:
    price = rig.price(rig.meter(), unit_amount=100)
    clock = rig.clock(JAN)
    customer = rig.customer(clock, card=None)
    subscription = subscribe(
        rig, customer, price, collection_method="send_invoice", days_until_due=5
    )
    rig.report(customer, 10, JAN)
    rig.advance(clock, FEB + 2 * HOUR_S)
    (invoice,) = rig.invoices(subscription)
    assert (invoice.status, invoice.due_date) == ("open", FEB + HOUR_S + 5 * DAY_S)
    assert rig.v1.subscriptions.retrieve(subscription.id).status == "active"
    rig.advance(clock, FEB + 6 * DAY_S)
    assert rig.v1.subscriptions.retrieve(subscription.id).status == "past_due"


def test_a_metered_price_needs_a_meter_in_newer_versions(rig: Rig) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="backed by a meter"):
        rig.price(unit_amount=1, recurring={"usage_type": "metered"})
    meter = rig.meter()
    rig.v1.billing.meters.deactivate(meter.id)
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        rig.price(meter, unit_amount=1)
    customer = rig.customer(rig.clock(JAN), card=None)
    with pytest.raises(stripe.InvalidRequestError, match="No active meter found"):
        rig.report(customer, 1, JAN)
    rig.v1.billing.meters.reactivate(meter.id)
    assert rig.report(customer, 1, JAN).event_name == "api_requests"
