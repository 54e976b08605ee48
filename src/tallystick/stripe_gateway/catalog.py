"""The catalog at Stripe: found by event name, lookup key and metadata, else created."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from tallystick.domain.prices import PriceError, price_from_stripe
from tallystick.ports.errors import StripeRefused
from tallystick.ports.stripe import AppliedCatalog
from tallystick.stripe_gateway.readers import PAGE_MAX
from tallystick.stripe_gateway.usage_sink import CUSTOMER_KEY, VALUE_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    import stripe

    from tallystick.domain.catalog import Catalog, CatalogPrice, Product
    from tallystick.domain.meters import Meter
    from tallystick.stripe_gateway.connection import StripeConnection

PRODUCT_KEY = "tallystick_product"
"""Metadata that says which of our products a Stripe product is."""

T = TypeVar("T")

LOOKUP_KEYS_MAX = 10
"""Lookup keys of one list request: Stripe's limit."""


class CatalogGateway:
    """``CatalogGateway`` over meters, products and prices."""

    def __init__(self, connection: StripeConnection) -> None:
        self._connection = connection

    def apply(self, catalog: Catalog) -> AppliedCatalog:
        """Create what the catalog has and Stripe lacks; change nothing else."""
        created: list[str] = []
        meter_ids = self._apply_meters(catalog, created)
        product_ids = self._apply_products(catalog, created)
        price_ids = self._apply_prices(catalog, meter_ids, product_ids, created)
        return AppliedCatalog(meter_ids, product_ids, price_ids, tuple(created))

    def _apply_meters(self, catalog: Catalog, created: list[str]) -> dict[str, str]:
        with self._connection.call() as client:
            page = client.v1.billing.meters.list({"limit": PAGE_MAX})
            known = {meter.event_name: meter for meter in page.auto_paging_iter()}
        ids = {}
        for meter in catalog.meters:
            found = known.get(meter.key)
            if found is None:
                found = self._create_meter(meter)
                created.append(f"meter {meter.key}")
            _check_meter(meter, found)
            ids[meter.key] = found.id
        return ids

    def _create_meter(self, meter: Meter) -> stripe.billing.Meter:
        return self._create(
            lambda client, options: client.v1.billing.meters.create(
                {
                    "display_name": meter.display_name,
                    "event_name": meter.key,
                    # whatever the meter aggregates: Stripe gets differences, and adds them
                    "default_aggregation": {"formula": "sum"},
                    "customer_mapping": {"type": "by_id", "event_payload_key": CUSTOMER_KEY},
                    "value_settings": {"event_payload_key": VALUE_KEY},
                },
                options,
            ),
            ("meter", meter.key, meter.display_name),
        )

    def _apply_products(self, catalog: Catalog, created: list[str]) -> dict[str, str]:
        with self._connection.call() as client:
            page = client.v1.products.list({"limit": PAGE_MAX, "active": True})
            known = {
                product.metadata[PRODUCT_KEY]: product.id
                for product in page.auto_paging_iter()
                if PRODUCT_KEY in product.metadata
            }
        for product in catalog.products:
            if product.key not in known:
                known[product.key] = self._create_product(product)
                created.append(f"product {product.key}")
        return {product.key: known[product.key] for product in catalog.products}

    def _create_product(self, product: Product) -> str:
        return self._create(
            lambda client, options: client.v1.products.create(
                {"name": product.name, "metadata": {PRODUCT_KEY: product.key}}, options
            ),
            ("product", product.key, product.name),
        ).id

    def _apply_prices(
        self,
        catalog: Catalog,
        meter_ids: dict[str, str],
        product_ids: dict[str, str],
        created: list[str],
    ) -> dict[str, str]:
        known = self._known_prices([price.key for price in catalog.prices])
        ids = {}
        for price in catalog.prices:
            meter_id = meter_ids[price.meter_key]
            found = known.get(price.key)
            if found is None:
                found = self._create_price(price, meter_id, product_ids[price.product_key])
                created.append(f"price {price.key}")
            _check_price(price, found, meter_id)
            ids[price.key] = found.id
        return ids

    def _known_prices(self, keys: list[str]) -> dict[str, stripe.Price]:
        known = {}
        for first in range(0, len(keys), LOOKUP_KEYS_MAX):
            with self._connection.call() as client:
                page = client.v1.prices.list(
                    {
                        "lookup_keys": keys[first : first + LOOKUP_KEYS_MAX],
                        "limit": PAGE_MAX,
                        "expand": ["data.tiers"],
                    }
                )
                known.update({str(price.lookup_key): price for price in page.auto_paging_iter()})
        return known

    def _create_price(self, price: CatalogPrice, meter_id: str, product_id: str) -> stripe.Price:
        definition: dict[str, Any] = msgspec.to_builtins(price.definition)
        definition["recurring"] = {**definition["recurring"], "meter": meter_id}
        request = {**definition, "product": product_id, "lookup_key": price.key}
        return self._create(
            lambda client, options: client.v1.prices.create(
                cast("stripe.params.PriceCreateParams", {**request, "expand": ["tiers"]}),
                options,
            ),
            ("price", price.key, msgspec.json.encode(request, order="sorted").decode()),
        )

    def _create(
        self,
        create: Callable[[stripe.StripeClient, stripe.RequestOptions], T],
        what: tuple[str, ...],
    ) -> T:
        """Create an object under a key made of what it is: a repeat creates nothing twice."""
        digest = blake2b("\0".join(what).encode(), digest_size=16).hexdigest()
        with self._connection.call() as client:
            return create(client, {"idempotency_key": f"tallystick-apply-{digest}"})


def _check_meter(meter: Meter, found: stripe.billing.Meter) -> None:
    formula = found.default_aggregation.formula
    if formula != "sum":
        raise StripeRefused(
            f"meter {meter.key}: Stripe's meter of this event name aggregates by {formula!r}, and "
            "Tallystick reports differences, which only 'sum' adds up. Use another key"
        )
    if found.event_time_window is not None:
        raise StripeRefused(
            f"meter {meter.key}: Stripe's meter of this event name is pre-aggregated by "
            f"{found.event_time_window}, so that only the last event of each would count. Use "
            "another key"
        )
    if found.status != "active":
        raise StripeRefused(f"meter {meter.key}: Stripe's meter of this event name is inactive")


def _check_price(price: CatalogPrice, found: stripe.Price, meter_id: str) -> None:
    recurring = found.recurring
    if recurring is None or recurring.meter != meter_id:
        raise StripeRefused(
            f"price {price.key}: Stripe's price of this lookup key bills another meter"
        )
    try:
        theirs = price_from_stripe(
            {**found.to_dict(), "product_data": {"name": price.price.product_name}}
        )
    except PriceError as error:
        raise StripeRefused(f"price {price.key}: Stripe's price of this key: {error}") from error
    if theirs != price.price:
        raise StripeRefused(
            f"price {price.key}: Stripe's price of this lookup key ({found.id}) has other amounts, "
            "and a price's amounts cannot be changed. Declare the new price under a new key"
        )
