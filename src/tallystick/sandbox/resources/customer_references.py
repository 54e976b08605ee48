"""Customers that parameters name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.sandbox.wire.errors import missing

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.records import Customer


def find_customer(account: Account, id_: str, param: str = "customer") -> Customer:
    """Return a customer that a parameter names.

    Raises:
        StripeError: 400 resource_missing.
    """
    customer = account.customers.get(id_)
    if customer is None:
        raise missing("customer", id_, param, status=400)
    return customer
