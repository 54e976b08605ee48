"""Planning and applying a catalog: to Stripe first, then here, and only what was planned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.catalog.diff import (
    Action,
    Change,
    Difference,
    Kind,
    difference,
    find_price,
    find_product,
)
from tallystick.domain.catalog.objects import CatalogError, CatalogProblem
from tallystick.ports.stripe import AppliedCatalog, NewPrice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallystick.domain.catalog.objects import Catalog, CatalogPrice, Product
    from tallystick.domain.catalog.state import CatalogState
    from tallystick.domain.meters import Meter
    from tallystick.ports.clock import Clock
    from tallystick.ports.directory import CatalogStore
    from tallystick.ports.stripe import CatalogGateway

_FIXED_BY_FIELD = {
    "event_type": "event_type",
    "aggregation": "aggregation",
    "decimals": "decimals",
    "property": "counted_property",
    "filters": "filters",
    "group_by": "group_by",
    "per": "per",
    "formula": "formula",
}
"""What decides a meter's usage, by the field that declares it."""


class CatalogPlan(NamedTuple):
    """What would change at Stripe; ``undeclared`` are applied prices that the catalog left out.

    They stay as they are, unless it was asked to archive them.
    """

    changes: tuple[Change, ...]
    undeclared: tuple[str, ...]
    state: CatalogState


def plan_catalog(
    catalog: Catalog, store: CatalogStore, gateway: CatalogGateway, *, prune: bool = False
) -> CatalogPlan:
    """Return what would have to change at Stripe; nothing is changed.

    Raises:
        CatalogError: the catalog contradicts what is in force, or what no change at Stripe mends.
        StripeUnreachable, StripeRefused
    """
    problems = list(_altered_meters(catalog, store))
    known = store.current_prices()
    state = gateway.read(catalog, known)
    changes, conflicts = difference(catalog, state, known)
    problems += conflicts
    if problems:
        raise CatalogError(catalog.located(problems))
    declared = {price.key for price in catalog.prices}
    undeclared = tuple(sorted(known.keys() - declared))
    if prune:
        changes += tuple(Change(Action.ARCHIVE, Kind.PRICE, key, known[key]) for key in undeclared)
    counted = tuple(_counted(change, gateway) for change in changes)
    return CatalogPlan(counted, undeclared, state)


def apply_catalog(
    catalog: Catalog,
    store: CatalogStore,
    gateway: CatalogGateway,
    clock: Clock,
    *,
    prune: bool = False,
) -> AppliedCatalog:
    """Make the catalog true at Stripe and here; repeating it, or resuming it, changes nothing else.

    Raises:
        CatalogError: as ``plan_catalog``; nothing was changed.
        StripeUnreachable, StripeRefused: what was changed until then stands; repeat it.
    """
    plan = plan_catalog(catalog, store, gateway, prune=prune)
    application = _Application(catalog, plan.state, gateway, store)
    for change in plan.changes:
        application.make(change)
    applied = application.applied(plan.changes)
    retired = plan.undeclared if prune else ()
    store.keep(catalog, applied.meter_ids, applied.price_ids, clock.now(), retired=retired)
    return applied


def find_drift(store: CatalogStore, gateway: CatalogGateway) -> Difference | None:
    """Return what is not at Stripe as it was applied last, or None where nothing was applied.

    Raises:
        StripeUnreachable, StripeRefused
    """
    applied = store.applied()
    if applied is None:
        return None
    known = store.current_prices()
    return difference(applied, gateway.read(applied, known), known)


def _altered_meters(catalog: Catalog, store: CatalogStore) -> Iterator[CatalogProblem]:
    """Yield meters that are declared differently than they were measured with."""
    in_force = store.meters().by_key
    for meter in catalog.meters:
        before = in_force.get(meter.key)
        for field, name in _FIXED_BY_FIELD.items() if before is not None else ():
            was, is_now = getattr(before, name), getattr(meter, name)
            if was != is_now:
                yield CatalogProblem(
                    (*catalog.meter_path(meter.key), field),
                    f"was {str(was)!r} when usage was measured with it. Declare the change as a "
                    "new version of the meter (`version: 2`, one more each time): its prices "
                    "become new versions too, and subscriptions at the old ones are measured "
                    "as before",
                )


