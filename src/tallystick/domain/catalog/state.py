"""What Stripe has of a catalog: its meters, products and prices, as far as Tallystick looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PRICE_KEY = "tallystick_price"
"""Metadata that says which price of a catalog a Stripe price is."""

REPLACES_KEY = "tallystick_replaces"
"""Metadata that says which Stripe price a new version took the place of."""

PRODUCT_KEY = "tallystick_product"
"""Metadata that says which product of a catalog a Stripe product is."""


@dataclass(frozen=True, slots=True)
class StripeMeter:
    """A meter at Stripe. ``event_time_window`` is set where it is pre-aggregated."""

    stripe_id: str
    event_name: str
    display_name: str
    formula: str
    event_time_window: str | None
    is_active: bool


@dataclass(frozen=True, slots=True)
class StripeProduct:
    """A product at Stripe; ``key`` is what its metadata says, if it is one of a catalog."""

    stripe_id: str
    key: str | None
    name: str
    unit_label: str | None
    is_active: bool
    default_price_id: str | None


@dataclass(frozen=True, slots=True)
class StripePrice:
    """A price at Stripe; ``fields`` is the response as plain data, tiers included.

    ``key`` and ``replaces`` are what its metadata says. ``aggregate_usage`` is set for a legacy
    metered price, which has no meter.
    """

    stripe_id: str
    key: str | None
    lookup_key: str | None
    product_id: str
    meter_id: str | None
    is_active: bool
    nickname: str | None
    replaces: str | None
    aggregate_usage: str | None
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class CatalogState:
    """Meters and products of the account, and those prices that were asked for."""

    meters: tuple[StripeMeter, ...]
    products: tuple[StripeProduct, ...]
    prices: tuple[StripePrice, ...]

    def meter(self, event_name: str) -> StripeMeter | None:
        """Return the meter of an event name: the active one, if several ever had it."""
        found = [meter for meter in self.meters if meter.event_name == event_name]
        return next((meter for meter in found if meter.is_active), found[0] if found else None)

    def products_of(self, key: str) -> list[StripeProduct]:
        """Return the products that say of themselves that they are this one of a catalog."""
        return [product for product in self.products if product.key == key]

    def product(self, stripe_id: str) -> StripeProduct | None:
        """Return a product by its id."""
        return next((one for one in self.products if one.stripe_id == stripe_id), None)

    def price(self, stripe_id: str) -> StripePrice | None:
        """Return a price by its id."""
        return next((price for price in self.prices if price.stripe_id == stripe_id), None)

    def price_with(self, lookup_key: str) -> StripePrice | None:
        """Return the price that has the lookup key; at Stripe only one can."""
        return next((price for price in self.prices if price.lookup_key == lookup_key), None)
