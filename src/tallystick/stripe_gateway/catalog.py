"""The catalog at Stripe: looked up by event name, metadata and lookup key, and changed."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar, cast

import stripe

from tallystick.domain.catalog.diff import Kind
from tallystick.domain.catalog.prices import definition_of
from tallystick.domain.catalog.state import PRICE_KEY, PRODUCT_KEY, REPLACES_KEY, CatalogState
from tallystick.ports.errors import StripeUnreachable
from tallystick.stripe_gateway.catalog_reading import (
    is_legacy,
    read_meter,
    read_price,
    read_product,
)
from tallystick.stripe_gateway.readers import PAGE_MAX
from tallystick.stripe_gateway.usage_sink import CUSTOMER_KEY, VALUE_KEY
from tallystick.stripe_gateway.versions import USAGE_RECORDS_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tallystick.domain.catalog.objects import Catalog, Product
    from tallystick.domain.catalog.state import StripePrice
    from tallystick.domain.meters import Meter
    from tallystick.ports.stripe import NewPrice
    from tallystick.stripe_gateway.connection import StripeConnection

T = TypeVar("T")

LOOKUP_KEYS_MAX = 10
"""Lookup keys of one list request: Stripe's limit."""

CREATE_ATTEMPTS_MAX = 3
"""Keys that a creation is tried under: Stripe replays a saved 5xx for a day under the first."""

_OVER = ("canceled", "incomplete_expired")
_TIERS = "data.tiers"


