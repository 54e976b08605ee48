"""How objects looked in 2025-02-24.acacia, the last version with usage records.

Each function takes an object as 2025-03-31.basil and later show it and turns it back
(DOC:changelog/basil/2025-03-31).
"""

from __future__ import annotations

from typing import Any, Protocol


class OlderFacts(Protocol):
    """What the older objects show and the newer ones do not."""

    def price(self, id_: str) -> dict[str, Any] | None:
        """Return a price as the newest version shows it."""

    def plan(self, id_: str) -> dict[str, Any] | None:
        """Return a price as a plan."""

    def aggregate_usage(self, price: str) -> str | None:
        """Return how a legacy metered price sums its usage records."""

    def payment(self, invoice: str) -> tuple[str | None, str | None]:
        """Return the payment intent and the charge of an invoice."""

    def is_paid_out_of_band(self, invoice: str) -> bool:
        """Say whether an invoice was marked as paid elsewhere."""

    def tax_rate(self, id_: str) -> dict[str, Any] | None:
        """Return a tax rate."""


def acacia_object(kind: str, body: dict[str, Any], facts: OlderFacts) -> dict[str, Any]:
    """Return the object in its older form, or unchanged when nothing differs."""
    turn = _TURNS.get(kind)
    if turn is not None:
        turn(body, facts)
    return body


def _subscription(body: dict[str, Any], _: OlderFacts) -> None:
    items = body["items"]["data"]
    body["current_period_start"] = min(
        (item["_period"][0] for item in items), default=body["start_date"]
    )
    body["current_period_end"] = min(
        (item["_period"][1] for item in items), default=body["start_date"]
    )
    for item in items:
        del item["_period"]
    body["discount"] = None
    del body["billing_mode"]
    body.pop("billing_schedules", None)


def _subscription_item(body: dict[str, Any], _: OlderFacts) -> None:
    body["_period"] = (body.pop("current_period_start"), body.pop("current_period_end"))


def _line_item(body: dict[str, Any], facts: OlderFacts) -> None:
    parent = body.pop("parent") or {}
    details = parent.get("subscription_item_details") or {}
    item_details = parent.get("invoice_item_details") or {}
    body["type"] = "subscription" if details else "invoiceitem"
    body["subscription"] = details.get("subscription") or item_details.get("subscription")
    if details:
        body["subscription_item"] = details["subscription_item"]
    if item_details or details.get("invoice_item"):
        body["invoice_item"] = item_details.get("invoice_item") or details.get("invoice_item")
    source = details or item_details
    body["proration"] = bool(source.get("proration"))
    body["proration_details"] = source.get("proration_details") or {"credited_items": None}
    pricing = body.pop("pricing") or {}
    amount = pricing.get("unit_amount_decimal")
    body["unit_amount_excluding_tax"] = amount
    _set_price(body, pricing, facts)
    taxes = body.pop("taxes")
    body["amount_excluding_tax"] = body["amount"] - sum(
        tax["amount"] for tax in taxes if tax["tax_behavior"] == "inclusive"
    )
    body["tax_amounts"] = [_tax_amount(tax) for tax in taxes]
    rates = (facts.tax_rate(tax["tax_rate_details"]["tax_rate"]) for tax in taxes)
    body["tax_rates"] = [rate for rate in rates if rate is not None]
    body.pop("quantity_decimal", None)
    body.pop("subtotal", None)


def _set_price(body: dict[str, Any], pricing: dict[str, Any], facts: OlderFacts) -> None:
    price = (pricing.get("price_details") or {}).get("price")
    body["price"] = facts.price(price) if price else None
    body["plan"] = facts.plan(price) if price else None
    if body["price"] is not None:
        _price(body["price"], facts)
    if body["plan"] is not None:
        _plan(body["plan"], facts)


def _tax_amount(tax: dict[str, Any]) -> dict[str, Any]:
    return {
        "amount": tax["amount"],
        "inclusive": tax["tax_behavior"] == "inclusive",
        "tax_rate": tax["tax_rate_details"]["tax_rate"],
        "taxability_reason": None,
        "taxable_amount": tax["taxable_amount"],
    }


def _invoice(body: dict[str, Any], facts: OlderFacts) -> None:
    parent = body.pop("parent") or {}
    details = parent.get("subscription_details") or {}
    body["subscription"] = details.get("subscription")
    body["subscription_details"] = {"metadata": details.get("metadata")}
    body["paid"] = body["status"] == "paid"
    invoice = body.get("id", "")
    body["paid_out_of_band"] = facts.is_paid_out_of_band(invoice)
    body["payment_intent"], body["charge"] = facts.payment(invoice)
    body["quote"] = None
    body["discount"] = None
    taxes = body.pop("total_taxes")
    body["tax"] = sum(tax["amount"] for tax in taxes) if taxes else None
    body["total_tax_amounts"] = [_tax_amount(tax) for tax in taxes]
    body["application_fee_amount"] = None
    body["transfer_data"] = None
    body.pop("amount_paid_off_stripe", None)


def _price(body: dict[str, Any], facts: OlderFacts) -> None:
    recurring = body.get("recurring")
    if recurring:
        recurring["aggregate_usage"] = facts.aggregate_usage(body["id"])


def _plan(body: dict[str, Any], facts: OlderFacts) -> None:
    body["aggregate_usage"] = facts.aggregate_usage(body["id"])


def _invoice_item(body: dict[str, Any], facts: OlderFacts) -> None:
    parent = body.pop("parent") or {}
    details = parent.get("subscription_details") or {}
    body["subscription"] = details.get("subscription")
    if details.get("subscription_item"):
        body["subscription_item"] = details["subscription_item"]
    pricing = body.pop("pricing") or {}
    body["unit_amount_decimal"] = pricing.get("unit_amount_decimal")
    amount = pricing.get("unit_amount_decimal")
    body["unit_amount"] = int(amount) if amount and amount.lstrip("-").isdigit() else None
    _set_price(body, pricing, facts)
    body.pop("quantity_decimal", None)
    body.pop("net_amount", None)


_TURNS = {
    "subscription": _subscription,
    "subscription_item": _subscription_item,
    "line_item": _line_item,
    "invoice": _invoice,
    "price": _price,
    "plan": _plan,
    "invoiceitem": _invoice_item,
}
