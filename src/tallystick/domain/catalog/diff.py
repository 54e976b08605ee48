"""What would have to change at Stripe for a catalog to be true there.

Objects are found by event name, metadata, lookup key and the ids that were recorded when they were
made, never by what they look like. What Stripe lets change is changed; what it does not (a price's
amounts) becomes a new version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from tallystick.domain.catalog.objects import CatalogProblem
from tallystick.domain.catalog.prices import definition_of
from tallystick.domain.catalog.state import PRICE_KEY, PRODUCT_KEY
from tallystick.domain.meters import StripeFormula
from tallystick.domain.rating.prices import PriceError, price_from_stripe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallystick.domain.catalog.objects import Catalog, CatalogPrice, Path, Product
    from tallystick.domain.catalog.state import (
        CatalogState,
        StripeMeter,
        StripePrice,
        StripeProduct,
    )
    from tallystick.domain.meters import Meter


class Action(StrEnum):
    """What is done to an object."""

    CREATE = "create"
    CHANGE = "change"
    REPLACE = "replace"
    """A new version is made, and the old one archived."""
    ARCHIVE = "archive"


class Kind(StrEnum):
    """What an object is."""

    METER = "meter"
    PRODUCT = "product"
    PRICE = "price"


class FieldChange(NamedTuple):
    """A field as Stripe has it and as the catalog declares it; None where it is not set."""

    field: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One object that is not as the catalog declares it.

    ``stripe_id`` is the object that is changed, replaced or archived; ``values`` is what an update
    sets, in Stripe's fields. ``subscriptions`` is how many are on the price, where that was asked.
    """

    action: Action
    kind: Kind
    key: str
    stripe_id: str | None = None
    fields: tuple[FieldChange, ...] = ()
    values: Mapping[str, object] = field(default_factory=dict)
    subscriptions: int | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class Difference(NamedTuple):
    """All changes, in the order in which they can be made, and what no change can mend."""

    changes: tuple[Change, ...]
    conflicts: tuple[CatalogProblem, ...]


def difference(
    catalog: Catalog, state: CatalogState, known_price_ids: Mapping[str, str]
) -> Difference:
    """Return what would have to change at Stripe.

    ``known_price_ids`` has the ids of the prices that were applied last, by lookup key.
    """
    comparison = _Comparison(catalog, state, known_price_ids)
    changes = (*comparison.meters(), *comparison.products(), *comparison.prices())
    return Difference(changes, catalog.located(comparison.conflicts))


def find_price(
    price: CatalogPrice, state: CatalogState, known_price_ids: Mapping[str, str]
) -> StripePrice | None:
    """Return the Stripe price that a price of the catalog is.

    The one with its lookup key, unless that is a stranger's and ours is still there without it.
    """
    known = state.price(known_price_ids.get(price.key, ""))
    named = state.price_with(price.key)
    if named is not None and (known is None or named.key == price.key):
        return named
    if known is not None:
        return known
    return state.price(price.stripe_id) if price.stripe_id else None


def find_product(product: Product, state: CatalogState) -> StripeProduct | None:
    """Return the Stripe product that a product of the catalog is."""
    marked = state.products_of(product.key)
    if marked:
        return marked[0]
    return state.product(product.stripe_id) if product.stripe_id else None


