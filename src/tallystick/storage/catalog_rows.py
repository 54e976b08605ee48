"""The catalog's rows: meters, prices and the document that was applied."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tallystick.domain.catalog.prices import definition_of
from tallystick.domain.meters import Aggregation, Meter, PropertyFilter, StripeFormula, TimeUnit
from tallystick.domain.quantity import plain
from tallystick.domain.rating.prices import Price, price_from_stripe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tallystick.domain.catalog.objects import Catalog

Row = tuple[Any, ...]


def meter_of(row: Row) -> Meter:
    """Return the meter that a row holds."""
    *plain_fields, aggregation, decimals, minutes, counted, filters, group_by, per, formula = row
    key, display_name, event_type = plain_fields
    return Meter(
        key,
        display_name,
        event_type,
        Aggregation(aggregation),
        decimals,
        report_every_minutes=minutes,
        counted_property=counted,
        filters=tuple(PropertyFilter(name, tuple(values)) for name, values in json.loads(filters)),
        group_by=tuple(json.loads(group_by)),
        per=TimeUnit(per),
        formula=StripeFormula(formula),
    )


def meter_row(meter: Meter, stripe_meter_id: str) -> Row:
    """Return the columns of a meter."""
    return (
        meter.key,
        meter.display_name,
        meter.event_type,
        meter.aggregation,
        meter.decimals,
        meter.report_every_minutes,
        meter.counted_property,
        json.dumps([[each.property, list(each.values)] for each in meter.filters]),
        json.dumps(meter.group_by),
        meter.per,
        meter.formula,
        stripe_meter_id,
    )


def keep_rows(
    connection: Any,
    sql: Mapping[str, Any],
    catalog: Catalog,
    *,
    meter_ids: dict[str, str],
    price_ids: dict[str, str],
    retired: Sequence[str],
    now: int,
) -> None:
    """Write a catalog's rows, by a backend's statements, in the transaction of a connection."""
    connection.execute(sql["next_catalog_version"])
    for meter in catalog.meters:
        connection.execute(sql["keep_meter"], meter_row(meter, meter_ids[meter.key]))
    for source in catalog.sources:
        connection.execute(sql["keep_source"], (source.name, source.derives_ids))
    for row in price_rows(catalog, price_ids, now):
        connection.execute(sql["replace_price"], (now, row[1], row[0]))
        connection.execute(sql["keep_price"], row)
    for key in retired:
        connection.execute(sql["retire_price"], (now, key))
    connection.execute(sql["keep_document"], (document_text(catalog), now))


def price_of(row: Row) -> Price:
    """Return the price that a row of key, product's name, unit label and definition holds."""
    key, product_name, unit_label, definition = row
    product = {"name": product_name, "unit_label": unit_label}
    return price_from_stripe({**json.loads(definition), "lookup_key": key, "product_data": product})


def price_rows(catalog: Catalog, price_ids: dict[str, str], now: int) -> Iterator[Row]:
    """Return the columns of every price of a catalog: Stripe's id and the key come first."""
    for product in catalog.products:
        for price in product.prices:
            yield (
                price_ids[price.key],
                price.key,
                product.key,
                product.name,
                product.unit_label,
                price.meter_key or price.records_meter_key,
                json.dumps(definition_of(price.price, price.aggregate_usage)),
                now,
            )


def document_text(catalog: Catalog) -> str:
    """Return the catalog as it was declared, as JSON."""
    return json.dumps(catalog.document, default=_plain_text)


def _plain_text(value: object) -> str:
    """Return a decimal as it would be written by hand: JSON has no exact numbers of its own."""
    assert isinstance(value, Decimal)  # a parsed file has nothing else that JSON lacks
    return plain(value)
