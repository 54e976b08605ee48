"""The catalog of a Stripe account that was set up without Tallystick."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from tallystick.domain.catalog.fields import KEY_CHARS_MAX, KEY_PATTERN
from tallystick.domain.catalog.prices import LOOKUP_KEY_CHARS_MAX, definition_of
from tallystick.domain.meters import Aggregation
from tallystick.domain.quantity import DECIMALS_MAX
from tallystick.domain.rating.prices import PriceError, UsageType, price_from_stripe

if TYPE_CHECKING:
    from collections.abc import Container

    from tallystick.domain.catalog.state import (
        CatalogState,
        StripeMeter,
        StripePrice,
        StripeProduct,
    )
    from tallystick.ports.stripe import CatalogGateway

_HEAD = """\
# Pulled from Stripe. Before you apply it: event_type says which of your usage events a meter
# counts, and aggregation how; Stripe knows neither, so that both are only proposed here.
"""
_NO_KEY_CHARACTERS = re.compile(r"[^a-z0-9]+")


class PulledCatalog(NamedTuple):
    """A catalog as its file would be parsed, and what of the account could not be written."""

    document: dict[str, Any]
    notes: tuple[str, ...]


def pull_catalog(gateway: CatalogGateway) -> PulledCatalog:
    """Return the catalog that describes the account as it is.

    Applying it takes the objects over: it names the products and prices that have no key yet by
    their ids, and gives them one.

    Raises:
        StripeUnreachable, StripeRefused
    """
    return _Pull(gateway.read_all()).catalog()


def write_yaml(document: dict[str, Any]) -> str:
    """Return the file of a pulled catalog."""
    return _HEAD + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)


class _Pull:
    def __init__(self, state: CatalogState) -> None:
        self._state = state
        self._notes: list[str] = []
        self._meter_names: dict[str, str] = {}
        self._price_keys: set[str] = set()

    def catalog(self) -> PulledCatalog:
        meters: dict[str, Any] = {}
        for meter in self._state.meters:
            if meter.is_active:
                name = _free_key(meter.event_name, KEY_CHARS_MAX, meters)
                meters[name] = _meter(meter, name)
                self._meter_names[meter.stripe_id] = name
        # those first that have a key: nothing made up may take it
        prices = sorted(self._state.prices, key=lambda price: not price.lookup_key)
        products: dict[str, Any] = {}
        for product in self._state.products:
            own = [price for price in prices if price.product_id == product.stripe_id]
            if own and product.is_active:
                key = product.key or _free_key(_slug(product.name), KEY_CHARS_MAX, products)
                products[key] = self._product(product, key, own)
            elif own:
                self._notes.append(f"product {product.name} is archived: its prices are left out")
        sections = {"meters": meters, "products": products}
        document = {name: section for name, section in sections.items() if section}
        return PulledCatalog(document, tuple(self._notes))

    def _product(self, product: StripeProduct, key: str, own: list[StripePrice]) -> dict[str, Any]:
        declared: dict[str, Any] = {"name": product.name}
        if product.unit_label is not None:
            declared["unit_label"] = product.unit_label
        if product.key is None:
            declared["stripe_id"] = product.stripe_id
        prices = {}
        for price in own:
            written = self._price(price, product)
            if written is not None:
                prices[self._price_key(price, key)] = written
        declared["prices"] = prices
        return declared

    def _price_key(self, price: StripePrice, product_key: str) -> str:
        recurring = price.fields.get("recurring")
        interval = recurring.get("interval") if isinstance(recurring, dict) else None
        made_up = price.nickname or f"{product_key}_{price.fields.get('currency')}_{interval}"
        wanted = price.lookup_key or price.key or _slug(made_up)
        key = _free_key(wanted, LOOKUP_KEY_CHARS_MAX - 4, self._price_keys)
        self._price_keys.add(key)
        return key

    def _price(self, price: StripePrice, product: StripeProduct) -> dict[str, Any] | None:
        """Return the price as declared, or None, with a note, for one that does not rate usage."""
        options = price.fields.get("currency_options")
        try:
            rated = price_from_stripe({**price.fields, "product_data": {"name": product.name}})
        except PriceError as error:
            self._notes.append(f"price {price.stripe_id} is left out: {error}")
            return None
        written = definition_of(rated, price.aggregate_usage)
        if rated.usage_type is UsageType.METERED and price.aggregate_usage is None:
            if price.meter_id not in self._meter_names:
                self._notes.append(f"price {price.stripe_id} is left out: its meter is inactive")
                return None
            written = {"meter": self._meter_names[price.meter_id], **written}
            del written["recurring"]["usage_type"]
        if isinstance(options, dict) and len(options) > 1:
            others = ", ".join(sorted(options.keys() - {rated.currency}))
            self._notes.append(
                f"price {price.stripe_id} also has {others} as currency options: declare a price "
                "for each"
            )
        return self._trimmed(written, price)

    def _trimmed(self, written: dict[str, Any], price: StripePrice) -> dict[str, Any]:
        """Leave out what goes without saying, and name the price where no lookup key does."""
        if written["recurring"].get("interval_count") == 1:
            del written["recurring"]["interval_count"]
        if written["tax_behavior"] == "unspecified":
            del written["tax_behavior"]
        if price.nickname is not None:
            written["nickname"] = price.nickname
        if price.lookup_key is None:
            written["stripe_id"] = price.stripe_id
        return written


def _meter(meter: StripeMeter, name: str) -> dict[str, Any]:
    if meter.formula != "sum" or meter.event_time_window is not None or name != meter.event_name:
        return {"external": {"event_name": meter.event_name}}
    return {
        "display_name": meter.display_name,
        "event_type": meter.event_name,
        "aggregation": Aggregation.SUM.value,
        "decimals": DECIMALS_MAX,
    }


def _slug(text: str) -> str:
    return _NO_KEY_CHARACTERS.sub("_", text.lower()).strip("_") or "unnamed"


def _free_key(wanted: str, chars_max: int, taken: Container[str]) -> str:
    """Return the key itself if it can be one, else something like it that is still free."""
    key = wanted
    if len(key) > chars_max or not re.fullmatch(KEY_PATTERN, key):
        key = _slug(wanted)[:chars_max]
    number, free = 1, key
    while free in taken:
        number += 1
        free = f"{key[: chars_max - 4]}_{number}"
    return free
