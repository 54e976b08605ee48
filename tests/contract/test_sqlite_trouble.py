"""What a SQLite file can run into: locked, full, not writable. Nothing is acknowledged then."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from tallystick.domain.events import EventStatus, UsageEvent
from tallystick.oversight.invariants import check_store
from tallystick.ports.errors import StoreUnavailable
from tallystick.storage.sqlite import database

if TYPE_CHECKING:
    import httpx2

    from tallystick.config import Settings
    from tallystick.wiring import Tallystick

NOW = 1_431_900_000_000_000


def some_events(first: int, count: int) -> list[UsageEvent]:
    return [
        UsageEvent(
            "s", str(number), "http_request", "acme", NOW, Decimal(1), b'{"x":"%d"}' % number
        )
        for number in range(first, first + count)
    ]


def assert_sound(product: Tallystick, stored: int) -> None:
    assert stored == product.events.count()
    with product.snapshots.snapshot() as snapshot:
        checks = check_store(snapshot, product.catalog.meters())
    assert [finding for check in checks for finding in check.findings] == []


def test_a_locked_database_stores_nothing_and_recovers(
    settings: Settings, request: pytest.FixtureRequest
) -> None:
    with mock.patch.object(database, "BUSY_TIMEOUT_MS", 50):
        product: Tallystick = request.getfixturevalue("product")
    product.events.append(some_events(0, 5), NOW).result()
    blocker = sqlite3.connect(settings.sqlite_path(), isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="nothing was stored"):
        product.events.append(some_events(5, 5), NOW).result()
    blocker.execute("ROLLBACK")
    blocker.close()
    statuses = product.events.append(some_events(0, 10), NOW).result()
    assert statuses == [EventStatus.DUPLICATE] * 5 + [EventStatus.ACCEPTED] * 5
    assert_sound(product, 10)


def test_a_full_disk_stores_nothing_and_recovers(product: Tallystick) -> None:
    """SQLite's own limit on pages fails as a full disk does: in the middle of a commit."""
    product.events.append(some_events(0, 5), NOW).result()
    limit = product._database
    assert isinstance(limit, database.SqliteDatabase)
    (pages,) = limit.write(
        lambda connection: connection.execute("PRAGMA page_count").fetchone()
    ).result()
    limit.write(
        lambda connection: connection.execute(f"PRAGMA max_page_count={pages + 2}").fetchone()
    ).result()
    with pytest.raises(StoreUnavailable, match="full"):
        product.events.append(some_events(5, 2_000), NOW).result()
    limit.write(
        lambda connection: connection.execute("PRAGMA max_page_count=1000000").fetchone()
    ).result()
    statuses = product.events.append(some_events(0, 2_005), NOW).result()
    assert (
        statuses.count(EventStatus.DUPLICATE),
        statuses.count(EventStatus.ACCEPTED),
    ) == (5, 2_000)
    assert_sound(product, 2_005)


def test_a_client_is_told_of_a_locked_database(
    settings: Settings, request: pytest.FixtureRequest
) -> None:
    with mock.patch.object(database, "BUSY_TIMEOUT_MS", 50):
        api: httpx2.Client = request.getfixturevalue("api")
    blocker = sqlite3.connect(settings.sqlite_path(), isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    event = {"id": "a", "type": "http_request", "customer": "acme", "time": "2015-05-18T10:00:00Z"}
    refused = api.post("/v1/events", json=event)
    assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
    assert refused.headers["retry-after"] == "1"
    blocker.execute("ROLLBACK")
    blocker.close()
    assert api.post("/v1/events", json=event).json()["accepted"] == 1
