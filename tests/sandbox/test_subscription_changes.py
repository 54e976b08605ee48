"""Plan changes, prorations, trials and cancellations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import stripe

from tests.sandbox.rig import DAY_S, HOUR_S, MAY_2015, instant

if TYPE_CHECKING:
    from tests.sandbox.rig import Rig

JAN = instant(2026, 1, 1)
JAN_16 = instant(2026, 1, 16)
FEB = instant(2026, 2, 1)


def subscribe(rig: Rig, customer: Any, *prices: Any, **params: Any) -> Any:
    return rig.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id} for price in prices], **params}
    )


@pytest.mark.parametrize(
    ("mode", "behavior", "billed"),
    [
        ("flexible", "create_prorations", [1000, 1000]),
        ("flexible", "none", [1000]),
        ("classic", "create_prorations", [1000]),
    ],
)
def test_metered_price_change_bills_earlier_usage_only_in_flexible_mode(
    rig: Rig, mode: str, behavior: str, billed: list[int]
) -> None:
    meter = rig.meter()
    old, new = rig.price(meter, unit_amount=100), rig.price(meter, unit_amount=200)
    clock = rig.clock(JAN)
    customer = rig.customer(clock)
    subscription = subscribe(rig, customer, old, billing_mode={"type": mode})
    rig.advance(clock, JAN_16 - DAY_S)
    rig.report(customer, 10, JAN_16 - DAY_S)
    rig.advance(clock, JAN_16)
    rig.v1.subscriptions.update(
        subscription.id,
        {
            "items": [{"id": subscription["items"].data[0].id, "price": new.id}],
            "proration_behavior": behavior,
        },
    )
    rig.report(customer, 5, JAN_16)
    rig.advance(clock, FEB + 2 * HOUR_S)
    invoice = rig.invoices(subscription)[-1]
    assert [line.amount for line in invoice.lines.data] == billed
    assert invoice.status == "paid"


def test_licensed_change_credits_and_charges_the_rest_of_the_period(rig: Rig) -> None:
    product = rig.v1.products.create({"name": "Seats"})
    old = rig.price(unit_amount=1000, product=product.id)
    new = rig.price(unit_amount=2000, product=product.id)
    clock = rig.clock(instant(2026, 4, 1))
    customer = rig.customer(clock)
    subscription = subscribe(rig, customer, old)
    rig.advance(clock, instant(2026, 4, 16))
    item = subscription["items"].data[0].id
    preview = rig.v1.invoices.create_preview(
        {
            "subscription": subscription.id,
            "subscription_details": {"items": [{"id": item, "price": new.id}]},
        }
    )
    rig.v1.subscriptions.update(subscription.id, {"items": [{"id": item, "price": new.id}]})
    rig.advance(clock, instant(2026, 5, 1) + 2 * HOUR_S)
    invoice = rig.invoices(subscription)[-1]
    amounts = [line.amount for line in invoice.lines.data]
    assert sorted(amounts) == [-500, 1000, 2000]
    assert sorted(line.amount for line in preview.lines.data) == sorted(amounts)
    assert preview.total == invoice.total == 2500


def test_always_invoice_charges_a_change_at_once(rig: Rig) -> None:
    monthly = rig.price(unit_amount=2500)
    yearly = rig.price(unit_amount=25000, recurring={"interval": "year"})
    clock = rig.clock(JAN)
    customer = rig.customer(clock)
    subscription = subscribe(rig, customer, monthly)
    updated = rig.v1.subscriptions.update(
        subscription.id,
        {
            "items": [{"id": subscription["items"].data[0].id, "price": yearly.id}],
            "proration_behavior": "always_invoice",
            "expand": ["latest_invoice"],
        },
    )
    invoice = updated.latest_invoice
    assert (invoice.billing_reason, invoice.status, invoice.total) == (
        "subscription_update",
        "paid",
        22500,
    )
    item = updated["items"].data[0]
    assert (item.current_period_start, item.current_period_end) == (JAN, instant(2027, 1, 1))


@pytest.mark.parametrize(("invoice_now", "total"), [(True, 1000), (False, None)])
def test_cancel_now_bills_usage_only_with_invoice_now(
    rig: Rig, invoice_now: bool, total: int | None
) -> None:
    price = rig.price(rig.meter(), unit_amount=100)
    clock = rig.clock(JAN)
    customer = rig.customer(clock)
    subscription = subscribe(rig, customer, price)
    rig.report(customer, 10, JAN)
    rig.advance(clock, JAN + DAY_S)
    ended = rig.v1.subscriptions.cancel(subscription.id, {"invoice_now": invoice_now})
    assert ended.status == "canceled"
    totals = [invoice.total for invoice in rig.invoices(subscription)]
    assert totals == ([total] if total is not None else [])
    rig.advance(clock, FEB + DAY_S)
    assert len(rig.invoices(subscription)) == len(totals)


def test_cancel_at_period_end_bills_the_last_usage_and_nothing_ahead(rig: Rig) -> None:
    usage, seats = rig.price(rig.meter(), unit_amount=100), rig.price(unit_amount=500)
    clock = rig.clock(JAN)
    customer = rig.customer(clock)
    subscription = subscribe(rig, customer, usage, seats)
    rig.report(customer, 10, JAN)
    updated = rig.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    assert (updated.cancel_at, updated.canceled_at) == (FEB, JAN)
    upcoming = rig.v1.invoices.create_preview({"subscription": subscription.id})
    rig.advance(clock, FEB + 2 * HOUR_S)
    assert rig.v1.subscriptions.retrieve(subscription.id).status == "canceled"
    last = rig.invoices(subscription)[-1]
    assert [line.amount for line in last.lines.data] == [1000]
    assert upcoming.total in (0, 1000)


def test_trial_shows_usage_without_charging_it(rig: Rig) -> None:
    price = rig.price(rig.meter(), unit_amount=100)
    clock = rig.clock(JAN)
    customer = rig.customer(clock)
    subscription = subscribe(rig, customer, price, trial_period_days=14)
    assert subscription.status == "trialing"
    rig.report(customer, 5783, JAN)
    end = JAN + 14 * DAY_S
    rig.advance(clock, end + 2 * HOUR_S)
    assert rig.v1.subscriptions.retrieve(subscription.id).status == "active"
    invoice = rig.invoices(subscription)[-1]
    assert [(line.quantity, line.amount) for line in invoice.lines.data] == [(5783, 0)]
    item = rig.v1.subscriptions.retrieve(subscription.id)["items"].data[0]
    assert (item.current_period_start, item.current_period_end) == (end, instant(2026, 2, 15))


def test_anchor_on_the_31st_bills_on_the_last_day_and_returns(rig: Rig) -> None:
    price = rig.price(rig.meter(), unit_amount=100)
    clock = rig.clock(instant(2024, 1, 31, 12))
    customer = rig.customer(clock)
    subscription = subscribe(rig, customer, price)
    ends = []
    for _ in range(4):
        item = rig.v1.subscriptions.retrieve(subscription.id)["items"].data[0]
        ends.append(item.current_period_end)
        rig.advance(clock, item.current_period_end)
    assert ends == [
        instant(2024, 2, 29, 12),
        instant(2024, 3, 31, 12),
        instant(2024, 4, 30, 12),
        instant(2024, 5, 31, 12),
    ]


def test_failed_card_leaves_the_invoice_open_until_it_is_paid(rig: Rig) -> None:
    price = rig.price(rig.meter(), unit_amount=100)
    clock = rig.clock(JAN)
    customer = rig.customer(clock, card="pm_card_chargeCustomerFail")
    subscription = subscribe(rig, customer, price)
    rig.report(customer, 10, JAN)
    rig.advance(clock, FEB + 2 * HOUR_S)
    (invoice,) = rig.invoices(subscription)
    assert (invoice.status, invoice.attempt_count, invoice.amount_remaining) == ("open", 1, 1000)
    assert rig.v1.subscriptions.retrieve(subscription.id).status == "past_due"
    with pytest.raises(stripe.CardError) as declined:
        rig.v1.invoices.pay(invoice.id)
    assert declined.value.code == "card_declined"
    paid = rig.v1.invoices.pay(invoice.id, {"payment_method": "pm_card_visa"})
    assert (paid.status, paid.amount_paid) == ("paid", 1000)
    assert rig.v1.subscriptions.retrieve(subscription.id).status == "active"


def test_first_payment_decides_whether_a_subscription_starts(rig: Rig) -> None:
    price = rig.price(unit_amount=1000)
    poor = rig.customer(card=None)
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        subscribe(rig, poor, price)
    failing = rig.customer(rig.clock(JAN), card="pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError):
        subscribe(rig, failing, price, payment_behavior="error_if_incomplete")
    assert rig.v1.subscriptions.list({"customer": failing.id, "status": "all"}).data == []
    incomplete = subscribe(rig, failing, price)
    assert incomplete.status == "incomplete"


def test_a_total_below_the_minimum_charge_moves_to_the_balance(rig: Rig) -> None:
    price = rig.price(rig.meter(), unit_amount=4)
    clock = rig.clock(JAN)
    customer = rig.customer(clock)
    subscription = subscribe(rig, customer, price)
    rig.report(customer, 1, JAN)
    rig.advance(clock, FEB + 2 * HOUR_S)
    (invoice,) = rig.invoices(subscription)
    assert (invoice.status, invoice.total, invoice.amount_due) == ("paid", 4, 0)
    assert (invoice.attempt_count, invoice.ending_balance) == (0, 4)
    assert rig.v1.customers.retrieve(customer.id).balance == 4


def test_exclusive_tax_is_rounded_per_line(rig: Rig) -> None:
    rate = rig.v1.tax_rates.create({"display_name": "VAT", "percentage": 21, "inclusive": False})
    meter, other = rig.meter(), rig.meter("storage")
    clock = rig.clock(MAY_2015)
    customer = rig.customer(clock)
    subscription = subscribe(
        rig,
        customer,
        rig.price(meter, unit_amount=295),
        rig.price(other, unit_amount=750),
        default_tax_rates=[rate.id],
    )
    rig.report(customer, 1, MAY_2015)
    rig.report(customer, 1, MAY_2015, event_name="storage")
    rig.advance(clock, MAY_2015 + 31 * DAY_S + 2 * HOUR_S)
    (invoice,) = rig.invoices(subscription)
    assert sorted(line.taxes[0].amount for line in invoice.lines.data) == [62, 158]
    assert (invoice.subtotal, invoice.total) == (1045, 1265)
    assert invoice.total_taxes[0].amount == 220
