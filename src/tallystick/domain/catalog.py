"""The catalog: meters, and products with their prices, as a team declares them in code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tallystick.domain.meters import Aggregation, Meter
from tallystick.domain.price_limits import PriceError
from tallystick.domain.prices import Price, UsageType, price_from_stripe
from tallystick.domain.quantity import DECIMALS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

_KEY = re.compile(r"[a-z][a-z0-9_]{0,99}")  # Stripe: an event_name has at most 100 characters

_METER_FIELDS = ("display_name", "event_type", "aggregation", "decimals")
_PRODUCT_FIELDS = ("name", "prices")


class CatalogError(ValueError):
    """Something in a catalog that cannot be; ``path`` is where, like ``meters.api_requests``."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


@dataclass(frozen=True, slots=True)
class CatalogPrice:
    """A price with the meter whose usage it charges.

    ``definition`` is the price in the shape of Stripe's request, as declared. ``key`` is its lookup
    key at Stripe.
    """

    key: str
    product_key: str
    meter_key: str
    price: Price
    definition: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Product:
    """Something that is sold, and what its usage costs."""

    key: str
    name: str
    prices: tuple[CatalogPrice, ...]


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything that a catalog file declares."""

    meters: tuple[Meter, ...]
    products: tuple[Product, ...]

    @property
    def prices(self) -> tuple[CatalogPrice, ...]:
        """The prices of all products."""
        return tuple(price for product in self.products for price in product.prices)


def catalog_from_mapping(document: object) -> Catalog:
    """Return the catalog that a parsed file declares.

    Raises:
        CatalogError: the first thing wrong with it, and where it stands.
    """
    root = _mapping(document, "catalog", ("meters", "products"))
    meters = tuple(
        _meter(key, declared) for key, declared in _named(root.get("meters", {}), "meters")
    )
    meter_keys = {meter.key for meter in meters}
    products = tuple(
        _product(key, declared, meter_keys)
        for key, declared in _named(root.get("products", {}), "products")
    )
    catalog = Catalog(meters, products)
    _check_unique("products", (price.key for price in catalog.prices))
    return catalog


def _meter(key: str, declared: object) -> Meter:
    path = f"meters.{key}"
    fields = _mapping(declared, path, _METER_FIELDS)
    aggregation = fields.get("aggregation")
    if aggregation not in list(Aggregation):
        known = ", ".join(Aggregation)
        raise CatalogError(f"{path}.aggregation", f"{aggregation!r} is not one of: {known}")
    decimals = fields.get("decimals", 0)
    if isinstance(decimals, bool) or not isinstance(decimals, int):
        raise CatalogError(f"{path}.decimals", f"{decimals!r} is not a whole number")
    if not 0 <= decimals <= DECIMALS_MAX:
        raise CatalogError(f"{path}.decimals", f"{decimals} is not between 0 and {DECIMALS_MAX}")
    return Meter(
        key=key,
        display_name=_text(fields, "display_name", path, default=key),
        event_type=_text(fields, "event_type", path),
        aggregation=Aggregation(str(aggregation)),
        decimals=decimals,
    )


def _product(key: str, declared: object, meter_keys: set[str]) -> Product:
    path = f"products.{key}"
    fields = _mapping(declared, path, _PRODUCT_FIELDS)
    name = _text(fields, "name", path, default=key)
    prices = tuple(
        _price(price_key, price, f"{path}.prices.{price_key}", (key, name, meter_keys))
        for price_key, price in _named(fields.get("prices", {}), f"{path}.prices")
    )
    return Product(key, name, prices)


def _price(
    key: str, declared: object, path: str, product: tuple[str, str, set[str]]
) -> CatalogPrice:
    product_key, product_name, meter_keys = product
    if not isinstance(declared, Mapping):
        raise CatalogError(path, "must be fields with their values")
    meter_key = declared.get("meter")
    if meter_key not in meter_keys:
        raise CatalogError(f"{path}.meter", f"{meter_key!r} is not a meter of this catalog")
    definition = {name: value for name, value in declared.items() if name != "meter"}
    recurring = definition.get("recurring", {"interval": "month"})
    if not isinstance(recurring, Mapping):
        raise CatalogError(f"{path}.recurring", "must be fields with their values")
    definition["recurring"] = {**recurring, "usage_type": UsageType.METERED.value}
    try:
        price = price_from_stripe(
            {**definition, "lookup_key": key, "product_data": {"name": product_name}}
        )
    except PriceError as error:
        where = f"{path}.{error.param}" if error.param else path
        raise CatalogError(where, str(error)) from error
    return CatalogPrice(key, product_key, str(meter_key), price, definition)


def _named(declared: object, path: str) -> list[tuple[str, object]]:
    if not isinstance(declared, Mapping):
        raise CatalogError(path, "must be keys with their declarations")
    for key in declared:
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise CatalogError(
                f"{path}.{key}",
                "a key is lower-case letters, digits and underscores, at most 100, letter first",
            )
    return list(declared.items())


def _mapping(declared: object, path: str, known: tuple[str, ...]) -> Mapping[str, object]:
    if not isinstance(declared, Mapping):
        raise CatalogError(path, "must be fields with their values")
    for field in declared:
        if field not in known:
            raise CatalogError(f"{path}.{field}", f"is not a field; known: {', '.join(known)}")
    return declared


def _text(fields: Mapping[str, object], name: str, path: str, *, default: str | None = None) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str) or not value.strip():
        raise CatalogError(f"{path}.{name}", "a text is needed")
    return value


def _check_unique(path: str, keys: Iterable[str]) -> None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise CatalogError(path, f"two prices have the key {key}: it is their lookup key")
        seen.add(key)
