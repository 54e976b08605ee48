"""Every operation that the sandbox serves, and how ids and optional fields are expanded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.resources import (
    account,
    customers,
    events,
    invoice_actions,
    invoice_items,
    invoices,
    meter_events,
    meter_summaries,
    metering_v2,
    meters,
    payment_methods,
    payments,
    plans,
    previews,
    prices,
    products,
    subscription_items,
    subscription_updates,
    subscriptions,
    tax_rates,
    test_clocks,
    usage_records,
    webhook_endpoints,
)
from tallystick.sandbox.resources.older_facts import StoredFacts
from tallystick.sandbox.shapes.customers import render_customer
from tallystick.sandbox.shapes.invoices import render_invoice, render_invoice_item
from tallystick.sandbox.shapes.payments import (
    render_charge,
    render_invoice_payment,
    render_payment_intent,
    render_payment_method,
)
from tallystick.sandbox.shapes.prices import (
    render_currency_options,
    render_price,
    render_tiers,
)
from tallystick.sandbox.shapes.products import render_product
from tallystick.sandbox.shapes.subscriptions import render_subscription
from tallystick.sandbox.shapes.test_clocks import render_test_clock
from tallystick.sandbox.wire.expansion import Expander
from tallystick.sandbox.wire.lists import whole_list
from tallystick.sandbox.wire.versions import in_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tallystick.sandbox.state.account import Account
    from tallystick.sandbox.state.billing_records import Payment
    from tallystick.sandbox.wire.operations import Operation
    from tallystick.sandbox.wire.versions import Version

_MODULES = (
    account,
    customers,
    events,
    invoice_actions,
    invoice_items,
    invoices,
    meter_events,
    meter_summaries,
    metering_v2,
    meters,
    payment_methods,
    payments,
    plans,
    previews,
    prices,
    products,
    subscription_items,
    subscription_updates,
    subscriptions,
    tax_rates,
    test_clocks,
    usage_records,
    webhook_endpoints,
)


def every_operation() -> Iterator[Operation]:
    """Yield what the resource modules serve."""
    for module in _MODULES:
        yield from module.OPERATIONS


def expander(account: Account, version: Version) -> Expander:
    """Return what expands the answers of one account in one version."""
    facts = StoredFacts(account)

    def versioned(body: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if body is None else in_version(body, version, facts)

    def finds(get: Callable[[str], Any], render: Callable[[Any], dict[str, Any]]) -> Any:
        def look(id_: str) -> dict[str, Any] | None:
            found = get(id_)
            return None if found is None else versioned(render(found))

        return look

    def payment_by(index: dict[str, str]) -> Callable[[str], Payment | None]:
        return lambda id_: account.payments.get(index.get(id_, ""))

    invoice = finds(account.invoices.get, lambda i: render_invoice(account, i))
    subscription = finds(account.subscriptions.get, lambda s: render_subscription(account, s))
    price = finds(account.prices.get, render_price)
    method = finds(account.payment_methods.get, render_payment_method)
    charge = finds(payment_by(account.payment_by_charge), lambda p: render_charge(account, p))
    intent = finds(payment_by(account.payment_by_intent), render_payment_intent)
    lookups = {
        "customer": finds(account.customers.get, render_customer),
        "product": finds(account.products.get, render_product),
        "price": price,
        "default_price": price,
        "subscription": subscription,
        "invoice": invoice,
        "latest_invoice": invoice,
        "invoice_item": finds(
            account.invoice_items.get, lambda item: render_invoice_item(account, item)
        ),
        "test_clock": finds(account.test_clocks.get, render_test_clock),
        "default_payment_method": method,
        "payment_method": method,
        "payment_intent": intent,
        "charge": charge,
        "latest_charge": charge,
    }
    return Expander(lookups, _includes(account, subscription))


def _includes(account: Account, subscription: Any) -> dict[tuple[str, str], Any]:
    """Return the fields that only appear when asked for."""

    def tiers(body: dict[str, Any]) -> Any:
        price = account.prices.get(body["id"])
        tiered = price is not None and price.billing_scheme == "tiered"
        return render_tiers(price.amounts.tiers) if price and tiered else None

    def currency_options(body: dict[str, Any]) -> Any:
        price = account.prices.get(body["id"])
        return render_currency_options(price) if price else {}

    def subscriptions_of(body: dict[str, Any]) -> Any:
        found = account.subscriptions.matching("customer", body["id"])
        rows = [subscription(one.id) for one in found if one.status != "canceled"]
        rows.reverse()
        return whole_list(rows, f"/v1/customers/{body['id']}/subscriptions")

    def payments_of(body: dict[str, Any]) -> Any:
        rows = [render_invoice_payment(p) for p in account.payments.matching("invoice", body["id"])]
        return whole_list(rows, "/v1/invoices/payments")

    def secret_of(body: dict[str, Any]) -> Any:
        last = None
        for payment in account.payments.matching("invoice", body["id"]):
            last = payment
        return {"client_secret": last.secret, "type": "payment_intent"} if last else None

    return {
        ("price", "tiers"): tiers,
        ("plan", "tiers"): tiers,
        ("price", "currency_options"): currency_options,
        ("customer", "subscriptions"): subscriptions_of,
        ("customer", "sources"): lambda b: whole_list([], f"/v1/customers/{b['id']}/sources"),
        ("customer", "tax_ids"): lambda b: whole_list([], f"/v1/customers/{b['id']}/tax_ids"),
        ("customer", "tax"): lambda _: {
            "automatic_tax": "unrecognized_location",
            "ip_address": None,
            "location": None,
            "provider": "stripe",
        },
        ("customer", "invoice_credit_balance"): lambda _: {},
        ("invoice", "payments"): payments_of,
        ("invoice", "confirmation_secret"): secret_of,
        ("charge", "refunds"): lambda b: whole_list([], f"/v1/charges/{b['id']}/refunds"),
    }
