"""Customers that are created with their payment method."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import stripe

if TYPE_CHECKING:
    from tests.sandbox.rig import Rig


def test_a_customer_is_created_with_a_card_that_it_pays_with(rig: Rig) -> None:
    customer = rig.v1.customers.create(
        {
            "payment_method": "pm_card_visa",
            "invoice_settings": {"default_payment_method": "pm_card_visa"},
        }
    )
    (method,) = rig.v1.customers.payment_methods.list(customer.id).data
    assert customer.invoice_settings is not None
    assert customer.invoice_settings.default_payment_method == method.id
    price = rig.price(unit_amount=1000)
    subscription = rig.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id}]}
    )
    (invoice,) = rig.invoices(subscription)
    assert (invoice.status, subscription.status) == ("paid", "active")


def test_a_card_that_declines_leaves_no_customer(rig: Rig) -> None:
    with pytest.raises(stripe.CardError):
        rig.v1.customers.create({"payment_method": "pm_card_chargeDeclined"})
    with pytest.raises(stripe.InvalidRequestError, match="No such PaymentMethod"):
        rig.v1.customers.create(
            {
                "payment_method": "pm_card_visa",
                "invoice_settings": {"default_payment_method": "pm_none"},
            }
        )
    assert rig.v1.customers.list().data == []
