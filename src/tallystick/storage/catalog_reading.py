"""How every backend reads the applied catalog: the statements are its own, what is done with rows
is not.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tallystick.domain.catalog.reading import catalog_from_mapping
from tallystick.domain.meters import MeterSet
from tallystick.domain.usage_records import RecordAggregation
from tallystick.storage.catalog_rows import meter_of, price_of

if TYPE_CHECKING:
    from tallystick.domain.catalog.objects import Catalog
    from tallystick.domain.rating.prices import Price
    from tallystick.storage.database import Database


class CatalogReading:
    """The reading half of ``CatalogStore``, and ``RecordPrices``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = database.statements("catalog")
        self._meters = MeterSet(version=-1)

    def meters(self) -> MeterSet:
        """Return the meters in force; another process's change is seen at the next call."""
        with self._database.read() as connection:
            (version,) = connection.execute(self._sql["catalog_version"]).fetchone()
            if version != self._meters.version:
                meters = tuple(meter_of(row) for row in connection.execute(self._sql["meters"]))
                sources = connection.execute(self._sql["deriving_sources"])
                self._meters = MeterSet(meters, version, frozenset(name for (name,) in sources))
        return self._meters

    def applied(self) -> Catalog | None:
        """Return the catalog that was kept last."""
        row = self._first("newest_document")
        return catalog_from_mapping(json.loads(row[0])) if row else None

    def meter_key(self, stripe_meter_id: str) -> str | None:
        """Return which meter of ours reports to this Stripe meter."""
        row = self._first("meter_key", stripe_meter_id)
        return row[0] if row else None

    def stripe_meter_ids(self) -> dict[str, str]:
        """Return Stripe's meter id by our meter key."""
        return self._pairs("stripe_meter_ids")

    def price(self, stripe_price_id: str) -> Price | None:
        """Return our price behind one of Stripe's."""
        row = self._first("price", stripe_price_id)
        return price_of(row) if row else None

    def current_prices(self) -> dict[str, str]:
        """Return Stripe's price id by lookup key, newest versions only."""
        return self._pairs("current_prices")

    def record_aggregations(self, meter_key: str) -> dict[str, RecordAggregation]:
        """Return how Stripe adds up usage records, by the legacy prices that bill the meter."""
        found = self._pairs("record_aggregations", meter_key)
        return {price_id: RecordAggregation(how) for price_id, how in found.items()}

    def _first(self, name: str, *parameters: str) -> Any:
        with self._database.read() as connection:
            return connection.execute(self._sql[name], parameters).fetchone()

    def _pairs(self, name: str, *parameters: str) -> dict[str, str]:
        with self._database.read() as connection:
            return dict(connection.execute(self._sql[name], parameters).fetchall())
