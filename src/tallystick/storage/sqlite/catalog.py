"""The applied catalog in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.storage.catalog_reading import CatalogReading
from tallystick.storage.catalog_rows import keep_rows
from tallystick.storage.sqlite.history import open_history
from tallystick.storage.sqlite.rollups import open_selections
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from tallystick.domain.catalog.objects import Catalog

_SQL = statements("catalog")


class SqliteCatalogStore(CatalogReading):
    """``CatalogStore`` and ``RecordPrices`` on one SQLite file."""

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
            ids = {"meter_ids": meter_ids, "price_ids": price_ids}
            keep_rows(connection, _SQL, catalog, **ids, retired=retired, now=now)
            open_history(connection, open_selections(connection, catalog.meters))

        self._database.write(keep)
