"""The applied catalog in SQLite."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

from tallystick.domain.aggregation import EMPTY, RollupState, merge, state_of
from tallystick.domain.meters import Aggregation, Meter, MeterSet
from tallystick.domain.periods import hour_of
from tallystick.domain.prices import Price, price_from_stripe
from tallystick.storage.sqlite.statements import statements

if TYPE_CHECKING:
    import sqlite3

    from tallystick.domain.catalog import Catalog
    from tallystick.storage.sqlite.database import SqliteDatabase

_SQL = statements("catalog")
_ADD_TO_ROLLUP = statements("events")["add_to_rollup"]


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
                self._meters = MeterSet(tuple(_meter(row) for row in rows), version)
        return self._meters

    def keep(
        self, catalog: Catalog, meter_ids: dict[str, str], price_ids: dict[str, str], now: int
    ) -> None:
        """Keep a catalog that Stripe has now; new meters' rollups are made from stored events."""

        def keep(connection: sqlite3.Connection) -> None:
            for meter in catalog.meters:
                _keep_meter(connection, meter, meter_ids[meter.key])
            _keep_prices(connection, catalog, price_ids, now)
            connection.execute(_SQL["next_catalog_version"])

        self._database.write(keep).result()

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
        key, product_name, definition = row
        declared = json.loads(definition)
        return price_from_stripe(
            {**declared, "lookup_key": key, "product_data": {"name": product_name}}
        )


def _meter(row: tuple[str, str, str, str, int]) -> Meter:
    key, display_name, event_type, aggregation, decimals = row
    return Meter(key, display_name, event_type, Aggregation(aggregation), decimals)


def _keep_meter(connection: sqlite3.Connection, meter: Meter, stripe_meter_id: str) -> None:
    known = connection.execute(_SQL["meter_row"], (meter.key,)).fetchone()
    connection.execute(
        _SQL["keep_meter"],
        (
            meter.key,
            meter.display_name,
            meter.event_type,
            meter.aggregation,
            meter.decimals,
            stripe_meter_id,
        ),
    )
    if known is None:
        _roll_up_history(connection, meter)


def _roll_up_history(connection: sqlite3.Connection, meter: Meter) -> None:
    """Fold the events that were stored, for another meter, before this one was declared."""
    meter_id = connection.execute(_SQL["meter_row"], (meter.key,)).fetchone()[0]
    cells: dict[tuple[int, int, str], RollupState] = {}
    for customer, occurred_at, value in connection.execute(
        _SQL["events_of_type"], (meter.event_type,)
    ):
        cell = (hour_of(occurred_at), meter_id, customer)
        cells[cell] = merge(cells.get(cell, EMPTY), state_of(Decimal(value)))
    connection.executemany(_ADD_TO_ROLLUP, [(*cell, *state) for cell, state in cells.items()])


def _keep_prices(
    connection: sqlite3.Connection, catalog: Catalog, price_ids: dict[str, str], now: int
) -> None:
    for product in catalog.products:
        for price in product.prices:
            definition = json.dumps(price.definition, sort_keys=True, default=str)
            connection.execute(
                _SQL["keep_price"],
                (
                    price.key,
                    product.key,
                    product.name,
                    price.meter_key,
                    definition,
                    price_ids[price.key],
                    now,
                ),
            )
