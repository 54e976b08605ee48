"""What older API versions show that the newest rendering does not, read from the account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.shapes.prices import render_plan, render_price, render_tax_rate

if TYPE_CHECKING:
    from tallystick.sandbox.state.account import Account


class StoredFacts:
    """Answers what older versions show beyond the newest rendering."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def price(self, id_: str) -> dict[str, Any] | None:
        """Return a price."""
        price = self._account.prices.get(id_)
        return render_price(price) if price else None

    def plan(self, id_: str) -> dict[str, Any] | None:
        """Return a recurring price as a plan."""
        price = self._account.prices.get(id_)
        return render_plan(price) if price and price.recurring else None

    def aggregate_usage(self, price: str) -> str | None:
        """Return a legacy metered price's aggregation."""
        found = self._account.prices.get(price)
        return found.recurring.aggregate_usage if found and found.recurring else None

    def payment(self, invoice: str) -> tuple[str | None, str | None]:
        """Return (payment intent, charge) of an invoice."""
        found = self._account.invoices.get(invoice)
        payment = (
            self._account.payments.get(found.payments[-1]) if found and found.payments else None
        )
        return (payment.intent, payment.charge) if payment else (None, None)

    def is_paid_out_of_band(self, invoice: str) -> bool:
        """Say whether an invoice was paid elsewhere."""
        found = self._account.invoices.get(invoice)
        return found is not None and found.paid_out_of_band

    def tax_rate(self, id_: str) -> dict[str, Any] | None:
        """Return a tax rate."""
        rate = self._account.tax_rates.get(id_)
        return render_tax_rate(rate) if rate else None
