"""How Stripe words an invoice line.

Recorded: ``1 × Free tier (at $0.00 / month)``, ``1 user × Test Subscription (at $25.00 / month)``,
``1 × Standard (at $0.00000381 / month)``, ``1000 credit × Gitpod Usage (Tier 1 at $0.00 / month)``:
the unit label is never put in the plural, a sub-cent amount is written out, a flat line has no
quantity. Unconfirmed, and so an assumption of this file: ``every 3 months``, ``per 1000`` for
packages, and how currencies other than the dollar are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tallystick.domain.money import format_unit_amount
from tallystick.domain.quantity import plain

if TYPE_CHECKING:
    from decimal import Decimal

SYMBOL_BY_CURRENCY = {
    "aud": "A$",
    "brl": "R$",
    "cad": "CA$",
    "cny": "CN¥",
    "eur": "€",
    "gbp": "£",
    "hkd": "HK$",
    "ils": "₪",
    "inr": "₹",
    "jpy": "¥",
    "krw": "₩",
    "mxn": "MX$",
    "nzd": "NZ$",
    "twd": "NT$",
    "usd": "$",
    "vnd": "₫",
}
"""Symbols of the currencies in English (Unicode CLDR, locale en); others show their code."""


@dataclass(frozen=True, slots=True)
class PriceWording:
    """The fixed parts of a price's line descriptions."""

    currency: str
    product_name: str
    unit_label: str | None
    recurrence: str
    package: str

    @classmethod
    def of(
        cls,
        *,
        currency: str,
        product_name: str,
        unit_label: str | None,
        recurrence: tuple[str | None, int],
        divide_by: int | None,
    ) -> PriceWording:
        """Return the wording of a price."""
        return cls(
            currency=currency,
            product_name=product_name,
            unit_label=unit_label,
            recurrence=describe_recurrence(*recurrence),
            package="" if divide_by is None else f" per {divide_by}",
        )

    def unit(self, unit_amount: Decimal, tier: int | None) -> str:
        """Return what follows the quantity: `` credit × Product (Tier 1 at $0.01 / month)``."""
        return f"{self._label} × {self.product_name} ({self._rate(unit_amount, tier)})"

    def counted(self, quantity: Decimal) -> str:
        """Return the quantity of the product: ``1000 credit × Product``."""
        return f"{plain(quantity)}{self._label} × {self.product_name}"

    def flat(self, flat_amount: Decimal, tier: int) -> str:
        """Return a flat line's description: ``Product (Tier 1 at $10.00 / month)``."""
        return f"{self.product_name} ({self._rate(flat_amount, tier)})"

    @property
    def _label(self) -> str:
        return f" {self.unit_label}" if self.unit_label else ""

    def _rate(self, amount: Decimal, tier: int | None) -> str:
        shown = describe_unit_amount(amount, self.currency)
        at = "at" if tier is None else f"Tier {tier} at"
        return f"{at} {shown}{self.package}{self.recurrence}"


def describe_unit_amount(minor: Decimal, currency: str) -> str:
    """Return a unit amount with its currency: ``$0.005``, ``-¥5``, ``CHF 1.00``."""
    sign = "-" if minor < 0 else ""
    major = format_unit_amount(minor.copy_abs(), currency)
    symbol = SYMBOL_BY_CURRENCY.get(currency, f"{currency.upper()} ")
    return f"{sign}{symbol}{major}"


def describe_recurrence(interval: str | None, interval_count: int) -> str:
    """Return `` / month`` or `` every 3 months``; nothing where the price does not recur."""
    if interval is None:
        return ""
    return f" / {interval}" if interval_count == 1 else f" every {interval_count} {interval}s"