class CatalogGateway:
    """``CatalogGateway`` over meters, products, prices and subscriptions."""

    def __init__(self, connection: StripeConnection) -> None:
        self._connection = connection

    def read(self, catalog: Catalog, known_price_ids: Mapping[str, str]) -> CatalogState:
        """Return all meters and products, and the prices that the catalog may mean."""
        prices = {one.stripe_id: one for one in self._with_keys([p.key for p in catalog.prices])}
        named = {
            *(
                known_price_ids[price.key]
                for price in catalog.prices
                if price.key in known_price_ids
            ),
            *(price.stripe_id for price in catalog.prices if price.stripe_id),
            *(price.replaces for price in prices.values() if price.replaces),
        }
        for price_id in sorted(named - prices.keys()):
            found = self._price(price_id)
            if found is not None:
                prices[price_id] = found
        return self._state(prices.values())

    def read_all(self) -> CatalogState:
        """Return all meters and products, and every active price that recurs."""
        with self._connection.call() as client:
            page = client.v1.prices.list(
                {
                    "active": True,
                    "type": "recurring",
                    "limit": PAGE_MAX,
                    "expand": [_TIERS, "data.currency_options"],
                }
            )
            found = list(page.auto_paging_iter())
        return self._state([self._read(price) for price in found])

    def create_meter(self, meter: Meter, token: str) -> str:
        """Create the meter; return its id."""
        return self._create(
            lambda client, options: (
                client.v1.billing.meters.create(
                    {
                        "display_name": meter.display_name,
                        "event_name": meter.key,
                        "default_aggregation": {"formula": meter.formula.value},
                        "customer_mapping": {"type": "by_id", "event_payload_key": CUSTOMER_KEY},
                        "value_settings": {"event_payload_key": VALUE_KEY},
                    },
                    options,
                ).id
            ),
            (token, "meter", meter.key, meter.display_name, meter.formula),
        )

    def create_product(self, product: Product, token: str) -> str:
        """Create the product; return its id."""
        request: dict[str, Any] = {
            "name": product.name,
            "metadata": {PRODUCT_KEY: product.key},
        }
        if product.unit_label is not None:
            request["unit_label"] = product.unit_label
        return self._create(
            lambda client, options: (
                client.v1.products.create(
                    cast("stripe.params.ProductCreateParams", request), options
                ).id
            ),
            (token, "product", json.dumps(request, sort_keys=True)),
        )

    def create_price(self, new: NewPrice, token: str) -> str:
        """Create the price, taking its lookup key from whichever has it; return its id."""
        price = new.price
        request = definition_of(price.price)
        if new.meter_id is not None:
            request["recurring"]["meter"] = new.meter_id
        metadata = {PRICE_KEY: price.key}
        if new.replaces is not None:
            metadata[REPLACES_KEY] = new.replaces
            request["transfer_lookup_key"] = True
        if price.nickname is not None:
            request["nickname"] = price.nickname
        request |= {"product": new.product_id, "lookup_key": price.key, "metadata": metadata}
        return self._create(
            lambda client, options: (
                client.v1.prices.create(
                    cast("stripe.params.PriceCreateParams", request), options
                ).id
            ),
            (token, "price", json.dumps(request, sort_keys=True)),
        )

    def update(self, kind: Kind, stripe_id: str, values: Mapping[str, object]) -> None:
        """Set fields of an object; ``metadata.NAME`` is an entry of its metadata.

        Needs no key of its own: setting a field twice is setting it once.
        """
        if kind is Kind.METER:
            self._update_meter(stripe_id, values)
            return
        request: dict[str, Any] = {}
        for name, value in values.items():
            holder, _, entry = name.partition(".")
            if entry:
                request.setdefault(holder, {})[entry] = value
            else:
                request[name] = "" if value is None else value  # "" unsets a field
        if "lookup_key" in request:
            request["transfer_lookup_key"] = True
        with self._connection.call() as client:
            if kind is Kind.PRODUCT:
                client.v1.products.update(
                    stripe_id, cast("stripe.params.ProductUpdateParams", request)
                )
            else:
                client.v1.prices.update(stripe_id, cast("stripe.params.PriceUpdateParams", request))

    def subscriptions_on(self, stripe_price_id: str) -> int:
        """Return how many subscriptions that are not over have an item at the price."""
        with self._connection.call() as client:
            page = client.v1.subscriptions.list(
                {"price": stripe_price_id, "status": "all", "limit": PAGE_MAX}
            )
            return sum(one.status not in _OVER for one in page.auto_paging_iter())

    def _update_meter(self, stripe_id: str, values: Mapping[str, object]) -> None:
        """Rename or reactivate a meter: all that Stripe lets change, each by a call of its own."""
        if "display_name" in values:
            with self._connection.call() as client:
                client.v1.billing.meters.update(
                    stripe_id, {"display_name": str(values["display_name"])}
                )
        if values.get("active"):
            with self._connection.call() as client:
                client.v1.billing.meters.reactivate(stripe_id)

    def _state(self, prices: Iterable[StripePrice]) -> CatalogState:
        with self._connection.call() as client:
            meters = client.v1.billing.meters.list({"limit": PAGE_MAX})
            known_meters = tuple(read_meter(meter) for meter in meters.auto_paging_iter())
        with self._connection.call() as client:
            products = client.v1.products.list({"limit": PAGE_MAX})
            known_products = tuple(read_product(one) for one in products.auto_paging_iter())
        return CatalogState(known_meters, known_products, tuple(prices))

    def _with_keys(self, keys: list[str]) -> list[StripePrice]:
        found: list[stripe.Price] = []
        for first in range(0, len(keys), LOOKUP_KEYS_MAX):
            with self._connection.call() as client:
                page = client.v1.prices.list(
                    {
                        "lookup_keys": keys[first : first + LOOKUP_KEYS_MAX],
                        "limit": PAGE_MAX,
                        "expand": [_TIERS],
                    }
                )
                found += page.auto_paging_iter()
        return [self._read(price) for price in found]

    def _price(self, price_id: str) -> StripePrice | None:
        with self._connection.call() as client:
            try:
                found = client.v1.prices.retrieve(price_id, {"expand": ["tiers"]})
            except stripe.InvalidRequestError as error:
                if error.code == "resource_missing":
                    return None
                raise
        return self._read(found)

    def _read(self, price: stripe.Price) -> StripePrice:
        return read_price(price, self._aggregate_usage(price.id) if is_legacy(price) else None)

    def _aggregate_usage(self, price_id: str) -> str:
        """Return how a legacy price adds up usage records: only older versions of the API say."""
        with self._connection.call() as client:
            older = client.v1.prices.retrieve(
                price_id, options={"stripe_version": USAGE_RECORDS_VERSION}
            )
        return str(older.to_dict()["recurring"].get("aggregate_usage") or "sum")

    def _create(
        self,
        create: Callable[[stripe.StripeClient, stripe.RequestOptions], T],
        what: tuple[str, ...],
    ) -> T:
        """Create an object under a key made of what it is: a repeat creates nothing twice.

        A 5xx that Stripe replays from an earlier run says nothing of now; what is created was
        looked up and not found after it, so that a fresh key is safe.
        """
        digest = blake2b("\0".join(what).encode(), digest_size=16).hexdigest()
        for attempt in range(1, CREATE_ATTEMPTS_MAX + 1):
            options: stripe.RequestOptions = {
                "idempotency_key": f"tallystick-apply-{digest}-{attempt}"
            }
            try:
                with self._connection.call() as client:
                    return create(client, options)
            except StripeUnreachable as error:
                if attempt == CREATE_ATTEMPTS_MAX or not _is_replay(error):
                    raise
        raise AssertionError("the last attempt returns or raises")


def _is_replay(error: StripeUnreachable) -> bool:
    cause = error.__cause__
    if not isinstance(cause, stripe.StripeError):
        return False
    headers = {name.lower(): value for name, value in (cause.headers or {}).items()}
    return headers.get("idempotent-replayed") == "true"
