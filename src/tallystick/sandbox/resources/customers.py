"""Customers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.delivery.events import emit
from tallystick.sandbox.lifecycle.cancellation import end_subscription
from tallystick.sandbox.resources.payment_methods import attach, check_attachable, usable_method
from tallystick.sandbox.shapes.customers import render_customer
from tallystick.sandbox.state.ids import token
from tallystick.sandbox.state.records import Customer
from tallystick.sandbox.wire.errors import StripeError, missing, refused
from tallystick.sandbox.wire.lists import in_range, list_page
from tallystick.sandbox.wire.metadata import merged_metadata
from tallystick.sandbox.wire.operations import Operation

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.records import PaymentMethod
    from tallystick.sandbox.wire.operations import Call

_WRITABLE = (
    "address balance description email invoice_prefix metadata name next_invoice_sequence phone "
    "preferred_locales shipping tax_exempt invoice_settings.default_payment_method "
    "invoice_settings.custom_fields invoice_settings.footer"
)
_PLAIN = ("email", "name", "description", "phone", "balance", "preferred_locales")
_NUMBERED = ("invoice_prefix", "next_invoice_sequence")
_ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")


def _in_path(call: Call) -> Customer:
    customer = call.account.customers.get(call.path["customer"])
    if customer is None:
        raise missing("customer", call.path["customer"])
    return customer


def create_customer(call: Call) -> dict[str, Any]:
    """Create a customer, on a test clock when one is named.

    Raises:
        StripeError: 400, unknown clock, a clock with three customers, an unusable payment method.
    """
    account = call.account
    clock_id = call.params.get("test_clock")
    if clock_id is not None:
        clock = account.test_clocks.get(clock_id)
        if clock is None:
            raise missing("test_clock", clock_id, "test_clock", status=400)
        if len(clock.customers) >= account.settings.clock_customers_max:
            raise refused(
                f"You can have at most {account.settings.clock_customers_max} customers per test "
                "clock.",
                "test_clock",
                "test_clocks_customer_limit_reached",
            )
    method = None
    if "payment_method" in call.params:
        method = usable_method(account, call.params["payment_method"])
        check_attachable(method, None)
    id_ = account.ids.make("cus")
    customer = Customer(
        id=id_,
        created=call.now(clock_id),
        test_clock=clock_id,
        invoice_prefix=token(f"{account.id}/{id_}", 8).upper(),
    )
    if method is None:
        _apply(account, customer, call.params)
        account.customers.add(customer)
    else:
        _add_with_method(account, customer, method, call.params)
    if clock_id is not None:
        clock = account.test_clocks.get(clock_id)
        assert clock is not None
        clock.customers.append(id_)
    emit(account, "customer.created", render_customer(customer), test_clock=clock_id)
    return render_customer(customer)


def _add_with_method(
    account: Account, customer: Customer, method: PaymentMethod, params: dict[str, Any]
) -> None:
    """Add a customer that is created with its payment method: both, or neither."""
    account.customers.add(customer)
    method.customer = customer.id
    try:
        _apply(account, customer, _naming(params, method))
    except StripeError:
        account.customers.remove(customer.id)
        method.customer = None
        raise
    attach(account, method, customer.id)


def _naming(params: dict[str, Any], method: PaymentMethod) -> dict[str, Any]:
    """Return the parameters with a test card that is also the default named by its method's id."""
    given = params.get("invoice_settings", {})
    if given.get("default_payment_method") != params["payment_method"]:
        return params
    return {**params, "invoice_settings": {**given, "default_payment_method": method.id}}


def _apply(account: Account, customer: Customer, params: dict[str, Any]) -> None:
    for name in _PLAIN:
        if name in params:
            value = params[name]
            setattr(customer, name, None if value == "" else value)
    for name in _NUMBERED:
        if name in params:
            setattr(customer, name, params[name])
    if "tax_exempt" in params:
        customer.tax_exempt = params["tax_exempt"] or "none"
    if "address" in params:
        customer.address = _address(params["address"])
    if "shipping" in params:
        given = params["shipping"]
        customer.shipping = (
            {"phone": None, **given, "address": _address(given["address"])} if given else None
        )
    if "metadata" in params:
        customer.metadata = merged_metadata(customer.metadata, params["metadata"])
    _apply_invoice_settings(account, customer, params.get("invoice_settings", {}))


def _apply_invoice_settings(account: Account, customer: Customer, given: dict[str, Any]) -> None:
    if "footer" in given:
        customer.invoice_footer = given["footer"] or None
    if "custom_fields" in given:
        customer.invoice_custom_fields = given["custom_fields"] or None
    if "default_payment_method" in given:
        wanted = given["default_payment_method"]
        method = account.payment_methods.get(wanted) if wanted else None
        if wanted and (method is None or method.customer != customer.id):
            raise missing(
                "PaymentMethod", wanted, "invoice_settings[default_payment_method]", status=400
            )
        customer.default_payment_method = wanted or None


def _address(given: Any) -> dict[str, Any] | None:
    if not given:
        return None
    return {name: given.get(name) or None for name in _ADDRESS}


def retrieve_customer(call: Call) -> dict[str, Any]:
    """Return a customer, or what is left of a deleted one."""
    id_ = call.path["customer"]
    if call.account.deleted.get(id_) == "customer":
        return {"id": id_, "object": "customer", "deleted": True}
    return render_customer(_in_path(call))


def update_customer(call: Call) -> dict[str, Any]:
    """Change a customer."""
    customer = _in_path(call)
    before = render_customer(customer)
    _apply(call.account, customer, call.params)
    after = render_customer(customer)
    emit(call.account, "customer.updated", after, before=before, test_clock=customer.test_clock)
    return render_customer(customer)


def delete_customer(call: Call) -> dict[str, Any]:
    """Delete a customer; its subscriptions are cancelled at once (DOC:api/customers/delete)."""
    customer = _in_path(call)
    account = call.account
    for subscription in list(account.subscriptions.matching("customer", customer.id)):
        if not subscription.is_ended:
            end_subscription(account, subscription, reason=None)
    account.customers.remove(customer.id)
    account.deleted[customer.id] = "customer"
    emit(account, "customer.deleted", render_customer(customer), test_clock=customer.test_clock)
    return {"id": customer.id, "object": "customer", "deleted": True}


def list_customers(call: Call) -> dict[str, Any]:
    """List customers; those on a clock show only with ``test_clock`` (DOC:api/customers/list)."""
    wanted = call.params
    clock = wanted.get("test_clock")
    return list_page(
        call,
        call.account.customers,
        render_customer,
        noun="customer",
        where=lambda c: (
            in_range(c.created, wanted.get("created"))
            and c.test_clock == clock
            and wanted.get("email", c.email) == c.email
        ),
        test_clock=clock,
    )


OPERATIONS = (
    Operation("POST", "/v1/customers", create_customer, f"{_WRITABLE} payment_method test_clock"),
    Operation(
        "GET",
        "/v1/customers",
        list_customers,
        "created email ending_before limit starting_after test_clock",
    ),
    Operation("GET", "/v1/customers/{customer}", retrieve_customer),
    Operation("POST", "/v1/customers/{customer}", update_customer, _WRITABLE),
    Operation("DELETE", "/v1/customers/{customer}", delete_customer),
)