class _Comparison:
    def __init__(
        self, catalog: Catalog, state: CatalogState, known_price_ids: Mapping[str, str]
    ) -> None:
        self._catalog = catalog
        self._state = state
        self._known = known_price_ids
        self.conflicts: list[CatalogProblem] = []

    def meters(self) -> Iterator[Change]:
        for meter in self._catalog.meters:
            found = self._state.meter(meter.key)
            if found is None:
                fields = _made({"display_name": meter.display_name})
                yield Change(Action.CREATE, Kind.METER, meter.key, fields=fields)
            else:
                path = self._catalog.meter_path(meter.key)
                self.conflicts += _meter_conflicts(path, meter, found)
                yield from _meter_change(meter, found)
        for external in self._catalog.external_meters:
            if self._state.meter(external.event_name) is None:
                self._conflict(
                    ("meters", external.key, "external"),
                    f"Stripe has no meter {external.event_name!r}, and an external one is not "
                    "created",
                )

    def products(self) -> Iterator[Change]:
        for product in self._catalog.products:
            path = ("products", product.key)
            marked = self._state.products_of(product.key)
            if len(marked) > 1:
                ids = ", ".join(one.stripe_id for one in marked)
                self._conflict(path, f"several Stripe products have this in {PRODUCT_KEY}: {ids}")
                continue
            found = find_product(product, self._state)
            if found is not None:
                yield from _product_change(product, found)
            elif product.stripe_id is not None:
                self._conflict((*path, "stripe_id"), f"Stripe has no product {product.stripe_id}")
            else:
                made = {"name": product.name, "unit_label": product.unit_label}
                yield Change(Action.CREATE, Kind.PRODUCT, product.key, fields=_made(made))

    def prices(self) -> Iterator[Change]:
        for product in self._catalog.products:
            stripe_product = find_product(product, self._state)
            for price in product.prices:
                yield from self._price(price, product, stripe_product)

    def _price(
        self, price: CatalogPrice, product: Product, stripe_product: StripeProduct | None
    ) -> Iterator[Change]:
        found = find_price(price, self._state, self._known)
        if found is None:
            if price.stripe_id is not None:
                self._conflict((*price.path, "stripe_id"), f"Stripe has no price {price.stripe_id}")
            elif price.is_legacy:
                self._conflict(price.path, _LEGACY)
            else:
                made = {"product": product.key, "meter": self._event_name(price)}
                fields = _made({**made, **_flat(definition_of(price.price))})
                yield Change(Action.CREATE, Kind.PRICE, price.key, fields=fields)
            return
        fixed = tuple(self._fixed(price, product, stripe_product, found))
        if not fixed:
            yield from _price_update(price, found)
        elif price.is_legacy:
            self._conflict(price.path, _LEGACY)
        else:
            yield Change(Action.REPLACE, Kind.PRICE, price.key, found.stripe_id, fixed)
        yield from self._left_over(price, found)

    def _fixed(
        self,
        price: CatalogPrice,
        product: Product,
        stripe_product: StripeProduct | None,
        found: StripePrice,
    ) -> Iterator[FieldChange]:
        """Yield what differs and cannot be changed."""
        if stripe_product is None or found.product_id != stripe_product.stripe_id:
            yield FieldChange("product", found.product_id, product.key)
        event_name = self._event_name(price)
        meter = self._state.meter(event_name) if event_name else None
        if found.meter_id != (meter.stripe_id if meter else None):
            yield FieldChange("meter", self._shown_meter(found.meter_id), event_name)
        yield from _definition_differences(price, product, found)

    def _event_name(self, price: CatalogPrice) -> str | None:
        if price.external_meter_key is None:
            return price.meter_key
        for external in self._catalog.external_meters:
            if external.key == price.external_meter_key:
                return external.event_name
        raise AssertionError("the catalog was read with every meter that its prices name")

    def _shown_meter(self, meter_id: str | None) -> str | None:
        for meter in self._state.meters:
            if meter.stripe_id == meter_id:
                return meter.event_name
        return meter_id

    def _left_over(self, price: CatalogPrice, found: StripePrice) -> Iterator[Change]:
        """Yield the version before this one, where it was not archived or came back to life."""
        older = self._state.price(found.replaces) if found.replaces else None
        if older is not None and older.is_active:
            fields = (FieldChange("active", "true", "false"),)
            yield Change(Action.ARCHIVE, Kind.PRICE, price.key, older.stripe_id, fields)

    def _conflict(self, path: Path, message: str) -> None:
        self.conflicts.append(CatalogProblem(path, message))


_LEGACY = (
    "a price that bills usage records can be taken over from Stripe, not created or changed: "
    "Stripe makes no more of them since API 2025-03-31.basil. Declare a new price with a meter"
)


_TOLD = {
    StripeFormula.SUM: "differences, which only 'sum' adds up",
    StripeFormula.COUNT: "one meter event per usage event, which only 'count' counts",
    StripeFormula.LAST: "levels, of which only 'last' takes the newest",
}


