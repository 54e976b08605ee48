"""A team with an account in a real sandbox, which declares its catalog in text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tallystick.billing.catalog_changes import apply_catalog, find_drift, plan_catalog
from tallystick.billing.catalog_file import read_catalog_texts
from tallystick.wiring import Tallystick
from tests.sandbox.rig import Rig, client_for

if TYPE_CHECKING:
    from tallystick.billing.catalog_changes import CatalogPlan
    from tallystick.config import Settings
    from tallystick.domain.catalog.diff import Change, Difference
    from tallystick.domain.catalog.objects import Catalog
    from tallystick.ports.clock import Clock
    from tallystick.ports.stripe import AppliedCatalog

BASE = """\
meters:
  calls: {display_name: Calls, event_type: call, aggregation: count}
  storage: {event_type: stored, aggregation: sum, decimals: 3}
products:
  api:
    name: API
    unit_label: call
    prices:
      calls_monthly:
        meter: calls
        currency: usd
        billing_scheme: tiered
        tiers_mode: graduated
        tiers:
          - {up_to: 1000, unit_amount: 1}
          - {up_to: 10000, unit_amount_decimal: "0.8"}
          - {up_to: inf, unit_amount_decimal: "0.5"}
      storage_monthly:
        meter: storage
        currencies:
          usd: {unit_amount_decimal: "0.000000000001"}
          jpy: {unit_amount: 3, tax_behavior: inclusive}
      seats_monthly:
        currency: usd
        recurring: {interval: month, usage_type: licensed}
        unit_amount: 2000
plans:
  team:
    name: Team
    items: [calls_monthly, {price: seats_monthly, quantity: 5}]
    commitments: {usd: {minimum: 50000, periods: 12}}
"""


class Shop:
    """The product on a database of its own, and the SDK on the same account."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        assert settings.stripe_api_base is not None
        assert settings.stripe_api_key is not None
        self.settings = settings
        self.product = Tallystick(settings, clock)
        self.sdk: Any = client_for(settings.stripe_api_base, settings.stripe_api_key).v1

    def read(self, text: str) -> Catalog:
        return read_catalog_texts([("catalog.yaml", text)])

    def plan(self, text: str, *, prune: bool = False) -> CatalogPlan:
        product = self.product
        return plan_catalog(self.read(text), product.catalog, product.stripe.catalog, prune=prune)

    def changes(self, text: str) -> tuple[Change, ...]:
        return self.plan(text).changes

    def apply(self, text: str, *, prune: bool = False) -> AppliedCatalog:
        product = self.product
        return apply_catalog(
            self.read(text), product.catalog, product.stripe.catalog, product.clock, prune=prune
        )

    def drift(self) -> Difference:
        found = find_drift(self.product.catalog, self.product.stripe.catalog)
        assert found is not None
        return found

    def price(self, key: str) -> Any:
        """Return the price that has the lookup key at Stripe now."""
        (found,) = self.sdk.prices.list({"lookup_keys": [key]}).data
        return found

    def prices(self, **filters: Any) -> list[Any]:
        return list(self.sdk.prices.list({"limit": 100, **filters}).data)

    def everything(self) -> tuple[int, int, int]:
        """Return how many meters, products and prices the account has."""
        sdk = self.sdk
        listed = (sdk.billing.meters, sdk.products, sdk.prices)
        meters, products, prices = (len(one.list({"limit": 100}).data) for one in listed)
        return meters, products, prices

    def faults(self, *rules: dict[str, Any]) -> None:
        """Make the sandbox fail as the rules say, for this account."""
        base, key = self.settings.stripe_api_base or "", self.settings.stripe_api_key or ""
        Rig(base, key, client_for(base, key)).faults(*rules)

    def subscribe(self, *price_ids: str, **params: Any) -> Any:
        customer = self.sdk.customers.create({"name": "someone", **params})
        return self.sdk.subscriptions.create(
            {
                "customer": customer.id,
                "items": [{"price": price_id} for price_id in price_ids],
                "collection_method": "send_invoice",
                "days_until_due": 30,
            }
        )


def write(folder: Path, text: str, name: str = "catalog.yaml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path