def _counted(change: Change, gateway: CatalogGateway) -> Change:
    """Return the change with how many subscriptions it concerns: those on a price that goes."""
    if change.kind is not Kind.PRICE or change.action not in (Action.REPLACE, Action.ARCHIVE):
        return change
    assert change.stripe_id is not None  # what is replaced or archived exists
    return replace(change, subscriptions=gateway.subscriptions_on(change.stripe_id))


class _Application:
    """Makes changes one after the other. Each call to the gateway writes one thing at Stripe.

    A new version is made before the old one is archived, so that there is always a price to
    subscribe to; stopped in between, the next plan has the archiving left.
    """

    def __init__(
        self, catalog: Catalog, state: CatalogState, gateway: CatalogGateway, store: CatalogStore
    ) -> None:
        self._gateway = gateway
        self._state = state
        # of this catalog version's run: what was made and then undone at Stripe is made again
        self._token = str(store.meters().version)
        self._meters = {meter.key: meter for meter in catalog.meters}
        self._external = {meter.key: meter.event_name for meter in catalog.external_meters}
        self._products = {product.key: product for product in catalog.products}
        self._prices = {price.key: price for price in catalog.prices}
        self._meter_ids = {meter.event_name: meter.stripe_id for meter in state.meters}
        self._product_ids = _found_products(catalog, state)
        self._price_ids = _found_prices(catalog, state, store)

    def make(self, change: Change) -> None:
        """Make one change.

        Raises:
            StripeUnreachable, StripeRefused
        """
        if change.action is Action.CHANGE:
            assert change.stripe_id is not None  # what is updated exists
            self._gateway.update(change.kind, change.stripe_id, change.values)
        elif change.action is Action.ARCHIVE:
            self._archive(change)
        elif change.kind is Kind.METER:
            self._create_meter(self._meters[change.key])
        elif change.kind is Kind.PRODUCT:
            self._create_product(self._products[change.key])
        else:
            self._create_price(self._prices[change.key], change.stripe_id)
            if change.action is Action.REPLACE:
                self._archive(change)

    def applied(self, changes: tuple[Change, ...]) -> AppliedCatalog:
        """Return what stands at Stripe after every change was made."""
        return AppliedCatalog(
            {key: self._meter_ids[key] for key in self._meters},
            {key: self._product_ids[key] for key in self._products},
            {key: self._price_ids[key] for key in self._prices},
            changes,
        )

    def _create_meter(self, meter: Meter) -> None:
        self._meter_ids[meter.key] = self._gateway.create_meter(meter, self._token)

    def _create_product(self, product: Product) -> None:
        self._product_ids[product.key] = self._gateway.create_product(product, self._token)

    def _create_price(self, price: CatalogPrice, replaces: str | None) -> None:
        event_name = price.meter_key
        if price.external_meter_key is not None:
            event_name = self._external[price.external_meter_key]
        new = NewPrice(
            price,
            self._product_ids[price.product_key],
            self._meter_ids[event_name] if event_name else None,
            replaces,
        )
        self._price_ids[price.key] = self._gateway.create_price(new, self._token)

    def _archive(self, change: Change) -> None:
        """Archive a price; a product's default price must be another one before."""
        old_id = change.stripe_id
        assert old_id is not None  # what is archived exists
        for product in self._state.products:
            if product.default_price_id == old_id and change.key in self._price_ids:
                self._gateway.update(
                    Kind.PRODUCT,
                    product.stripe_id,
                    {"default_price": self._price_ids[change.key]},
                )
        self._gateway.update(Kind.PRICE, old_id, {"active": False})


def _found_products(catalog: Catalog, state: CatalogState) -> dict[str, str]:
    found = ((one.key, find_product(one, state)) for one in catalog.products)
    return {key: product.stripe_id for key, product in found if product is not None}


def _found_prices(catalog: Catalog, state: CatalogState, store: CatalogStore) -> dict[str, str]:
    known = store.current_prices()
    found = ((one.key, find_price(one, state, known)) for one in catalog.prices)
    return {key: price.stripe_id for key, price in found if price is not None}