def _meter_conflicts(path: Path, meter: Meter, found: StripeMeter) -> Iterator[CatalogProblem]:
    if found.formula != meter.formula:
        yield CatalogProblem(
            path,
            f"Stripe's meter of this event name aggregates by {found.formula!r}, and with formula "
            f"{str(meter.formula)!r} it would be told {_TOLD[meter.formula]}. Declare `formula: "
            f"{found.formula}`, use another key, or declare it external",
        )
    if found.event_time_window is not None:
        yield CatalogProblem(
            path,
            f"Stripe's meter of this event name is pre-aggregated by {found.event_time_window}: of "
            "all meter events of one it keeps the last received alone, and the others, which may "
            "be differences or corrections, are lost. Use another key, or declare it external",
        )


def _meter_change(meter: Meter, found: StripeMeter) -> Iterator[Change]:
    wanted: dict[str, tuple[object, object]] = {
        "display_name": (found.display_name, meter.display_name),
        "active": (found.is_active, True),
    }
    yield from _update(Kind.METER, meter.key, found.stripe_id, wanted)


def _product_change(product: Product, found: StripeProduct) -> Iterator[Change]:
    wanted: dict[str, tuple[object, object]] = {
        "name": (found.name, product.name),
        "unit_label": (found.unit_label, product.unit_label),
        "active": (found.is_active, True),
        f"metadata.{PRODUCT_KEY}": (found.key, product.key),
    }
    yield from _update(Kind.PRODUCT, product.key, found.stripe_id, wanted)


def _price_update(price: CatalogPrice, found: StripePrice) -> Iterator[Change]:
    wanted: dict[str, tuple[object, object]] = {
        "lookup_key": (found.lookup_key, price.key),
        "nickname": (found.nickname, price.nickname),
        "active": (found.is_active, True),
        "tax_behavior": (found.fields.get("tax_behavior"), price.price.tax_behavior),
        f"metadata.{PRICE_KEY}": (found.key, price.key),
    }
    yield from _update(Kind.PRICE, price.key, found.stripe_id, wanted)


def _update(
    kind: Kind, key: str, stripe_id: str, wanted: Mapping[str, tuple[object, object]]
) -> Iterator[Change]:
    differing = {name: pair for name, pair in wanted.items() if pair[0] != pair[1]}
    if differing:
        fields = tuple(
            FieldChange(name, _shown(before), _shown(after))
            for name, (before, after) in differing.items()
        )
        values = {name: after for name, (_, after) in differing.items()}
        yield Change(Action.CHANGE, kind, key, stripe_id, fields, values)


def _made(values: Mapping[str, str | None]) -> tuple[FieldChange, ...]:
    """Return what a new object has."""
    return tuple(FieldChange(name, None, value) for name, value in values.items() if value)


def _definition_differences(
    price: CatalogPrice, product: Product, found: StripePrice
) -> Iterator[FieldChange]:
    try:
        theirs = price_from_stripe({**found.fields, "product_data": {"name": product.name}})
    except PriceError as error:
        yield FieldChange("amounts", f"not a price for usage: {error}", "as declared")
        return
    before = _flat(definition_of(theirs, found.aggregate_usage))
    after = _flat(definition_of(price.price, price.aggregate_usage))
    if before["tax_behavior"] == "unspecified":
        after.pop("tax_behavior")  # set once, which is an update
        before.pop("tax_behavior")
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            yield FieldChange(name, before.get(name), after.get(name))


def _flat(value: object, path: str = "") -> dict[str, str]:
    """Return nested fields under names like ``tiers[1].unit_amount_decimal``, in order."""
    if isinstance(value, Mapping):
        return {
            name: shown
            for key, inner in value.items()
            for name, shown in _flat(inner, f"{path}.{key}" if path else str(key)).items()
        }
    if isinstance(value, list):
        return {
            name: shown
            for number, inner in enumerate(value)
            for name, shown in _flat(inner, f"{path}[{number}]").items()
        }
    return {path: str(value)}


def _shown(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)
