"""From a parsed file to a catalog: every check, and all that is wrong at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tallystick.domain.catalog.fields import Fields, Problems
from tallystick.domain.catalog.meters import read_meters
from tallystick.domain.catalog.objects import (
    PLAN_ITEMS_MAX,
    Catalog,
    CatalogError,
    CatalogPrice,
    Plan,
    PlanItem,
    locate,
)
from tallystick.domain.catalog.prices import read_products
from tallystick.domain.catalog.sources import read_sources
from tallystick.domain.rating.commitments import Commitment
from tallystick.domain.rating.prices import UsageType
from tallystick.domain.rating.spend_caps import SpendCap

if TYPE_CHECKING:
    from tallystick.domain.catalog.objects import Path, Position, Product

SECTIONS = ("meters", "sources", "products", "plans")
PLAN_FIELDS = ("name", "items", "currencies", "commitments", "spend_caps")
ITEM_FIELDS = ("price", "quantity")
COMMITMENT_FIELDS = ("minimum", "periods")

MINOR_MAX = 10**15
QUANTITY_MAX = 10**9
PERIODS_MAX = 120
"""Limits that only stop nonsense: Stripe has no plans and no commitments."""


def catalog_from_mapping(
    document: object, positions: Mapping[Path, Position] | None = None
) -> Catalog:
    """Return the catalog that a parsed file declares; ``positions`` say where things stand in it.

    Raises:
        CatalogError: everything that is wrong with it.
    """
    places = positions or {}
    problems = Problems()
    root = Fields(document, (), SECTIONS, problems)
    meters = read_meters(root)
    sources = tuple(read_sources(root))
    products = read_products(root, meters.by_name)
    plans = tuple(
        _plan(key, Fields(declared, ("plans", key), PLAN_FIELDS, problems), products)
        for key, declared in root.named("plans")
    )
    if problems.found:
        raise CatalogError(locate(problems.found, places))
    return Catalog(
        meters=meters.measured,
        products=products,
        plans=plans,
        external_meters=meters.external,
        sources=sources,
        document=root.values,
        positions=places,
    )


def _plan(key: str, fields: Fields, products: tuple[Product, ...]) -> Plan:
    prices = _prices_by_name(products)
    items = _items(fields, prices)
    currencies = _currencies(fields, [(item, prices[item.price_name]) for item in items])
    return Plan(
        key=key,
        name=fields.text("name", default=key),
        items=items,
        currencies=currencies,
        commitments=_commitments(fields, currencies),
        spend_caps=_spend_caps(fields, currencies),
    )


def _prices_by_name(products: tuple[Product, ...]) -> dict[str, list[CatalogPrice]]:
    found: dict[str, list[CatalogPrice]] = {}
    for product in products:
        for price in product.prices:
            found.setdefault(price.name, []).append(price)
    return found


def _items(fields: Fields, prices: Mapping[str, list[CatalogPrice]]) -> tuple[PlanItem, ...]:
    rows = fields.listed("items")
    if not rows:
        fields.wrong("items", "a plan needs at least one price")
    if len(rows) > PLAN_ITEMS_MAX:
        fields.wrong(
            "items",
            f"{len(rows)} items: a subscription at Stripe has at most {PLAN_ITEMS_MAX}",
        )
    items: list[PlanItem] = []
    used: dict[str, int] = {}
    for number, row in enumerate(rows):
        path = (*fields.path, "items", number)
        declared = row if isinstance(row, Mapping) else {"price": row}
        item = _item(Fields(declared, path, ITEM_FIELDS, fields.problems), prices)
        if item is None:
            continue
        for taken in _takes(item.price_name, prices):
            if taken in used:
                fields.problems.add(path, f"{taken} has an item already: items[{used[taken]}]")
            used.setdefault(taken, number)
        items.append(item)
    return tuple(items)


def _takes(name: str, prices: Mapping[str, list[CatalogPrice]]) -> list[str]:
    """Return what only one item of a plan may have: the price, and the meter whose usage it bills.

    A second item for a meter would bill the same usage twice.
    """
    meter_key = prices[name][0].meter_key or prices[name][0].external_meter_key
    return [f"the price {name}", *([f"the meter {meter_key}"] if meter_key else [])]


def _item(fields: Fields, prices: Mapping[str, list[CatalogPrice]]) -> PlanItem | None:
    name = fields.values.get("price")
    if not isinstance(name, str) or name not in prices:
        fields.wrong("price", f"{name!r} is not a price of this catalog")
        return None
    if prices[name][0].price.usage_type is UsageType.LICENSED:
        return PlanItem(name, fields.whole("quantity", 1, 1, QUANTITY_MAX))
    if fields.has("quantity"):
        fields.wrong("quantity", "this price is metered: its quantity is the usage")
    return PlanItem(name)


def _currencies(
    fields: Fields, items: list[tuple[PlanItem, list[CatalogPrice]]]
) -> tuple[str, ...]:
    """Return the plan's currencies: every item needs a price of its own in each of them."""
    had = {item.price_name: {one.price.currency for one in priced} for item, priced in items}
    wanted = [str(one) for one in fields.listed("currencies")]
    if not fields.has("currencies"):
        wanted = sorted(set().union(*had.values()))
    for name, currencies in had.items():
        for currency in wanted:
            if currency not in currencies:
                fields.wrong(
                    "currencies",
                    f"{name} has no price in {currency}; each currency needs an explicit one",
                )
    return tuple(wanted)


def _commitments(fields: Fields, currencies: tuple[str, ...]) -> dict[str, Commitment]:
    found = {}
    for currency, declared in fields.named("commitments"):
        path = (*fields.path, "commitments", currency)
        one = Fields(declared, path, COMMITMENT_FIELDS, fields.problems)
        _check_currency(fields, "commitments", currency, currencies)
        found[currency] = Commitment(
            one.whole("minimum", None, 1, MINOR_MAX),
            currency,
            one.whole("periods", 1, 1, PERIODS_MAX),
        )
    return found


def _spend_caps(fields: Fields, currencies: tuple[str, ...]) -> dict[str, SpendCap]:
    caps = Fields(
        fields.values.get("spend_caps") or {},
        (*fields.path, "spend_caps"),
        tuple(str(key) for key, _ in fields.named("spend_caps")),
        fields.problems,
    )
    for currency in caps.values:
        _check_currency(fields, "spend_caps", currency, currencies)
    return {
        currency: SpendCap(caps.whole(currency, None, 0, MINOR_MAX), currency)
        for currency in caps.values
    }


def _check_currency(
    fields: Fields, section: str, currency: str, currencies: tuple[str, ...]
) -> None:
    if currency not in currencies:
        fields.problems.add(
            (*fields.path, section, currency), f"the plan has no prices in {currency}"
        )
