"""The applied catalog in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.storage.catalog_reading import CatalogReading
from tallystick.storage.catalog_rows import keep_rows
from tallystick.storage.postgres.rollups import open_selections
from tallystick.storage.postgres.statements import statements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.domain.catalog.objects import Catalog
    from tallystick.storage.postgres.database import Connection

_SQL = statements("catalog")


class PostgresCatalogStore(CatalogReading):
    """``CatalogStore`` and ``RecordPrices`` on one PostgreSQL database."""

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
            ids = {"meter_ids": meter_ids, "price_ids": price_ids}
            keep_rows(connection, _SQL, catalog, **ids, retired=retired, now=now)
            open_selections(connection, catalog.meters)

        self._database.write(keep)
