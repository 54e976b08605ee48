"""Applying a catalog: to Stripe first, then here, and only what may be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.catalog import Catalog, CatalogError

if TYPE_CHECKING:
    from tallystick.domain.meters import Meter
    from tallystick.ports.clock import Clock
    from tallystick.ports.directory import CatalogStore
    from tallystick.ports.stripe import AppliedCatalog, CatalogGateway

_FIXED = ("event_type", "aggregation", "decimals")


def apply_catalog(
    catalog: Catalog, store: CatalogStore, gateway: CatalogGateway, clock: Clock
) -> AppliedCatalog:
    """Make the catalog true at Stripe and here; repeating it changes nothing.

    Raises:
        CatalogError: a meter in force is declared differently.
        StripeUnreachable, StripeRefused: what was created until then stands; repeat it.
    """
    in_force = store.meters().by_key
    for meter in catalog.meters:
        if meter.key in in_force:
            _check_unchanged(in_force[meter.key], meter)
    applied = gateway.apply(catalog)
    store.keep(catalog, applied.meter_ids, applied.price_ids, clock.now())
    return applied


def _check_unchanged(before: Meter, after: Meter) -> None:
    for field in _FIXED:
        if getattr(before, field) != getattr(after, field):
            raise CatalogError(
                f"meters.{before.key}.{field}",
                f"was {getattr(before, field)!r} when usage was measured with it, and cannot "
                "become something else; declare another meter",
            )
