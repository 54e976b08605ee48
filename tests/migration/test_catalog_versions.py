"""A database from before prices had versions keeps its meters and prices."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING

from tallystick.domain.rating.charges import rate
from tallystick.storage.sqlite import migrations
from tallystick.wiring import Tallystick

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tallystick.config import Settings
    from tests.fixtures.clock import FakeClock

DEFINITION = {
    "currency": "usd",
    "unit_amount_decimal": "0.25",
    "recurring": {"interval": "month", "usage_type": "metered"},
}


def old_database(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a file as the first migration alone made it, with one meter and one price."""
    first = migrations.migrations()[:1]
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "migrations", lambda: first)
        assert migrations.migrate(path, 0) == 1
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO meters (key, display_name, event_type, aggregation, decimals,"
            " stripe_meter_id) VALUES ('calls', 'Calls', 'call', 'count', 0, 'mtr_1')"
        )
        connection.execute(
            "INSERT INTO prices VALUES ('monthly', 'api', 'API', 'calls', ?, 'price_1', 5)",
            (json.dumps(DEFINITION),),
        )


def test_meters_and_prices_are_there_after_the_upgrade(
    settings: Settings, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_database(settings.sqlite_path(), monkeypatch)
    with Tallystick(settings, clock) as product:
        store = product.catalog
        assert store.meters().by_key["calls"].report_every_minutes is None
        assert store.current_prices() == {"monthly": "price_1"}
        price = store.price("price_1")
        assert price is not None
        assert rate(price, Decimal(10)).amount_minor == 3
        assert store.applied() is None
