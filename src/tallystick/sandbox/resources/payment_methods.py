"""Payment methods: test cards, attached to customers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.delivery.events import emit
from tallystick.sandbox.lifecycle.payments import CARDS
from tallystick.sandbox.resources.customer_references import find_customer
from tallystick.sandbox.shapes.payments import render_payment_method
from tallystick.sandbox.state.records import PaymentMethod
from tallystick.sandbox.wire.errors import StripeError, card_declined, missing, refused, unsupported
from tallystick.sandbox.wire.lists import list_page
from tallystick.sandbox.wire.metadata import merged_metadata
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.wire.operations import Call

TOKENS = {
    "tok_visa": "pm_card_visa",
    "tok_mastercard": "pm_card_mastercard",
    "tok_amex": "pm_card_amex",
    "tok_chargeCustomerFail": "pm_card_chargeCustomerFail",
    "tok_chargeDeclined": "pm_card_chargeDeclined",
}
"""Card tokens that ``card[token]`` takes (DOC:testing)."""


def find_method(account: Account, id_: str, param: str = "payment_method") -> PaymentMethod:
    """Return a stored payment method.

    Raises:
        StripeError: 404, in the recorded words.
    """
    method = account.payment_methods.get(id_)
    if method is None:
        raise StripeError(
            f"No such PaymentMethod: '{id_}'; It's possible this PaymentMethod exists on one of "
            "your connected accounts, in which case you should retry this request on that "
            "connected account. Learn more at https://stripe.com/docs/connect/authentication",
            status=404,
            code="resource_missing",
            param=param,
        )
    return method


def new_method(account: Account, behaviour: str) -> PaymentMethod:
    """Make a card that behaves like a test card."""
    card = CARDS[behaviour]
    method = PaymentMethod(
        id=account.ids.make("pm"),
        created=account.now(None),
        behaviour=behaviour,
        brand=card.brand,
        last4=card.last4,
        funding="debit" if "debit" in behaviour else "credit",
    )
    account.payment_methods.add(method)
    return method


def usable_method(account: Account, id_: str, param: str = "payment_method") -> PaymentMethod:
    """Return a stored method, or a new one made from a test card's name."""
    if id_ in CARDS:
        return new_method(account, id_)
    return find_method(account, id_, param)


def check_attachable(method: PaymentMethod, customer_id: str | None) -> None:
    """Check that a method may become a customer's; None is a customer that is being created.

    Raises:
        StripeError: 402 for cards that decline on attaching (recorded), 400 for a method that is
            attached elsewhere.
    """
    card = CARDS[method.behaviour]
    if card.fails_on_attach:
        raise card_declined(
            card.decline_code or "generic_decline",
            card.message,
            advice_code="try_again_later",
            network_decline_code="01",
        )
    if method.customer not in (None, customer_id):
        raise refused("The payment method you provided has already been attached to a customer.")


def attach(account: Account, method: PaymentMethod, customer_id: str) -> None:
    """Attach a method to a customer.

    Raises:
        StripeError: as ``check_attachable``.
    """
    customer = find_customer(account, customer_id)
    check_attachable(method, customer.id)
    method.customer = customer.id
    body = render_payment_method(method)
    emit(account, "payment_method.attached", body, test_clock=customer.test_clock)


def attach_method(call: Call) -> dict[str, Any]:
    """Attach a method; a test card's name makes a new card each time (recorded)."""
    account = call.account
    if "customer" not in call.params:
        raise refused("Missing required param: customer.", "customer", "parameter_missing")
    find_customer(account, call.params["customer"])
    method = usable_method(account, call.path["payment_method"])
    attach(account, method, call.params["customer"])
    return render_payment_method(method)


def detach_method(call: Call) -> dict[str, Any]:
    """Detach a method; customers and subscriptions no longer use it."""
    account = call.account
    method = find_method(account, call.path["payment_method"])
    customer = account.customers.get(method.customer or "")
    if customer is None:
        raise refused("The payment method you provided is not attached to a customer.")
    if customer.default_payment_method == method.id:
        customer.default_payment_method = None
    for subscription in account.subscriptions.matching("customer", customer.id):
        if subscription.default_payment_method == method.id:
            subscription.default_payment_method = None
    method.customer = None
    emit(account, "payment_method.detached", render_payment_method(method))
    return render_payment_method(method)


def create_method(call: Call) -> dict[str, Any]:
    """Create a card from a test token.

    Raises:
        StripeError: 400, raw card numbers and other kinds are not supported by the sandbox.
    """
    params = call.params
    if params.get("type") != "card":
        raise unsupported("A payment method other than a card", "type")
    token = (params.get("card") or {}).get("token")
    if token is None or token not in TOKENS:
        raise unsupported("A card other than a test token", "card[token]")
    method = new_method(call.account, TOKENS[token])
    method.metadata = merged_metadata({}, params.get("metadata"))
    return render_payment_method(method)


def retrieve_method(call: Call) -> dict[str, Any]:
    """Return a method."""
    return render_payment_method(find_method(call.account, call.path["payment_method"]))


def update_method(call: Call) -> dict[str, Any]:
    """Change a method's metadata."""
    method = find_method(call.account, call.path["payment_method"])
    if "metadata" in call.params:
        method.metadata = merged_metadata(method.metadata, call.params["metadata"])
    emit(call.account, "payment_method.updated", render_payment_method(method))
    return render_payment_method(method)


def list_methods(call: Call) -> dict[str, Any]:
    """List a customer's methods."""
    customer = call.path.get("customer") or call.params.get("customer")
    if customer is not None and customer not in call.account.customers:
        if "customer" in call.path:
            raise missing("customer", customer, "customer")
        raise missing("customer", customer, "customer", status=400)
    kind = call.params.get("type", "card")
    return list_page(
        call,
        call.account.payment_methods,
        render_payment_method,
        noun="PaymentMethod",
        where=lambda m: kind == "card" and m.customer is not None and m.customer == customer,
    )


def retrieve_of_customer(call: Call) -> dict[str, Any]:
    """Return a customer's method."""
    method = find_method(call.account, call.path["payment_method"])
    if method.customer != call.path["customer"]:
        raise missing("PaymentMethod", method.id, "payment_method")
    return render_payment_method(method)


_PATH = "/v1/payment_methods"
_LIST = "ending_before limit starting_after type"
OPERATIONS = (
    Operation("POST", _PATH, create_method, "card.token metadata type"),
    Operation("GET", _PATH, list_methods, f"{_LIST} customer"),
    Operation("GET", f"{_PATH}/{{payment_method}}", retrieve_method),
    Operation("POST", f"{_PATH}/{{payment_method}}", update_method, "metadata"),
    Operation("POST", f"{_PATH}/{{payment_method}}/attach", attach_method, "customer"),
    Operation("POST", f"{_PATH}/{{payment_method}}/detach", detach_method),
    Operation("GET", "/v1/customers/{customer}/payment_methods", list_methods, _LIST),
    Operation(
        "GET",
        "/v1/customers/{customer}/payment_methods/{payment_method}",
        retrieve_of_customer,
    ),
)
