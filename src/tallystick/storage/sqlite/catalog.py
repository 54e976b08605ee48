"""The applied catalog in SQLite."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tallystick.domain.catalog_prices import definition_of
from tallystick.domain.catalog_reading import catalog_from_mapping
from tallystick.domain.meters import (
    Aggregation,
    Meter,
    MeterSet,
    PropertyFilter,
    StripeFormula,
    TimeUnit,
)
from tallystick.domain.prices import Price, price_from_stripe
from tallystick.domain.quantity import plain
from tallystick.domain.usage_records import RecordAggregation
from tallystick.storage.sqlite.history import open_history
from tallystick.storage.sqlite.rollups import open_selections
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from tallystick.domain.catalog import Catalog
    from tallystick.storage.sqlite.database import SqliteDatabase

_SQL = statements("catalog")


class SqliteCatalogStore:
    """``CatalogStore`` on one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._meters = MeterSet(version=-1)

    def meters(self) -> MeterSet:
        """Return the meters in force; another process's change is seen at the next call."""
        with self._database.read() as connection:
            (version,) = connection.execute(_SQL["catalog_version"]).fetchone()
            if version != self._meters.version:
                rows = connection.execute(_SQL["meters"])
                meters = tuple(_meter(row) for row in rows)
                sources = connection.execute(_SQL["deriving_sources"])
                self._meters = MeterSet(meters, version, frozenset(name for (name,) in sources))
        return self._meters

    def keep(
        self,
        catalog: Catalog,
        meter_ids: dict[str, str],
        price_ids: dict[str, str],
        now: int,
        *,
        retired: Sequence[str] = (),
    ) -> None:
        """Keep a catalog that Stripe has now; new meters' rollups are made from stored events."""

        def keep(connection: sqlite3.Connection) -> None:
            for meter in catalog.meters:
                _keep_meter(connection, meter, meter_ids[meter.key])
            open_history(connection, open_selections(connection, catalog.meters))
            for source in catalog.sources:
                connection.execute(_SQL["keep_source"], (source.name, source.derives_ids))
            _keep_prices(connection, catalog, price_ids, now)
            for key in retired:
                connection.execute(_SQL["retire_price"], (now, key))
            document = json.dumps(catalog.document, default=_plain_text)
            connection.execute(_SQL["keep_document"], (document, now))
            connection.execute(_SQL["next_catalog_version"])

        self._database.write(keep).result()

    def applied(self) -> Catalog | None:
        """Return the catalog that was kept last."""
        with self._database.read() as connection:
            row = connection.execute(_SQL["newest_document"]).fetchone()
        return catalog_from_mapping(json.loads(row[0])) if row else None

    def meter_key(self, stripe_meter_id: str) -> str | None:
        """Return which meter of ours reports to this Stripe meter."""
        with self._database.read() as connection:
            row = connection.execute(_SQL["meter_key"], (stripe_meter_id,)).fetchone()
        return row[0] if row else None

    def stripe_meter_ids(self) -> dict[str, str]:
        """Return Stripe's meter id by our meter key."""
        with self._database.read() as connection:
            return dict(connection.execute(_SQL["stripe_meter_ids"]).fetchall())

    def price(self, stripe_price_id: str) -> Price | None:
        """Return our price behind one of Stripe's."""
        with self._database.read() as connection:
            row = connection.execute(_SQL["price"], (stripe_price_id,)).fetchone()
        if row is None:
            return None
        key, product_name, unit_label, definition = row
        declared = json.loads(definition)
        product = {"name": product_name, "unit_label": unit_label}
        return price_from_stripe({**declared, "lookup_key": key, "product_data": product})

    def current_prices(self) -> dict[str, str]:
        """Return Stripe's price id by lookup key, newest versions only."""
        with self._database.read() as connection:
            return dict(connection.execute(_SQL["current_prices"]).fetchall())

    def record_aggregations(self, meter_key: str) -> dict[str, RecordAggregation]:
        """Return how Stripe adds up usage records, by the legacy prices that bill the meter."""
        with self._database.read() as connection:
            rows = connection.execute(_SQL["record_aggregations"], (meter_key,)).fetchall()
        return {price_id: RecordAggregation(how) for price_id, how in rows}


def _plain_text(value: object) -> str:
    """Return a decimal as it would be written by hand: JSON has no exact numbers of its own."""
    assert isinstance(value, Decimal)  # a parsed file has nothing else that JSON lacks
    return plain(value)


def _meter(row: tuple[Any, ...]) -> Meter:
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


def _keep_meter(connection: sqlite3.Connection, meter: Meter, stripe_meter_id: str) -> None:
    connection.execute(
        _SQL["keep_meter"],
        (
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
        ),
    )


def _keep_prices(
    connection: sqlite3.Connection, catalog: Catalog, price_ids: dict[str, str], now: int
) -> None:
    for product in catalog.products:
        for price in product.prices:
            stripe_price_id = price_ids[price.key]
            connection.execute(_SQL["replace_price"], (now, price.key, stripe_price_id))
            connection.execute(
                _SQL["keep_price"],
                (
                    stripe_price_id,
                    price.key,
                    product.key,
                    product.name,
                    product.unit_label,
                    price.meter_key or price.records_meter_key,
                    json.dumps(definition_of(price.price, price.aggregate_usage)),
                    now,
                ),
            )
