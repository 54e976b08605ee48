"""The applied catalog in PostgreSQL."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tallystick.domain.catalog_reading import catalog_from_mapping
from tallystick.domain.meters import MeterSet
from tallystick.domain.usage_records import RecordAggregation
from tallystick.storage.catalog_rows import (
    document_text,
    meter_of,
    meter_row,
    price_of,
    price_rows,
)
from tallystick.storage.postgres.rollups import open_selections
from tallystick.storage.postgres.statements import statements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.domain.catalog import Catalog
    from tallystick.domain.prices import Price
    from tallystick.storage.postgres.database import Connection, PostgresDatabase

_SQL = statements("catalog")


class PostgresCatalogStore:
    """``CatalogStore`` and ``RecordPrices`` on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._meters = MeterSet(version=-1)

    def meters(self) -> MeterSet:
        """Return the meters in force; another process's change is seen at the next call."""
        with self._database.read() as connection:
            (version,) = connection.execute(_SQL["catalog_version"]).fetchone() or (0,)
            if version != self._meters.version:
                meters = tuple(meter_of(row) for row in connection.execute(_SQL["meters"]))
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

        def keep(connection: Connection) -> None:
            connection.execute(_SQL["next_catalog_version"])
            for meter in catalog.meters:
                connection.execute(_SQL["keep_meter"], meter_row(meter, meter_ids[meter.key]))
            open_selections(connection, catalog.meters)
            for source in catalog.sources:
                connection.execute(_SQL["keep_source"], (source.name, source.derives_ids))
            for row in price_rows(catalog, price_ids, now):
                connection.execute(_SQL["replace_price"], (now, row[1], row[0]))
                connection.execute(_SQL["keep_price"], row)
            for key in retired:
                connection.execute(_SQL["retire_price"], (now, key))
            connection.execute(_SQL["keep_document"], (document_text(catalog), now))

        self._database.write(keep)

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
        return price_of(row) if row else None

    def current_prices(self) -> dict[str, str]:
        """Return Stripe's price id by lookup key, newest versions only."""
        with self._database.read() as connection:
            return dict(connection.execute(_SQL["current_prices"]).fetchall())

    def record_aggregations(self, meter_key: str) -> dict[str, RecordAggregation]:
        """Return how Stripe adds up usage records, by the legacy prices that bill the meter."""
        with self._database.read() as connection:
            rows = connection.execute(_SQL["record_aggregations"], (meter_key,)).fetchall()
        return {price_id: RecordAggregation(how) for price_id, how in rows}
